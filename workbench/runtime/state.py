"""What is known of a container that exists: ``state.json``, and the status derived from it.

The file holds facts that do not change behind its back (pid, start time of the pid, when it was
started); the status is derived each time. Source: runtime-spec 1.2, ``runtime.md``, "State".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from workbench.errors import ContainerNotFound

Status = Literal["creating", "created", "running", "paused", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The content of ``state.json``.

    ``start_time`` is field 22 of proc_pid_stat(5), in clock ticks: a pid that is used again has
    another one. ``created`` and ``started`` are RFC 3339; ``started`` is empty until then.
    ``cgroup`` is the path given to the cgroup driver, empty where the container has no cgroup.
    """

    id: str
    bundle: str
    pid: int
    start_time: int
    created: str
    started: str = ""
    cgroup: str = ""
    rootfs: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The state of a container as the specification shows it; ``pid`` is 0 when stopped."""

    oci_version: str
    id: str
    status: Status
    pid: int
    bundle: str
    rootfs: str = ""
    created: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)


def read(directory: Path) -> Record:
    """The record in a state directory. Raises ContainerNotFound where there is none."""
    raise ContainerNotFound(f"container {directory.name} does not exist")


def state(directory: Path) -> State:
    """The state now. Raises ContainerNotFound. Never waits."""
    return read(directory)  # type: ignore[return-value]


def kill(directory: Path, signal: int, *, everything: bool = False) -> None:
    """Send a signal to init, or to every process of the container.

    Raises ContainerNotFound, or Conflict ("container not running") where init has ended.
    """


def pause(directory: Path) -> None:
    """Freeze every process. Raises Conflict unless running, Unsupported without a cgroup."""


def resume(directory: Path) -> None:
    """Undo pause. Raises Conflict unless paused."""


def delete(directory: Path, *, force: bool = False) -> None:
    """Remove cgroup, state.json and socket of a stopped container; run poststop hooks.

    Idempotent: what is gone already is no error. ``force`` kills what still runs; otherwise a
    container that is not stopped raises Conflict.
    """
