"""The last lines that a command wrote."""

from __future__ import annotations

from collections import deque
from typing import Final

_LINES: Final = 30
_WIDEST: Final = 2000


class Tail:
    """Keeps the last 30 lines of what it is given; bytes that are no UTF-8 are replaced."""

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque(maxlen=_LINES)
        self._open = b""

    def add(self, data: bytes) -> None:
        *whole, rest = (self._open + data).split(b"\n")
        self._lines.extend(line[-_WIDEST:] for line in whole[-_LINES:])
        self._open = rest[-_WIDEST:]

    def text(self) -> str:
        """The lines, each ended."""
        lines = [*self._lines, self._open] if self._open else [*self._lines]
        shown = b"\n".join(lines[-_LINES:]).decode("utf-8", "replace")
        return f"{shown}\n" if shown else ""
