"""The bridge driver: a bridge for each network, and a veth pair for each container in it."""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from workbench.errors import Conflict, Denied, InvalidInput, Unsupported, WorkbenchError
from workbench.network import links, nat, proxy, sysctl
from workbench.network.driver import (
    BRIDGE_NAME,
    DEFAULT_BRIDGE,
    ENABLE_ICC,
    ENABLE_MASQUERADE,
    HOST_BINDING,
    MTU,
    Attachment,
    Endpoint,
    Network,
    flag,
    mac_address,
)
from workbench.network.firewall import Firewall
from workbench.network.gate import Gate, namespace_of
from workbench.network.links import Link
from workbench.network.lock import locked
from workbench.network.netlink import ROUTE, Channel, NetlinkError

DEFAULT_NAME: Final = "wb0"
_OPTIONS: Final = frozenset(
    {BRIDGE_NAME, DEFAULT_BRIDGE, ENABLE_ICC, ENABLE_MASQUERADE, HOST_BINDING, MTU}
)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")

Facts = Callable[[], tuple[Sequence[Network], Sequence[Endpoint]]]


class BridgeDriver:
    """Networks on bridges, with NAT to the world. May be used by several threads at once."""

    def __init__(
        self,
        root: Path,
        gate: Gate,
        *,
        firewall: Firewall | None = None,
        facts: Facts = lambda: ((), ()),
    ) -> None:
        """``facts`` answers with all networks, and the endpoints of all running containers.

        They are asked for when the firewall has to be put in place again.
        """
        self._gate = gate
        self._firewall = firewall or Firewall(root / "run")
        self._facts = facts
        self._lock = root / "run" / "bridges.lock"

    def create(self, network: Network) -> tuple[str, ...]:
        """Make bridge, addresses and firewall. Raises Conflict where the bridge is another's.

        Without nftables nothing is forwarded, which keeps networks apart as well; the notices
        say what does not work then.
        """
        name = bridge_name(network)
        with Channel(ROUTE) as channel:
            made = self._bridge(channel, network)
        try:
            self._write(network, nat.network_elements(network, name))
        except Unsupported as error:
            if network.internal:
                self.delete(network)
                raise
            return (f"{error}: containers of {network.name} do not reach the world",)
        except WorkbenchError:
            if made:
                self.delete(network)
            raise
        _allow_loopback(name)
        return tuple(sysctl.forward(ipv6=network.ipv6)) if not network.internal else ()

    def attach(self, network: Network, endpoint: Endpoint, pid: int) -> Attachment:
        """A veth pair from the bridge into the namespace of ``pid``, addresses, routes, ports.

        Makes the bridge where it is missing. Raises Conflict where a port is published already.
        """
        name = host_link(endpoint)
        mac = endpoint.mac or mac_address(endpoint.ipv4, endpoint.id)
        with namespace_of(pid) as namespace, Channel(ROUTE) as channel:
            with locked(self._lock, fcntl.LOCK_SH):
                notices = self._connect(channel, network, endpoint, mac, namespace)
            try:
                with self._gate.route_channel(namespace) as inside:
                    configure(inside, network, endpoint, mac)
                self._publish(network, endpoint, pid)
            except (WorkbenchError, OSError) as error:
                channel.attempt([links.delete_named(name)])
                if isinstance(error, WorkbenchError):
                    raise
                raise Unsupported(f"cannot join the network {network.name}: {error}") from error
        return Attachment(endpoint=endpoint, host_link=name, mac=mac, notices=notices)

    def detach(self, network: Network, endpoint: Endpoint, *, ended: bool = False) -> None:
        """Unpublish the ports, and take the veth pair away unless the kernel does it by itself.

        A namespace that ends takes its links along, which costs nobody's time.
        """
        self.unpublish(network, endpoint)
        if not ended:
            with Channel(ROUTE) as channel:
                _remove(channel, host_link(endpoint))

    def delete(self, network: Network) -> None:
        """Remove the bridge and what the firewall knows of it."""
        self._firewall.remove(nat.network_elements(network, bridge_name(network)))
        with Channel(ROUTE) as channel:
            bridge = find_link(channel, bridge_name(network))
            if bridge is not None and bridge.alias == network.id:
                _remove(channel, bridge.name)

    def lead_out(self, network: Network, endpoint: Endpoint, pid: int) -> None:
        """Let the container's traffic to the world leave through this network from now on.

        For when the network that it left through is taken from a running container.
        """
        with namespace_of(pid) as namespace, self._gate.route_channel(namespace) as inside:
            link = find_link(inside, endpoint.interface)
            gateways = [item.gateway for item in network.subnets if item.gateway is not None]
            if link is not None and not network.internal:
                requests = [
                    links.put_default_route(gateway, link.index, version=gateway.version)
                    for gateway in gateways
                ]
                inside.attempt(requests)

    def rest(self, network: Network) -> bool:
        """Take the bridge away while nobody is in it; ``attach`` makes it again. True if it went.

        For networks that are always there, so that nothing of ours is left when nothing runs.
        """
        with locked(self._lock, fcntl.LOCK_EX):
            with Channel(ROUTE) as channel:
                found = [links.read_link(body) for _, body in channel.dump(links.all_links())]
            bridge = next((link for link in found if link.alias == network.id), None)
            if bridge is None or any(link.master == bridge.index for link in found):
                return False
            self.delete(network)
        return True

    def close(self) -> None:
        """Give back what is held open; the driver can still be used."""
        self._firewall.close()

    def tidy(self) -> None:
        """Remove the firewall's table when it knows no network any more."""
        self._firewall.drop_if_idle()

    def publish(self, network: Network, endpoint: Endpoint) -> None:
        """Publish the ports of an endpoint that is attached. Raises Conflict."""
        self._write(network, nat.port_elements(network, endpoint))

    def _connect(
        self, channel: Channel, network: Network, endpoint: Endpoint, mac: str, namespace: int
    ) -> tuple[str, ...]:
        """A veth pair, on a bridge that is made where it is missing; answers with notices.

        A bridge may be laid to rest by somebody else at any moment: then it is made again.
        """
        notices: tuple[str, ...] = ()
        for last in (False, True):
            bridge = find_link(channel, bridge_name(network))
            if bridge is None or bridge.alias != network.id:
                notices = self.create(network)
                bridge = find_link(channel, bridge_name(network))
            if bridge and _connect(channel, network, endpoint, bridge, mac, namespace, last):
                break
        return notices

    def _publish(self, network: Network, endpoint: Endpoint, pid: int) -> None:
        """By the firewall, or by a relay where there can be none."""
        try:
            self.publish(network, endpoint)
        except Unsupported:
            proxy.start(endpoint.ports, str(endpoint.ipv4 or endpoint.ipv6), pid)

    def _write(self, network: Network, elements: nat.Elements) -> None:
        own = nat.network_elements(network, bridge_name(network))
        self._firewall.add(elements, lambda: nat.merge((_elements(*self._facts()), own)))

    def unpublish(self, network: Network, endpoint: Endpoint) -> None:
        """The reverse of ``publish``."""
        self._firewall.remove(nat.port_elements(network, endpoint))

    def reconcile(self, networks: Sequence[Network], endpoints: Sequence[Endpoint]) -> None:
        """Make the host agree with these facts; see ``recover``."""
        self._recover(lambda: (networks, endpoints))

    def recover(self) -> None:
        """Bridges for all networks that have endpoints, and the whole firewall anew.

        The facts are read while nobody else can write the firewall.
        """
        self._recover(self._facts)

    def _recover(self, facts: Facts) -> None:
        self._firewall.apply(lambda: _elements(*facts()))
        networks, endpoints = facts()
        bridges = [network for network in networks if network.driver == "bridge"]
        for network in bridges:
            self.create(network)
        self._sweep(bridges, endpoints)

    def _sweep(self, networks: Sequence[Network], endpoints: Sequence[Endpoint]) -> None:
        """Remove veths of ours that belong to no endpoint, and are in a bridge of ours."""
        wanted = {host_link(endpoint) for endpoint in endpoints}
        names = {bridge_name(network) for network in networks}
        with Channel(ROUTE) as channel:
            found = [links.read_link(body) for _, body in channel.dump(links.all_links())]
            ours = {link.index for link in found if link.name in names}
            for link in found:
                lost = link.name.startswith("wv-") and link.name not in wanted
                if lost and link.master in ours:
                    _remove(channel, link.name)

    def _bridge(self, channel: Channel, network: Network) -> bool:
        """Make the bridge unless it is there; True if it was made."""
        name = bridge_name(network)
        found = find_link(channel, name)
        if found is None:
            made = self._make_bridge(channel, network, name)
            found = find_link(channel, name)
        else:
            made = False
        if found is None or found.kind != "bridge" or found.alias not in ("", network.id):
            raise Conflict(
                f"conflicts with an existing link: {name} is not the bridge of {network.name}",
                hint=f"choose another name with --opt {BRIDGE_NAME}=NAME",
            )
        requests = [
            links.add_address(found.index, _gateway(item.gateway, item.subnet.prefixlen))
            for item in network.subnets
            if item.gateway is not None
        ]
        if requests:
            channel.perform(requests, f"give {name} its address")
        return made

    def _make_bridge(self, channel: Channel, network: Network, name: str) -> bool:
        first = network.subnet(4)
        gateway = first.gateway if first else None
        ipv4 = gateway if isinstance(gateway, ipaddress.IPv4Address) else None
        mtu = _mtu(network) or _uplink_mtu(channel)
        requests = [
            links.new_bridge(name, mac=mac_address(ipv4, network.id), mtu=mtu),
            links.set_alias(name, network.id),
            links.no_link_local(name),
            links.set_up(name),
        ]
        failed = channel.attempt(requests)
        if failed.get(0) == errno.EEXIST:
            return False
        for number in failed.values():
            if number not in (errno.EAFNOSUPPORT, errno.EOPNOTSUPP):
                raise refused(number, f"make the bridge {name}")
        return True


def bridge_name(network: Network) -> str:
    """The name of a network's bridge on the host."""
    return network.options.get(BRIDGE_NAME) or f"wb-{network.id[:12]}"


def host_link(endpoint: Endpoint) -> str:
    """The name of the host's end of an endpoint's veth pair."""
    return f"wv-{endpoint.id[:12]}"


def check_options(network: Network) -> None:
    """Raises InvalidInput for an option or value that the driver does not know."""
    for key, value in network.options.items():
        if key not in _OPTIONS and key.startswith("com.docker.network."):
            raise InvalidInput(f"unknown option of the bridge driver: {key}")
        if key in (ENABLE_ICC, ENABLE_MASQUERADE, DEFAULT_BRIDGE) and value.lower() not in (
            *("true", "1", "t"),
            *("false", "0", "f"),
        ):
            raise InvalidInput(f"invalid value for {key}: {value!r} is neither true nor false")
    _mtu(network)
    if not _NAME.fullmatch(bridge_name(network)):
        raise InvalidInput(f"invalid name of a bridge: {bridge_name(network)!r}")


def _mtu(network: Network) -> int:
    """The MTU option in bytes; 0 where it is not given. Raises InvalidInput."""
    value = network.options.get(MTU, "0")
    if not value.isdecimal() or not (value == "0" or 68 <= int(value) <= 65535):
        raise InvalidInput(f"invalid value for {MTU}: {value!r}")
    return int(value)


def _uplink_mtu(channel: Channel) -> int:
    """At most 1500 bytes, and what the way to the world takes."""
    routes = (links.read_route(body) for _, body in channel.dump(links.all_routes()))
    ways = {route.link for route in routes if route and not route.destination.prefixlen}
    found = (links.read_link(body) for _, body in channel.dump(links.all_links()))
    sizes = [link.mtu for link in found if link.index in ways]
    return min([1500, *sizes]) if min([1500, *sizes]) >= 1280 else 1500


def _connect(
    channel: Channel,
    network: Network,
    endpoint: Endpoint,
    bridge: Link,
    mac: str,
    namespace: int,
    last: bool,
) -> bool:
    """The veth pair between bridge and namespace; one of an earlier life gives way.

    False where the bridge is gone, unless this is the ``last`` try.
    """
    name = host_link(endpoint)
    isolated = not flag(network, ENABLE_ICC, default=True)
    requests = [
        links.new_veth(
            name,
            bridge=bridge.index,
            mtu=bridge.mtu,
            peer=endpoint.interface,
            peer_mac=mac,
            namespace=namespace,
        ),
        links.no_link_local(name),
        links.set_port(name, hairpin=bool(endpoint.ports), isolated=isolated),
        links.set_up(name),
    ]
    failed = channel.attempt(requests)
    if failed.get(0) == errno.EEXIST:
        channel.attempt([links.delete_named(name)])
        failed = channel.attempt(requests)
    essential = [number for index, number in failed.items() if index in (0, 3)]
    if essential:
        channel.attempt([links.delete_named(name)])
        if not last and essential[0] in (errno.EINVAL, errno.ENODEV):
            return False
        if essential[0] == errno.EXFULL:
            raise Conflict(f"the bridge of {network.name} is full: it has 1023 containers")
        raise refused(essential[0], f"connect the container to {network.name}")
    return True


def configure(inside: Channel, network: Network, endpoint: Endpoint, mac: str) -> None:
    """Addresses and routes inside the container. Raises NetlinkError."""
    name = endpoint.interface
    inside.attempt([links.no_link_local(name)])
    inside.perform([links.set_up("lo"), links.set_up(name)], f"bring up {name}")
    link = find_link(inside, name)
    if link is None:
        raise NetlinkError(errno.ENODEV, f"find {name}", 0)
    requests = []
    for address in (endpoint.ipv4, endpoint.ipv6):
        item = network.subnet(address.version) if address else None
        if address is None or item is None:
            continue
        value = ipaddress.ip_interface((address, item.subnet.prefixlen))
        requests.append(links.add_address(link.index, value))
        if address.version == 6:
            requests.append(links.add_address(link.index, _link_local(mac)))
        if endpoint.default_route and item.gateway and not network.internal:
            requests.append(
                links.put_default_route(item.gateway, link.index, version=address.version)
            )
    if requests:
        inside.perform(requests, f"give {name} its addresses")


def _link_local(mac: str) -> ipaddress.IPv6Interface:
    """The fe80:: address that follows from a MAC (RFC 4291, appendix A)."""
    octets = bytes.fromhex(mac.replace(":", ""))
    identity = bytes((octets[0] ^ 2,)) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return ipaddress.IPv6Interface((b"\xfe\x80" + bytes(6) + identity, 64))


def _gateway(address: links.Address | None, length: int) -> links.Interface:
    assert address is not None
    return ipaddress.ip_interface((address, length))


def _allow_loopback(bridge: str) -> None:
    """Let the host's 127.0.0.1 reach published ports; our firewall keeps containers off it.

    Only once the rule of the firewall stands.
    """
    try:
        sysctl.write(f"ipv4/conf/{bridge}/route_localnet", "1")
    except OSError as error:
        raise Unsupported(
            f"cannot set up {bridge}: {error}", hint="/proc/sys must be writable for networks"
        ) from error


def find_link(channel: Channel, name: str) -> Link | None:
    """The link of this name in the channel's namespace."""
    body = channel.ask(links.get_link(name))
    return None if body is None else links.read_link(body)


def _remove(channel: Channel, name: str) -> None:
    number = channel.attempt([links.delete_named(name)]).get(0, 0)
    if number not in (0, errno.ENODEV):
        raise refused(number, f"remove {name}")


def refused(number: int, what: str) -> WorkbenchError:
    """What to raise where the kernel answered with this errno."""
    if number in (errno.EPERM, errno.EACCES):
        return Denied(f"not allowed to {what}", hint="bridges need root (CAP_NET_ADMIN)")
    return Unsupported(f"the kernel does not {what}: {errno.errorcode.get(number, number)}")


def _elements(networks: Sequence[Network], endpoints: Sequence[Endpoint]) -> nat.Elements:
    bridges = {network.id: network for network in networks if network.driver == "bridge"}
    parts = [nat.network_elements(network, bridge_name(network)) for network in bridges.values()]
    parts += [
        nat.port_elements(bridges[endpoint.network_id], endpoint)
        for endpoint in endpoints
        if endpoint.network_id in bridges
    ]
    return nat.merge(parts)
