"""What EXPOSE takes: ``80``, ``8000-8010/udp``, and the forms with a host part that it tolerates.

Source: Dockerfile reference, "EXPOSE".
"""

from __future__ import annotations

import ipaddress
from typing import Final

_PROTOCOLS: Final = ("tcp", "udp", "sctp")


class PortError(ValueError):
    """No port; the message is Docker's."""


def expand_ports(text: str) -> tuple[str, ...]:
    """``number/protocol`` for each port of one word. Raises PortError."""
    host, public, private = _parts(text)
    port, _, protocol = private.partition("/")
    if not port:
        raise PortError(f'invalid port: "{text}": no port specified')
    protocol = protocol.lower() or "tcp"
    if protocol not in _PROTOCOLS:
        raise PortError(f'invalid port: "{text}": invalid proto: {private.partition("/")[2]}')
    if host:
        _check_address(host)
    found = _range(port)
    if found is None:
        raise PortError(f"invalid containerPort: {port}")
    if public:
        _check_public(public, port, found)
    return tuple(f"{number}/{protocol}" for number in range(found[0], found[1] + 1))


def _parts(text: str) -> tuple[str, str, str]:
    parts = text.split(":")
    if len(parts) == 1:
        return "", "", parts[0]
    return ":".join(parts[:-2]), parts[-2], parts[-1]


def _check_address(host: str) -> None:
    try:
        ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise PortError(f"invalid IP address: {host}") from None


def _check_public(public: str, port: str, found: tuple[int, int]) -> None:
    outside = _range(public)
    if outside is None:
        raise PortError(f"invalid hostPort: {public}")
    if outside[1] - outside[0] != found[1] - found[0] and found[0] != found[1]:
        raise PortError(
            f"invalid ranges specified for container and host Ports: {port} and {public}"
        )


def _range(text: str) -> tuple[int, int] | None:
    start, dash, end = text.partition("-")
    low = _number(start)
    high = _number(end) if dash else low
    if low is None or high is None or high < low:
        return None
    return low, high


def _number(text: str) -> int | None:
    if not text.isascii() or not text.isdigit() or int(text[:9]) > 65535 or len(text) > 9:
        return None
    return int(text)
