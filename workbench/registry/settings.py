"""What may be configured about reaching registries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How registries are reached. Times are seconds, sizes bytes.

    ``mirrors`` are base URLs that are asked before Docker Hub. ``insecure`` are host[:port] names
    or networks such as 10.0.0.0/8 that may be spoken to with an unknown certificate or in plain
    HTTP; loopback always may in plain HTTP. ``certs`` is laid out as ``/etc/docker/certs.d``.
    ``environment`` is where proxies and certificate variables are looked up; it is not shown,
    since a proxy's URL may hold a password.

    ``tries`` bounds how often one request is made, ``longest_wait`` how long a Retry-After may be.
    ``chunk`` is the size above which an upload is cut, so that it can resume.
    """

    mirrors: tuple[str, ...] = ()
    insecure: tuple[str, ...] = ()
    certs: Path = Path("/etc/docker/certs.d")
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    connect_timeout: float = 15.0
    read_timeout: float = 60.0
    tries: int = 5
    first_wait: float = 0.25
    longest_wait: float = 60.0
    manifest_bytes: int = 4 * 1024**2
    chunk: int = 64 * 1024**2
