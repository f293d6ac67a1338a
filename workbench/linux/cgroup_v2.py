"""cgroup v2: one tree; a controller must be enabled on the way down to a group.

A group with processes of its own cannot enable controllers for those below it (the rule of "no
internal processes"), the topmost one excepted. Groups for containers therefore lie below the
nearest group above us that has no processes and that we may write to.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from workbench.linux import cgroup_devices
from workbench.linux import cgroup_files as files
from workbench.linux.cgroup import CgroupStats, OomWatch
from workbench.linux.cgroup_mounts import Hierarchy
from workbench.linux.cgroup_oom import InotifyWatch
from workbench.linux.cgroup_settings import Setting, missing, refuse
from workbench.linux.cgroup_v2_limits import settings
from workbench.linux.cgroup_v2_stats import read_stats
from workbench.oci.runtime_spec import DeviceRule, Resources

ALWAYS: Final = ("memory", "cpu", "io", "pids")
"""Enabled for every container; cpuset, hugetlb and others for their limits only."""

_FREEZE_PATIENCE: Final = 10.0  # seconds
_KILL_ROUNDS: Final = 50
_LEAF: Final = "workbench-host"  # takes the processes of a group that must have none


@dataclass(frozen=True, slots=True)
class V2Cgroup:
    """One directory."""

    directory: str

    @property
    def paths(self) -> Mapping[str, str]:
        return {"": self.directory}

    def add(self, pid: int) -> None:
        files.write(f"{self.directory}/cgroup.procs", str(pid))

    def update(self, resources: Resources) -> None:
        wanted = settings(resources)
        refuse(missing(wanted, _listed(f"{self.directory}/cgroup.controllers")))
        for item in wanted:
            self._write(item)
        if resources.devices:
            self._attach(resources.devices)

    def _write(self, item: Setting) -> None:
        path = f"{self.directory}/{item.file}"
        if item.file == "io.weight" and not Path(path).exists():
            path = f"{self.directory}/io.bfq.weight"
        try:
            files.write(path, item.value)
        except FileNotFoundError as error:
            why = f"this kernel does not have {item.file}"
            raise OSError(errno.EOPNOTSUPP, f"{item.what}: {why}", path) from error

    def _attach(self, rules: tuple[DeviceRule, ...]) -> None:
        """In a user namespace no program may be attached, and none is needed.

        No device node can be made there, and those that are bound in are the user's own to open.
        """
        try:
            cgroup_devices.attach(self.directory, rules)
        except PermissionError:
            if not _in_user_namespace():
                raise

    def freeze(self) -> None:
        files.write(f"{self.directory}/cgroup.freeze", "1")
        for _ in files.waits(_FREEZE_PATIENCE):
            if files.keyed(files.read(f"{self.directory}/cgroup.events")).get("frozen") == 1:
                return
        files.write(f"{self.directory}/cgroup.freeze", "0")
        raise OSError(errno.EBUSY, "the processes do not stop", self.directory)

    def thaw(self) -> None:
        files.write(f"{self.directory}/cgroup.freeze", "0")

    def kill(self) -> None:
        try:
            files.write(f"{self.directory}/cgroup.kill", "1")
        except FileNotFoundError:  # before Linux 5.14
            for _ in range(_KILL_ROUNDS):
                if files.signal_all(self.directory) == 0:
                    return
                next(files.waits(0.01), None)

    def pids(self) -> tuple[int, ...]:
        return files.members(self.directory)

    def stats(self) -> CgroupStats:
        return read_stats(self.directory)

    def oom_watch(self) -> OomWatch:
        return InotifyWatch(self.directory)

    def delete(self) -> None:
        files.delete(self.directory)


class V2Driver:
    """The tree of ``hierarchy``, below the group that may have children with limits."""

    version: Final = "v2"

    def __init__(self, hierarchy: Hierarchy) -> None:
        self._mount = hierarchy.mount.rstrip("/")
        self._base = _base(self._mount, hierarchy.own)

    @property
    def controllers(self) -> frozenset[str]:
        return frozenset(_listed(f"{self._base}/cgroup.controllers")) | {"devices"}

    def create(self, path: str, resources: Resources | None = None) -> V2Cgroup:
        wanted = settings(resources) if resources is not None else ()
        refuse(missing(wanted, self.controllers))
        directory = self._place(path)
        names = dict.fromkeys((*ALWAYS, *(item.controller for item in wanted)))
        self._make(_above(directory), names)
        fresh = not Path(directory).is_dir()
        Path(directory).mkdir(exist_ok=True)
        group = V2Cgroup(directory)
        try:
            if resources is not None:
                group.update(resources)
        except OSError:
            if fresh:
                group.delete()
            raise
        return group

    def open(self, path: str) -> V2Cgroup:
        directory = self._place(path)
        if not Path(directory).is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return V2Cgroup(directory)

    def missing(self, resources: Resources) -> tuple[str, ...]:
        return missing(settings(resources), self.controllers)

    def _place(self, path: str) -> str:
        top = self._mount if path.startswith("/") else self._base
        return f"{top}/{path.strip('/')}"

    def _make(self, directory: str, names: Iterable[str]) -> None:
        """Make a group and those above it, and enable the controllers for its children."""
        if directory not in {self._mount, self._base}:
            self._make(_above(directory), names)
            Path(directory).mkdir(exist_ok=True)
        there = _listed(f"{directory}/cgroup.controllers")
        enabled = _listed(f"{directory}/cgroup.subtree_control")
        for name in names:
            if name in there and name not in enabled:
                self._enable(directory, name)

    def _enable(self, directory: str, name: str) -> None:
        try:
            files.write(f"{directory}/cgroup.subtree_control", f"+{name}")
        except OSError as error:
            if error.errno != errno.EBUSY or directory != self._base:
                raise
            _vacate(directory)
            files.write(f"{directory}/cgroup.subtree_control", f"+{name}")


def writable(hierarchy: Hierarchy) -> bool:
    """Whether groups can be made in this tree at all."""
    return os.access(_base(hierarchy.mount.rstrip("/"), hierarchy.own), os.W_OK)


def _base(mount: str, own: str) -> str:
    """The group below which those of containers are made."""
    group = own.rstrip("/") or mount
    while group != mount:
        processes = files.read_or(f"{group}/cgroup.procs").strip()
        if not processes and _may_write(group):
            return group
        if not os.access(_above(group), os.W_OK):
            break
        group = _above(group)
    return group


def _may_write(group: str) -> bool:
    return os.access(group, os.W_OK) and os.access(f"{group}/cgroup.subtree_control", os.W_OK)


def _vacate(group: str) -> None:
    """Move the processes of a group into a leaf below it, as the topmost one of a container."""
    leaf = f"{group}/{_LEAF}"
    Path(leaf).mkdir(exist_ok=True)
    for pid in files.read(f"{group}/cgroup.procs").split():
        try:
            files.write(f"{leaf}/cgroup.procs", pid)
        except ProcessLookupError:
            continue


def _above(group: str) -> str:
    return group.rpartition("/")[0]


def _listed(path: str) -> tuple[str, ...]:
    return tuple(files.read_or(path).split())


def _in_user_namespace() -> bool:
    return files.read_or("/proc/self/uid_map").split() != ["0", "0", "4294967295"]
