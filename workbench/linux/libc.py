"""The C library through ctypes: the only module that imports it.

Integers become C longs, bytes and buffers become pointers, None becomes NULL. Every failure is an
OSError whose text names the call.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_HELD: Final = ctypes.PyDLL(None, use_errno=True)

# System calls that the C library may not wrap. The numbers from 424 on are the same everywhere.
_COMMON: Final = {
    "pidfd_send_signal": 424,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "pidfd_open": 434,
    "close_range": 436,
    "openat2": 437,
    "mount_setattr": 442,
}
_X86_64: Final = {
    "clone": 56,
    "getcwd": 79,
    "pivot_root": 155,
    "ioprio_set": 251,
    "keyctl": 250,
    "sched_setattr": 314,
    "seccomp": 317,
}
_GENERIC: Final = {
    "clone": 220,
    "getcwd": 17,
    "pivot_root": 41,
    "ioprio_set": 30,
    "keyctl": 219,
    "sched_setattr": 274,
    "seccomp": 277,
}
_NUMBERS: Final = _COMMON | (_X86_64 if os.uname().machine == "x86_64" else _GENERIC)

Argument = int | bytes | bytearray | None


def _value(argument: Argument) -> object:
    if isinstance(argument, int):
        return ctypes.c_long(argument)
    if isinstance(argument, bytearray):
        return (ctypes.c_char * len(argument)).from_buffer(argument)
    return argument


def _fail(name: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{name}: {os.strerror(number)}")


def call(name: str, *arguments: Argument) -> int:
    """Call a function of the C library. Raises OSError from errno, with the name, on -1."""
    result: int = getattr(_LIBC, name)(*map(_value, arguments))
    if result == -1:
        raise _fail(name)
    return result


def syscall(name: str, *arguments: Argument) -> int:
    """Make a system call by its name in syscalls(2). Raises OSError, with the name, on failure."""
    values = map(_value, arguments)
    result: int = _LIBC.syscall(ctypes.c_long(_NUMBERS[name]), *values)
    if result == -1:
        raise _fail(name)
    return result


def clone(flags: int) -> int:
    """Fork with the flags of clone(2); 0 in the child. For single-threaded processes only.

    The child is a copy that runs on in the same interpreter. Handlers of ``os.register_at_fork``
    and pthread_atfork(3) do not run; nothing of ours needs them.
    """
    zero = ctypes.c_long(0)
    number = ctypes.c_long(_NUMBERS["clone"])
    result: int = _HELD.syscall(number, ctypes.c_ulong(flags), zero, zero, zero, zero)
    if result == -1:
        raise _fail("clone")
    return result
