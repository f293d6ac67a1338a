"""The files that a container gets for its network."""

from __future__ import annotations

import pytest

from workbench.errors import InvalidInput
from workbench.network import files
from workbench.network.files import Host, ResolverOptions, Resolvers

TEXT = """# made by hand
nameserver 127.0.0.53
nameserver 10.0.0.2 # the second
search lab.example example.org
options edns0 trust-ad
sortlist 1.2.3.4
"""


def test_a_resolv_conf_is_read() -> None:
    assert files.parse_resolvers(TEXT) == Resolvers(
        servers=("127.0.0.53", "10.0.0.2"),
        search=("lab.example", "example.org"),
        options=("edns0", "trust-ad"),
    )
    assert files.parse_resolvers("\x00\nnameserver\n") == Resolvers()


def test_resolvers_of_the_hosts_loopback_are_left_out() -> None:
    text = files.default_resolv_conf(files.parse_resolvers(TEXT))
    assert text == ("nameserver 10.0.0.2\nsearch lab.example example.org\noptions edns0 trust-ad\n")


def test_public_resolvers_stand_in() -> None:
    only_local = Resolvers(servers=("127.0.0.53", "::1", "fe80::1%eth0"))
    assert files.default_resolv_conf(only_local) == "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"
    assert "2001:4860" in files.default_resolv_conf(only_local, ipv6=True)


def test_what_was_asked_wins() -> None:
    asked = ResolverOptions(servers=("1.1.1.1",), search=(".",), options=("timeout:1",))
    text = files.default_resolv_conf(files.parse_resolvers(TEXT), asked)
    assert text == "nameserver 1.1.1.1\noptions timeout:1\n"
    assert files.host_resolv_conf(files.parse_resolvers(TEXT), asked) == text


def test_user_networks_have_our_name_server() -> None:
    host = files.parse_resolvers(TEXT)
    assert files.user_resolv_conf(host) == (
        "nameserver 127.0.0.11\nsearch lab.example example.org\noptions edns0 trust-ad ndots:0\n"
    )
    asked = ResolverOptions(options=("ndots:2",))
    assert files.user_resolv_conf(host, asked).endswith("options ndots:2\n")
    assert files.upstreams(host, ResolverOptions()) == ("127.0.0.53", "10.0.0.2")


def test_hosts_files() -> None:
    own = files.own_hosts(("172.17.0.2", ""), "web", "lab.example")
    text = files.hosts_file(own, [Host(address="10.0.0.1", names=("db",))])
    assert text.startswith("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost")
    assert text.endswith("10.0.0.1\tdb\n172.17.0.2\tweb.lab.example web\n")
    assert files.host_hosts_file("127.0.0.1 localhost", [Host(address="::1", names=("x",))]) == (
        "127.0.0.1 localhost\n::1\tx\n"
    )
    assert files.hostname_file("web") == "web\n"


def test_extra_hosts() -> None:
    assert files.parse_extra_host("db:10.0.0.1") == Host(address="10.0.0.1", names=("db",))
    assert files.parse_extra_host("db:::1") == Host(address="::1", names=("db",))
    assert files.parse_extra_host("db=[::1]") == Host(address="::1", names=("db",))
    gateway = files.parse_extra_host("me:host-gateway", gateway="172.17.0.1")
    assert gateway.address == "172.17.0.1"


@pytest.mark.parametrize(
    "text", ["db", "db:", ":1.2.3.4", "db:nowhere", "a b:1.2.3.4", "a:1.1.1.1\nx"]
)
def test_wrong_extra_hosts_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        files.parse_extra_host(text)
