"""What resources ask of a cgroup, as data: one value for one file."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass

from workbench.oci.runtime_spec import BlockIOLimits, ThrottleDevice


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """``value`` goes into ``file`` of ``controller``; ``what`` names the limit for a person.

    Without a file the limit cannot be given, and ``value`` says why.
    """

    controller: str
    file: str
    value: str
    what: str


def impossible(controller: str, what: str, why: str) -> Setting:
    """A limit that this version of cgroups does not have."""
    return Setting(controller=controller, file="", value=why, what=what)


def missing(settings: Iterable[Setting], controllers: Iterable[str]) -> tuple[str, ...]:
    """The limits that cannot be given with ``controllers``, each with its reason, once."""
    there = frozenset(controllers)
    reasons = (
        f"{item.what}: {item.value}"
        if not item.file
        else f"{item.what}: the {item.controller} controller of this host cannot be used"
        for item in settings
        if not item.file or item.controller not in there
    )
    return tuple(dict.fromkeys(reasons))


def refuse(reasons: tuple[str, ...]) -> None:
    """Raise OSError (EOPNOTSUPP) where there are reasons to."""
    if reasons:
        raise OSError(errno.EOPNOTSUPP, f"{os.strerror(errno.EOPNOTSUPP)}: {'; '.join(reasons)}")


def throttles(limits: BlockIOLimits) -> tuple[tuple[str, str, ThrottleDevice], ...]:
    """Every throttled device as (read or write, bps or iops, device)."""
    return tuple(
        (direction, unit, device)
        for direction, unit, devices in (
            ("read", "bps", limits.throttle_read_bps_device),
            ("write", "bps", limits.throttle_write_bps_device),
            ("read", "iops", limits.throttle_read_iops_device),
            ("write", "iops", limits.throttle_write_iops_device),
        )
        for device in devices
    )
