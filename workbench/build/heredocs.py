"""Which words of a line announce a heredoc, and what they say of it.

Source: Dockerfile reference, "Here-Documents"; POSIX shell, "Here-Document".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from workbench.build.words import Lexer, WordError

_MARK: Final = re.compile(r"(\d*)<<(-?)[\t\n\v\f\r ]*([^<]*)")
_TABS: Final = re.compile(r"^\t+", re.MULTILINE)
_PLAIN: Final = Lexer(keep_unset=True)
_QUOTED: Final = Lexer(keep_unset=True, raw_quotes=True)
_LINE: Final = Lexer(keep_unset=True, raw_quotes=True, raw_escapes=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """``<<NAME``: ``expand`` is false where the name is quoted, ``chomp`` true for ``<<-``."""

    name: str
    expand: bool
    chomp: bool
    descriptor: int


def read_mark(word: str) -> Mark | None:
    """The mark in a word; None where it is none. Raises WordError for bad quotes."""
    match = _MARK.fullmatch(word)
    if match is None or not match[3]:
        return None
    plain = _PLAIN.split(match[3], {})
    if len(plain) != 1:
        return None
    quoted = _QUOTED.split(match[3], {})
    return Mark(
        name=plain[0],
        expand=_quotes(plain[0]) == _quotes(quoted[0]),
        chomp=bool(match[2]),
        descriptor=int(match[1][-9:] or 0),
    )


def _quotes(word: str) -> int:
    return word.count("'") + word.count('"')


def is_heredoc(word: str) -> bool:
    """Whether a word of COPY or ADD stands for a heredoc."""
    try:
        return read_mark(word) is not None
    except WordError:
        return False


def marks_of(text: str) -> tuple[Mark, ...]:
    """Every heredoc that a line announces, in order. Raises WordError."""
    if "<<" not in text:
        return ()
    try:
        words = _LINE.split(text, {})
    except WordError:
        return ()
    return tuple(mark for mark in map(read_mark, words) if mark is not None)


def without_tabs(content: str) -> str:
    """The body of a ``<<-`` heredoc, tabs at the start of lines removed."""
    return _TABS.sub("", content)
