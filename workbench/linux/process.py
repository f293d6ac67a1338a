"""Processes: pidfds, the subreaper, descriptors, limits and the small attributes of a task."""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from pathlib import Path
from typing import Final

from workbench.linux import libc

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_SET_NO_NEW_PRIVS: Final = 38
_CLOSE_RANGE_CLOEXEC: Final = 4
_LAST: Final = 0xFFFFFFFF
_KEYCTL_JOIN_SESSION_KEYRING: Final = 1
_IOPRIO_WHO_PROCESS: Final = 1


def pidfd_open(pid: int) -> int:
    """A close-on-exec descriptor that is readable once the process has ended. Raises OSError."""
    return os.pidfd_open(pid)


def pidfd_send_signal(descriptor: int, number: int) -> None:
    """Raises ProcessLookupError where the process has ended and was waited for."""
    libc.syscall("pidfd_send_signal", descriptor, number, None, 0)


def set_child_subreaper(*, on: bool = True) -> None:
    """Orphaned descendants become our children."""
    libc.call("prctl", _PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0)


def set_parent_death_signal(number: int) -> None:
    """The signal that the caller gets when its parent *thread* ends; cleared by setuid exec."""
    libc.call("prctl", _PR_SET_PDEATHSIG, number, 0, 0, 0)


def set_dumpable(*, on: bool) -> None:
    """Whether others may ptrace us and follow /proc/PID/exe, fd and root. execve(2) resets it."""
    libc.call("prctl", _PR_SET_DUMPABLE, int(on), 0, 0, 0)


def set_no_new_privileges() -> None:
    """execve(2) grants nothing from now on, for good."""
    libc.call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def start_time(pid: int) -> int:
    """When a process began, in clock ticks since boot (field 22 of proc_pid_stat(5)).

    Raises ProcessLookupError where there is no such process.
    """
    return int(_stat_fields(pid)[19])


def is_alive(pid: int, started: int | None = None) -> bool:
    """Whether a process runs: not a zombie, and not another one that got its pid."""
    try:
        fields = _stat_fields(pid)
    except ProcessLookupError:
        return False
    return fields[0] not in ("Z", "X", "x") and started in (None, int(fields[19]))


def _stat_fields(pid: int) -> list[str]:
    """From field 3 (state) on; the name in parentheses may hold anything."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH), str(pid)) from None
    return text.rpartition(")")[2].split()


def close_on_exec_from(first: int) -> None:
    """Mark every descriptor from ``first`` on close-on-exec."""
    try:
        libc.syscall("close_range", first, _LAST, _CLOSE_RANGE_CLOEXEC)
    except OSError:
        for descriptor in _open_descriptors(first):
            with contextlib.suppress(OSError):
                os.set_inheritable(descriptor, False)


def close_from(first: int, *, keep: frozenset[int] = frozenset()) -> None:
    """Close every descriptor from ``first`` on that is not in ``keep``."""
    low = first
    for descriptor in [*sorted(number for number in keep if number >= first), None]:
        high = _LAST if descriptor is None else descriptor - 1
        if low <= high:
            _close_range(low, high)
        low = 0 if descriptor is None else descriptor + 1


def _close_range(low: int, high: int) -> None:
    try:
        libc.syscall("close_range", low, high, 0)
    except OSError:
        for descriptor in _open_descriptors(low):
            if descriptor <= high:
                with contextlib.suppress(OSError):
                    os.close(descriptor)


def _open_descriptors(first: int) -> list[int]:
    try:
        numbers = [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]
    except OSError:
        return list(range(first, os.sysconf("SC_OPEN_MAX")))
    return [number for number in numbers if number >= first]


def working_directory() -> str:
    """What getcwd(2) says; begins with "(unreachable)" outside of our root. Raises OSError."""
    buffer = bytearray(4097)
    length = libc.syscall("getcwd", buffer, len(buffer))
    return os.fsdecode(bytes(buffer[: length - 1]))


def set_personality(persona: int) -> None:
    """personality(2). Raises OSError."""
    libc.call("personality", persona)


def set_scheduler(
    *, policy: int, flags: int, nice: int, priority: int, runtime: int, deadline: int, period: int
) -> None:
    """sched_setattr(2) on the caller; times are nanoseconds. Raises OSError."""
    attributes = struct.pack(
        "=IIQiIQQQ", 48, policy, flags, nice, priority, runtime, deadline, period
    )
    libc.syscall("sched_setattr", 0, attributes, 0)


def set_io_priority(kind: int, level: int) -> None:
    """ioprio_set(2) on the caller. Raises OSError."""
    libc.syscall("ioprio_set", _IOPRIO_WHO_PROCESS, 0, kind << 13 | level)


def join_new_session_keyring(name: str) -> None:
    """keyctl(2): a keyring of our own, so that the caller's keys stay out of reach."""
    libc.syscall("keyctl", _KEYCTL_JOIN_SESSION_KEYRING, name.encode(), 0, 0, 0)


def fork(flags: int = 0) -> int:
    """clone(2) with SIGCHLD; 0 in the child. See ``libc.clone`` for what it asks of the caller."""
    return libc.clone(flags | 17)
