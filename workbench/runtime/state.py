"""What is known of a container that exists: ``state.json``, and the status derived from it.

The file holds facts that do not change behind its back (pid, start time of the pid, when it was
started); the status is derived each time. Source: runtime-spec 1.2, ``runtime.md``, "State".
"""

from __future__ import annotations

import contextlib
import os
import signal as signals
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from workbench.errors import Conflict, ContainerNotFound, InvalidInput, NotFound, Unsupported
from workbench.linux import cgroup as cgroups
from workbench.linux import process
from workbench.linux.cgroup import Cgroup
from workbench.oci.codec import dumps, encode, loads
from workbench.oci.runtime_spec import Hooks
from workbench.runtime import hooks as hook_runner
from workbench.runtime.bundle import Bundle
from workbench.runtime.bundle import replace as replace_file

Status = Literal["creating", "created", "running", "paused", "stopped"]
STATE_FILE: Final = "state.json"
_PATIENCE: Final = 10.0


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
    program: str = ""
    oci_version: str = ""
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

    def document(self) -> dict[str, Any]:
        """The JSON tree of runtime-spec, with runc's ``rootfs`` and ``created``."""
        tree = {
            "ociVersion": self.oci_version, "id": self.id, "pid": self.pid, "status": self.status,
            "bundle": self.bundle, "rootfs": self.rootfs, "created": self.created,
        }  # fmt: skip
        if self.annotations:
            tree["annotations"] = encode(self.annotations)
        return tree


def now() -> str:
    """The time as RFC 3339 with nanoseconds, UTC."""
    seconds, rest = divmod(time.time_ns(), 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def exists(directory: Path) -> bool:
    return (directory / STATE_FILE).exists()


def read(directory: Path) -> Record:
    """The record in a state directory. Raises ContainerNotFound where there is none."""
    path = directory / STATE_FILE
    try:
        return loads(Record, path.read_bytes(), what=str(path))
    except (FileNotFoundError, NotADirectoryError):
        raise ContainerNotFound(f"container {directory.name} does not exist") from None


def write(directory: Path, record: Record) -> None:
    """Atomically. Raises OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_file(directory / STATE_FILE, dumps(record))


def forget(directory: Path) -> None:
    (directory / STATE_FILE).unlink(missing_ok=True)


def mark_started(directory: Path, record: Record) -> None:
    """A container that was deleted meanwhile stays deleted."""
    if exists(directory):
        write(directory, replace(record, started=now()))


def state(directory: Path) -> State:
    """The state now. Raises ContainerNotFound. Never waits."""
    record = read(directory)
    status = _status(record)
    return State(
        oci_version=record.oci_version, id=record.id, status=status, bundle=record.bundle,
        pid=0 if status == "stopped" else record.pid, rootfs=record.rootfs,
        created=record.created, annotations=record.annotations,
    )  # fmt: skip


def for_hooks(directory: Path) -> dict[str, Any]:
    return state(directory).document()


def _status(record: Record) -> Status:
    if not process.is_alive(record.pid, record.start_time):
        return "stopped"
    group = cgroup_of(record)
    if group is not None and is_frozen(group):
        return "paused"
    return "running" if record.started else "created"


def cgroup_of(record: Record) -> Cgroup | None:
    """The container's cgroup, where it has one and it is still there."""
    driver = cgroups.driver() if record.cgroup else None
    if driver is None:
        return None
    try:
        return driver.open(record.cgroup)
    except OSError:
        return None


def is_frozen(group: Cgroup) -> bool:
    """From ``freezer.state`` of v1 or ``cgroup.freeze`` of v2."""
    for controller, name, word in (("freezer", "freezer.state", "FRO"), ("", "cgroup.freeze", "1")):
        place = group.paths.get(controller)
        if place:
            with contextlib.suppress(OSError):
                return Path(place, name).read_text().startswith(word)
    return False


def kill(directory: Path, signal: int, *, everything: bool = False) -> None:
    """Send a signal to init, or to every process of the container.

    Raises ContainerNotFound, or Conflict ("container not running") where init has ended.
    """
    record = read(directory)
    group = cgroup_of(record)
    if everything and group is not None:
        _kill_all(group, signal)
        return
    if not process.is_alive(record.pid, record.start_time):
        raise Conflict("container not running")
    try:
        descriptor = process.pidfd_open(record.pid)
    except OSError:
        raise Conflict("container not running") from None
    try:
        if not process.is_alive(record.pid, record.start_time):
            raise Conflict("container not running")
        process.pidfd_send_signal(descriptor, signal)
    except ProcessLookupError:
        raise Conflict("container not running") from None
    finally:
        os.close(descriptor)
    if signal == signals.SIGKILL and group is not None and is_frozen(group):
        group.thaw()


def _kill_all(group: Cgroup, signal: int) -> None:
    if signal == signals.SIGKILL:
        group.kill()
        return
    for pid in group.pids():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal)


def pause(directory: Path) -> None:
    """Freeze every process. Raises Conflict unless running, Unsupported without a cgroup."""
    _in_cgroup(directory, ("created", "running"), "paused").freeze()


def resume(directory: Path) -> None:
    """Undo pause. Raises Conflict unless paused."""
    _in_cgroup(directory, ("paused",), "resumed").thaw()


def _in_cgroup(directory: Path, allowed: tuple[str, ...], verb: str) -> Cgroup:
    record = read(directory)
    status = _status(record)
    if status not in allowed:
        raise Conflict(f"a container in the {status} state cannot be {verb}")
    group = cgroup_of(record)
    if group is None:
        raise Unsupported(f"a container without a cgroup cannot be {verb}")
    return group


def delete(directory: Path, *, force: bool = False) -> None:
    """Remove cgroup, state.json and socket of a stopped container; run poststop hooks.

    Idempotent: what is gone already is no error. ``force`` kills what still runs; otherwise a
    container that is not stopped raises Conflict.
    """
    try:
        record = read(directory)
    except ContainerNotFound:
        return
    if (status := _status(record)) != "stopped":
        if not force:
            raise Conflict(f"cannot delete container {record.id} that is not stopped: {status}")
        with contextlib.suppress(Conflict):
            kill(directory, signals.SIGKILL)
        _await_end(record)
    group = cgroup_of(record)
    if group is not None:
        group.kill()
        group.delete()
    (directory / "start.sock").unlink(missing_ok=True)
    given = for_hooks(directory)
    forget(directory)
    _run_poststop(record, given)


def _await_end(record: Record) -> None:
    """Whoever is its parent waits for it; a zombie has ended as far as we are concerned."""
    until = time.monotonic() + _PATIENCE
    while process.is_alive(record.pid, record.start_time) and time.monotonic() < until:
        time.sleep(0.002)


def _run_poststop(record: Record, given: Mapping[str, Any]) -> None:
    """The bundle may be gone by now; then there are no hooks to run."""
    try:
        hooks = Bundle(Path(record.bundle)).spec().hooks or Hooks()
    except (NotFound, InvalidInput):
        return
    hook_runner.run_all("poststop", hooks.poststop, given)
