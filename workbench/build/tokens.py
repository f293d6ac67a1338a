"""The words of one logical line, each with its place: flags, JSON arrays, names with values.

Source: Dockerfile reference, sections of the instructions; each has its own way to split words.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from workbench.build.logical import LogicalLine
from workbench.build.source import Span
from workbench.build.spaces import BLANKS, SPACE_SET, SPACES


class TokenError(ValueError):
    """A line cannot be taken apart; carries the place."""

    def __init__(self, message: str, span: Span) -> None:
        super().__init__(message)
        self.span = span


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A piece of text and where it stands."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagUse:
    """``--name=value`` as written; ``value`` is None without an equals sign."""

    name: str
    value: str | None
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A line taken apart once: the instruction's word, its flags, and the range of the rest."""

    keyword: Word
    flags: tuple[FlagUse, ...]
    start: int
    end: int


def split_command(line: LogicalLine, start: int, escape: str) -> Command:
    """The keyword and flags of what begins at ``start``."""
    text = line.text
    end = len(text.rstrip(SPACES))
    while start < end and text[start] in SPACE_SET:
        start += 1
    gap = BLANKS.search(text, start, end)
    stop = gap.start() if gap else end
    keyword = Word(text=text[start:stop], span=line.span(start, stop))
    at = gap.end() if gap else end
    flags: list[FlagUse] = []
    while True:
        while at < end and text[at] in SPACE_SET:
            at += 1
        if not text.startswith("--", at) or at >= end:
            break
        word, stop = _flag_word(text, at, end, escape)
        if word == "--":
            at = stop
            break
        name, equals, value = word.partition("=")
        flags.append(
            FlagUse(name=name[2:], value=value if equals else None, span=line.span(at, stop))
        )
        at = stop
    while at < end and text[at] in SPACE_SET:
        at += 1
    return Command(keyword=keyword, flags=tuple(flags), start=at, end=end)


def _flag_word(text: str, at: int, end: int, escape: str) -> tuple[str, int]:
    """A flag without its quotes and escapes, and where it stops."""
    result: list[str] = []
    quote = ""
    while at < end:
        char = text[at]
        if char == quote:
            quote = ""
        elif not quote and char in SPACE_SET:
            break
        elif not quote and char in "'\"":
            quote = char
        elif char == escape:
            at += 1
            result.append(text[at : at + 1] if at < end else "")
        else:
            result.append(char)
        at += 1
    return "".join(result), min(at, end)


def blank_separated(line: LogicalLine, start: int, end: int) -> tuple[Word, ...]:
    """Words between blanks; quotes mean nothing."""
    words = []
    at = start
    for gap in [*BLANKS.finditer(line.text, start, end), None]:
        stop = gap.start() if gap else end
        words.append(Word(text=line.text[at:stop], span=line.span(at, stop)))
        at = gap.end() if gap else end
    return tuple(words) if start < end else ()


def json_array(line: LogicalLine, start: int, end: int) -> tuple[Word, ...] | None:
    """The strings of a JSON array; None where it is none (then it is shell form, as in Docker).

    Raises TokenError where it is an array of other things than strings.
    """
    text = line.text[start:end].lstrip(SPACES)
    if not text.startswith("["):
        return None
    try:
        items: Any = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    if not isinstance(items, list):
        return None
    span = line.span(start, end)
    if not all(isinstance(item, str) for item in items):
        raise TokenError(
            "when using JSON array syntax, arrays must be comprised of strings only", span
        )
    return tuple(Word(text=item, span=span) for item in items)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def quoted_words(line: LogicalLine, start: int, end: int, escape: str) -> Iterator[Word]:
    """Words between spaces, quotes and escapes respected and kept."""
    text = line.text
    at = start
    while at < end:
        if text[at] in SPACE_SET:
            at += 1
            continue
        stop = _quoted_end(text, at, end, escape)
        word = text[at:stop]
        # A lone escape at the very end is dropped.
        if stop == end and _ends_in_escape(text, at, end, escape):
            word = word[:-1]
        if word:
            yield Word(text=word, span=line.span(at, stop))
        at = stop


def _quoted_end(text: str, at: int, end: int, escape: str) -> int:
    quote = ""
    while at < end:
        char = text[at]
        if char == escape and quote != "'":
            at += 1
        elif quote:
            quote = "" if char == quote else quote
        elif char in SPACE_SET:
            break
        elif char in "'\"":
            quote = char
        at += 1
    return min(at, end)


def _ends_in_escape(text: str, at: int, end: int, escape: str) -> bool:
    quote = ""
    while at < end:
        char = text[at]
        if char == escape and quote != "'":
            if at + 1 == end:
                return True
            at += 1
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        at += 1
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """``name=value``; ``legacy`` is the old form with a blank between."""

    name: str
    value: str
    span: Span
    legacy: bool = False


def name_values(
    line: LogicalLine, start: int, end: int, escape: str, instruction: str
) -> tuple[Pair, ...]:
    """``a=1 b="two"``, or the old ``a everything else``. Raises TokenError."""
    words = list(quoted_words(line, start, end, escape))
    if not words:
        return ()
    if "=" not in words[0].text:
        return (_legacy_pair(line, start, end, instruction),)
    pairs = []
    for word in words:
        name, equals, value = word.text.partition("=")
        if not equals:
            raise TokenError(
                f"Syntax error - can't find = in {json.dumps(word.text, ensure_ascii=False)}. "
                "Must be of the form: name=value",
                word.span,
            )
        pairs.append(Pair(name=name, value=value, span=word.span))
    return tuple(pairs)


def _legacy_pair(line: LogicalLine, start: int, end: int, instruction: str) -> Pair:
    parts = BLANKS.split(line.text[start:end], maxsplit=1)
    span = line.span(start, end)
    if len(parts) < 2:
        raise TokenError(f"{instruction} must have two arguments", span)
    return Pair(name=parts[0], value=parts[1], span=span, legacy=True)
