"""cgroup v1: a tree for each controller, a group in each of them for one container."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from workbench.linux import cgroup_files as files
from workbench.linux.cgroup import CgroupStats, OomWatch
from workbench.linux.cgroup_mounts import Hierarchy
from workbench.linux.cgroup_oom import EventWatch
from workbench.linux.cgroup_settings import Setting, missing, refuse
from workbench.linux.cgroup_v1_limits import MEMORY_LIMIT, SWAP_LIMIT, settings
from workbench.linux.cgroup_v1_stats import read_stats
from workbench.oci.runtime_spec import Resources

ALWAYS: Final = frozenset({"memory", "cpu", "cpuacct", "pids", "freezer", "devices", "blkio"})
"""Joined for every container: they count or stop. cpuset and hugetlb only for their limits."""

_OPTIONAL: Final = frozenset({"cpuset", "hugetlb"})
_FREEZE_PATIENCE: Final = 10.0  # seconds
_KILL_ROUNDS: Final = 50

# Names of one file under the two I/O schedulers that have weights.
_ELSEWHERE: Final = {
    "blkio.weight": "blkio.bfq.weight",
    "blkio.weight_device": "blkio.bfq.weight_device",
}


@dataclass(frozen=True, slots=True)
class V1Cgroup:
    """A group in several trees; ``paths`` maps each controller to its directory."""

    paths: Mapping[str, str]

    def _directories(self) -> tuple[str, ...]:
        """Each once: controllers may share a tree."""
        return tuple(dict.fromkeys(self.paths.values()))

    def add(self, pid: int) -> None:
        for directory in self._directories():
            files.write(f"{directory}/cgroup.procs", str(pid))

    def update(self, resources: Resources) -> None:
        wanted = settings(resources)
        refuse(missing(wanted, self.paths))
        memory = [item for item in wanted if item.file in {MEMORY_LIMIT, SWAP_LIMIT}]
        self._write_memory(memory)
        for item in wanted:
            if item not in memory:
                self._write(item)

    def _write_memory(self, limits: list[Setting]) -> None:
        """Memory may not exceed memory plus swap at any moment: which goes first depends."""
        try:
            for item in limits:
                self._write(item)
        except OSError as error:
            if error.errno != errno.EINVAL or len(limits) < 2:
                raise
            for item in reversed(limits):
                self._write(item)

    def _write(self, item: Setting) -> None:
        path = f"{self.paths[item.controller]}/{item.file}"
        if item.file in _ELSEWHERE and not Path(path).exists():
            path = f"{self.paths[item.controller]}/{_ELSEWHERE[item.file]}"
        try:
            files.write(path, item.value)
        except FileNotFoundError as error:
            why = f"this kernel does not have {item.file}"
            raise OSError(errno.EOPNOTSUPP, f"{item.what}: {why}", path) from error

    def freeze(self) -> None:
        state = f"{self.paths['freezer']}/freezer.state"
        files.write(state, "FROZEN")
        for _ in files.waits(_FREEZE_PATIENCE):
            if files.read(state).strip() == "FROZEN":
                return
            files.write(state, "FROZEN")  # a process that forked meanwhile must be told again
        files.write(state, "THAWED")
        raise OSError(errno.EBUSY, "the processes do not stop", state)

    def thaw(self) -> None:
        files.write(f"{self.paths['freezer']}/freezer.state", "THAWED")

    def kill(self) -> None:
        if not self.pids():
            return
        if "freezer" in self.paths:
            self.freeze()
            files.signal_all(self.paths["freezer"])
            self.thaw()
            return
        for _ in range(_KILL_ROUNDS):
            if files.signal_all(self._any()) == 0:
                return
            next(files.waits(0.01), None)

    def pids(self) -> tuple[int, ...]:
        return files.members(self._any())

    def _any(self) -> str:
        return self.paths.get("freezer") or next(iter(self.paths.values()))

    def stats(self) -> CgroupStats:
        return read_stats(self.paths)

    def oom_watch(self) -> OomWatch:
        return EventWatch(self.paths["memory"])

    def delete(self) -> None:
        for directory in self._directories():
            files.delete(directory)


class V1Driver:
    """The hierarchies that ``cgroup_mounts.find`` found."""

    version: Final = "v1"

    def __init__(self, hierarchies: Iterable[Hierarchy]) -> None:
        known = ALWAYS | _OPTIONAL
        self._trees = {
            name: item
            for item in hierarchies
            if item.writable
            for name in item.controllers
            if name in known
        }

    @property
    def controllers(self) -> frozenset[str]:
        return frozenset(self._trees)

    def create(self, path: str, resources: Resources | None = None) -> V1Cgroup:
        wanted = settings(resources) if resources is not None else ()
        refuse(missing(wanted, self._trees))
        names = ALWAYS | {item.controller for item in wanted}
        group = V1Cgroup({name: self._place(name, path) for name in self._trees if name in names})
        try:
            for name, directory in group.paths.items():
                _make(Path(directory), inherit=name == "cpuset")
            if resources is not None:
                group.update(resources)
        except OSError:
            group.delete()
            raise
        return group

    def open(self, path: str) -> V1Cgroup:
        places = {name: self._place(name, path) for name in self._trees}
        found = {name: place for name, place in places.items() if Path(place).is_dir()}
        if not found:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return V1Cgroup(found)

    def missing(self, resources: Resources) -> tuple[str, ...]:
        return missing(settings(resources), self._trees)

    def _place(self, name: str, path: str) -> str:
        tree = self._trees[name]
        top = tree.mount if path.startswith("/") else tree.own
        return f"{top.rstrip('/')}/{path.strip('/')}"


def _make(directory: Path, *, inherit: bool) -> None:
    """Make a group and those above it.

    A new cpuset has no processors and takes no process before it gets some: ``inherit`` copies
    them from above.
    """
    try:
        directory.mkdir()
    except FileExistsError:
        return
    except FileNotFoundError:
        _make(directory.parent, inherit=inherit)
        _make(directory, inherit=inherit)
        return
    if inherit:
        for file in ("cpuset.cpus", "cpuset.mems"):
            files.write(f"{directory}/{file}", files.read(f"{directory.parent}/{file}").strip())
