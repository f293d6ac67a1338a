"""The values that networking is about, and what a driver of networks can do."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

BRIDGE_NAME = "com.docker.network.bridge.name"
ENABLE_ICC = "com.docker.network.bridge.enable_icc"
ENABLE_MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
HOST_BINDING = "com.docker.network.bridge.host_binding_ipv4"
DEFAULT_BRIDGE = "com.docker.network.bridge.default_bridge"
MTU = "com.docker.network.driver.mtu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """Addresses of a network: the gateway is the host's own, ``ip_range`` those given out.

    ``gateway`` None (an internal or ipvlan network) leaves containers without a default route;
    ``ip_range`` None stands for the whole subnet.
    """

    subnet: IPNetwork
    gateway: Address | None = None
    ip_range: IPNetwork | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network as it was asked for. ``driver`` is bridge, host, none, macvlan or ipvlan.

    ``id`` is 64 hexadecimal digits; ``options`` are Docker's ``--opt`` with their names.
    """

    id: str
    name: str
    driver: str = "bridge"
    subnets: tuple[Subnet, ...] = ()
    internal: bool = False
    ipv6: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    def subnet(self, version: int) -> Subnet | None:
        """The first of the subnets of IPv4 (4) or IPv6 (6)."""
        return next((item for item in self.subnets if item.subnet.version == version), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """One published port. ``host_ip`` is empty for every address, ``protocol`` tcp, udp or sctp."""

    container_port: int
    host_port: int
    protocol: str = "tcp"
    host_ip: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A container's place in one network.

    ``id`` is 64 hexadecimal digits; ``interface`` the name inside the container. With
    ``default_route`` traffic to the world leaves through this network. ``ports`` are published
    on the host and lead here.
    """

    id: str
    network_id: str
    container_id: str
    ipv4: ipaddress.IPv4Address | None = None
    ipv6: ipaddress.IPv6Address | None = None
    mac: str = ""
    interface: str = "eth0"
    default_route: bool = True
    ports: tuple[Publication, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """What was made for an endpoint: the link on the host, the MAC inside, and notices.

    ``notices`` are sentences for the user about what else was changed on the host.
    """

    endpoint: Endpoint
    host_link: str = ""
    mac: str = ""
    notices: tuple[str, ...] = ()


class NetworkDriver(Protocol):
    """Makes networks of one kind and joins containers to them.

    Every call may be repeated: it makes what is missing and leaves what is there. All raise
    WorkbenchError and then leave nothing half made.
    """

    def create(self, network: Network) -> tuple[str, ...]:
        """Make what the network needs on the host; answers with notices."""
        ...

    def attach(self, network: Network, endpoint: Endpoint, pid: int) -> Attachment:
        """Join the network namespace of process ``pid`` to the network."""
        ...

    def detach(self, network: Network, endpoint: Endpoint, *, ended: bool = False) -> None:
        """Take the endpoint away. ``ended`` says that its namespace is gone, or going."""
        ...

    def delete(self, network: Network) -> None:
        """Remove what ``create`` made."""
        ...

    def reconcile(self, networks: Sequence[Network], endpoints: Sequence[Endpoint]) -> None:
        """Make the host agree with these networks and these endpoints of running containers."""
        ...


def mac_address(address: ipaddress.IPv4Address | None, identity: str) -> str:
    """A locally administered MAC: of the IPv4 address, or of ``identity`` where there is none.

    An address that is given out again then keeps its MAC, and neighbours need not learn anew.
    """
    tail = address.packed if address else bytes.fromhex(identity[:8])
    return "02:42:" + tail.hex(":")


def flag(network: Network, option: str, *, default: bool) -> bool:
    """An option that is true or false."""
    value = network.options.get(option, "").lower()
    return value in ("true", "1", "t") if value else default
