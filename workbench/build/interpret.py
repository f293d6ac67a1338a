"""One logical line becomes one typed instruction. Every refusal is in Docker's words.

Source: Dockerfile reference, the sections of each instruction.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from workbench.build.durations import BadDuration, parse_duration
from workbench.build.flags import Flags, read_flags
from workbench.build.heredocs import is_heredoc
from workbench.build.instructions import (
    KEYWORDS,
    Arg,
    ArgItem,
    Cmd,
    CommandLine,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    HealthcheckInstruction,
    Heredoc,
    Instruction,
    Label,
    Maintainer,
    Onbuild,
    Run,
    Shell,
    StopSignal,
    User,
    Volume,
    Where,
    Workdir,
)
from workbench.build.logical import LogicalLine
from workbench.build.run_mounts import MountError, check_mount
from workbench.build.source import Span
from workbench.build.spaces import SPACE_SET, SPACES
from workbench.build.suggest import did_you_mean
from workbench.build.tokens import (
    Command,
    Pair,
    TokenError,
    Word,
    blank_separated,
    json_array,
    name_values,
    quoted_words,
    split_command,
)
from workbench.oci.image import Healthcheck

_STAGE_NAME: Final = re.compile(r"[a-z][a-z0-9-_.]*")
_NETWORKS: Final = ("default", "host", "none")
_SECURITY: Final = ("insecure", "sandbox")
_MILLISECOND: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """A line taken apart, with the heredocs that follow it."""

    line: LogicalLine
    command: Command
    escape: str
    heredocs: tuple[Heredoc, ...]
    span: Span

    @property
    def keyword(self) -> str:
        return self.command.keyword.text.upper()

    @property
    def rest(self) -> str:
        return self.line.text[self.command.start : self.command.end]

    @property
    def rest_span(self) -> Span:
        if not self.rest:
            return self.command.keyword.span
        return self.line.span(self.command.start, self.command.end)

    @property
    def where(self) -> Where:
        return Where(
            keyword=self.command.keyword.text,
            text=self.line.text.strip(SPACES),
            span=self.span,
            keyword_span=self.command.keyword.span,
            flags=self.command.flags,
            comments=self.line.comments,
            blanks=self.line.blanks,
        )

    def flags(self) -> Flags:
        return read_flags(self.keyword, self.command.flags)

    def blanks(self) -> tuple[Word, ...]:
        return blank_separated(self.line, self.command.start, self.command.end)

    def json(self) -> tuple[Word, ...] | None:
        return json_array(self.line, self.command.start, self.command.end)

    def list(self) -> tuple[Word, ...]:
        found = self.json()
        return self.blanks() if found is None else found

    def pairs(self) -> tuple[Pair, ...]:
        return name_values(
            self.line, self.command.start, self.command.end, self.escape, self.keyword
        )

    def fail(self, message: str, span: Span | None = None) -> TokenError:
        return TokenError(message, span or self.rest_span)


def interpret(raw: Raw) -> Instruction:
    """The typed instruction. Raises TokenError."""
    reader = _READERS.get(raw.keyword)
    if reader is None:
        keyword = raw.command.keyword
        near = did_you_mean(keyword.text, KEYWORDS, case_sensitive=False)
        raise raw.fail(f"unknown instruction: {keyword.text}{near}", keyword.span)
    return reader(raw)


def _one_argument(raw: Raw) -> str:
    if not raw.rest:
        raise raw.fail(f"{raw.keyword} requires exactly one argument")
    raw.flags()
    return raw.rest


def _some(raw: Raw, found: bool) -> None:
    if not found:
        raise raw.fail(f"{raw.keyword} requires at least one argument")


def _from(raw: Raw) -> From:
    words = raw.blanks()
    if len(words) == 3 and words[1].text.lower() == "as":
        name = words[2].text.lower()
        if not _STAGE_NAME.fullmatch(name):
            raise raw.fail(
                f'invalid name for build stage: "{words[2].text}", name can\'t start with a '
                "number or contain symbols",
                words[2].span,
            )
    elif len(words) == 1:
        name = ""
    else:
        raise raw.fail("FROM requires either one or three arguments")
    return From(
        where=raw.where,
        image=words[0].text,
        image_span=words[0].span,
        platform=raw.flags().text("platform"),
        name=name,
        name_word=words[-1].text if name else "",
        as_word=raw.rest.split()[-2] if name else "",
    )


def _command_line(raw: Raw) -> CommandLine:
    found = raw.json()
    if found is not None:
        return CommandLine(args=tuple(word.text for word in found), shell=False)
    args = (raw.rest,) if raw.rest else ()
    return CommandLine(args=args, shell=True, heredocs=raw.heredocs)


def _run(raw: Raw) -> Run:
    flags = raw.flags()
    for word in flags.list("mount"):
        try:
            check_mount(word.text)
        except MountError as error:
            raise raw.fail(str(error), word.span) from None
    network = flags.text("network", "default")
    if network not in _NETWORKS:
        raise raw.fail(f'invalid network mode "{network}"', flags.texts["network"].span)
    security = flags.text("security", "sandbox")
    if security not in _SECURITY:
        raise raw.fail(f'security "{security}" is not valid', flags.texts["security"].span)
    command = _command_line(raw)
    if not command.shell and not command.args:
        raise raw.fail("RUN requires at least one argument")
    return Run(
        where=raw.where,
        command=command,
        mounts=flags.list("mount"),
        network=network,
        security=security,
        devices=tuple(word.text for word in flags.list("device")),
    )


def _copy(raw: Raw) -> Copy:
    words = raw.list()
    if len(words) < 2:
        raise raw.fail(
            f"{raw.keyword} requires at least two arguments, but only one was provided. "
            "Destination could not be determined"
        )
    flags = raw.flags()
    *sources, target = words
    if is_heredoc(target.text):
        raise raw.fail(f"{raw.keyword} cannot accept a heredoc as a destination", target.span)
    origin = flags.texts.get("from")
    return Copy(
        where=raw.where,
        sources=tuple(word for word in sources if not is_heredoc(word.text)),
        heredocs=raw.heredocs,
        target=target,
        add=raw.keyword == "ADD",
        from_=origin.text if origin else "",
        from_span=origin.span if origin else None,
        chown=flags.text("chown"),
        chmod=flags.text("chmod"),
        link=bool(flags.switch("link")),
        parents=bool(flags.switch("parents")),
        exclude=tuple(word.text for word in flags.list("exclude")),
        checksum=flags.text("checksum"),
        keep_git_dir=flags.switch("keep-git-dir"),
        unpack=flags.switch("unpack"),
    )


def _pairs(raw: Raw) -> tuple[Pair, ...]:
    raw.flags()
    pairs = raw.pairs()
    _some(raw, bool(pairs))
    for pair in pairs:
        if not pair.name:
            raise raw.fail(f"{raw.keyword} names can not be blank", pair.span)
    return pairs


def _arg(raw: Raw) -> Arg:
    raw.flags()
    words = list(quoted_words(raw.line, raw.command.start, raw.command.end, raw.escape))
    _some(raw, bool(words))
    items = []
    for word in words:
        name, equals, value = word.text.partition("=")
        if not name:
            raise raw.fail("ARG names can not be blank", word.span)
        items.append(ArgItem(name=name, value=value if equals else None, span=word.span))
    return Arg(where=raw.where, items=tuple(items))


def _plain_command(raw: Raw) -> CommandLine:
    raw.flags()
    return _command_line(raw)


def _healthcheck(raw: Raw) -> HealthcheckInstruction:
    _some(raw, bool(raw.rest))
    start, end = raw.command.start, raw.command.end
    text = raw.line.text
    stop = next((at for at in range(start, end) if text[at] in SPACE_SET), end)
    kind = text[start:stop].upper()
    while stop < end and text[stop] in SPACE_SET:
        stop += 1
    if kind == "NONE":
        if stop < end:
            raise raw.fail("HEALTHCHECK NONE takes no arguments", raw.line.span(stop, end))
        return HealthcheckInstruction(where=raw.where, check=Healthcheck(test=("NONE",)))
    flags = raw.flags()
    if kind != "CMD":
        raise raw.fail(
            f'Unknown type "{kind}" in HEALTHCHECK (try CMD)', raw.line.span(start, start + 1)
        )
    found = json_array(raw.line, stop, end)
    shell = (text[stop:end],) if stop < end else ()
    args = shell if found is None else tuple(word.text for word in found)
    if not args:
        raise raw.fail("Missing command after HEALTHCHECK CMD")
    test = ("CMD-SHELL" if found is None else "CMD", *args)
    return HealthcheckInstruction(where=raw.where, check=_timings(raw, flags, test))


def _timings(raw: Raw, flags: Flags, test: tuple[str, ...]) -> Healthcheck:
    retries = flags.texts.get("retries")
    return Healthcheck(
        test=test,
        interval=_interval(raw, flags, "interval"),
        timeout=_interval(raw, flags, "timeout"),
        start_period=_interval(raw, flags, "start-period"),
        start_interval=_interval(raw, flags, "start-interval"),
        retries=_retries(raw, retries) if retries and retries.text else 0,
    )


def _interval(raw: Raw, flags: Flags, name: str) -> int:
    word = flags.texts.get(name)
    if word is None or not word.text:
        return 0
    try:
        value = parse_duration(word.text)
    except BadDuration as error:
        raise raw.fail(str(error), word.span) from None
    if value and value < _MILLISECOND:
        raise raw.fail(f'Interval "{name}" cannot be less than 1ms', word.span)
    return value


def _retries(raw: Raw, word: Word) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", word.text):
        raise raw.fail(f'strconv.ParseInt: parsing "{word.text}": invalid syntax', word.span)
    value = int(word.text)
    if value >= 1 << 31:
        raise raw.fail(f'strconv.ParseInt: parsing "{word.text}": value out of range', word.span)
    if value < 0:
        raise raw.fail(f"--retries cannot be negative ({value})", word.span)
    return value


def _expose(raw: Raw) -> Expose:
    words = raw.blanks()
    _some(raw, bool(words))
    raw.flags()
    return Expose(where=raw.where, ports=tuple(sorted(words, key=lambda word: word.text)))


def _volume(raw: Raw) -> Volume:
    words = raw.list()
    _some(raw, bool(words))
    raw.flags()
    paths = tuple(word.text.strip(SPACES) for word in words)
    if not all(paths):
        raise raw.fail("VOLUME specified can not be an empty string")
    return Volume(where=raw.where, paths=paths)


def _shell(raw: Raw) -> Shell:
    raw.flags()
    _some(raw, bool(raw.rest))
    found = raw.json()
    if found is None:
        raise raw.fail("SHELL requires the arguments to be in JSON form")
    _some(raw, bool(found))
    return Shell(where=raw.where, args=tuple(word.text for word in found))


def _onbuild(raw: Raw) -> Onbuild:
    _some(raw, bool(raw.rest))
    raw.flags()
    inner = trigger_of(raw)
    keyword = inner.keyword
    if keyword == "ONBUILD":
        raise raw.fail("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if keyword in ("MAINTAINER", "FROM"):
        raise raw.fail(f"{keyword} isn't allowed as an ONBUILD trigger")
    expression = "".join([raw.rest, *(f"\n{doc.raw}{doc.name}" for doc in raw.heredocs)])
    return Onbuild(where=raw.where, expression=expression, trigger=interpret(inner))


def trigger_of(raw: Raw) -> Raw:
    """The instruction within an ONBUILD."""
    return Raw(
        line=raw.line,
        command=split_command(raw.line, raw.command.start, raw.escape),
        escape=raw.escape,
        heredocs=raw.heredocs,
        span=raw.span,
    )


_READERS: Final[Mapping[str, Callable[[Raw], Instruction]]] = MappingProxyType(
    {
        "FROM": _from,
        "RUN": _run,
        "COPY": _copy,
        "ADD": _copy,
        "ENV": lambda raw: Env(where=raw.where, pairs=_pairs(raw)),
        "LABEL": lambda raw: Label(where=raw.where, pairs=_pairs(raw)),
        "ARG": _arg,
        "CMD": lambda raw: Cmd(where=raw.where, command=_plain_command(raw)),
        "ENTRYPOINT": lambda raw: Entrypoint(where=raw.where, command=_plain_command(raw)),
        "HEALTHCHECK": _healthcheck,
        "EXPOSE": _expose,
        "VOLUME": _volume,
        "USER": lambda raw: User(where=raw.where, user=_one_argument(raw)),
        "WORKDIR": lambda raw: Workdir(where=raw.where, path=_one_argument(raw)),
        "STOPSIGNAL": lambda raw: StopSignal(where=raw.where, signal=_one_argument(raw)),
        "MAINTAINER": lambda raw: Maintainer(where=raw.where, name=_one_argument(raw)),
        "SHELL": _shell,
        "ONBUILD": _onbuild,
    }
)
