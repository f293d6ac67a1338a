"""What a filter can answer: the actions of a profile as return values of seccomp(2)."""

from __future__ import annotations

import errno
from typing import Final

from workbench.errors import InvalidInput, Unsupported

KILL_THREAD: Final = 0x00000000
ERRNO: Final = 0x00050000
_TRACE: Final = 0x7FF00000
_MAX_DATA: Final = 0xFFFF

_PLAIN: Final = {
    "SCMP_ACT_KILL": KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
_WITH_ERRNO: Final = {"SCMP_ACT_ERRNO": ERRNO, "SCMP_ACT_TRACE": _TRACE}

PERMISSIVE: Final = frozenset({"SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"})
"""Defaults that let unknown calls happen, or leave them to somebody who knows better."""


def action_value(action: str, errno_ret: int | None = None) -> int:
    """The 32-bit return value for ``action``; ``errno_ret`` is EPERM unless given.

    Raises InvalidInput for an unknown action, or an errno where none can be given; Unsupported
    for SCMP_ACT_NOTIFY, which needs an agent that answers for the kernel.
    """
    if action == "SCMP_ACT_NOTIFY":
        raise Unsupported(
            "seccomp notifications (SCMP_ACT_NOTIFY) are not supported",
            hint="use SCMP_ACT_ERRNO, or SCMP_ACT_LOG to watch",
        )
    if action in _WITH_ERRNO:
        number = errno.EPERM if errno_ret is None else errno_ret
        if not 0 <= number <= _MAX_DATA:
            raise InvalidInput(f"seccomp errnoRet {number} is not between 0 and {_MAX_DATA}")
        return _WITH_ERRNO[action] | number
    if action not in _PLAIN:
        raise InvalidInput(f"unknown seccomp action {action!r}")
    if errno_ret is not None:
        raise InvalidInput(f"seccomp action {action} cannot have an errnoRet")
    return _PLAIN[action]
