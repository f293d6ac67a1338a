"""The instructions of a Dockerfile as frozen values, each with its place in the text."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from workbench.build.source import Span
from workbench.build.tokens import FlagUse, Pair, Word
from workbench.oci.image import Healthcheck

KEYWORDS: Final = (
    "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL",
    "MAINTAINER", "ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Heredoc:
    """A document written into the Dockerfile.

    ``content`` has its line ends, and no leading tabs where ``chomp`` says so; ``raw`` has them.
    ``expand`` is false where the name was quoted.
    """

    name: str
    content: str
    raw: str
    expand: bool = True
    chomp: bool = False
    descriptor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """What every instruction knows of its writing.

    ``text`` is the logical line, ``keyword`` the instruction's word as written, ``comments`` the
    lines right above it. ``span`` goes to the end of the last heredoc.
    """

    keyword: str
    text: str
    span: Span
    keyword_span: Span
    flags: tuple[FlagUse, ...] = ()
    comments: tuple[str, ...] = ()
    blanks: tuple[int, ...] = ()

    @property
    def line(self) -> int:
        return self.span.line


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine:
    """What RUN, CMD and ENTRYPOINT take: a line for the shell, or the arguments of exec form."""

    args: tuple[str, ...]
    shell: bool
    heredocs: tuple[Heredoc, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class From:
    """``name`` is in lower case, "" without AS; ``name_word`` and ``as_word`` are as written."""

    where: Where
    image: str
    image_span: Span
    platform: str = ""
    name: str = ""
    name_word: str = ""
    as_word: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """``mounts`` are the values of ``--mount`` as written: variables are expanded later."""

    where: Where
    command: CommandLine
    mounts: tuple[Word, ...] = ()
    network: str = "default"
    security: str = "sandbox"
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """COPY, and ADD with ``add`` set; flags of ADD alone are None or "" where not written."""

    where: Where
    sources: tuple[Word, ...]
    heredocs: tuple[Heredoc, ...]
    target: Word
    add: bool = False
    from_: str = ""
    from_span: Span | None = None
    chown: str = ""
    chmod: str = ""
    link: bool = False
    parents: bool = False
    exclude: tuple[str, ...] = ()
    checksum: str = ""
    keep_git_dir: bool | None = None
    unpack: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Env:
    where: Where
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    where: Where
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgItem:
    """``value`` is None where there is no default."""

    name: str
    value: str | None
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Arg:
    where: Where
    items: tuple[ArgItem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cmd:
    where: Where
    command: CommandLine


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrypoint:
    where: Where
    command: CommandLine


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthcheckInstruction:
    where: Where
    check: Healthcheck


@dataclass(frozen=True, slots=True, kw_only=True)
class Expose:
    where: Where
    ports: tuple[Word, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    where: Where
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    where: Where
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Workdir:
    where: Where
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StopSignal:
    where: Where
    signal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    where: Where
    args: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintainer:
    where: Where
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Onbuild:
    """``expression`` is what a child's build will read; ``trigger`` is the same, understood."""

    where: Where
    expression: str
    trigger: Instruction


Instruction = (
    From
    | Run
    | Copy
    | Env
    | Label
    | Arg
    | Cmd
    | Entrypoint
    | HealthcheckInstruction
    | Expose
    | Volume
    | User
    | Workdir
    | StopSignal
    | Shell
    | Maintainer
    | Onbuild
)


def relocated(instruction: Instruction, span: Span) -> Instruction:
    """The same instruction with all its places at ``span``, as for what an ONBUILD asked for."""
    where = replace(instruction.where, span=span, keyword_span=span)
    if isinstance(instruction, Copy):
        return replace(instruction, where=where, from_span=span if instruction.from_ else None)
    if isinstance(instruction, Run):
        mounts = tuple(replace(word, span=span) for word in instruction.mounts)
        return replace(instruction, where=where, mounts=mounts)
    if isinstance(instruction, Expose):
        ports = tuple(replace(word, span=span) for word in instruction.ports)
        return replace(instruction, where=where, ports=ports)
    return replace(instruction, where=where)
