"""What a monitor asks of a runtime, and ``workbench.runtime`` behind it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from workbench.errors import Conflict, ContainerNotFound
from workbench.linux import cgroup, host
from workbench.monitor.streams import Ends
from workbench.oci.runtime_spec import Process
from workbench.runtime import create, execute, state, warm
from workbench.runtime.bundle import Bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A process of ours. ``console`` is the master of its terminal, ``start`` lets it run."""

    pid: int
    console: int | None
    start: Callable[[], None]


class Runtime(Protocol):
    """Runs one container per directory. Every process that it gives is a child of the caller."""

    def prepare(self, root: Path) -> None:
        """Find out once, before any fork, what all containers below ``root`` need to know."""

    def create(self, directory: Path, container_id: str, ends: Ends | None) -> Child:
        """A process that waits for ``start``. Raises as ``workbench.runtime.create``."""

    def execute(self, directory: Path, process: Process, ends: Ends | None) -> Child:
        """A process that runs. Raises as ``workbench.runtime.execute``."""

    def process(self, directory: Path) -> Process:
        """What the container itself runs."""

    def kill(self, directory: Path, number: int, *, everything: bool = False) -> None:
        """Raises Conflict when it does not run."""

    def pause(self, directory: Path) -> None: ...

    def resume(self, directory: Path) -> None: ...

    def oom_kills(self, directory: Path) -> int:
        """How many of its processes the kernel has killed for want of memory."""

    def delete(self, directory: Path) -> None:
        """Kill what is left and remove what the runtime made. Idempotent."""


class OciRuntime:
    """``workbench.runtime``, with the facts about the host found out once."""

    def __init__(self) -> None:
        self._host: host.Host | None = None
        self._groups: cgroup.CgroupDriver | None = None

    def prepare(self, root: Path) -> None:
        self._host = host.probe(root)
        self._groups = cgroup.driver()
        warm.warm()

    def create(self, directory: Path, container_id: str, ends: Ends | None) -> Child:
        made = create.create(Bundle(directory), container_id, stdio=_stdio(ends), host=self._host)
        os.close(made.pidfd)
        return Child(pid=made.pid, console=made.console_fd, start=made.start)

    def execute(self, directory: Path, process: Process, ends: Ends | None) -> Child:
        made = execute.execute(directory, process, stdio=_stdio(ends), host=self._host)
        os.close(made.pidfd)
        return Child(pid=made.pid, console=made.console_fd, start=_running)

    def process(self, directory: Path) -> Process:
        return Bundle(directory).spec().process or Process()

    def kill(self, directory: Path, number: int, *, everything: bool = False) -> None:
        state.kill(directory, number, everything=everything)

    def pause(self, directory: Path) -> None:
        state.pause(directory)

    def resume(self, directory: Path) -> None:
        state.resume(directory)

    def oom_kills(self, directory: Path) -> int:
        try:
            path = state.read(directory).cgroup
            if not path or self._groups is None or not self._limited(directory):
                return 0
            return self._groups.open(path).stats().oom_kills
        except (OSError, ContainerNotFound):
            return 0

    def delete(self, directory: Path) -> None:
        state.delete(directory, force=True)

    def _limited(self, directory: Path) -> bool:
        linux = Bundle(directory).spec().linux
        return bool(linux and linux.resources and linux.resources.memory)


def _stdio(ends: Ends | None) -> create.Stdio | None:
    if ends is None:
        return None
    return create.Stdio(ends.stdin, ends.stdout, ends.stderr)


def _running() -> None:
    """It runs already."""
    raise Conflict("the process runs already")
