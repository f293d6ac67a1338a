"""Resources as values of cgroup v1's files.

Source: ``Documentation/admin-guide/cgroup-v1`` of the kernel, runtime-spec ``config-linux.md``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from workbench.linux.cgroup_settings import Setting, impossible, throttles
from workbench.oci.runtime_spec import (
    BlockIOLimits,
    CPULimits,
    DeviceRule,
    HugepageLimit,
    MemoryLimits,
    PidsLimits,
    Resources,
)

MEMORY_LIMIT: Final = "memory.limit_in_bytes"
SWAP_LIMIT: Final = "memory.memsw.limit_in_bytes"


def settings(resources: Resources) -> tuple[Setting, ...]:
    """Everything that ``resources`` names, in the order in which the kernel takes it."""
    found: list[Setting] = list(_devices(resources.devices))
    if resources.memory is not None:
        found += _memory(resources.memory)
    if resources.cpu is not None:
        found += _cpu(resources.cpu)
    if resources.pids is not None:
        found.append(_pids(resources.pids))
    if resources.block_io is not None:
        found += _block_io(resources.block_io)
    found += _hugepages(resources.hugepage_limits)
    found += [
        impossible("", f"unified {name}", "this host has cgroup v1") for name in resources.unified
    ]
    return tuple(found)


def device_line(rule: DeviceRule) -> str:
    """A rule as ``devices.allow`` reads it: ``c 1:3 rwm``, ``*`` for all, ``a`` for everything."""
    if rule.type in {"a", ""}:
        return "a"
    major = "*" if rule.major is None or rule.major < 0 else rule.major
    minor = "*" if rule.minor is None or rule.minor < 0 else rule.minor
    return f"{rule.type} {major}:{minor} {rule.access or 'rwm'}"


def _devices(rules: tuple[DeviceRule, ...]) -> Iterator[Setting]:
    for rule in rules:
        yield Setting(
            controller="devices",
            file="devices.allow" if rule.allow else "devices.deny",
            value=device_line(rule),
            what="device rules",
        )


def _memory(limits: MemoryLimits) -> Iterator[Setting]:
    for file, value, what in (
        (MEMORY_LIMIT, limits.limit, "memory limit"),
        (SWAP_LIMIT, limits.swap, "swap limit"),
        ("memory.soft_limit_in_bytes", limits.reservation, "memory reservation"),
        ("memory.kmem.limit_in_bytes", limits.kernel, "kernel memory limit"),
        ("memory.kmem.tcp.limit_in_bytes", limits.kernel_tcp, "kernel TCP memory limit"),
        ("memory.swappiness", limits.swappiness, "swappiness"),
        ("memory.oom_control", int(limits.disable_oom_killer) or None, "disabled OOM killer"),
    ):
        if value is not None and (value != 0 or file == "memory.swappiness"):
            yield Setting(controller="memory", file=file, value=str(value), what=what)


def _cpu(limits: CPULimits) -> Iterator[Setting]:
    for file, value, what in (
        ("cpu.shares", limits.shares, "CPU shares"),
        ("cpu.idle", limits.idle, "idle scheduling"),
        ("cpu.rt_period_us", limits.realtime_period, "realtime CPU period"),
        ("cpu.rt_runtime_us", limits.realtime_runtime, "realtime CPU time"),
        ("cpu.cfs_period_us", limits.period, "CPU period"),
        ("cpu.cfs_quota_us", limits.quota, "CPU limit"),
        ("cpu.cfs_burst_us", limits.burst, "CPU burst"),
    ):
        if value:
            yield Setting(controller="cpu", file=file, value=str(value), what=what)
    for file, text, what in (
        ("cpuset.cpus", limits.cpus, "set of processors"),
        ("cpuset.mems", limits.mems, "set of memory nodes"),
    ):
        if text:
            yield Setting(controller="cpuset", file=file, value=text, what=what)


def _pids(limits: PidsLimits) -> Setting:
    value = str(limits.limit) if limits.limit > 0 else "max"
    return Setting(controller="pids", file="pids.max", value=value, what="limit of processes")


def _block_io(limits: BlockIOLimits) -> Iterator[Setting]:
    if limits.weight:
        yield _blkio("blkio.weight", str(limits.weight), "block I/O weight")
    if limits.leaf_weight:
        yield _blkio("blkio.leaf_weight", str(limits.leaf_weight), "block I/O leaf weight")
    for item in limits.weight_device:
        device = f"{item.major}:{item.minor}"
        if item.weight:
            yield _blkio("blkio.weight_device", f"{device} {item.weight}", "device weight")
        if item.leaf_weight:
            yield _blkio("blkio.leaf_weight_device", f"{device} {item.leaf_weight}", "leaf weight")
    for direction, unit, throttle in throttles(limits):
        yield _blkio(
            f"blkio.throttle.{direction}_{unit}_device",
            f"{throttle.major}:{throttle.minor} {throttle.rate}",
            f"block I/O {direction} limit",
        )


def _blkio(file: str, value: str, what: str) -> Setting:
    return Setting(controller="blkio", file=file, value=value, what=what)


def _hugepages(limits: tuple[HugepageLimit, ...]) -> Iterator[Setting]:
    for item in limits:
        yield Setting(
            controller="hugetlb",
            file=f"hugetlb.{item.page_size}.limit_in_bytes",
            value=str(item.limit),
            what=f"limit of {item.page_size} pages",
        )
