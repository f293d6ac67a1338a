"""The patterns of ``${name#pattern}`` and its kin: ``*``, ``?`` and escapes, no brackets.

Matched by simulating all states at once, so that no pattern can make it slow.
Source: POSIX shell, "Pattern Matching Notation"; Dockerfile reference, "Environment replacement".
"""

from __future__ import annotations

from typing import Final

_ANY: Final = ""
_STAR: Final = "**"


class BadPattern(ValueError):
    """The pattern has an escape that means nothing."""


def compile_pattern(pattern: str) -> tuple[str, ...]:
    """Tokens: a character, ``_ANY`` or ``_STAR``. Raises BadPattern."""
    tokens: list[str] = []
    chars = iter(pattern)
    for char in chars:
        if char == "*":
            tokens.append(_STAR)
        elif char == "?":
            tokens.append(_ANY)
        elif char == "\\":
            tokens.append(_escaped(next(chars, "")))
        else:
            tokens.append(char)
    return tuple(tokens)


def _escaped(char: str) -> str:
    # } and / must be escaped to be written within ${}; the escape is no part of the pattern.
    if char and char in "*?\\}/":
        return char
    raise BadPattern(f"invalid escape '\\{char}'")


def match_end(tokens: tuple[str, ...], text: str, start: int, *, longest: bool) -> int:
    """Where a match that begins at ``start`` ends; -1 where there is none."""
    states = _closure(tokens, {0})
    found = start if len(tokens) in states else -1
    for index in range(start, len(text)):
        if found >= 0 and not longest:
            break
        states = _step(tokens, states, text[index])
        if not states:
            break
        if len(tokens) in states:
            found = index + 1
    return found


def _step(tokens: tuple[str, ...], states: set[int], char: str) -> set[int]:
    after = set()
    for state in states:
        if state == len(tokens):
            continue
        token = tokens[state]
        if token == _STAR and char != "\n":
            after.add(state)
        elif token == char or (token == _ANY and char != "\n"):
            after.add(state + 1)
    return _closure(tokens, after)


def _closure(tokens: tuple[str, ...], states: set[int]) -> set[int]:
    closed = set(states)
    for state in states:
        while state < len(tokens) and tokens[state] == _STAR:
            state += 1
            closed.add(state)
    return closed


def without_prefix(pattern: str, value: str, *, longest: bool) -> str:
    """``value`` without the start that matches. Raises BadPattern."""
    end = match_end(compile_pattern(pattern), value, 0, longest=longest)
    return value[end:] if end >= 0 else value


def without_suffix(pattern: str, value: str, *, longest: bool) -> str:
    """``value`` without the end that matches. Raises BadPattern."""
    backwards = tuple(reversed(compile_pattern(pattern)))
    end = match_end(backwards, value[::-1], 0, longest=longest)
    return value[: len(value) - end] if end >= 0 else value


def replaced(pattern: str, replacement: str, value: str, *, every: bool) -> str:
    """``value`` with the first match, or every one, replaced. Raises BadPattern."""
    tokens = compile_pattern(pattern)
    parts: list[str] = []
    at = last = 0
    empty_allowed = True
    while at <= len(value):
        end = match_end(tokens, value, at, longest=True)
        if end < 0 or (end == at and not empty_allowed):
            at, empty_allowed = at + 1, True
            continue
        parts += [value[last:at], replacement]
        last = end
        if not every:
            break
        at, empty_allowed = (end, False) if end > at else (at + 1, True)
    return "".join([*parts, value[last:]])
