"""Places in a Dockerfile, and the lines around them as an excerpt for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from workbench.errors import DockerfileError

_RULE: Final = "-" * 20
_WIDEST: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From (line, column) up to, not including, (end_line, end_column); all count from 1."""

    line: int
    column: int
    end_line: int
    end_column: int

    def to(self, other: Span) -> Span:
        """From the start of this one to the end of ``other``."""
        return Span(
            line=self.line,
            column=self.column,
            end_line=other.end_line,
            end_column=other.end_column,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The text of a Dockerfile as lines without their ends, and what it is called in messages."""

    lines: tuple[str, ...]
    name: str = "Dockerfile"

    def excerpt(self, span: Span, *, around: int = 2) -> str:
        """The lines of ``span`` marked with ``>>>``, ``around`` lines of context, and carets under
        the words where the span lies within one line."""
        first = max(1, span.line - around)
        last = min(len(self.lines), span.end_line + around)
        rows = [f"{self.name}:{span.line}", _RULE]
        for number in range(first, last + 1):
            text = self.lines[number - 1]
            inside = span.line <= number <= span.end_line
            row = f"{number:4} | {'>>>' if inside else '   '} {_cut(text)}"
            rows.append(row.rstrip())
            if inside and span.line == span.end_line:
                rows.extend(self._carets(text, span))
        return "\n".join([*rows, _RULE])

    @staticmethod
    def _carets(text: str, span: Span) -> list[str]:
        start, end = span.column - 1, min(span.end_column - 1, len(text))
        if start >= min(len(text), _WIDEST):
            return []
        pad = "".join("\t" if char == "\t" else " " for char in text[:start])
        return [f"     |     {pad}{'^' * (min(max(end, start + 1), _WIDEST) - start)}"]

    def error(self, message: str, span: Span, *, hint: str = "") -> DockerfileError:
        """An error at a place, to be raised."""
        return DockerfileError(message, hint=hint, excerpt=self.excerpt(span), line=span.line)

    def syntax_error(self, message: str, span: Span, *, hint: str = "") -> DockerfileError:
        """As ``error``, in the words that Docker uses for what its parser refuses."""
        text = f"dockerfile parse error on line {span.line}: {message}"
        return self.error(text, span, hint=hint)


def _cut(text: str) -> str:
    return text if len(text) <= _WIDEST else text[:_WIDEST] + " …"
