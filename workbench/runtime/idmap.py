"""Id maps: those of a container's user namespace, and namespaces that only carry a map."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from typing import Final

from workbench.errors import Unsupported
from workbench.linux import namespaces, process
from workbench.oci.runtime_spec import IDMapping

_TOOLS: Final = {"uid": "newuidmap", "gid": "newgidmap"}
_PATHS: Final = ("/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/sbin")


def write_maps(pid: int, uids: Sequence[IDMapping], gids: Sequence[IDMapping]) -> None:
    """Map the ids of the new user namespace of ``pid``.

    Root writes the files; others may map only themselves, and newuidmap(1) does more for them.
    Raises Unsupported with what would help.
    """
    if os.geteuid() == 0:
        namespaces.write_map(pid, "uid", uids)
        namespaces.write_map(pid, "gid", gids)
        return
    if _is_own(uids, os.geteuid()) and _is_own(gids, os.getegid()):
        namespaces.deny_setgroups(pid)
        namespaces.write_map(pid, "uid", uids)
        namespaces.write_map(pid, "gid", gids)
        return
    _run_tool("uid", pid, uids)
    _run_tool("gid", pid, gids)


def _is_own(mappings: Sequence[IDMapping], number: int) -> bool:
    return len(mappings) == 1 and mappings[0].size == 1 and mappings[0].host_id == number


def _run_tool(kind: str, pid: int, mappings: Sequence[IDMapping]) -> None:
    name = _TOOLS[kind]
    path = next((f"{d}/{name}" for d in _PATHS if os.access(f"{d}/{name}", os.X_OK)), None)
    if path is None:
        raise Unsupported(
            f"mapping more than one's own id needs {name}", hint="install the package uidmap"
        )
    numbers = [str(n) for m in mappings for n in (m.container_id, m.host_id, m.size)]
    child = os.posix_spawn(path, [name, str(pid), *numbers], {})
    _, status = os.waitpid(child, 0)
    if status:
        raise Unsupported(
            f"{name} refused to map {' '.join(numbers)}",
            hint=f"the ranges must stand in /etc/sub{kind} for this user",
        )


def user_namespace_for(uids: Sequence[IDMapping], gids: Sequence[IDMapping]) -> int:
    """A descriptor of a user namespace that has these maps and no process. Raises OSError."""
    reader, writer = os.pipe()
    child = process.fork(namespaces.CLONE_NEWUSER)
    if child == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    try:
        write_maps(child, uids, gids)
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(reader)
        os.close(writer)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
