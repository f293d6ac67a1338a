"""Resources as values of cgroup v2's files.

Source: ``Documentation/admin-guide/cgroup-v2.rst`` of the kernel, runtime-spec
``config-linux.md``. Device rules are no file in v2; see ``cgroup_devices``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from workbench.linux.cgroup_settings import Setting, impossible, throttles
from workbench.oci.runtime_spec import (
    BlockIOLimits,
    CPULimits,
    MemoryLimits,
    Resources,
)

_MOST_SHARES: Final = 262144
_DEFAULT_PERIOD: Final = 100_000  # microseconds
_CORE_FILES: Final = "cgroup"
_IO_KEYS: Final = {
    ("read", "bps"): "rbps",
    ("write", "bps"): "wbps",
    ("read", "iops"): "riops",
    ("write", "iops"): "wiops",
}


def settings(resources: Resources) -> tuple[Setting, ...]:
    """Everything that ``resources`` names but device rules, in the order to write it."""
    found: list[Setting] = []
    if resources.memory is not None:
        found += _memory(resources.memory)
    if resources.cpu is not None:
        found += _cpu(resources.cpu)
    if resources.pids is not None:
        value = str(resources.pids.limit) if resources.pids.limit > 0 else "max"
        found.append(_setting("pids", "max", value, "limit of processes"))
    if resources.block_io is not None:
        found += _block_io(resources.block_io)
    for item in resources.hugepage_limits:
        file = f"{item.page_size}.max"
        found.append(_setting("hugetlb", file, str(item.limit), f"limit of {item.page_size} pages"))
    found += [_unified(name, value) for name, value in resources.unified.items()]
    return tuple(found)


def cpu_weight(shares: int) -> int:
    """``cpu.weight`` (1 to 10000) for ``cpu.shares`` (2 to 262144).

    A curve through both ends that sends the default of one to that of the other: 1024 is 100.
    """
    if shares <= 2:
        return 1
    if shares >= _MOST_SHARES:
        return 10000
    power = math.log2(shares)
    return math.ceil(10 ** ((power * power + 125 * power) / 612 - 7 / 34))


def io_weight(weight: int) -> int:
    """``io.weight`` (1 to 10000) for a weight of 10 to 1000."""
    return 1 + (max(10, min(weight, 1000)) - 10) * 9999 // 990


def _setting(controller: str, file: str, value: str, what: str) -> Setting:
    return Setting(controller=controller, file=f"{controller}.{file}", value=value, what=what)


def _bytes(value: int) -> str:
    return "max" if value < 0 else str(value)


def _memory(limits: MemoryLimits) -> Iterator[Setting]:
    if limits.limit:
        yield _setting("memory", "max", _bytes(limits.limit), "memory limit")
    if limits.swap:
        yield _swap(limits.swap, limits.limit or 0)
    if limits.reservation:
        yield _setting("memory", "low", _bytes(limits.reservation), "memory reservation")
    for asked, what in (
        (limits.kernel, "kernel memory limit"),
        (limits.kernel_tcp, "kernel TCP memory limit"),
        (limits.disable_oom_killer, "disabled OOM killer"),
        (limits.swappiness is not None, "swappiness"),
    ):
        if asked:
            yield impossible("memory", what, "cgroup v2 does not have it")


def _swap(both: int, memory: int) -> Setting:
    """``memory.swap.max`` counts swap alone; what is asked counts memory with it."""
    what = "swap limit"
    if both < 0:
        return _setting("memory", "swap.max", "max", what)
    if memory <= 0:
        return impossible("memory", what, "it needs a memory limit beside it")
    if both < memory:
        return impossible("memory", what, "memory plus swap is less than the memory limit")
    return _setting("memory", "swap.max", str(both - memory), what)


def _cpu(limits: CPULimits) -> Iterator[Setting]:
    if limits.shares:
        yield _setting("cpu", "weight", str(cpu_weight(limits.shares)), "CPU shares")
    if limits.idle:
        yield _setting("cpu", "idle", str(limits.idle), "idle scheduling")
    if limits.quota or limits.period:
        quota = str(limits.quota) if limits.quota and limits.quota > 0 else "max"
        value = f"{quota} {limits.period or _DEFAULT_PERIOD}"
        yield _setting("cpu", "max", value, "CPU limit")
    if limits.burst:
        yield _setting("cpu", "max.burst", str(limits.burst), "CPU burst")
    if limits.realtime_period or limits.realtime_runtime:
        yield impossible("cpu", "realtime CPU time", "cgroup v2 does not have it")
    if limits.cpus:
        yield _setting("cpuset", "cpus", limits.cpus, "set of processors")
    if limits.mems:
        yield _setting("cpuset", "mems", limits.mems, "set of memory nodes")


def _block_io(limits: BlockIOLimits) -> Iterator[Setting]:
    if limits.weight:
        value = f"default {io_weight(limits.weight)}"
        yield _setting("io", "weight", value, "block I/O weight")
    for item in limits.weight_device:
        if item.weight:
            value = f"{item.major}:{item.minor} {io_weight(item.weight)}"
            yield _setting("io", "weight", value, "device weight")
    if limits.leaf_weight or any(item.leaf_weight for item in limits.weight_device):
        yield impossible("io", "leaf weight", "cgroup v2 does not have it")
    for direction, unit, device in throttles(limits):
        value = f"{device.major}:{device.minor} {_IO_KEYS[direction, unit]}={device.rate or 'max'}"
        yield _setting("io", "max", value, f"block I/O {direction} limit")


def _unified(name: str, value: str) -> Setting:
    """A file that was asked for by name; it must be one of a controller's own."""
    controller, _, rest = name.partition(".")
    if not rest or "/" in name or controller == _CORE_FILES:
        return impossible("", f"unified {name}", "it is not a limit of a controller")
    return Setting(controller=controller, file=name, value=value, what=f"unified {name}")
