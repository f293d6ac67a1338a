"""Go's ``filepath.Match`` as regular expressions, and the ``**`` that Docker adds to it.

Source: Go's documentation of path/filepath ``Match``; Dockerfile reference, "COPY" and
".dockerignore file".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_WILD: Final = frozenset("*?[")


class BadGlob(ValueError):
    """The pattern is malformed; the message is Go's."""

    def __init__(self) -> None:
        super().__init__("syntax error in pattern")


def has_wildcards(pattern: str) -> bool:
    """Whether an unescaped ``*``, ``?`` or ``[`` stands in it."""
    chars = iter(pattern)
    for char in chars:
        if char == "\\":
            next(chars, "")
        elif char in _WILD:
            return True
    return False


def unescaped(pattern: str) -> str:
    """A pattern without wildcards as the name that it means."""
    return re.sub(r"\\(.)", r"\1", pattern, flags=re.DOTALL)


def compile_glob(pattern: str) -> re.Pattern[str]:
    """Match a whole path as ``filepath.Match`` does. Raises BadGlob."""
    return re.compile("".join(_pieces(pattern, deep=False)), re.DOTALL)


def compile_deep_glob(pattern: str) -> re.Pattern[str]:
    """The same, where ``**`` stands for any number of directories. Raises BadGlob."""
    return re.compile("".join(_pieces(pattern, deep=True)), re.DOTALL)


def _pieces(pattern: str, *, deep: bool) -> Iterator[str]:
    at, end = 0, len(pattern)
    while at < end:
        char = pattern[at]
        if char == "*" and deep and pattern.startswith("**", at):
            at += 2
            if pattern.startswith("/", at):
                at += 1
            while pattern.startswith("**/", at):
                at += 3
            yield ".*" if at >= end else "(?:.*/)?"
            continue
        if char == "[":
            piece, at = _class(pattern, at)
            yield piece
            continue
        if char == "\\":
            at += 1
            if at >= end:
                raise BadGlob
            char = pattern[at]
            yield re.escape(char)
        elif char == "*":
            while pattern.startswith("*", at + 1) and not (deep and pattern.startswith("**", at)):
                at += 1
            yield "[^/]*"
        else:
            yield "[^/]" if char == "?" else re.escape(char)
        at += 1


def _class(pattern: str, at: int) -> tuple[str, int]:
    """A bracket expression that begins at ``at``, and where it ends."""
    at += 1
    negated = pattern.startswith("^", at)
    at += negated
    ranges: list[str] = []
    first = True
    while first or not pattern.startswith("]", at):
        first = False
        low, at = _member(pattern, at)
        high = low
        if pattern.startswith("-", at):
            high, at = _member(pattern, at + 1)
        if low <= high:
            ranges.append(f"{re.escape(low)}-{re.escape(high)}")
    if not ranges:
        return ("." if negated else "(?!)"), at + 1
    return f"[{'^' if negated else ''}{''.join(ranges)}]", at + 1


def _member(pattern: str, at: int) -> tuple[str, int]:
    if at >= len(pattern) or pattern[at] in "-]":
        raise BadGlob
    if pattern[at] == "\\":
        at += 1
    # After a member something must follow, at least the closing bracket.
    if at + 1 >= len(pattern):
        raise BadGlob
    return pattern[at], at + 1
