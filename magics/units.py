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
    """Bytes with three significant digits: ``77.8 MB``."""
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{_significant(value) if unit else int(value)} {_UNITS[unit]}"


def _significant(value: float) -> str:
    """Three digits, without zeros after the point that say nothing."""
    text = (
        f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
    )
    return text.rstrip("0").rstrip(".") if "." in text else text


def duration(seconds: float) -> str:
    """Seconds as ``0.04 s``, ``3.2 s``, ``1 min 12 s`` or ``2 h 3 min``."""
    if seconds < 0.995:
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
