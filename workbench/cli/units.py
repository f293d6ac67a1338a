"""Sizes and ages in Docker's words: pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def size(count: int) -> str:
    """Decimal units with three or four digits, as ``docker images`` shows them: ``12.3MB``."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g}{unit}"
        value /= 1000
    return f"{value:.3g}TB"


def ago(time: datetime, now: datetime | None = None) -> str:
    """``2 minutes ago``; ``N/A`` for the epoch, which stands for an unknown time."""
    if time.timestamp() <= 0:
        return "N/A"
    return f"{span((now or datetime.now(UTC)) - time)} ago"


def span(length: timedelta) -> str:
    """A duration to the largest unit, as Docker rounds it."""
    seconds = max(0, int(length.total_seconds()))
    if seconds < 1:
        return "Less than a second"
    if seconds == 1:
        return "1 second"
    if seconds < 60:
        return f"{seconds} seconds"
    minutes = seconds // 60
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = round(seconds / 3600)
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    days = hours // 24
    for unit, length_in_days in (("year", 365), ("month", 30), ("week", 7)):
        if days >= 2 * length_in_days:
            return f"{days // length_in_days} {unit}s"
    return f"{days} days"
