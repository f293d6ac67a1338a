"""Who reads and deletes the trees of snapshots: this process, or one with the containers' ids.

Files that containers of an ordinary user made may belong to subordinate ids, and may keep their
owner out. Root of a user namespace with the same id map reads them all, sees the owners as the
container did, and may delete them. A process enters such a namespace alone (unshare(2) refuses one
with threads), so ``MappedAccess`` talks to a child, ``within.py``.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from workbench import errors
from workbench.errors import Internal, Unsupported, WorkbenchError
from workbench.store.capture import Member, Notice, overlay_members
from workbench.store.remove import remove_tree
from workbench.store.snapshots import Usage
from workbench.store.tar_entry import TarEntry
from workbench.store.usage import measure

PROGRAM: Final = Path(__file__).with_name("within.py")
_MESSAGE: Final = 4 * 1024**2


class TreeAccess:
    """This process does it itself: right for root, who may do everything."""

    def members(
        self, changes: Path, *, lowers: tuple[Path, ...], notice: Notice
    ) -> Iterator[Member]:
        """See ``capture.overlay_members``."""
        return overlay_members(changes, lowers=lowers, notice=notice)

    def measure(self, path: Path) -> Usage:
        """See ``usage.measure``."""
        return measure(path)

    def remove(self, path: Path) -> None:
        """See ``remove.remove_tree``."""
        remove_tree(str(path))


class MappedAccess(TreeAccess):
    """A child does it, as root of a user namespace; ``map_ids(pid)`` writes the maps of one.

    What this process may do itself without a difference it does itself, which is faster.
    """

    def __init__(self, map_ids: Callable[[int], None]) -> None:
        self._map_ids = map_ids

    def members(
        self, changes: Path, *, lowers: tuple[Path, ...], notice: Notice
    ) -> Iterator[Member]:
        with self._child("members", changes, *lowers) as end:
            while message := _receive(end):
                body, descriptors = message
                if "notice" in body:
                    notice(body["notice"])
                    continue
                try:
                    yield entry_from(body), descriptors[0] if descriptors else None
                finally:
                    _close(descriptors)

    def measure(self, path: Path) -> Usage:
        try:
            return measure(path)
        except PermissionError:
            with self._child("measure", path) as end:
                body, _ = _receive(end) or ({}, [])
                return Usage(bytes=body["bytes"], inodes=body["inodes"])

    def remove(self, path: Path) -> None:
        try:
            remove_tree(str(path))
        except PermissionError:
            with self._child("remove", path) as end:
                _receive(end)

    @contextmanager
    def _child(self, task: str, *paths: Path) -> Iterator[socket.socket]:
        """The other end of a child that does one task; it ends when the block is left."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            with theirs:
                words = [sys.executable, "-I", "-S", str(PROGRAM), str(theirs.fileno()), task]
                child = subprocess.Popen(
                    [*words, *map(str, paths)],
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            try:
                _receive(ours)  # it is in its namespace
                self._map_ids(child.pid)
                ours.send(b"{}")
                yield ours
            finally:
                ours.close()
                child.wait()


def _receive(end: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next message, None where the child has said that it is done. Raises what it raised."""
    raw, descriptors, _, _ = socket.recv_fds(end, _MESSAGE, 1)
    if not raw:
        raise Internal("the process that reads trees in a user namespace ended early")
    body = json.loads(raw)
    if body.get("done"):
        return None
    if "error" in body:
        _close(descriptors)
        raise _error(body)
    return body, descriptors


def _error(body: dict[str, Any]) -> Exception:
    if body["error"] == "OSError":
        return OSError(body["errno"], body["message"], body["path"])
    kind = getattr(errors, body["error"], Unsupported)
    if not (isinstance(kind, type) and issubclass(kind, WorkbenchError)):
        kind = Unsupported
    return kind(body["message"], hint=body["hint"])


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def entry_to(entry: TarEntry) -> dict[str, Any]:
    """A member as JSON: only what capture fills in."""
    return {
        "name": entry.name, "kind": entry.kind, "mode": entry.mode, "uid": entry.uid,
        "gid": entry.gid, "size": entry.size, "mtime_ns": entry.mtime_ns, "target": entry.target,
        "major": entry.major, "minor": entry.minor,
        "xattrs": {name: value.hex() for name, value in entry.xattrs.items()},
    }  # fmt: skip


def entry_from(body: dict[str, Any]) -> TarEntry:
    """The inverse of ``entry_to``."""
    xattrs = {name: bytes.fromhex(value) for name, value in body["xattrs"].items()}
    return TarEntry(**{**body, "xattrs": xattrs})
