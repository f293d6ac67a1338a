"""Durations as Go writes them (``1m30s``, ``1.5h``), in nanoseconds."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

_UNITS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PART: Final = re.compile(r"([0-9]*\.?[0-9]*)([^0-9.]*)")
_LONGEST: Final = (1 << 63) - 1


class BadDuration(ValueError):
    """The text is no duration; the message is Go's."""


def parse_duration(text: str) -> int:
    """Nanoseconds. Raises BadDuration."""
    sign = -1 if text.startswith("-") else 1
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0
    total = Decimal(0)
    if not rest:
        raise BadDuration(f'time: invalid duration "{text}"')
    while rest:
        match = _PART.match(rest)
        number, unit = match.groups() if match else ("", "")
        if not any(char.isdigit() for char in number):
            raise BadDuration(f'time: invalid duration "{text}"')
        if not unit:
            raise BadDuration(f'time: missing unit in duration "{text}"')
        if unit not in _UNITS:
            raise BadDuration(f'time: unknown unit "{unit}" in duration "{text}"')
        total += Decimal(number) * _UNITS[unit]
        rest = rest[len(number) + len(unit) :]
    if total > _LONGEST:
        raise BadDuration(f'time: invalid duration "{text}"')
    return sign * int(total)


def show_duration(nanoseconds: int) -> str:
    """As Go prints it: ``1m30s``, ``500ms``, ``0s``."""
    if nanoseconds == 0:
        return "0s"
    if abs(nanoseconds) < 1_000_000_000:
        for unit in ("ms", "µs", "ns"):
            if abs(nanoseconds) >= _UNITS[unit]:
                return f"{_number(nanoseconds, _UNITS[unit])}{unit}"
    sign = "-" if nanoseconds < 0 else ""
    minutes, rest = divmod(abs(nanoseconds), _UNITS["m"])
    text = f"{_number(rest, _UNITS['s'])}s"
    if minutes:
        hours, minutes = divmod(minutes, 60)
        text = f"{minutes}m{text}"
        text = f"{hours}h{text}" if hours else text
    return sign + text


def _number(value: int, unit: int) -> str:
    return format((Decimal(value) / unit).normalize(), "f")
