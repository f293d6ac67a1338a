"""Names to addresses, and where an answer may lead."""

from __future__ import annotations

import pytest

from workbench.errors import InvalidInput, Unavailable
from workbench.registry.hosts import (
    api_host,
    follow,
    is_insecure,
    is_loopback,
    mirror,
    origin,
    redact,
    schemes,
)


def test_docker_hub_answers_elsewhere() -> None:
    assert api_host("docker.io") == "registry-1.docker.io"
    assert api_host("ghcr.io") == "ghcr.io"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.0.0.1:5000", True),
        ("127.8.9.1", True),
        ("[::1]:5000", True),
        ("::1", True),
        ("registry.localhost:1", True),
        ("127.0.0.1.example.com", False),
        ("localhost.example.com", False),
        ("10.0.0.1:5000", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
    assert schemes(host, ()) == (("https", "http") if loopback else ("https",))


def test_insecure_by_name_port_and_network() -> None:
    rules = ("plain.example.com", "other.example.com:5000", "10.1.0.0/16", "nonsense/99")
    assert is_insecure("plain.example.com:8080", rules)
    assert is_insecure("other.example.com:5000", rules)
    assert is_insecure("10.1.2.3:5000", rules)
    assert not is_insecure("other.example.com:5001", rules)
    assert not is_insecure("10.2.2.3:5000", rules)
    assert schemes("plain.example.com", rules) == ("https", "http")


@pytest.mark.parametrize("url", ["ftp://host/", "https:///path", "https://host:port/", "//x", ""])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(InvalidInput):
        origin(url)


def test_origins_have_their_default_ports() -> None:
    assert origin("https://Host/x") == ("https", "host", 443)
    assert origin("http://host") == ("http", "host", 80)


def test_mirrors() -> None:
    assert mirror("http://cache:5000/hub/").base == "http://cache:5000/hub"
    assert mirror("http://cache:5000/hub/").registry == "cache:5000"
    for url in ("https://user:secret@cache", "https://cache/?x=secret", "cache:5000"):
        with pytest.raises(InvalidInput) as caught:
            mirror(url)
        assert "secret" not in str(caught.value)


def test_following() -> None:
    assert follow("https://a/v2/x", "/v2/y?z") == "https://a/v2/y?z"
    assert follow("https://a/v2/x", "https://b/y") == "https://b/y"
    assert follow("http://a/v2/x", "https://a/y") == "https://a/y"
    # A registry behind a TLS proxy takes itself for http.
    assert follow("https://a/v2/x", "http://a/y?s=1") == "https://a/y?s=1"
    assert follow("https://a:8443/v2/x", "http://a/y") == "https://a:8443/y"
    for location in ("http://b/y", "http://a:80/y", "", "file:///etc/passwd"):
        with pytest.raises((Unavailable, InvalidInput)):
            follow("https://a/v2/x", location)


def test_redaction() -> None:
    url = "https://user:pw@host:1/path?X-Signature=s#frag"
    assert redact(url) == "https://host:1/path"
    assert redact("/path?secret") == "/path"
