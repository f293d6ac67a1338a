"""From the registry of a reference to the address that answers for it. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin, urlsplit, urlunsplit

from workbench.errors import InvalidInput, Unavailable

HUB: Final = "docker.io"
_HUB_API: Final = "registry-1.docker.io"
_PORTS: Final = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One address of a registry. ``registry`` is the name its credentials are kept under."""

    base: str
    registry: str
    mirror: bool = False

    def url(self, path: str) -> str:
        """The URL of a path such as ``/v2/``; an absolute URL stays as it is."""
        return path if "://" in path else self.base + path


def api_host(registry: str) -> str:
    """host[:port] of the API; Docker Hub's differs from its name."""
    return _HUB_API if registry in (HUB, "index.docker.io") else registry


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port, defaults filled in. Raises InvalidInput for what is no HTTP URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidInput(f"invalid URL {redact(url)!r}") from error
    if parts.scheme not in _PORTS or not parts.hostname:
        raise InvalidInput(f"invalid URL {redact(url)!r}")
    return parts.scheme, parts.hostname.lower(), port or _PORTS[parts.scheme]


def is_loopback(host: str) -> bool:
    """Whether host[:port] is this machine by its very name."""
    name = _without_port(host)
    address = _address(name)
    if address is None:
        return name == "localhost" or name.endswith(".localhost")
    return address.is_loopback


def is_insecure(host: str, insecure: Iterable[str]) -> bool:
    """Whether host[:port] is configured as one that need not prove who it is."""
    name = _without_port(host)
    address = _address(name)
    for entry in insecure:
        if entry in (host, name):
            return True
        if address is not None and "/" in entry and _contains(entry, address):
            return True
    return False


def schemes(host: str, insecure: Iterable[str]) -> tuple[str, ...]:
    """The schemes to try, the safe one first."""
    if is_loopback(host) or is_insecure(host, insecure):
        return ("https", "http")
    return ("https",)


def mirror(url: str) -> Endpoint:
    """The endpoint of a configured mirror. Raises InvalidInput."""
    origin(url)
    parts = urlsplit(url)
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise InvalidInput(f"a mirror is a plain base URL, unlike {redact(url)!r}")
    return Endpoint(base=url.rstrip("/"), registry=parts.netloc, mirror=True)


def follow(current: str, location: str) -> str:
    """Where an answer of ``current`` points to. Raises Unavailable where that gives up TLS."""
    if not location:
        raise Unavailable(f"{redact(current)} points nowhere: its answer lacks a Location")
    try:
        target = urljoin(current, location)
    except ValueError as error:
        raise Unavailable(f"{redact(current)} points to what is no URL") from error
    was, now = origin(current), origin(target)
    if was[0] == "https" and now[0] == "http":
        if was[1] == now[1] and urlsplit(target).port in (None, was[2]):
            # Registries behind a proxy that ends TLS know themselves as http only.
            return urlunsplit(("https", urlsplit(current).netloc, *urlsplit(target)[2:]))
        raise Unavailable(f"{redact(current)} leads from https to plain {redact(target)}")
    return target


def redact(url: str) -> str:
    """The URL without what may be secret: user, password, query and fragment."""
    head, _, _ = url.partition("?")
    head, _, _ = head.partition("#")
    scheme, separator, rest = head.partition("://")
    if not separator:
        return head
    authority, slash, path = rest.partition("/")
    return scheme + separator + authority.rpartition("@")[2] + slash + path


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _contains(network: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return address in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
