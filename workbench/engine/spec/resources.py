"""The ``linux.resources`` section: limits and devices. Refuses what the host cannot enforce."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from typing import Final

from workbench.engine.options import DeviceOption, ResourceOptions, RunOptions
from workbench.engine.spec.inputs import Inputs
from workbench.errors import InvalidInput
from workbench.oci.runtime_spec import (
    BlockIOLimits,
    CPULimits,
    Device,
    DeviceRule,
    MemoryLimits,
    PidsLimits,
    Resources,
    ThrottleDevice,
    WeightDevice,
)
from workbench.runtime import profile

MINIMUM_MEMORY: Final = 6 * 1024**2
_PERIOD: Final = 100_000


def resources(inputs: Inputs) -> Resources:
    """Raises InvalidInput in Docker's words for limits that make no sense."""
    asked = inputs.options.resources
    return Resources(
        devices=device_rules(inputs.options),
        memory=_memory(asked),
        cpu=_cpu(asked),
        pids=_pids(asked),
        block_io=_block_io(asked),
    )


def _memory(asked: ResourceOptions) -> MemoryLimits | None:
    if asked.memory and 0 < asked.memory < MINIMUM_MEMORY:
        raise InvalidInput("Minimum memory limit allowed is 6MB")
    if asked.memory_swap and asked.memory_swap > 0 and not asked.memory:
        raise InvalidInput(
            "You should always set the Memory limit when using Memoryswap limit, see usage"
        )
    if asked.memory and asked.memory_swap and 0 < asked.memory_swap < asked.memory:
        raise InvalidInput("Minimum memoryswap limit should be larger than memory limit, see usage")
    limits = MemoryLimits(
        limit=asked.memory or None,
        reservation=asked.memory_reservation or None,
        swap=_swap(asked),
        swappiness=asked.memory_swappiness,
        disable_oom_killer=asked.oom_kill_disable,
    )
    return limits if limits != MemoryLimits() else None


def _swap(asked: ResourceOptions) -> int | None:
    if asked.memory_swap:
        return asked.memory_swap
    return asked.memory * 2 if asked.memory and asked.memory > 0 else None


def _cpu(asked: ResourceOptions) -> CPULimits | None:
    if asked.cpus is not None and (asked.cpu_quota or asked.cpu_period):
        raise InvalidInput(
            "Conflicting options: Nano CPUs and CPU Period or Quota cannot both be set"
        )
    quota, period = asked.cpu_quota, asked.cpu_period
    if asked.cpus:
        available = os.cpu_count() or 1
        if not 0.01 <= asked.cpus <= available:
            raise InvalidInput(
                f"range of CPUs is from 0.01 to {available}.00, as there are only {available} CPUs"
                " available"
            )
        quota, period = round(asked.cpus * _PERIOD), _PERIOD
    limits = CPULimits(
        shares=asked.cpu_shares or None,
        quota=quota or None,
        period=period or None,
        realtime_period=asked.cpu_rt_period or None,
        realtime_runtime=asked.cpu_rt_runtime or None,
        cpus=asked.cpuset_cpus,
        mems=asked.cpuset_mems,
    )
    return limits if limits != CPULimits() else None


def _pids(asked: ResourceOptions) -> PidsLimits | None:
    return PidsLimits(limit=asked.pids_limit) if asked.pids_limit else None


def _block_io(asked: ResourceOptions) -> BlockIOLimits | None:
    limits = BlockIOLimits(
        weight=asked.blkio_weight or None,
        weight_device=tuple(
            WeightDevice(major=major, minor=minor, weight=weight)
            for (major, minor), weight in _numbers(asked.blkio_weight_device)
        ),
        throttle_read_bps_device=_throttle(asked.device_read_bps),
        throttle_write_bps_device=_throttle(asked.device_write_bps),
        throttle_read_iops_device=_throttle(asked.device_read_iops),
        throttle_write_iops_device=_throttle(asked.device_write_iops),
    )
    return limits if limits != BlockIOLimits() else None


def _throttle(pairs: Iterable[tuple[str, int]]) -> tuple[ThrottleDevice, ...]:
    return tuple(
        ThrottleDevice(major=major, minor=minor, rate=rate)
        for (major, minor), rate in _numbers(pairs)
    )


def _numbers(pairs: Iterable[tuple[str, int]]) -> Iterable[tuple[tuple[int, int], int]]:
    for path, value in pairs:
        found = _device_stat(path)
        yield (os.major(found.st_rdev), os.minor(found.st_rdev)), value


def device_rules(options: RunOptions) -> tuple[DeviceRule, ...]:
    """Docker's default rules, and one for each device that was asked for."""
    if options.security.privileged:
        return (DeviceRule(allow=True, access="rwm"),)
    asked = tuple(
        DeviceRule(
            allow=True,
            type=node.type,
            major=node.major,
            minor=node.minor,
            access=device.permissions,
        )
        for device, node in zip(options.devices, devices(options), strict=True)
    )
    return (*profile.DEVICE_RULES, *asked)


def devices(options: RunOptions) -> tuple[Device, ...]:
    """The nodes that ``--device`` asks for."""
    return tuple(_device(device) for device in options.devices)


def _device(device: DeviceOption) -> Device:
    if not set(device.permissions) <= set("rwm"):
        raise InvalidInput(f"invalid device mode: {device.permissions}")
    found = _device_stat(device.source)
    return Device(
        path=device.target or device.source,
        type="c" if stat.S_ISCHR(found.st_mode) else "b",
        major=os.major(found.st_rdev),
        minor=os.minor(found.st_rdev),
        file_mode=stat.S_IMODE(found.st_mode),
        uid=found.st_uid,
        gid=found.st_gid,
    )


def _device_stat(path: str) -> os.stat_result:
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError as error:
        raise InvalidInput(
            f'error gathering device information while adding custom device "{path}": no such file'
            " or directory"
        ) from error
    if not (stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode)):
        raise InvalidInput(
            f'error gathering device information while adding custom device "{path}": not a device'
            " node"
        )
    return found
