"""Text becomes a ``Dockerfile``: typed instructions, each with its place.

The way: ``logical`` joins lines, ``tokens`` takes one apart, ``interpret`` gives it a type.
Source: Dockerfile reference (frontend 1.x), "Format".
"""

from __future__ import annotations

from dataclasses import dataclass

from workbench.build.heredocs import Mark, marks_of, without_tabs
from workbench.build.instructions import Heredoc, Instruction
from workbench.build.interpret import Raw, interpret, trigger_of
from workbench.build.logical import Directives, LineReader, LogicalLine
from workbench.build.source import Source, Span
from workbench.build.tokens import TokenError, split_command
from workbench.build.words import WordError
from workbench.errors import DockerfileError, LimitExceeded

_MOST_BYTES = 4 * 1024**2
_WITH_HEREDOCS = ("ADD", "COPY", "RUN")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dockerfile:
    """A whole file, understood."""

    source: Source
    directives: Directives
    instructions: tuple[Instruction, ...]


def parse(text: str, *, name: str = "Dockerfile", limit: int = _MOST_BYTES) -> Dockerfile:
    """Understand a Dockerfile; ``name`` is what messages call it, ``limit`` bytes are allowed.

    Raises DockerfileError with the lines around the place, LimitExceeded for a file too long.
    """
    if len(text) > limit:
        raise LimitExceeded(f"{name} has more than {limit} bytes")
    if not text:
        raise DockerfileError("the Dockerfile cannot be empty")
    lines = LineReader(text, name)
    instructions = tuple(_instruction(line, lines) for line in lines)
    if not instructions:
        raise DockerfileError("file with no instructions")
    return Dockerfile(source=lines.source, directives=lines.directives, instructions=instructions)


def _instruction(line: LogicalLine, lines: LineReader) -> Instruction:
    escape = lines.directives.escape
    raw = Raw(
        line=line,
        command=split_command(line, 0, escape),
        escape=escape,
        heredocs=(),
        span=line.whole,
    )
    try:
        heredocs = _heredocs(raw, lines)
        if heredocs:
            raw = Raw(
                line=line,
                command=raw.command,
                escape=escape,
                heredocs=heredocs,
                span=_through(line.whole, lines.line),
            )
        return interpret(raw)
    except TokenError as error:
        raise lines.source.syntax_error(str(error), error.span) from None
    except WordError as error:
        raise lines.source.syntax_error(str(error), line.whole) from None


def _through(span: Span, line: int) -> Span:
    return span.to(Span(line=line, column=1, end_line=line, end_column=1))


def _heredocs(raw: Raw, lines: LineReader) -> tuple[Heredoc, ...]:
    inner = trigger_of(raw) if raw.keyword == "ONBUILD" and raw.rest else raw
    if inner.keyword not in _WITH_HEREDOCS or inner.json() is not None:
        return ()
    return tuple(_body(mark, raw, lines) for mark in marks_of(raw.line.text))


def _body(mark: Mark, raw: Raw, lines: LineReader) -> Heredoc:
    content = lines.take_until(mark.name, chomp=mark.chomp)
    if content is None:
        raise TokenError("unterminated heredoc", raw.line.whole)
    return Heredoc(
        name=mark.name,
        content=without_tabs(content) if mark.chomp else content,
        raw=content,
        expand=mark.expand,
        chomp=mark.chomp,
        descriptor=mark.descriptor,
    )
