"""The signals that STOPSIGNAL accepts, by name or number. Source: signal(7)."""

from __future__ import annotations

import signal
from typing import Final

_HIGHEST: Final = 64
_NAMES: Final = frozenset(item.name.removeprefix("SIG") for item in signal.Signals) | {
    "CLD",
    "IOT",
    "POLL",
    "STKFLT",
    "UNUSED",
    "RTMIN",
    "RTMAX",
    *(f"RTMIN+{number}" for number in range(1, 16)),
    *(f"RTMAX-{number}" for number in range(1, 15)),
}


def is_signal(text: str) -> bool:
    """Whether Docker takes it: a number from 1 to 64, or a name with or without SIG."""
    if text.isascii() and text.isdigit():
        return len(text) < 4 and 1 <= int(text) <= _HIGHEST
    return text.upper().removeprefix("SIG") in _NAMES
