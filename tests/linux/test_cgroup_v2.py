"""cgroup v2 over a directory of plain files: what is written where, and what is read."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from workbench.linux import cgroup
from workbench.linux.cgroup import BlockIOStats
from workbench.linux.cgroup_mounts import Hierarchy
from workbench.linux.cgroup_v2 import V2Cgroup, V2Driver
from workbench.linux.cgroup_v2_limits import cpu_weight, io_weight, settings
from workbench.oci.runtime_spec import (
    BlockIOLimits,
    CPULimits,
    HugepageLimit,
    MemoryLimits,
    PidsLimits,
    Resources,
    ThrottleDevice,
    WeightDevice,
)

CONTROLLERS = "cpuset cpu io memory hugetlb pids"


def _group(path: Path, *, processes: str = "", controllers: str = CONTROLLERS) -> Path:
    """A directory that looks like a group."""
    path.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("cgroup.procs", processes),
        ("cgroup.controllers", controllers),
        ("cgroup.subtree_control", ""),
    ):
        (path / name).write_text(text)
    return path


def _limit_files(path: Path) -> Path:
    for name in ("memory.max", "memory.swap.max", "memory.low", "cpu.weight", "cpu.max",
                 "cpuset.cpus", "pids.max", "io.max", "io.weight", "hugetlb.2MB.max",
                 "memory.high", "cgroup.freeze", "cgroup.kill"):  # fmt: skip
        (path / name).write_text("")
    return path


@pytest.fixture
def group(tmp_path: Path) -> V2Cgroup:
    return V2Cgroup(str(_limit_files(_group(tmp_path / "g"))))


def _read(group: V2Cgroup, name: str) -> str:
    return Path(group.directory, name).read_text()


def _values(resources: Resources) -> list[tuple[str, str]]:
    return [(item.file, item.value) for item in settings(resources)]


def test_limits_arrive_in_the_files(group: V2Cgroup) -> None:
    group.update(
        Resources(
            memory=MemoryLimits(limit=64, swap=96, reservation=32),
            cpu=CPULimits(shares=1024, quota=50_000, period=100_000, cpus="0-1"),
            pids=PidsLimits(limit=20),
            hugepage_limits=(HugepageLimit(page_size="2MB", limit=4),),
            unified={"memory.high": "60"},
        )
    )
    written = {
        name: _read(group, name)
        for name in ("memory.max", "memory.swap.max", "memory.low", "cpu.weight", "cpu.max",
                     "cpuset.cpus", "pids.max", "hugetlb.2MB.max", "memory.high")
    }  # fmt: skip
    assert written == {
        "memory.max": "64",
        "memory.swap.max": "32",
        "memory.low": "32",
        "cpu.weight": "100",
        "cpu.max": "50000 100000",
        "cpuset.cpus": "0-1",
        "pids.max": "20",
        "hugetlb.2MB.max": "4",
        "memory.high": "60",
    }


@pytest.mark.parametrize(
    "memory,expected",
    [
        (MemoryLimits(limit=-1, swap=-1), [("memory.max", "max"), ("memory.swap.max", "max")]),
        (MemoryLimits(limit=64, swap=64), [("memory.max", "64"), ("memory.swap.max", "0")]),
        (MemoryLimits(limit=64), [("memory.max", "64")]),
        (MemoryLimits(), []),
    ],
)
def test_swap_is_counted_without_memory(memory: MemoryLimits, expected: object) -> None:
    assert _values(Resources(memory=memory)) == expected


def test_a_quota_without_a_period_has_the_usual_one() -> None:
    assert _values(Resources(cpu=CPULimits(quota=20_000))) == [("cpu.max", "20000 100000")]
    assert _values(Resources(cpu=CPULimits(quota=-1))) == [("cpu.max", "max 100000")]
    assert _values(Resources(pids=PidsLimits(limit=-1))) == [("pids.max", "max")]


def test_block_io_goes_into_two_files() -> None:
    device = ThrottleDevice(major=8, minor=16, rate=1000)
    limits = BlockIOLimits(
        weight=500,
        weight_device=(WeightDevice(major=8, minor=0, weight=10),),
        throttle_read_bps_device=(device,),
        throttle_write_iops_device=(device,),
    )
    assert _values(Resources(block_io=limits)) == [
        ("io.weight", "default 4950"),
        ("io.weight", "8:0 1"),
        ("io.max", "8:16 rbps=1000"),
        ("io.max", "8:16 wiops=1000"),
    ]


def test_weights_keep_their_ends_and_the_default() -> None:
    assert [cpu_weight(shares) for shares in (2, 1024, 262144)] == [1, 100, 10000]
    weights = [cpu_weight(shares) for shares in range(2, 262144, 997)]
    assert weights == sorted(weights)
    assert [io_weight(weight) for weight in (10, 1000, 5)] == [1, 10000, 1]


@pytest.mark.parametrize(
    "resources,reason",
    [
        (Resources(memory=MemoryLimits(swap=10)), "swap limit"),
        (Resources(memory=MemoryLimits(limit=20, swap=10)), "swap limit"),
        (Resources(memory=MemoryLimits(disable_oom_killer=True)), "OOM"),
        (Resources(memory=MemoryLimits(swappiness=10)), "swappiness"),
        (Resources(cpu=CPULimits(realtime_runtime=10)), "realtime"),
        (Resources(unified={"cgroup.procs": "1"}), r"cgroup\.procs"),
        (Resources(unified={"../memory.max": "1"}), r"memory\.max"),
        (Resources(unified={"rdma.max": "1"}), "rdma"),
    ],
)
def test_what_v2_does_not_have_is_refused(
    group: V2Cgroup, resources: Resources, reason: str
) -> None:
    with pytest.raises(OSError, match=reason) as caught:
        group.update(resources)
    assert caught.value.errno == errno.EOPNOTSUPP


def _driver(mount: Path, own: str) -> V2Driver:
    return V2Driver(Hierarchy(controllers=(), mount=str(mount), own=str(mount / own)))


def test_groups_lie_below_the_nearest_one_without_processes(tmp_path: Path) -> None:
    _group(tmp_path, processes="1")
    _group(tmp_path / "app.slice")
    _group(tmp_path / "app.slice/jupyter.service", processes=str(os.getpid()))
    group = _driver(tmp_path, "app.slice/jupyter.service").create("workbench/abc")
    assert group.directory == str(tmp_path / "app.slice/workbench/abc")
    assert (tmp_path / "app.slice/cgroup.subtree_control").read_text().startswith("+pids")
    assert (tmp_path / "app.slice/jupyter.service/cgroup.subtree_control").read_text() == ""


def test_an_absolute_path_starts_at_the_mount(tmp_path: Path) -> None:
    _group(tmp_path)
    _group(tmp_path / "user")
    assert _driver(tmp_path, "user").create("/x").directory == str(tmp_path / "x")


def test_open_finds_what_create_made(tmp_path: Path) -> None:
    driver = _driver(_group(tmp_path), ".")
    made = driver.create("workbench/abc")
    assert driver.open("workbench/abc") == made == cgroup.at(made.paths)
    with pytest.raises(FileNotFoundError):
        driver.open("workbench/other")


def test_missing_names_the_controller_that_is_not_there(tmp_path: Path) -> None:
    driver = _driver(_group(tmp_path, controllers="cpu pids"), ".")
    wanted = Resources(memory=MemoryLimits(limit=10), pids=PidsLimits(limit=5))
    reasons = driver.missing(wanted)
    assert len(reasons) == 1
    assert "memory limit" in reasons[0]
    with pytest.raises(OSError, match="memory limit"):
        driver.create("x", wanted)
    assert not (tmp_path / "x").exists()


def test_freezing_waits_for_the_event(group: V2Cgroup) -> None:
    Path(group.directory, "cgroup.events").write_text("populated 1\nfrozen 1\n")
    group.freeze()
    assert _read(group, "cgroup.freeze") == "1"
    group.thaw()
    assert _read(group, "cgroup.freeze") == "0"
    group.kill()
    assert _read(group, "cgroup.kill") == "1"


def test_stats_are_read_from_all_files(group: V2Cgroup) -> None:
    for name, text in (
        ("cpu.stat", "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 4\nnr_throttled 3\n"
                     "throttled_usec 2\n"),
        ("memory.current", "4096\n"),
        ("memory.max", "max\n"),
        ("memory.peak", "8192\n"),
        ("memory.stat", "anon 1000\ninactive_file 512\n"),
        ("memory.events", "low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\n"),
        ("pids.current", "3\n"),
        ("pids.max", "20\n"),
        ("io.stat", "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n254:1 \n"),
    ):  # fmt: skip
        Path(group.directory, name).write_text(text)
    stats = group.stats()
    assert (stats.cpu_total, stats.cpu_user, stats.cpu_system) == (30_000, 20_000, 10_000)
    assert (stats.periods, stats.throttled_periods, stats.throttled_time) == (4, 3, 2_000)
    assert (stats.memory_usage, stats.memory_limit, stats.memory_peak) == (4096, None, 8192)
    assert (stats.memory_inactive_file, stats.memory_failures, stats.oom_kills) == (512, 7, 1)
    assert (stats.pids_current, stats.pids_limit) == (3, 20)
    assert stats.block_io[0] == BlockIOStats(
        major=8, minor=0, read_bytes=1, write_bytes=2, read_ops=3, write_ops=4
    )


def test_an_empty_directory_has_empty_stats(tmp_path: Path) -> None:
    stats = V2Cgroup(str(tmp_path)).stats()
    assert stats.cpu_total == 0
    assert stats.memory_usage is None


def test_the_watch_counts_kills_when_the_file_changes(group: V2Cgroup) -> None:
    import select

    events = Path(group.directory, "memory.events")
    events.write_text("oom_kill 1\n")
    watch = group.oom_watch()
    assert select.select([watch], [], [], 0)[0] == []
    with events.open("r+") as stream:
        stream.write("oom_kill 3\n")
    assert select.select([watch], [], [], 5)[0] == [watch]
    assert watch.read() == 2
    watch.close()
