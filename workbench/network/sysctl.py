"""The few switches of the host's own network that bridges need; each change is reported."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_NET = Path("/proc/sys/net")


def read(name: str) -> str:
    """The value below /proc/sys/net, such as ``ipv4/ip_forward``; empty where there is none."""
    try:
        return (_NET / name).read_text("ascii").strip()
    except OSError:
        return ""


def write(name: str, value: str) -> bool:
    """Set a value; True if it was another. Raises OSError."""
    before = read(name)
    if before == value:
        return False
    (_NET / name).write_text(value, "ascii")
    return True


def forward(*, ipv6: bool) -> Iterator[str]:
    """Let the host forward packets; yields a sentence for what was changed or cannot be."""
    try:
        if write("ipv4/ip_forward", "1"):
            yield "IP forwarding was off on this host and has been switched on"
        if ipv6 and read("ipv6/conf/all/forwarding") == "0":
            # A router ignores router advertisements: a host that lives by them must keep them.
            for link in sorted((_NET / "ipv6/conf").iterdir()):
                if read(f"ipv6/conf/{link.name}/accept_ra") == "1" and link.name != "all":
                    write(f"ipv6/conf/{link.name}/accept_ra", "2")
            write("ipv6/conf/all/forwarding", "1")
            yield "IPv6 forwarding was off on this host and has been switched on"
    except OSError as error:
        yield f"IP forwarding cannot be switched on ({error}): containers do not reach the world"
