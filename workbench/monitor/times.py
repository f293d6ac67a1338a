"""Times as Docker writes them: RFC 3339 in UTC with up to nine digits, trailing zeros cut."""

from __future__ import annotations

import calendar
import re
import time
from typing import Final

from workbench.errors import InvalidInput

_PATTERN: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)"
)


def to_text(time_ns: int) -> str:
    """Nanoseconds since the epoch as text."""
    seconds, rest = divmod(time_ns, 1_000_000_000)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    fraction = f"{rest:09d}".rstrip("0")
    return f"{text}.{fraction}Z" if fraction else f"{text}Z"


def from_text(text: str) -> int:
    """Text as nanoseconds since the epoch. Raises InvalidInput."""
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise InvalidInput(f"not a time: {text!r}")
    *fields, fraction, zone = match.groups()
    year, month, day, hour, minute, second = (int(item) for item in fields)
    seconds = calendar.timegm((year, month, day, hour, minute, second, 0, 0, 0))
    if zone != "Z":
        offset = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
        seconds -= offset if zone[0] == "+" else -offset
    return seconds * 1_000_000_000 + int((fraction or "").ljust(9, "0"))
