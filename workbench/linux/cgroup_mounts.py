"""Where the cgroup file systems of this host are, and our own place in them.

Source: ``/proc/self/mountinfo`` and ``/proc/self/cgroup`` of proc(5) and cgroups(7).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from workbench.linux.cgroup_files import read_or


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchy:
    """One mounted tree of groups.

    ``controllers`` are those of a v1 hierarchy and empty for v2; ``own`` is the directory of the
    group we are in, ``mount`` the top of what we see, which is the group ``root``.
    """

    controllers: tuple[str, ...]
    mount: str
    root: str = "/"
    own: str

    @property
    def writable(self) -> bool:
        """Whether groups may be made below our own."""
        return os.access(self.own, os.W_OK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchies:
    """What is mounted: v1 trees by controller, and the v2 tree."""

    v1: tuple[Hierarchy, ...] = ()
    v2: Hierarchy | None = None


def find(mountinfo: str | None = None, membership: str | None = None) -> Hierarchies:
    """All hierarchies; the texts are read from /proc unless given."""
    mounts = read_or("/proc/self/mountinfo") if mountinfo is None else mountinfo
    own = _membership(read_or("/proc/self/cgroup") if membership is None else membership)
    v1: dict[tuple[str, ...], Hierarchy] = {}
    v2: Hierarchy | None = None
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        fields, kind = left.split(" "), right.split(" ")
        if len(fields) < 5 or not kind[0].startswith("cgroup"):
            continue
        root, mount = _unescape(fields[3]), _unescape(fields[4])
        if kind[0] == "cgroup2":
            here = _place(own.get((), "/"), root, mount)
            v2 = v2 or Hierarchy(controllers=(), mount=mount, root=root, own=here)
        elif kind[0] == "cgroup":
            names = next((key for key in own if key and set(key) <= set(kind[2].split(","))), None)
            if names and names not in v1:
                here = _place(own[names], root, mount)
                v1[names] = Hierarchy(controllers=names, mount=mount, root=root, own=here)
    return Hierarchies(v1=tuple(v1.values()), v2=v2)


def locate(membership: str, hierarchies: Hierarchies) -> dict[str, str]:
    """Controller ("" for v2) to directory, of the process whose proc(5) ``cgroup`` this is."""
    trees = {item.controllers: item for item in hierarchies.v1}
    if hierarchies.v2 is not None:
        trees[()] = hierarchies.v2
    return {
        name: _place(path, trees[names].root, trees[names].mount)
        for names, path in _membership(membership).items()
        if names in trees
        for name in names or ("",)
    }


def _membership(text: str) -> dict[tuple[str, ...], str]:
    """Controllers to path; v2 has none."""
    found = {}
    for line in text.splitlines():
        _, names, path = line.split(":", 2)
        found[tuple(names.split(",")) if names else ()] = path
    return found


def _place(own: str, root: str, mount: str) -> str:
    """The directory of the group ``own`` in a mount that shows the tree from ``root`` on."""
    if own == root or own.startswith("/.."):
        return mount
    prefix = root.rstrip("/") + "/"
    if not own.startswith(prefix):
        return mount
    directory = f"{mount.rstrip('/')}/{own[len(prefix) :]}"
    return directory if Path(directory).is_dir() else mount


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
