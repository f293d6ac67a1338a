"""How Go prints values with ``%q`` and ``%v``: the form that Docker's history lines have.

Source: Go's documentation of package fmt, and of strconv ``Quote``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from workbench.build.durations import show_duration
from workbench.oci.image import Healthcheck

_ESCAPES: Final = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
    '"': '\\"',
}


def quote(text: str) -> str:
    """``"text"`` with Go's escapes."""
    return f'"{"".join(_quoted(char) for char in text)}"'


def _quoted(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def quoted_list(items: Iterable[str]) -> str:
    """``["a" "b"]``."""
    return f"[{' '.join(quote(item) for item in items)}]"


def plain_list(items: Iterable[str]) -> str:
    """``[a b]``."""
    return f"[{' '.join(items)}]"


def healthcheck(check: Healthcheck) -> str:
    """A health check as ``%+v`` prints it."""
    return (
        f"{{Test:{plain_list(check.test)} Interval:{show_duration(check.interval)} "
        f"Timeout:{show_duration(check.timeout)} StartPeriod:{show_duration(check.start_period)} "
        f"StartInterval:{show_duration(check.start_interval)} Retries:{check.retries}}}"
    )
