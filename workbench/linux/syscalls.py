"""Names and numbers of system calls, for each architecture that filters are made for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

from workbench.errors import Unsupported

X32_BIT: Final = 0x40000000
"""Set in the number of every x32 call; the kernel reports those as x86_64 (seccomp(2))."""

ARCHITECTURES: Final = ("x86_64", "x86", "x32", "aarch64", "arm")
"""The columns of ``syscalls.txt``."""

_MACHINES: Final = {
    "x86_64": "x86_64",
    "amd64": "x86_64",
    "i386": "x86",
    "i686": "x86",
    "386": "x86",
    "x86": "x86",
    "x32": "x32",
    "aarch64": "aarch64",
    "arm64": "aarch64",
    "arm": "arm",
    "armv6l": "arm",
    "armv7l": "arm",
    "armv8l": "arm",
}


def architecture(machine: str | None = None) -> str:
    """The architecture behind ``os.uname().machine`` or a GOARCH name; None means this host.

    Raises Unsupported for machines without a table.
    """
    name = machine or os.uname().machine
    try:
        return _MACHINES[name]
    except KeyError:
        raise Unsupported(
            f"system-call filters cannot be made for {name!r} machines",
            hint="run with --security-opt seccomp=unconfined to go without a filter",
        ) from None


@cache
def table(architecture: str) -> Mapping[str, int]:
    """Every call that ``architecture`` has, as the kernel numbers it in a filter's input."""
    column = ARCHITECTURES.index(architecture) + 1
    base = X32_BIT if architecture == "x32" else 0
    return MappingProxyType(
        {row[0]: base | int(row[column]) for row in _rows() if row[column] != "-"}
    )


@cache
def _rows() -> tuple[tuple[str, ...], ...]:
    text = Path(__file__).with_name("syscalls.txt").read_text("ascii")
    return tuple(tuple(line.split()) for line in text.splitlines() if line[0] != "#")
