"""Physical lines become logical ones: directives, comments, continuations, heredocs.

A logical line knows where each of its characters stands in the file, so that every later stage can
point at a word. Source: Dockerfile reference, "Format", "Parser directives", "Here-Documents".
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from workbench.build.source import Source, Span
from workbench.build.spaces import SPACES

LONGEST_LINE: Final = 65535
_DIRECTIVE: Final = re.compile(r"([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*")
_DIRECTIVES: Final = ("syntax", "escape", "check")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogicalLine:
    """One instruction's text, continuations joined.

    ``pieces`` are (offset in the text, line, column) of each stretch, in order. ``comments`` are
    those right above it, ``blanks`` the empty lines within its continuations.
    """

    text: str
    pieces: tuple[tuple[int, int, int], ...]
    end_line: int
    comments: tuple[str, ...] = ()
    blanks: tuple[int, ...] = ()

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column of a character."""
        index = bisect.bisect_right(self.pieces, (offset, 1 << 60, 0)) - 1
        start, line, column = self.pieces[max(index, 0)]
        return line, column + offset - start

    def span(self, start: int, end: int) -> Span:
        """Where the characters from ``start`` to ``end`` stand."""
        line, column = self.place(start)
        last_line, last_column = self.place(max(start, end - 1))
        return Span(
            line=line,
            column=column,
            end_line=last_line,
            end_column=last_column + (end > start),
        )

    @property
    def whole(self) -> Span:
        """Everything but the blanks around it."""
        start = len(self.text) - len(self.text.lstrip(SPACES))
        return self.span(start, max(start, len(self.text.rstrip(SPACES))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Directives:
    """What the comments at the top say to the parser; ``places`` has the line of each."""

    syntax: str = ""
    escape: str = "\\"
    check: str = ""
    places: Mapping[str, int] = field(default_factory=dict)


class LineReader:
    """Gives the logical lines of a file; ``take_until`` reads the body of a heredoc between."""

    def __init__(self, text: str, name: str) -> None:
        body = text.removeprefix("\ufeff")
        # The raw lines keep a carriage return, as the bodies of heredocs do.
        self._raw = body.split("\n")
        self._ended = body.endswith("\n") or not body
        if self._ended:
            self._raw.pop()
        self.source = Source(lines=tuple(line.rstrip("\r") for line in self._raw), name=name)
        self._at = 0
        self.directives, self._directive_lines = self._read_directives()
        escape = re.escape(self.directives.escape)
        self._continued = re.compile(rf"(?:(?<=[^{escape}])|^){escape}[ \t]*$")

    def _read_directives(self) -> tuple[Directives, int]:
        values: dict[str, str] = {}
        places: dict[str, int] = {}
        for number, line in enumerate(self.source.lines, 1):
            stripped = line.lstrip(SPACES)
            match = _DIRECTIVE.fullmatch(stripped[1:].lstrip(SPACES)) if stripped else None
            if match is None or stripped[0] != "#" or match[1].lower() not in _DIRECTIVES:
                return Directives(**values, places=places), number - 1
            key = match[1].lower()
            if key in values:
                raise self._error(f"only one {key} parser directive can be used", number)
            if key == "escape" and match[2] not in ("\\", "`"):
                raise self._error(
                    f"invalid escape token '{match[2]}' does not match ` or \\", number
                )
            values[key], places[key] = match[2], number
        return Directives(**values, places=places), len(self.source.lines)

    def _error(self, message: str, line: int) -> Exception:
        width = len(self.source.lines[line - 1])
        span = Span(line=line, column=1, end_line=line, end_column=width + 1)
        return self.source.syntax_error(message, span)

    def __iter__(self) -> Iterator[LogicalLine]:
        self._at = self._directive_lines
        comments: list[str] = []
        while self._at < len(self.source.lines):
            stripped = self.source.lines[self._at].lstrip(SPACES)
            if stripped.startswith("#"):
                self._comment(stripped, comments)
            elif not stripped:
                self._at += 1
            else:
                yield self._join(tuple(comments))
                comments = []

    def _comment(self, stripped: str, comments: list[str]) -> None:
        self._at += 1
        text = stripped[1:].strip(SPACES)
        if text:
            comments.append(text)
        else:
            comments.clear()

    def _join(self, comments: tuple[str, ...]) -> LogicalLine:
        parts: list[str] = []
        pieces: list[tuple[int, int, int]] = []
        blanks: list[int] = []
        length = 0
        more = True
        while more and self._at < len(self.source.lines):
            line = self.source.lines[self._at]
            self._at += 1
            if len(line) > LONGEST_LINE:
                raise self._error(
                    f"dockerfile line greater than max allowed size of {LONGEST_LINE}", self._at
                )
            if parts and not line.strip(SPACES):
                blanks.append(self._at)
                continue
            if parts and line.lstrip(SPACES).startswith("#"):
                continue
            column = 1 if parts else 1 + len(line) - len(line.lstrip(SPACES))
            text, more = self._without_mark(line[column - 1 :])
            pieces.append((length, self._at, column))
            parts.append(text)
            length += len(text)
        return LogicalLine(
            text="".join(parts),
            pieces=tuple(pieces),
            end_line=self._at,
            comments=comments,
            blanks=tuple(blanks),
        )

    def _without_mark(self, line: str) -> tuple[str, bool]:
        match = self._continued.search(line)
        return (line[: match.start()], True) if match else (line, False)

    def take_until(self, name: str, *, chomp: bool) -> str | None:
        """The lines up to one that is ``name``, ends kept; None where the file ends before.

        ``chomp`` lets tabs stand before the name.
        """
        start = self._at
        while self._at < len(self._raw):
            line = self.source.lines[self._at]
            self._at += 1
            if (line.lstrip("\t") if chomp else line) == name:
                return "".join(f"{part}\n" for part in self._raw[start : self._at - 1])
        return None

    @property
    def line(self) -> int:
        """How many physical lines have been read."""
        return self._at
