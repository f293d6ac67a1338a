"""Namespaces: clone flags, unshare, setns, and the id maps of a user namespace.

Sources: namespaces(7), user_namespaces(7), setns(2), unshare(2).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from workbench.linux import libc
from workbench.oci.runtime_spec import IDMapping

CLONE_NEWTIME: Final = 0x00000080
CLONE_PARENT: Final = 0x00008000
CLONE_NEWNS: Final = 0x00020000
CLONE_NEWCGROUP: Final = 0x02000000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

FLAGS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "user": CLONE_NEWUSER,
        "mount": CLONE_NEWNS,
        "network": CLONE_NEWNET,
        "ipc": CLONE_NEWIPC,
        "uts": CLONE_NEWUTS,
        "pid": CLONE_NEWPID,
        "cgroup": CLONE_NEWCGROUP,
        "time": CLONE_NEWTIME,
    }
)
"""Names of the runtime-spec to clone flags, in the order in which they are joined."""

FILES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "user": "user",
        "mount": "mnt",
        "network": "net",
        "ipc": "ipc",
        "uts": "uts",
        "pid": "pid",
        "cgroup": "cgroup",
        "time": "time",
    }
)
"""Names of the runtime-spec to the files of /proc/PID/ns."""


def unshare(flags: int) -> None:
    """unshare(2). Raises OSError."""
    libc.call("unshare", flags)


def setns(descriptor: int, flags: int) -> None:
    """setns(2) with a namespace file, or with a pidfd and several flags. Raises OSError."""
    libc.call("setns", descriptor, flags)


def differing(pid: int) -> tuple[str, ...]:
    """The kinds of namespace in which process ``pid`` is and we are not. Raises OSError."""
    return tuple(kind for kind, file in FILES.items() if _identity(pid, file) != _identity(0, file))


def _identity(pid: int, file: str) -> tuple[int, int] | None:
    try:
        status = Path(f"/proc/{pid or 'self'}/ns/{file}").stat()
    except FileNotFoundError:
        if pid and not Path(f"/proc/{pid}").exists():
            raise
        return None
    return status.st_dev, status.st_ino


def map_text(mappings: Sequence[IDMapping]) -> str:
    """The lines that /proc/PID/uid_map wants."""
    return "".join(f"{m.container_id} {m.host_id} {m.size}\n" for m in mappings)


def write_map(pid: int, kind: str, mappings: Sequence[IDMapping]) -> None:
    """Write ``uid_map`` or ``gid_map`` (``kind`` "uid" or "gid"). Raises OSError."""
    _write(f"/proc/{pid}/{kind}_map", map_text(mappings))


def deny_setgroups(pid: int) -> None:
    """What must come before an unprivileged write of gid_map. Raises OSError."""
    _write(f"/proc/{pid}/setgroups", "deny")


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    except OSError as error:
        raise OSError(
            error.errno, f"{os.strerror(error.errno or 0)}, writing {text!r}", path
        ) from None
    finally:
        os.close(descriptor)
