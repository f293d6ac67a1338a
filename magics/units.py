"""Numbers as people read them: bytes in decimal units as Docker prints them, times, ages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB")
_AGES: Final = (
    (60 * 60 * 24 * 365, "year"),
    (60 * 60 * 24 * 30, "month"),
    (60 * 60 * 24 * 7, "week"),
    (60 * 60 * 24, "day"),
    (60 * 60, "hour"),
    (60, "minute"),
    (1, "second"),
)


def size(count: float) -> str:
    """Bytes with three significant digits, so that columns line up: ``77.8 MB``, ``29.0 MB``."""
    value, unit = _scaled(count)
    return f"{_three_digits(value) if unit else int(value)} {_UNITS[unit]}"


def tick(count: float) -> str:
    """Bytes at a mark of an axis, without zeros that say nothing: ``20 MB``."""
    value, unit = _scaled(count)
    return f"{value:.3g} {_UNITS[unit]}"


def _scaled(count: float) -> tuple[float, int]:
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return value, unit


def _three_digits(value: float) -> str:
    places = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:.{places}f}"


def duration(seconds: float) -> str:
    """Seconds as ``0.04 s``, ``3.21 s``, ``12.5 s``, ``1 min 12 s`` or ``2 h 3 min``."""
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def age(moment: datetime, now: datetime) -> str:
    """How long ago: ``5 minutes ago``. Times that nobody recorded (the epoch) give ``—``."""
    if moment.timestamp() <= 0:
        return "—"
    seconds = int((now - moment).total_seconds())
    for length, name in _AGES:
        if seconds >= length:
            count = seconds // length
            return f"{count} {name}{'s' if count > 1 else ''} ago"
    return "just now"


def iso(moment: datetime) -> str:
    """UTC to the second: ``2026-05-01 12:30:05 UTC``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
