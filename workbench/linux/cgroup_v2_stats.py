"""A reading of cgroup v2's files."""

from __future__ import annotations

from typing import Final

from workbench.linux import cgroup_files as files
from workbench.linux.cgroup import BlockIOStats, CgroupStats

_MICROSECOND: Final = 1000  # nanoseconds


def read_stats(directory: str) -> CgroupStats:
    """What the files of one group say. Missing ones count as nothing."""
    cpu = files.keyed(files.read_or(f"{directory}/cpu.stat"))
    memory = files.keyed(files.read_or(f"{directory}/memory.stat"))
    events = files.keyed(files.read_or(f"{directory}/memory.events"))
    return CgroupStats(
        cpu_total=cpu.get("usage_usec", 0) * _MICROSECOND,
        cpu_user=cpu.get("user_usec", 0) * _MICROSECOND,
        cpu_system=cpu.get("system_usec", 0) * _MICROSECOND,
        periods=cpu.get("nr_periods", 0),
        throttled_periods=cpu.get("nr_throttled", 0),
        throttled_time=cpu.get("throttled_usec", 0) * _MICROSECOND,
        memory_usage=files.number(f"{directory}/memory.current"),
        memory_peak=files.number(f"{directory}/memory.peak"),
        memory_limit=files.number(f"{directory}/memory.max"),
        memory_inactive_file=memory.get("inactive_file", 0),
        memory_detail=memory,
        memory_failures=events.get("max", 0),
        oom_kills=events.get("oom_kill", 0),
        pids_current=files.number(f"{directory}/pids.current"),
        pids_limit=files.number(f"{directory}/pids.max"),
        block_io=_block_io(files.read_or(f"{directory}/io.stat")),
    )


def _block_io(text: str) -> tuple[BlockIOStats, ...]:
    """Lines of ``major:minor key=value ...``."""
    found = []
    for line in text.splitlines():
        device, *pairs = line.split()
        major, _, minor = device.partition(":")
        numbers = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        found.append(
            BlockIOStats(
                major=int(major),
                minor=int(minor),
                read_bytes=int(numbers.get("rbytes", 0)),
                write_bytes=int(numbers.get("wbytes", 0)),
                read_ops=int(numbers.get("rios", 0)),
                write_ops=int(numbers.get("wios", 0)),
            )
        )
    return tuple(found)
