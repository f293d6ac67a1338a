"""Capabilities: names, numbers, and the calls that give them up.

The order that works when a process becomes another user, and why (capabilities(7)):

1. ``drop_bounding`` while still privileged: it needs CAP_SETPCAP.
2. ``keep_over_setuid``: otherwise leaving uid 0 empties the permitted set.
3. setgroups(2), setgid(2), setuid(2). The effective set is empty now, the permitted one is whole.
4. ``apply``: capset(2), then the ambient set, which may only hold what is permitted and
   inheritable already.

execve(2) ends the effect of step 2 by itself.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from workbench.errors import InvalidInput
from workbench.linux import libc
from workbench.oci.runtime_spec import Capabilities

_NAMES: Final = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
    "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO "
    "SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME "
    "SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG "
    "WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)

_DEFAULT_NAMES: Final = (
    "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP "
    "NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE"
)

NUMBERS: Final[Mapping[str, int]] = MappingProxyType(
    {f"CAP_{name}": number for number, name in enumerate(_NAMES.split())}
)
"""Every capability that this module knows, as ``linux/capability.h`` numbers them."""

ALL: Final = tuple(NUMBERS)

DEFAULT: Final = tuple(f"CAP_{name}" for name in _DEFAULT_NAMES.split())
"""What a container has when nothing else is asked: Docker's fourteen."""

_PR_SET_KEEPCAPS: Final = 8
_PR_CAPBSET_READ: Final = 23
_PR_CAPBSET_DROP: Final = 24
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_RAISE: Final = 2
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_VERSION_3: Final = 0x20080522


def parse(name: str) -> str:
    """The full name of what a user wrote: ``net_admin`` is ``CAP_NET_ADMIN``.

    Raises InvalidInput for a name that no kernel knows.
    """
    upper = name.strip().upper()
    full = upper if upper.startswith("CAP_") else f"CAP_{upper}"
    if full not in NUMBERS:
        raise InvalidInput(f"unknown capability {name!r}", hint=f"known are {', '.join(ALL)}")
    return full


def bounding() -> frozenset[str]:
    """The bounding set of the calling thread: the most that a program it starts can ever get."""
    return frozenset(name for name, number in NUMBERS.items() if _in_bounding(number))


def within(capabilities: Capabilities, allowed: Iterable[str]) -> Capabilities:
    """``capabilities`` less what is not in ``allowed``, in every set; order is kept.

    A host may itself lack some; asking capset(2) for those fails, for privileged containers too.
    """
    limit = frozenset(allowed)

    def cut(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name in names if name in limit)

    return Capabilities(
        bounding=cut(capabilities.bounding),
        effective=cut(capabilities.effective),
        inheritable=cut(capabilities.inheritable),
        permitted=cut(capabilities.permitted),
        ambient=cut(capabilities.ambient),
    )


def drop_bounding(keep: Iterable[str]) -> None:
    """Remove everything but ``keep`` from the bounding set, for good. Needs CAP_SETPCAP.

    Raises OSError.
    """
    kept = frozenset(keep)
    for name, number in NUMBERS.items():
        if name not in kept and _in_bounding(number):
            libc.call("prctl", _PR_CAPBSET_DROP, number, 0, 0, 0)


def keep_over_setuid(*, keep: bool = True) -> None:
    """Let the permitted set survive the change from uid 0 to another one. Raises OSError."""
    libc.call("prctl", _PR_SET_KEEPCAPS, int(keep), 0, 0, 0)


def apply(capabilities: Capabilities) -> None:
    """Set the effective, permitted, inheritable and ambient sets of the calling thread.

    The bounding set is not touched; see ``drop_bounding`` and the order above. Raises OSError
    (EPERM) for what is not permitted now.
    """
    sets = (capabilities.effective, capabilities.permitted, capabilities.inheritable)
    masks = [mask(names) for names in sets]
    data = struct.pack("=6I", *(m & 0xFFFFFFFF for m in masks), *(m >> 32 for m in masks))
    libc.call("capset", struct.pack("=Ii", _VERSION_3, 0), data)
    libc.call("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    for name in capabilities.ambient:
        if name in NUMBERS:
            libc.call("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, NUMBERS[name], 0, 0)


def mask(names: Iterable[str]) -> int:
    """The bits of ``names``. Names of later kernels are left out, as other runtimes do."""
    bits = 0
    for name in names:
        if name in NUMBERS:
            bits |= 1 << NUMBERS[name]
    return bits


def names(bits: int) -> tuple[str, ...]:
    """The names behind a mask such as ``CapEff`` of proc(5), in the order of their numbers."""
    return tuple(name for name, number in NUMBERS.items() if bits >> number & 1)


def _in_bounding(number: int) -> bool:
    """False too for what this kernel does not know (EINVAL)."""
    try:
        return libc.call("prctl", _PR_CAPBSET_READ, number, 0, 0, 0) == 1
    except OSError:
        return False
