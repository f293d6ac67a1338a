"""State files, derived status, signals, pause and deletion."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from workbench.errors import Conflict, ContainerNotFound, InvalidInput, Unsupported
from workbench.linux import cgroup, process
from workbench.oci.runtime_spec import (
    DeviceRule,
    Linux,
    MemoryLimits,
    Namespace,
    PidsLimits,
    Resources,
)
from workbench.runtime import state

from .conftest import KINDS, make_spec

if TYPE_CHECKING:
    from workbench.runtime.create import Created

    from .conftest import Box


def record(**changes: object) -> state.Record:
    base = state.Record(id="c", bundle="/b", pid=os.getpid(), created="now",
                        start_time=process.start_time(os.getpid()))  # fmt: skip
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def test_status_is_derived(tmp_path: Path) -> None:
    state.write(tmp_path, record())
    assert state.state(tmp_path).status == "created"
    state.mark_started(tmp_path, record())
    assert state.state(tmp_path).status == "running"


def test_a_pid_that_another_process_has_now_means_stopped(tmp_path: Path) -> None:
    state.write(tmp_path, record(start_time=1))
    shown = state.state(tmp_path)
    assert (shown.status, shown.pid) == ("stopped", 0)
    with pytest.raises(Conflict, match="container not running"):
        state.kill(tmp_path, 0)


def test_a_zombie_means_stopped(tmp_path: Path) -> None:
    child = os.posix_spawn("/bin/sleep", ["sleep", "0"], {})
    state.write(tmp_path, record(pid=child, start_time=process.start_time(child)))
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert state.state(tmp_path).status == "stopped"
    os.waitpid(child, 0)


def test_the_document_is_that_of_the_specification(tmp_path: Path) -> None:
    state.write(tmp_path, record(annotations={"a": "b"}, oci_version="1.2.0"))
    document = state.state(tmp_path).document()
    assert {"ociVersion": "1.2.0", "id": "c", "status": "created", "pid": os.getpid(),
            "bundle": "/b", "annotations": {"a": "b"}}.items() <= document.items()  # fmt: skip


def test_no_state_is_no_container(tmp_path: Path) -> None:
    for call in (state.state, state.pause, lambda place: state.kill(place, 9)):
        with pytest.raises(ContainerNotFound):
            call(tmp_path)
    state.delete(tmp_path)


def test_a_spoiled_state_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(InvalidInput, match=r"state\.json"):
        state.state(tmp_path)


def test_start_times_are_those_of_the_process(tmp_path: Path) -> None:
    assert process.is_alive(os.getpid(), process.start_time(os.getpid()))
    assert not process.is_alive(os.getpid(), 1)
    assert not process.is_alive(1 << 22)


@pytest.fixture
def sleeper(box: Box) -> Created:
    resources = Resources(pids=PidsLimits(limit=20))
    linux = Linux(resources=resources, namespaces=tuple(Namespace(type=k) for k in KINDS))
    created = box.create(make_spec("sh", "-c", "sleep 60 & sleep 61", linux=linux))
    created.start()
    return created


@pytest.fixture
def groups(require: Callable[..., None]) -> cgroup.CgroupDriver:
    driver = cgroup.driver()
    require(driver is not None, "needs cgroups that may be written")
    assert driver is not None
    return driver


@pytest.mark.kernel
def test_only_what_is_stopped_is_deleted(sleeper: Created) -> None:
    with pytest.raises(Conflict, match="not stopped"):
        state.delete(sleeper.directory)
    assert state.state(sleeper.directory).status == "running"


@pytest.mark.kernel
def test_delete_removes_everything_and_may_be_repeated(
    box: Box, sleeper: Created, groups: cgroup.CgroupDriver
) -> None:
    places = state.read(sleeper.directory).cgroup_paths
    assert all(Path(place).is_dir() for place in places.values())
    state.delete(sleeper.directory, force=True)
    assert box.wait(sleeper.pid) == -signal.SIGKILL
    assert not any(Path(place).exists() for place in places.values())
    assert not state.exists(sleeper.directory)
    state.delete(sleeper.directory, force=True)


@pytest.mark.kernel
def test_pause_and_resume(box: Box, sleeper: Created, groups: cgroup.CgroupDriver) -> None:
    state.pause(sleeper.directory)
    assert state.state(sleeper.directory).status == "paused"
    with pytest.raises(Conflict, match="paused"):
        state.pause(sleeper.directory)
    state.resume(sleeper.directory)
    assert state.state(sleeper.directory).status == "running"
    with pytest.raises(Conflict, match="resumed"):
        state.resume(sleeper.directory)


@pytest.mark.kernel
def test_a_paused_container_can_be_killed(
    box: Box, sleeper: Created, groups: cgroup.CgroupDriver
) -> None:
    state.pause(sleeper.directory)
    state.kill(sleeper.directory, signal.SIGKILL)
    assert box.wait(sleeper.pid) == -signal.SIGKILL


@pytest.mark.kernel
def test_signals_to_all_processes(box: Box, sleeper: Created, groups: cgroup.CgroupDriver) -> None:
    group = state.cgroup_of(state.read(sleeper.directory))
    assert group is not None
    until = time.monotonic() + 5
    while len(group.pids()) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    assert len(group.pids()) == 2
    state.kill(sleeper.directory, signal.SIGKILL, everything=True)
    box.wait(sleeper.pid)
    assert group.pids() == ()


@pytest.mark.kernel
def test_limits_hold(box: Box, groups: cgroup.CgroupDriver) -> None:
    resources = Resources(memory=MemoryLimits(limit=32 << 20), pids=PidsLimits(limit=7))
    created = box.create(make_spec("sleep", "60", linux=Linux(resources=resources)))
    group = state.cgroup_of(state.read(created.directory))
    assert group is not None
    stats = group.stats()
    assert (stats.memory_limit, stats.pids_limit) == (32 << 20, 7)
    assert group.pids() == (created.pid,)


@pytest.mark.kernel
def test_denied_devices_cannot_be_opened_but_the_default_ones_can(
    box: Box, groups: cgroup.CgroupDriver
) -> None:
    rules = (DeviceRule(allow=False, access="rwm"),)
    linux = Linux(resources=Resources(devices=rules))
    script = "echo > /dev/null && busybox mknod /tmp/m c 1 1; cat /tmp/m"
    code, text = box.shell(script, linux=linux)
    assert "Operation not permitted" in text
    assert code == 1


@pytest.mark.kernel
def test_limits_that_cannot_be_given_are_refused(box: Box, groups: cgroup.CgroupDriver) -> None:
    resources = Resources(unified={"no.such": "1"}) if groups.version == "v1" else None
    if resources is None:
        pytest.skip("every file of cgroup v2 may be named")
    with pytest.raises(Unsupported):
        box.shell("true", linux=Linux(resources=resources))
