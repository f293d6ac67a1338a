"""A reading of cgroup v1's files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from workbench.linux import cgroup_files as files
from workbench.linux.cgroup import BlockIOStats, CgroupStats

_NO_LIMIT: Final = 2**62  # limits are counted in pages; "none" is the largest that fits
_TICK: Final = 10_000_000  # nanoseconds in USER_HZ, which is 100 on every Linux


def read_stats(paths: Mapping[str, str]) -> CgroupStats:
    """What the controllers of ``paths`` say. Missing files count as nothing."""
    values: dict[str, object] = {}
    if "cpuacct" in paths:
        values |= _cpu(paths["cpuacct"])
    if "cpu" in paths:
        values |= _throttling(paths["cpu"])
    if "memory" in paths:
        values |= _memory(paths["memory"])
    if "pids" in paths:
        values["pids_current"] = files.number(f"{paths['pids']}/pids.current")
        values["pids_limit"] = files.number(f"{paths['pids']}/pids.max")
    if "blkio" in paths:
        values["block_io"] = _block_io(paths["blkio"])
    return CgroupStats(**values)  # type: ignore[arg-type]


def _cpu(path: str) -> dict[str, object]:
    ticks = files.keyed(files.read_or(f"{path}/cpuacct.stat"))
    user = files.number(f"{path}/cpuacct.usage_user")
    system = files.number(f"{path}/cpuacct.usage_sys")
    return {
        "cpu_total": files.number(f"{path}/cpuacct.usage") or 0,
        "cpu_user": user if user is not None else ticks.get("user", 0) * _TICK,
        "cpu_system": system if system is not None else ticks.get("system", 0) * _TICK,
        "cpu_each": tuple(map(int, files.read_or(f"{path}/cpuacct.usage_percpu").split())),
    }


def _throttling(path: str) -> dict[str, object]:
    stat = files.keyed(files.read_or(f"{path}/cpu.stat"))
    return {
        "periods": stat.get("nr_periods", 0),
        "throttled_periods": stat.get("nr_throttled", 0),
        "throttled_time": stat.get("throttled_time", 0),
    }


def _memory(path: str) -> dict[str, object]:
    detail = files.keyed(files.read_or(f"{path}/memory.stat"))
    limit = files.number(f"{path}/memory.limit_in_bytes")
    control = files.keyed(files.read_or(f"{path}/memory.oom_control"))
    return {
        "memory_usage": files.number(f"{path}/memory.usage_in_bytes"),
        "memory_peak": files.number(f"{path}/memory.max_usage_in_bytes"),
        "memory_limit": None if limit is None or limit >= _NO_LIMIT else limit,
        "memory_inactive_file": detail.get("total_inactive_file", detail.get("inactive_file", 0)),
        "memory_detail": detail,
        "memory_failures": files.number(f"{path}/memory.failcnt") or 0,
        "oom_kills": control.get("oom_kill", 0),
    }


def _block_io(path: str) -> tuple[BlockIOStats, ...]:
    found: dict[tuple[int, int], dict[str, int]] = {}
    for file, unit in (("io_service_bytes", "bytes"), ("io_serviced", "ops")):
        text = files.read_or(f"{path}/blkio.throttle.{file}_recursive")
        for line in text.splitlines():
            fields = line.split()
            if len(fields) == 3 and fields[1] in {"Read", "Write"}:
                major, _, minor = fields[0].partition(":")
                device = found.setdefault((int(major), int(minor)), {})
                device[f"{fields[1].lower()}_{unit}"] = int(fields[2])
    return tuple(
        BlockIOStats(major=major, minor=minor, **numbers)
        for (major, minor), numbers in sorted(found.items())
    )
