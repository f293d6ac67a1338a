"""Which proxy serves a URL."""

from __future__ import annotations

import pytest

from workbench.errors import InvalidInput
from workbench.registry.proxies import proxy_for

PROXY = {"HTTPS_PROXY": "http://proxy:3128", "http_proxy": "plain:8080"}


def test_by_scheme() -> None:
    assert proxy_for("https://ghcr.io/v2/", PROXY) == "http://proxy:3128"
    assert proxy_for("http://ghcr.io/v2/", PROXY) == "http://plain:8080"
    assert proxy_for("https://ghcr.io/v2/", {}) is None


def test_loopback_is_never_proxied() -> None:
    assert proxy_for("https://127.0.0.1:5000/", PROXY) is None
    assert proxy_for("https://localhost/", PROXY) is None


@pytest.mark.parametrize(
    ("rules", "direct"),
    [
        ("*", True),
        ("example.com", True),
        ("a.example.com", True),
        (".example.com", True),
        ("*.example.com", True),
        ("other.com, example.com", True),
        ("example.com:443", True),
        ("example.com:5000", False),
        ("ample.com", False),
        ("b.example.com", False),
        (",", False),
    ],
)
def test_exceptions_by_name(rules: str, direct: bool) -> None:
    found = proxy_for("https://a.example.com/", {**PROXY, "NO_PROXY": rules})
    assert (found is None) is direct


def test_exceptions_by_address() -> None:
    environment = {**PROXY, "no_proxy": "10.0.0.0/8,192.168.1.1"}
    assert proxy_for("https://10.9.9.9/", environment) is None
    assert proxy_for("https://192.168.1.1:5000/", environment) is None
    assert proxy_for("https://192.168.1.2/", environment)


def test_other_proxies_are_refused_without_their_password() -> None:
    with pytest.raises(InvalidInput) as caught:
        proxy_for("https://ghcr.io/", {"HTTPS_PROXY": "socks5://me:secret@host"})
    assert "secret" not in f"{caught.value} {caught.value.hint}"
