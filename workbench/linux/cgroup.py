"""Control groups: limits, counts and freezing of a container's processes, for v1 and v2."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from workbench.linux import cgroup_files, cgroup_mounts
from workbench.oci.runtime_spec import Resources


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockIOStats:
    """Bytes and operations of one block device."""

    major: int
    minor: int
    read_bytes: int = 0
    write_bytes: int = 0
    read_ops: int = 0
    write_ops: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CgroupStats:
    """One reading. Times are nanoseconds, memory is bytes; None where the host cannot tell.

    ``memory_limit`` and ``pids_limit`` are None without a limit. ``cpu_each`` is per processor.
    ``memory_inactive_file`` is page cache that costs nothing to drop: Docker's figure for "used"
    is usage less that.
    """

    cpu_total: int = 0
    cpu_user: int = 0
    cpu_system: int = 0
    cpu_each: tuple[int, ...] = ()
    periods: int = 0
    throttled_periods: int = 0
    throttled_time: int = 0
    memory_usage: int | None = None
    memory_peak: int | None = None
    memory_limit: int | None = None
    memory_inactive_file: int = 0
    memory_detail: Mapping[str, int] = field(default_factory=dict)
    memory_failures: int = 0
    oom_kills: int = 0
    pids_current: int | None = None
    pids_limit: int | None = None
    block_io: tuple[BlockIOStats, ...] = ()


class OomWatch(Protocol):
    """Readable (select(2), poll(2)) when the group ran out of memory.

    Use as a context manager, or ``close`` it.
    """

    def fileno(self) -> int: ...

    def read(self) -> int:
        """The number of processes killed since the last call; call it when readable."""

    def close(self) -> None: ...


class Cgroup(Protocol):
    """One container's group. Every method raises OSError with the file that refused."""

    @property
    def paths(self) -> Mapping[str, str]:
        """Controller (or "" for v2) to the absolute directory of the group."""

    def add(self, pid: int) -> None:
        """Move a process in, with what it starts from now on. 0 is the caller."""

    def update(self, resources: Resources) -> None:
        """Set what ``resources`` names; everything else stays as it is."""

    def freeze(self) -> None:
        """Stop every process; returns when all are stopped."""

    def thaw(self) -> None: ...

    def kill(self) -> None:
        """SIGKILL to every process of the group and below it, leaving none behind by forks."""

    def pids(self) -> tuple[int, ...]:
        """Processes of the group and of the groups below it, in the caller's pid namespace."""

    def stats(self) -> CgroupStats: ...

    def oom_watch(self) -> OomWatch: ...

    def delete(self) -> None:
        """Remove the group and those below it; waits a little for processes that are ending."""


class CgroupDriver(Protocol):
    """The way in which this host has cgroups."""

    @property
    def version(self) -> str:
        """``v1`` or ``v2``."""

    @property
    def controllers(self) -> frozenset[str]:
        """Those in which groups can be made."""

    def create(self, path: str, resources: Resources | None = None) -> Cgroup:
        """Make (or take over) the group ``path``, relative to where this host lets us be.

        Raises OSError; ``missing`` says beforehand what would be refused.
        """

    def open(self, path: str) -> Cgroup:
        """The group that ``create`` made earlier, possibly in another process."""

    def missing(self, resources: Resources) -> tuple[str, ...]:
        """What of ``resources`` cannot be given here, each in words ("memory limit: ...")."""


def driver() -> CgroupDriver | None:
    """The driver for this host, or None where no group can be made.

    On a hybrid host v1 is used: its hierarchies have the controllers. Only the version at hand is
    loaded.
    """
    found = cgroup_mounts.find()
    if any("memory" in item.controllers or "cpu" in item.controllers for item in found.v1):
        from workbench.linux.cgroup_v1 import V1Driver

        v1 = V1Driver(found.v1)
        return v1 if v1.controllers else None
    if found.v2 is not None:
        from workbench.linux.cgroup_v2 import V2Driver, writable

        return V2Driver(found.v2) if writable(found.v2) else None
    return None


def warm_up() -> None:
    """Make the next ``add`` fast; call it in a thread as soon as a container is asked for.

    The first move of a process between groups waits for all processors to pass through the
    scheduler (an RCU grace period, 5 to 20 ms); those shortly after it do not. This moves the
    caller to where it is. A host whose administrator mounts cgroups with ``favordynmods`` never
    waits. Silent where it cannot be done.
    """
    found = cgroup_mounts.find()
    for tree in (*found.v1, found.v2):
        if tree is not None and tree.writable:
            with contextlib.suppress(OSError):
                cgroup_files.write(f"{tree.own}/cgroup.procs", str(os.getpid()))
            return


def at(paths: Mapping[str, str]) -> Cgroup:
    """The group whose ``paths`` were written down: a driver's own place may differ by process."""
    if "" in paths:
        from workbench.linux.cgroup_v2 import V2Cgroup

        return V2Cgroup(paths[""])
    from workbench.linux.cgroup_v1 import V1Cgroup

    return V1Cgroup(dict(paths))


def of(pid: int) -> Cgroup:
    """The group in which a process is now. Raises OSError when there is no such process."""
    hierarchies = cgroup_mounts.find()
    text = cgroup_files.read(f"/proc/{pid}/cgroup")
    paths = cgroup_mounts.locate(text, hierarchies)
    v1 = {name: path for name, path in paths.items() if name and not name.startswith("name=")}
    return at(v1 or paths)
