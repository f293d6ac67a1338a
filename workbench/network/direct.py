"""The macvlan and ipvlan drivers: containers that stand on a link of the host, without a bridge."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Final

from workbench.errors import InvalidInput, NotFound, Unsupported, WorkbenchError
from workbench.network import links
from workbench.network.bridge import configure, find_link, host_link, refused
from workbench.network.driver import MTU, Attachment, Endpoint, Network
from workbench.network.gate import Gate, namespace_of
from workbench.network.netlink import ROUTE, Channel, NetlinkError

PARENT: Final = "parent"
MODE: Final = {"macvlan": "macvlan_mode", "ipvlan": "ipvlan_mode"}
_MODES: Final = {
    "macvlan": {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8},
    "ipvlan": {"l2": 0, "l3": 1, "l3s": 2},
}
_DEFAULTS: Final = {"macvlan": "bridge", "ipvlan": "l2"}


class DirectDriver:
    """Networks on a ``parent`` link; the host itself is not reached from them."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def create(self, network: Network) -> tuple[str, ...]:
        """Makes nothing. Raises NotFound where there is no such parent link."""
        _mode(network)
        with Channel(ROUTE) as channel:
            _parent(channel, network)
        return ()

    def attach(self, network: Network, endpoint: Endpoint, pid: int) -> Attachment:
        """A link on the parent, made in the namespace of ``pid``."""
        with namespace_of(pid) as namespace, Channel(ROUTE) as channel:
            request = links.new_child(
                network.driver,
                host_link(endpoint),
                parent=_parent(channel, network),
                mode=_mode(network),
                mac=endpoint.mac if network.driver == "macvlan" else "",
                mtu=int(network.options.get(MTU, "0")),
                namespace=namespace,
            )
            number = channel.attempt([request]).get(0, 0)
            if number == errno.EOPNOTSUPP:
                raise Unsupported(f"this kernel has no {network.driver}")
            if number:
                raise refused(number, f"make a {network.driver} link for the container")
            with self._gate.route_channel(namespace) as inside:
                try:
                    mac = _settle(inside, network, endpoint)
                except (NetlinkError, WorkbenchError) as error:
                    inside.attempt([links.delete_named(host_link(endpoint))])
                    inside.attempt([links.delete_named(endpoint.interface)])
                    raise Unsupported(f"cannot join {network.name}: {error}") from error
        return Attachment(endpoint=endpoint, mac=mac)

    def detach(self, network: Network, endpoint: Endpoint, *, ended: bool = False) -> None:
        """The link goes with its namespace; for a container that runs see ``leave``."""

    def leave(self, endpoint: Endpoint, pid: int) -> None:
        """Take the link out of a container that runs."""
        with namespace_of(pid) as namespace, self._gate.route_channel(namespace) as inside:
            inside.attempt([links.delete_named(endpoint.interface)])

    def delete(self, network: Network) -> None:
        """Nothing was made."""

    def reconcile(self, networks: Sequence[Network], endpoints: Sequence[Endpoint]) -> None:
        """Nothing on the host can be missing."""


def _mode(network: Network) -> int:
    name = network.options.get(MODE[network.driver], _DEFAULTS[network.driver])
    try:
        return _MODES[network.driver][name]
    except KeyError:
        raise InvalidInput(f"unknown mode of the {network.driver} driver: {name!r}") from None


def _parent(channel: Channel, network: Network) -> int:
    name = network.options.get(PARENT, "")
    if not name:
        raise InvalidInput(
            f"a {network.driver} network needs a parent link", hint="give it with --opt parent=LINK"
        )
    link = find_link(channel, name)
    if link is None:
        raise NotFound(f"there is no link {name} on this host")
    return link.index


def _settle(inside: Channel, network: Network, endpoint: Endpoint) -> str:
    """Give the link its name inside, and addresses and routes; its MAC."""
    link = find_link(inside, host_link(endpoint))
    if link is None:
        raise NetlinkError(errno.ENODEV, "find the new link", 0)
    inside.perform([links.rename(link.index, endpoint.interface)], "name the link")
    configure(inside, network, endpoint, link.mac)
    return link.mac
