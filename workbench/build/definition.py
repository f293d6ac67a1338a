"""What a step does, as frozen data: all variables are expanded, nothing is left to find out but
what lies in the file trees. The cache key of a step is made of these values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from workbench.build.run_mounts import RunMount
from workbench.build.source import Span
from workbench.oci.image import ContainerConfig, Image

Kind = Literal["from", "run", "copy", "workdir", "config"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FromContext:
    """The build context, or a named one."""

    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FromStage:
    """The file tree that another stage ends with."""

    stage: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FromImage:
    """The file tree of an image."""

    image: Image
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FromNothing:
    """An empty tree: ``scratch``."""


Origin = FromContext | FromStage | FromImage | FromNothing


@dataclass(frozen=True, slots=True, kw_only=True)
class MountDefinition:
    """A mount of a RUN step and where its content comes from (None for tmpfs, secret and ssh).

    ``target`` is an absolute path; "" for a secret that is only a variable.
    """

    mount: RunMount
    target: str
    origin: Origin | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDefinition:
    """``args`` is the whole command. ``env`` is all that it sees but the proxies.

    ``script`` is a heredoc that begins with ``#!``: (name, content), found below /dev/pipes.
    """

    args: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    cwd: str
    user: str
    shell: bool
    network: str = "default"
    security: str = "sandbox"
    mounts: tuple[MountDefinition, ...] = ()
    devices: tuple[str, ...] = ()
    script: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inline:
    """A file that stands in the Dockerfile."""

    name: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyDefinition:
    """COPY or ADD. ``target`` is absolute, and ends in a slash where a directory is meant.

    ``unpack`` says whether local archives are unpacked; ``remote`` are URLs and git addresses.
    """

    origin: Origin
    sources: tuple[str, ...]
    target: str
    inline: tuple[Inline, ...] = ()
    remote: tuple[str, ...] = ()
    chown: str = ""
    chmod: str = ""
    link: bool = False
    parents: bool = False
    exclude: tuple[str, ...] = ()
    add: bool = False
    unpack: bool = False
    unpack_remote: bool = False
    checksum: str = ""
    keep_git_dir: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkdirDefinition:
    """Make a directory and its parents, owned by ``user``."""

    path: str
    user: str


Definition = RunDefinition | CopyDefinition | WorkdirDefinition


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One instruction of a stage that is needed.

    ``index`` counts from 0 over the plan. ``definition`` is None for a step that makes no layer.
    ``parent`` is the step whose tree this one begins with, None for the stage's base image.
    ``created_by`` is its line in the history, "" for none.
    """

    index: int
    stage: int
    kind: Kind
    text: str
    span: Span
    created_by: str = ""
    definition: Definition | None = None
    parent: int | None = None
    use_cache: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """A stage that is needed, with its steps and the configuration that it ends with.

    ``base`` is an image, another stage or nothing. ``lines`` are the indexes of the steps of its
    history, those of the stages below first; ``top`` is the last step that makes a layer.
    """

    index: int
    label: str
    base: Origin
    image: Image
    steps: tuple[Step, ...]
    lines: tuple[int, ...]
    top: int | None
    config: ContainerConfig
    author: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a build will do. ``stages`` has those that are needed, in the order of the file."""

    stages: Mapping[int, StagePlan] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    target: int = 0
