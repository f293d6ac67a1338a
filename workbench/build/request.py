"""What a build is asked for, and what it is given to work with: values, and small protocols that
the engine implements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Protocol

from workbench.build.context import BuildContext
from workbench.build.digests import DigestCache
from workbench.build.records import CachedStep
from workbench.events import Report, Stream
from workbench.linux.mount import Mount
from workbench.oci.descriptor import Platform
from workbench.oci.image import Image
from workbench.oci.runtime_spec import Process, Rlimit
from workbench.store.content import ContentStore
from workbench.store.snapshots import Snapshotter


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """A build. ``dockerfile`` is the text, ``name`` what messages call it.

    ``contexts`` are named ones: a ``BuildContext``, or the name of an image. ``secrets`` map an id
    to bytes, ``ssh`` an id to the path of an agent's socket. ``network`` is default, none or host
    for all RUN steps that do not choose; ``shm_size`` is bytes, ``memory`` likewise.
    ``source_date_epoch`` (seconds) replaces the time of the build; with ``rewrite_timestamp`` no
    file of a new layer has a later time. ``proxies`` are seen by RUN and change no key.
    ``identity`` tells one project's builds from another's when the reason of a miss is sought, such
    as the image's name; the context's path counts as well.
    """

    dockerfile: str
    name: str = "Dockerfile"
    context: BuildContext | None = None
    contexts: Mapping[str, BuildContext | str] = field(default_factory=dict)
    build_args: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    pull: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    platform: Platform | None = None
    network: str = "default"
    shm_size: int | None = None
    memory: int | None = None
    ulimits: tuple[Rlimit, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    secrets: Mapping[str, bytes] = field(default_factory=dict)
    ssh: Mapping[str, str] = field(default_factory=dict)
    proxies: Mapping[str, str] = field(default_factory=dict)
    identity: str = ""
    source_date_epoch: int | None = None
    rewrite_timestamp: bool = False
    allow_insecure: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """How a RUN step's container differs from the usual one.

    ``network`` is default, none or host. ``security`` insecure asks for all privileges. ``mounts``
    come on top of the root file system, in order; their sources are host paths. ``shm_size`` and
    ``memory`` are bytes, ``extra_hosts`` lines ``name:address``.
    """

    network: str = "default"
    security: str = "sandbox"
    mounts: tuple[Mount, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    shm_size: int | None = None
    memory: int | None = None
    devices: tuple[str, ...] = ()


class Runner(Protocol):
    """Runs the command of a step in a container and waits for it."""

    def run(
        self,
        mounts: Sequence[Mount],
        process: Process,
        *,
        settings: RunSettings,
        output: Callable[[Stream, bytes], None],
        cancel: Event,
    ) -> int:
        """The exit code. ``mounts`` make the root file system.

        Where ``output`` raises, the container is killed and the exception passes on; once
        ``cancel`` is set, it is killed within a second and Interrupted raised. Raises
        CommandNotFound and CommandNotRunnable where the program cannot be started.
        """


class CacheIndex(Protocol):
    """What earlier builds made, by key. Safe for many threads."""

    def get(self, key: str) -> CachedStep | None: ...

    def put(self, key: str, step: CachedStep) -> None: ...


class ImageSource(Protocol):
    """Finds images by name, and fetches them where they are not in the content store."""

    def resolve(
        self, name: str, platform: Platform, *, pull: bool = False, report: Report
    ) -> Image:
        """The image with all its blobs in the content store. Raises ImageNotFound, InvalidInput."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """What a fetch brought: a file or a directory on disk, and a key that names its content.

    ``name`` is what a file is called, ``mtime_ns`` its time (None where the server said none).
    """

    path: Path
    key: str
    name: str = ""
    mtime_ns: int | None = None


class Fetcher(Protocol):
    """Fetches what ADD names by URL or git address. Safe for many threads."""

    def http(self, url: str, *, checksum: str, report: Report) -> Remote:
        """A file. Raises Corrupt where it does not have the checksum (``sha256:...`` or "")."""

    def git(self, address: str, *, checksum: str, keep_git_dir: bool, report: Report) -> Remote:
        """A directory with the tree of a commit. Raises Corrupt likewise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a build works with. All of it may be shared by builds that run at the same time.

    ``scratch`` is a directory for temporary files, ``caches`` one for cache mounts, ``secrets`` one
    for secrets while a step runs (best on a tmpfs; None: in ``scratch``). ``workers`` bounds how
    many steps run at the same time.
    """

    content: ContentStore
    snapshotter: Snapshotter
    runner: Runner
    cache: CacheIndex
    images: ImageSource
    scratch: Path
    caches: Path
    secrets: Path | None = None
    fetcher: Fetcher | None = None
    digests: DigestCache = field(default_factory=DigestCache)
    workers: int = 4
