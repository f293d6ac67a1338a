"""The defaults that make a container safe: Docker's, as data."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import Final

from workbench.oci.runtime_spec import Device, DeviceRule, Seccomp, SeccompRule
from workbench.runtime.profile_rules import RULES, SUB_ARCHITECTURES, Rule

_GOARCH: Final = {
    "x86_64": "amd64",
    "i386": "386",
    "i686": "386",
    "aarch64": "arm64",
    "armv6l": "arm",
    "armv7l": "arm",
    "armv8l": "arm",
    "loongarch64": "loong64",
}

MASKED_PATHS: Final = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
"""Paths that show the host, or let it be changed: covered by /dev/null or an empty directory."""

READONLY_PATHS: Final = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

DEVICES: Final = tuple(
    Device(path=f"/dev/{name}", type="c", major=major, minor=minor, file_mode=0o666, uid=0, gid=0)
    for name, major, minor in (
        ("null", 1, 3),
        ("zero", 1, 5),
        ("full", 1, 7),
        ("random", 1, 8),
        ("urandom", 1, 9),
        ("tty", 5, 0),
    )
)
"""The nodes of every container's /dev (runtime-spec, config-linux.md, "Default Devices")."""


def _rule(
    type: str, major: int | None, minor: int | None, access: str, *, allow: bool = True
) -> DeviceRule:
    return DeviceRule(allow=allow, type=type, major=major, minor=minor, access=access)


DEVICE_RULES: Final = (
    _rule("a", None, None, "rwm", allow=False),
    _rule("c", None, None, "m"),
    _rule("b", None, None, "m"),
    *(_rule("c", device.major, device.minor, "rwm") for device in DEVICES),
    _rule("c", 136, None, "rwm"),
    _rule("c", 5, 2, "rwm"),
)
"""Which devices may be made (all: nodes are harmless) and opened (few). 136 is /dev/pts."""


def default_seccomp(
    capabilities: Iterable[str], architecture: str, kernel: tuple[int, int]
) -> Seccomp:
    """Docker's default filter for a container with these capabilities.

    ``architecture`` is that of ``os.uname().machine`` (or GOARCH), ``kernel`` the version of the
    host, both of which enable some rules. Same arguments, same value.
    """
    machine = _GOARCH.get(architecture, architecture)
    held = frozenset(capabilities)
    return Seccomp(
        default_action="SCMP_ACT_ERRNO",
        default_errno_ret=errno.EPERM,
        architectures=tuple(f"SCMP_ARCH_{name}" for name in SUB_ARCHITECTURES.get(machine, ())),
        syscalls=tuple(
            SeccompRule(
                names=tuple(rule.names.split()),
                action=rule.action,
                errno_ret=rule.errno_ret,
                args=rule.args,
            )
            for rule in RULES
            if _counts(rule, held, machine, kernel)
        ),
    )


def _counts(rule: Rule, held: frozenset[str], machine: str, kernel: tuple[int, int]) -> bool:
    return (
        held.issuperset(rule.needs)
        and held.isdisjoint(rule.without)
        and (not rule.architectures or machine in rule.architectures)
        and machine not in rule.not_architectures
        and kernel >= rule.kernel
    )
