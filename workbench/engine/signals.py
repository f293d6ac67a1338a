"""Signals by name or number, as ``docker kill --signal`` takes them."""

from __future__ import annotations

import signal

from workbench.errors import InvalidInput


def signal_number(text: str | int) -> int:
    """``KILL``, ``SIGKILL``, ``9``, ``RTMIN+3``. Raises InvalidInput in Docker's words."""
    name = str(text).strip().upper()
    if name.isdecimal():
        number = int(name)
        if 0 < number <= signal.SIGRTMAX:
            return number
        raise InvalidInput(f"invalid signal: {text}")
    plain = name.removeprefix("SIG")
    base, plus, offset = plain.partition("+")
    if plus and base == "RTMIN" and offset.isdecimal():
        return signal_number(signal.SIGRTMIN + int(offset))
    try:
        return int(signal.Signals[f"SIG{plain}"])
    except KeyError:
        raise InvalidInput(f"invalid signal: {text}") from None
