"""Which proxy serves a URL, by the variables that Go's programs, and so Docker, obey. Pure.

Source: ``golang.org/x/net/http/httpproxy``, documentation of ``FromEnvironment``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from workbench.errors import InvalidInput
from workbench.registry.hosts import is_loopback, origin


def proxy_for(url: str, environment: Mapping[str, str]) -> str | None:
    """The proxy's URL, or None for a direct connection. Raises InvalidInput.

    A URL without a scheme means an HTTP proxy. Loopback is never proxied.
    """
    scheme, host, port = origin(url)
    value = _variable(environment, f"{scheme}_proxy")
    if not value or is_loopback(host) or _excluded(host, port, _variable(environment, "no_proxy")):
        return None
    proxy = value if "://" in value else f"http://{value}"
    if urlsplit(proxy).scheme not in ("http", "https"):
        raise InvalidInput(
            f"{scheme.upper()}_PROXY names a proxy that is neither http nor https",
            hint="SOCKS proxies are not supported",
        )
    return proxy


def _variable(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name.upper()) or environment.get(name) or ""


def _excluded(host: str, port: int, rules: str) -> bool:
    return any(_matches(host, port, rule.strip().lower()) for rule in rules.split(",") if rule)


def _matches(host: str, port: int, rule: str) -> bool:
    if rule == "*":
        return True
    name, colon, number = rule.rpartition(":")
    if colon and number.isdigit() and name.count(":") == 0:
        if int(number) != port:
            return False
        rule = name
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(rule, strict=False)
    except ValueError:
        pass
    if rule.startswith("*."):
        rule = rule[1:]
    if rule.startswith("."):
        return host.endswith(rule)
    return bool(rule) and (host == rule or host.endswith(f".{rule}"))
