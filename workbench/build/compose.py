"""The instructions of one stage become steps and a configuration. Nothing is performed.

Each instruction sees the variables as those before it left them.
Source: Dockerfile reference; the form of history lines is BuildKit's.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from workbench.build import gofmt
from workbench.build.definition import (
    CopyDefinition,
    Definition,
    FromNothing,
    Inline,
    Kind,
    MountDefinition,
    Origin,
    RunDefinition,
    StagePlan,
    Step,
    WorkdirDefinition,
)
from workbench.build.heredocs import read_mark
from workbench.build.instructions import (
    Arg,
    Cmd,
    CommandLine,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    HealthcheckInstruction,
    Instruction,
    Label,
    Maintainer,
    Onbuild,
    Run,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from workbench.build.ports import PortError, expand_ports
from workbench.build.remotes import RemoteKind, remote_kind
from workbench.build.run_mounts import MountError, RunMount, parse_mount
from workbench.build.signals import is_signal
from workbench.build.source import Source, Span
from workbench.build.stages import Stage
from workbench.build.tokens import Pair
from workbench.build.words import Lexer, WordError
from workbench.errors import DockerfileError, Unsupported
from workbench.oci.image import ContainerConfig, Image

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_SHELL = ("/bin/sh", "-c")
SSH_SOCKET = "/run/buildkit/ssh_agent"
_COMMENT = " # buildkit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a stage is composed in. ``find`` resolves the ``from`` of a mount or COPY."""

    source: Source
    escape: str
    build_args: Mapping[str, str]
    global_args: Mapping[str, str]
    find: Callable[[str, Span, str], Origin]
    use_cache: bool = True
    allow_insecure: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What a stage begins with; for one that goes on from another stage, that stage's end."""

    origin: Origin
    image: Image
    config: ContainerConfig
    env: Mapping[str, str]
    args: tuple[tuple[str, str | None], ...] = ()
    lines: tuple[int, ...] = ()
    top: int | None = None
    author: str = ""


class Composer:
    """Goes through one stage; ``finish`` gives its plan. ``first`` is its first step's index."""

    def __init__(
        self, stage: Stage, beginning: Beginning, around: Surroundings, first: int
    ) -> None:
        self._stage = stage
        self._beginning = beginning
        self._around = around
        self._first = first
        self._lexer = Lexer(escape=around.escape)
        self.config = replace(beginning.config, on_build=())
        self.env = dict(beginning.env)
        self.args: dict[str, str | None] = dict(beginning.args)
        self.author = beginning.author
        self._steps: list[Step] = []
        self._lines = list(beginning.lines)
        self._top = beginning.top
        self._cmd_set = False
        self._where: Span = stage.head.where.span

    # -- driving

    def head(self) -> None:
        """The FROM itself: a step without a layer and without a line of history."""
        self._add("from", self._stage.head, self._stage.head.where.text)

    def add(self, instruction: Instruction, *, trigger: bool = False) -> None:
        """Take one instruction in; a ``trigger`` came from an ONBUILD and has FROM's place."""
        self._where = self._stage.head.where.span if trigger else instruction.where.span
        match instruction:
            case Run():
                self._run(instruction)
            case Copy():
                self._copy(instruction)
            case Env():
                self._env(instruction)
            case Arg():
                self._arg(instruction)
            case Workdir():
                self._workdir(instruction)
            case Cmd() | Entrypoint():
                self._command(instruction)
            case _:
                self._setting(instruction)

    def finish(self, labels: Mapping[str, str]) -> StagePlan:
        """The plan of the stage; ``labels`` come on top of its own."""
        config = self.config
        if labels:
            config = replace(config, labels={**config.labels, **labels})
        return StagePlan(
            index=self._stage.index,
            label=self._stage.label,
            base=self._beginning.origin,
            image=self._beginning.image,
            steps=tuple(self._steps),
            lines=tuple(self._lines),
            top=self._top,
            config=config,
            author=self.author,
        )

    def ending(self) -> Beginning:
        """What a stage that goes on from this one begins with."""
        return Beginning(
            origin=self._beginning.origin,
            image=self._beginning.image,
            config=self.config,
            env=self.env,
            args=tuple(self.args.items()),
            lines=tuple(self._lines),
            top=self._top,
            author=self.author,
        )

    def _add(
        self,
        kind: Kind,
        instruction: Instruction,
        text: str,
        created_by: str = "",
        definition: Definition | None = None,
    ) -> None:
        index = self._first + len(self._steps)
        step = Step(
            index=index,
            stage=self._stage.index,
            kind=kind,
            text=text,
            span=self._where,
            created_by=created_by,
            definition=definition,
            parent=self._top,
            use_cache=self._around.use_cache,
        )
        self._steps.append(step)
        if created_by:
            self._lines.append(index)
        if definition is not None:
            self._top = index

    def _config(self, instruction: Instruction, created_by: str) -> None:
        self._add("config", instruction, instruction.where.text, created_by)

    def _error(self, message: str, hint: str = "") -> DockerfileError:
        return self._around.source.error(message, self._where, hint=hint)

    def _expand(self, text: str) -> str:
        try:
            return self._lexer.word(text, self.env)
        except WordError as error:
            raise self._error(str(error)) from None

    # -- instructions that change files

    def _shell(self) -> tuple[str, ...]:
        return self.config.shell or DEFAULT_SHELL

    def _run(self, run: Run) -> None:
        line, script = _with_heredocs(run.command)
        args = (*self._shell(), " ".join(line)) if run.command.shell else line
        if run.security == "insecure" and not self._around.allow_insecure:
            raise Unsupported(
                "security.insecure is not allowed",
                hint="allow it with --allow security.insecure",
            )
        definition = RunDefinition(
            args=args,
            env=tuple(self.env.items()),
            cwd=self.config.working_dir or "/",
            user=self.config.user,
            shell=run.command.shell,
            network=run.network,
            security=run.security,
            mounts=tuple(self._mount(word.text, word.span) for word in run.mounts),
            devices=run.devices,
            script=script,
        )
        created_by = f"RUN {self._run_line(args)}{_COMMENT}"
        self._add("run", run, run.where.text, created_by, definition)

    def _run_line(self, args: tuple[str, ...]) -> str:
        given = [f"{name}={self.env.get(name, value or '')}" for name, value in self.args.items()]
        return " ".join([f"|{len(given)}", *given, *args] if given else args)

    def _mount(self, text: str, span: Span) -> MountDefinition:
        try:
            mount = parse_mount(text, self._expand)
        except MountError as error:
            raise self._around.source.error(str(error), span) from None
        if mount.type in ("secret", "ssh"):
            return MountDefinition(mount=mount, target=_private_target(mount), origin=None)
        target = posixpath.normpath(
            posixpath.join("/", self.config.working_dir or "/", mount.target)
        )
        if target in ("/", "//"):
            raise self._around.source.error(f'invalid mount target "{target}"', span)
        origin: Origin | None = None
        if mount.type == "bind" or mount.from_:
            origin = self._around.find(mount.from_, span, f"mount:{mount.target}")
        if mount.type == "cache" and not mount.id:
            mount = replace(mount, id=target)
        return MountDefinition(mount=mount, target=target, origin=origin)

    def _copy(self, copy: Copy) -> None:
        name = "ADD" if copy.add else "COPY"
        sources = tuple(self._expand(word.text) for word in copy.sources)
        target = self._expand(copy.target.text)
        chown, chmod = self._expand(copy.chown), self._expand(copy.chmod)
        checksum = self._expand(copy.checksum)
        local = tuple(item for item in sources if remote_kind(item) is RemoteKind.LOCAL)
        remote = tuple(item for item in sources if remote_kind(item) is not RemoteKind.LOCAL)
        if remote and not copy.add:
            kind = "a git ref" if remote_kind(remote[0]) is RemoteKind.GIT else "a URL"
            raise self._error(f"source can't be {kind} for COPY", "use ADD for it")
        self._check_checksum(copy, checksum, sources, remote)
        origin: Origin = FromNothing()
        if local:
            span = copy.from_span or copy.where.span
            origin = self._around.find(copy.from_, span, "copy" if copy.from_ else "")
        definition = CopyDefinition(
            origin=origin,
            sources=local,
            target=self._target(target),
            inline=tuple(
                Inline(
                    name=doc.name, content=self._body(doc.content) if doc.expand else doc.content
                )
                for doc in copy.heredocs
            ),
            remote=remote,
            chown=chown,
            chmod=chmod,
            link=copy.link,
            parents=copy.parents,
            exclude=copy.exclude,
            add=copy.add,
            unpack=copy.add if copy.unpack is None else copy.unpack,
            unpack_remote=bool(copy.unpack),
            checksum=checksum,
            keep_git_dir=bool(copy.keep_git_dir),
        )
        words = [name]
        words += ["--parents"] if copy.parents else []
        words += [f"--chown={chown}"] if chown else []
        words += [f"--chmod={chmod}"] if chmod else []
        words += [*sources, *(f"<<{doc.name}" for doc in copy.heredocs), target]
        self._add("copy", copy, copy.where.text, " ".join(words) + _COMMENT, definition)

    def _check_checksum(
        self, copy: Copy, checksum: str, sources: tuple[str, ...], remote: tuple[str, ...]
    ) -> None:
        if not checksum:
            return
        if len(sources) != 1:
            raise self._error("checksum can't be specified for multiple sources")
        if not remote:
            raise self._error("checksum requires HTTP(S) or Git sources")

    def _body(self, content: str) -> str:
        try:
            return Lexer(skip_quotes=True).word(content, self.env)
        except WordError as error:
            raise self._error(str(error)) from None

    def _target(self, text: str) -> str:
        path = posixpath.join("/", self.config.working_dir or "/", text)
        clean = "/" + posixpath.normpath(path).lstrip("/")
        directory = text in ("", ".") or text.endswith(("/", "/."))
        return clean if clean == "/" or not directory else f"{clean}/"

    def _workdir(self, workdir: Workdir) -> None:
        path = posixpath.join(self.config.working_dir or "/", self._expand(workdir.path))
        path = "/" + posixpath.normpath(posixpath.join("/", path)).lstrip("/")
        self.config = replace(self.config, working_dir=path)
        definition = None
        if path != "/":
            definition = WorkdirDefinition(path=path, user=self.config.user)
        self._add("workdir", workdir, workdir.where.text, f"WORKDIR {path}", definition)

    # -- variables

    def _pairs(self, pairs: tuple[Pair, ...]) -> list[tuple[str, str, str]]:
        """Name, value and history text of each, all expanded before any counts."""
        found = []
        for pair in pairs:
            name, value = self._expand(pair.name), self._expand(pair.value)
            found.append((name, value, f"{name}={value}"))
        return found

    def _env(self, env: Env) -> None:
        pairs = self._pairs(env.pairs)
        entries = dict(item.partition("=")[::2] for item in self.config.env)
        for name, value, _ in pairs:
            self.env[name] = value
            entries[name] = value
        self.config = replace(
            self.config, env=tuple(f"{name}={value}" for name, value in entries.items())
        )
        self._config(env, " ".join(["ENV", *(text for *_, text in pairs)]))

    def _arg(self, arg: Arg) -> None:
        texts = []
        for item in arg.items:
            if item.name in self._around.build_args:
                value: str | None = self._around.build_args[item.name]
            elif item.value is not None:
                value = self._expand(item.value)
            else:
                value = self._around.global_args.get(item.name)
            if value is not None:
                self.env[item.name] = value
            self.args[item.name] = value
            texts.append(item.name if value is None else f"{item.name}={value}")
        self._config(arg, " ".join(["ARG", *texts]))

    # -- the rest of the configuration

    def _command(self, instruction: Cmd | Entrypoint) -> None:
        line = instruction.command
        args = (*self._shell(), " ".join(line.args)) if line.shell else line.args
        if isinstance(instruction, Cmd):
            self._cmd_set = True
            self.config = replace(self.config, cmd=args, args_escaped=True)
            self._config(instruction, f"CMD {gofmt.quoted_list(args)}")
            return
        cmd = self.config.cmd if self._cmd_set else ()
        self.config = replace(self.config, entrypoint=args, cmd=cmd)
        self._config(instruction, f"ENTRYPOINT {gofmt.quoted_list(args)}")

    def _setting(self, instruction: Instruction) -> None:
        match instruction:
            case Label():
                pairs = self._pairs(instruction.pairs)
                labels = {**self.config.labels, **{name: value for name, value, _ in pairs}}
                self.config = replace(self.config, labels=labels)
                line = " ".join(["LABEL", *(text for *_, text in pairs)])
            case Expose():
                line = self._expose(instruction)
            case Volume():
                paths = tuple(self._expand(path) for path in instruction.paths)
                if not all(paths):
                    raise self._error("VOLUME specified can not be an empty string")
                volumes = {**self.config.volumes, **{path: {} for path in paths}}
                self.config = replace(self.config, volumes=volumes)
                line = f"VOLUME {gofmt.plain_list(paths)}"
            case User():
                user = self._expand(instruction.user)
                self.config = replace(self.config, user=user)
                line = f"USER {user}"
            case StopSignal():
                signal = self._expand(instruction.signal)
                if not is_signal(signal):
                    raise self._error(f"invalid signal: {signal}")
                self.config = replace(self.config, stop_signal=signal)
                line = f"STOPSIGNAL {signal}"
            case HealthcheckInstruction():
                self.config = replace(self.config, healthcheck=instruction.check)
                line = f"HEALTHCHECK {gofmt.healthcheck(instruction.check)}"
            case Shell():
                self.config = replace(self.config, shell=instruction.args)
                line = f"SHELL {gofmt.plain_list(instruction.args)}"
            case Onbuild():
                triggers = (*self.config.on_build, instruction.expression)
                self.config = replace(self.config, on_build=triggers)
                line = ""
            case Maintainer():
                self.author = instruction.name
                line = f"MAINTAINER {instruction.name}"
            case _:
                assert isinstance(instruction, From)
                raise self._error("FROM isn't allowed here")
        self._config(instruction, line)

    def _expose(self, expose: Expose) -> str:
        found: list[str] = []
        for word in expose.ports:
            try:
                for text in self._lexer.split(word.text, self.env):
                    found += expand_ports(text)
            except (WordError, PortError) as error:
                raise self._around.source.error(str(error), word.span) from None
        ports = {**self.config.exposed_ports, **{port: {} for port in found}}
        self.config = replace(self.config, exposed_ports=ports)
        return f"EXPOSE {gofmt.plain_list(found)}"


def _with_heredocs(line: CommandLine) -> tuple[tuple[str, ...], tuple[str, str] | None]:
    """The words of a RUN with its heredocs worked in, and the script where it is one."""
    if not line.heredocs:
        return line.args, None
    first = line.heredocs[0]
    if read_mark(line.args[0]) is not None:
        if first.content.startswith("#!"):
            return (f"/dev/pipes/{first.name}",), (first.name, first.content)
        return (first.content,), None
    return ("".join([line.args[0], *(f"\n{doc.raw}{doc.name}" for doc in line.heredocs)]),), None


def _private_target(mount: RunMount) -> str:
    if mount.type == "ssh":
        return mount.target or f"{SSH_SOCKET}.0"
    if mount.target:
        return posixpath.normpath(posixpath.join("/", mount.target))
    if mount.env is not None:
        return ""
    return f"/run/secrets/{posixpath.basename(mount.source or mount.id)}"
