"""cgroup v1 in the kernel: limits, counts, freezing, killing, memory that runs out."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from workbench.linux import cgroup
from workbench.linux.cgroup import Cgroup, CgroupDriver
from workbench.oci.runtime_spec import (
    BlockIOLimits,
    CPULimits,
    DeviceRule,
    HugepageLimit,
    MemoryLimits,
    PidsLimits,
    Resources,
    ThrottleDevice,
)
from workbench.runtime.profile import DEVICE_RULES

pytestmark = pytest.mark.kernel

MIB = 2**20
TOP = f"workbench-test-{os.getpid()}"


@pytest.fixture(scope="module")
def driver(require: Callable[[object, str], None]) -> Iterator[CgroupDriver]:
    found = cgroup.driver()
    require(found is not None and found.version == "v1", "needs writable cgroup v1 hierarchies")
    assert found is not None
    yield found
    for path in found.create(TOP).paths.values():
        Path(path).rmdir()
    if "cpuset" in found.controllers:
        found.create(TOP, Resources(cpu=CPULimits(cpus="0"))).delete()


@pytest.fixture
def make(driver: CgroupDriver) -> Iterator[Callable[..., Cgroup]]:
    groups: list[Cgroup] = []

    def create(resources: Resources | None = None, name: str = "") -> Cgroup:
        groups.append(driver.create(f"{TOP}/{name or len(groups)}", resources))
        return groups[-1]

    yield create
    for group in groups:
        group.kill()
        group.delete()


@pytest.fixture
def child() -> Iterator[Callable[..., int]]:
    """``child(group, action)``: a process that moves into the group, then acts, then sleeps."""
    pids: list[int] = []

    def start(group: Cgroup, action: Callable[[], None] = lambda: None) -> int:
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.read(read, 1)
                action()
                time.sleep(60)
                code = 0
            except OSError as error:
                code = error.errno or 1
            finally:
                os._exit(code)
        pids.append(pid)
        group.add(pid)
        os.write(write, b"x")
        os.close(read)
        os.close(write)
        return pid

    yield start
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            continue


def _exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _text(group: Cgroup, controller: str, file: str) -> str:
    return Path(group.paths[controller], file).read_text("ascii").strip()


def test_limits_arrive_in_the_files(make: Callable[..., Cgroup]) -> None:
    group = make(
        Resources(
            memory=MemoryLimits(limit=64 * MIB, swap=96 * MIB, reservation=32 * MIB, swappiness=0),
            cpu=CPULimits(shares=512, quota=50_000, period=100_000, cpus="0", mems="0"),
            pids=PidsLimits(limit=20),
            devices=DEVICE_RULES,
        )
    )
    assert _text(group, "memory", "memory.limit_in_bytes") == str(64 * MIB)
    assert _text(group, "memory", "memory.memsw.limit_in_bytes") == str(96 * MIB)
    assert _text(group, "memory", "memory.soft_limit_in_bytes") == str(32 * MIB)
    assert _text(group, "memory", "memory.swappiness") == "0"
    assert _text(group, "cpu", "cpu.shares") == "512"
    assert _text(group, "cpu", "cpu.cfs_quota_us") == "50000"
    assert _text(group, "cpuset", "cpuset.cpus") == "0"
    assert _text(group, "pids", "pids.max") == "20"
    assert "c 1:3 rwm" in _text(group, "devices", "devices.list")
    stats = group.stats()
    assert (stats.memory_limit, stats.pids_limit) == (64 * MIB, 20)


def test_memory_limits_move_up_and_down(make: Callable[..., Cgroup]) -> None:
    group = make(Resources(memory=MemoryLimits(limit=64 * MIB, swap=64 * MIB)))
    for size in (256 * MIB, 16 * MIB):
        group.update(Resources(memory=MemoryLimits(limit=size, swap=size)))
        assert group.stats().memory_limit == size
    group.update(Resources(memory=MemoryLimits(limit=-1, swap=-1)))
    assert group.stats().memory_limit is None


def test_what_is_not_named_stays(make: Callable[..., Cgroup]) -> None:
    group = make(Resources(pids=PidsLimits(limit=20), cpu=CPULimits(shares=512)))
    group.update(Resources(pids=PidsLimits(limit=0)))
    assert group.stats().pids_limit is None
    assert _text(group, "cpu", "cpu.shares") == "512"


def test_throttles_name_their_device(make: Callable[..., Cgroup]) -> None:
    entry = Path("/sys/block").iterdir()
    device = next(iter(sorted(entry)), None)
    if device is None:
        pytest.skip("needs a block device")
    major, minor = map(int, (device / "dev").read_text().split(":"))
    throttle = ThrottleDevice(major=major, minor=minor, rate=MIB)
    group = make(Resources(block_io=BlockIOLimits(throttle_write_bps_device=(throttle,))))
    text = _text(group, "blkio", "blkio.throttle.write_bps_device")
    assert text == f"{major}:{minor} {MIB}"


def test_a_process_is_counted_and_found(
    make: Callable[..., Cgroup], child: Callable[..., int]
) -> None:
    group = make()
    pid = child(group, lambda: sum(range(3_000_000)) and None)
    assert group.pids() == (pid,)
    deadline = time.monotonic() + 10
    while group.stats().cpu_total < 10_000_000 and time.monotonic() < deadline:
        time.sleep(0.01)
    stats = group.stats()
    assert stats.cpu_total >= 10_000_000
    assert sum(stats.cpu_each) > 0
    assert stats.pids_current == 1
    assert stats.memory_usage is not None
    assert cgroup.of(pid).paths["memory"] == group.paths["memory"]
    assert cgroup.at(group.paths).pids() == (pid,)


def test_a_frozen_process_does_nothing(
    make: Callable[..., Cgroup], child: Callable[..., int]
) -> None:
    group = make()

    def spin() -> None:
        while True:
            pass

    child(group, spin)
    group.freeze()
    before = group.stats().cpu_total
    time.sleep(0.1)
    assert group.stats().cpu_total == before
    group.thaw()
    time.sleep(0.1)
    assert group.stats().cpu_total > before


def test_kill_ends_all_even_the_frozen(
    make: Callable[..., Cgroup], child: Callable[..., int]
) -> None:
    group = make()
    pids = [child(group) for _ in range(3)]
    group.freeze()
    group.kill()
    assert [_exit_code(pid) for pid in pids] == [-signal.SIGKILL] * 3
    assert group.pids() == ()


def test_too_many_processes_are_refused(
    make: Callable[..., Cgroup], child: Callable[..., int]
) -> None:
    import errno

    def fork_twice() -> None:
        for _ in range(2):
            if os.fork() == 0:
                time.sleep(60)

    group = make(Resources(pids=PidsLimits(limit=2)))
    assert _exit_code(child(group, fork_twice)) == errno.EAGAIN


def test_devices_are_opened_by_the_rules(
    make: Callable[..., Cgroup], child: Callable[..., int]
) -> None:
    import errno

    rules = (
        DeviceRule(allow=False, type="a", access="rwm"),
        DeviceRule(allow=True, type="c", major=1, minor=3, access="rw"),
    )
    group = make(Resources(devices=rules))

    def open_null() -> None:
        os.close(os.open("/dev/null", os.O_RDWR))
        os._exit(0)

    def open_zero() -> None:
        os.open("/dev/zero", os.O_RDONLY)

    assert _exit_code(child(group, open_null)) == 0
    assert _exit_code(child(group, open_zero)) == errno.EPERM


def test_a_group_that_runs_out_of_memory_says_so(
    make: Callable[..., Cgroup], child: Callable[..., int]
) -> None:
    group = make(Resources(memory=MemoryLimits(limit=8 * MIB, swap=8 * MIB)))
    watch = group.oom_watch()
    pid = child(group, lambda: bytearray(64 * MIB) and None)
    ready, _, _ = select.select([watch], [], [], 20)
    assert ready
    assert _exit_code(pid) == -signal.SIGKILL
    assert watch.read() == 1
    assert watch.read() == 0
    watch.close()
    assert group.stats().oom_kills == 1


def test_delete_waits_for_the_dying_and_takes_groups_below(
    driver: CgroupDriver, make: Callable[..., Cgroup], child: Callable[..., int]
) -> None:
    group = make(name="parent")
    inner = driver.create(f"{TOP}/parent/inner")
    pid = child(inner)
    assert group.pids() == (pid,)
    group.kill()
    os.waitpid(pid, 0)
    group.delete()
    assert not any(Path(path).exists() for path in group.paths.values())
    group.delete()


def test_open_finds_what_create_made(driver: CgroupDriver, make: Callable[..., Cgroup]) -> None:
    group = make(name="known")
    assert driver.open(f"{TOP}/known").paths == group.paths
    with pytest.raises(FileNotFoundError):
        driver.open(f"{TOP}/unknown")


def test_what_this_host_cannot_give_is_named_and_refused(driver: CgroupDriver) -> None:
    wanted = Resources(
        hugepage_limits=(HugepageLimit(page_size="2MB", limit=0),), unified={"memory.high": "1"}
    )
    reasons = driver.missing(wanted)
    assert any("memory.high" in reason for reason in reasons)
    with pytest.raises(OSError, match=r"memory\.high"):
        driver.create(f"{TOP}/never", wanted)
    with pytest.raises(FileNotFoundError):
        driver.open(f"{TOP}/never")


def test_a_group_that_cannot_be_limited_leaves_nothing_behind(driver: CgroupDriver) -> None:
    with pytest.raises(OSError, match="4096"):
        driver.create(f"{TOP}/broken", Resources(cpu=CPULimits(cpus="4096")))
    with pytest.raises(FileNotFoundError):
        driver.open(f"{TOP}/broken")
