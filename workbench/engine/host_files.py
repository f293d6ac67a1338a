"""The host's own network files, as containers' are made from them. Missing ones are empty."""

from __future__ import annotations

from pathlib import Path

from workbench.network.files import Resolvers, parse_resolvers


def host_resolvers() -> Resolvers:
    """What the host's resolv.conf(5) says."""
    return parse_resolvers(_text("/etc/resolv.conf"))


def host_hosts() -> str:
    """The text of the host's hosts(5)."""
    return _text("/etc/hosts")


def _text(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", "replace")
    except OSError:
        return ""
