"""A program of its own that tries what a user namespace allows; ``host.probe`` runs it.

``python trial.py DIRECTORY`` writes one line for each thing: ``name=yes`` or ``name=reason``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from workbench.linux import namespaces
from workbench.linux.host import try_overlay
from workbench.linux.mount import mount_at
from workbench.linux.namespaces import CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER
from workbench.oci.runtime_spec import IDMapping

_PRIVATE = 0x4000 | 1 << 18


def main(place: Path) -> None:
    """Try one thing after the other, each in need of the one before."""
    uid, gid = os.geteuid(), os.getegid()
    try:
        namespaces.unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID)
        namespaces.deny_setgroups(os.getpid())
        namespaces.write_map(os.getpid(), "uid", [_only(uid)])
        namespaces.write_map(os.getpid(), "gid", [_only(gid)])
    except OSError as error:
        _say("user_namespaces", f"not permitted to this user: {error.strerror}")
        return
    _say("user_namespaces", "")
    try:
        mount_at("", "", "/", _PRIVATE, "")
    except OSError as error:
        _say("mounts", f"no mounts in a user namespace: {error.strerror}")
        return
    _say("mounts", "")
    _say("overlay", try_overlay(place, userxattr=True))
    _try_proc()


def _only(number: int) -> IDMapping:
    return IDMapping(container_id=0, host_id=number, size=1)


def _try_proc() -> None:
    """procfs shows the pid namespace of who mounts it: only a child is in the new one."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        mount_at("proc", "proc", "/proc", 0, "")
        _say("proc_mount", "")
    except OSError as error:
        _say("proc_mount", f"procfs cannot be mounted afresh here: {error.strerror}")
    sys.stdout.flush()
    os._exit(0)


def _say(name: str, reason: str) -> None:
    sys.stdout.write(f"{name}={reason or 'yes'}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
