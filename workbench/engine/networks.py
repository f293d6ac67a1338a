"""Networks: making, listing and removing them, and the default one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from workbench.engine.happenings import Happenings
from workbench.engine.names import check_name, new_id
from workbench.engine.network_facts import network_json, parse_endpoint, parse_network
from workbench.engine.observe import moment
from workbench.engine.values import EndpointInfo, NetworkInfo
from workbench.errors import Conflict, Denied, InvalidInput, NetworkNotFound, Unsupported
from workbench.network import addresses, links
from workbench.network.bridge import DEFAULT_NAME, BridgeDriver, check_options
from workbench.network.driver import BRIDGE_NAME, IPNetwork, Network, NetworkDriver, Subnet
from workbench.network.netlink import ROUTE, Channel
from workbench.state.networks import NetworkRecord
from workbench.state.networks import Networks as Records

DEFAULT: Final = "bridge"
PREDEFINED: Final = ("bridge", "host", "none")


class Networks:
    """``network create``, ``ls``, ``inspect``, ``rm``, ``prune``. Threads may share it.

    ``host`` and ``none`` need nothing made and are listed without a row; ``bridge`` gets its row
    and its link when it is first used.
    """

    def __init__(
        self, records: Records, driver: NetworkDriver | None, happenings: Happenings
    ) -> None:
        self._records = records
        self._made_by = driver
        self._happenings = happenings

    @property
    def _driver(self) -> NetworkDriver:
        if not isinstance(self._made_by, BridgeDriver):
            raise Unsupported(
                "networks of one's own need root",
                hint="an ordinary user's containers have a way out each, but no common network",
            )
        return self._made_by

    def create(
        self,
        name: str,
        *,
        driver: str = "bridge",
        subnet: str = "",
        gateway: str = "",
        ip_range: str = "",
        internal: bool = False,
        ipv6: bool = False,
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> NetworkInfo:
        """Raises Conflict for a name that is taken, Denied for a subnet that overlaps another."""
        check_name(name, "network")
        if name in PREDEFINED:
            raise Denied(f"operation is not permitted on predefined {name} network")
        if driver != "bridge":
            raise InvalidInput(f"could not find plugin {driver} in v1 plugin registry")
        self._make(
            name,
            subnet=subnet,
            gateway=gateway,
            ip_range=ip_range,
            internal=internal,
            ipv6=ipv6,
            options=options or {},
            labels=labels or {},
        )
        return self.get(name)

    def _make(
        self,
        name: str,
        *,
        subnet: str = "",
        gateway: str = "",
        ip_range: str = "",
        internal: bool = False,
        ipv6: bool = False,
        options: Mapping[str, str],
        labels: Mapping[str, str],
    ) -> Network:
        identity = new_id()
        with self._records.transaction():
            taken = [item.subnet for known in self._all() for item in known.subnets]
            routed = _routes()
            chosen = [self._subnet(subnet, gateway, ip_range, taken, routed)]
            if ipv6:
                local = addresses.local_subnet(identity, [*taken, *routed])
                chosen.append(addresses.parse_subnet(str(local)))
            network = Network(
                id=identity,
                name=name,
                subnets=tuple(chosen),
                internal=internal,
                ipv6=ipv6,
                options=options,
                labels=labels,
            )
            check_options(network)
            self._records.add(
                NetworkRecord(
                    id=identity,
                    name=name,
                    document=network_json(network),
                    created_ns=time.time_ns(),
                )
            )
            self._driver.create(network)
        self._happenings.add("network", "create", identity, {"name": name, "type": "bridge"})
        return network

    @staticmethod
    def _subnet(
        subnet: str, gateway: str, ip_range: str, taken: list[IPNetwork], routed: list[IPNetwork]
    ) -> Subnet:
        if subnet:
            chosen = addresses.parse_subnet(subnet, gateway=gateway, ip_range=ip_range)
            addresses.check_overlap(chosen.subnet, taken)
            return chosen
        if gateway or ip_range:
            raise InvalidInput("a --gateway or --ip-range needs a --subnet")
        return addresses.parse_subnet(str(addresses.choose_subnet([*taken, *routed])))

    def ensure(self, name: str) -> Network:
        """The network of that name or id; the default one is made on its first use."""
        try:
            return parse_network(self._records.find(name).document)
        except NetworkNotFound:
            if name != DEFAULT:
                raise
        try:
            return self._make(DEFAULT, options={BRIDGE_NAME: DEFAULT_NAME}, labels={})
        except Conflict:
            # Another engine made the row meanwhile, or another state directory owns the link.
            rows = [row for row in self._records.all() if row.name == DEFAULT]
            if rows:
                return parse_network(rows[0].document)
            return self._make(DEFAULT, options={}, labels={})

    def list(self) -> tuple[NetworkInfo, ...]:
        """All networks, the predefined ones first."""
        rows = {row.name: row for row in self._records.all()}
        fixed = [
            self._info(rows.pop(name)) if name in rows else _predefined(name) for name in PREDEFINED
        ]
        return (*fixed, *(self._info(row) for row in rows.values()))

    def get(self, name: str) -> NetworkInfo:
        """Raises NetworkNotFound."""
        try:
            return self._info(self._records.find(name))
        except NetworkNotFound:
            if name in PREDEFINED:
                return _predefined(name)
            raise

    def remove(self, name: str) -> None:
        """Raises Denied for a predefined network or one with running containers."""
        if name in PREDEFINED:
            raise Denied(f"{name} is a pre-defined network and cannot be removed")
        record = self._records.find(name)
        with self._records.transaction():
            busy = self._records.endpoints(network_id=record.id)
            if busy:
                raise Denied(
                    f"error while removing network: network {record.name} has active endpoints",
                    hint=f"container {busy[0].container_id[:12]} is in it",
                )
            self._records.remove(record.id)
            self._driver.delete(parse_network(record.document))
        if isinstance(self._driver, BridgeDriver):
            self._driver.tidy()
        self._happenings.add("network", "destroy", record.id, {"name": record.name})

    def prune(self) -> tuple[str, ...]:
        """Remove those without running containers; their names."""
        removed = []
        for row in self._records.all():
            if row.name not in PREDEFINED and not self._records.endpoints(network_id=row.id):
                self.remove(row.name)
                removed.append(row.name)
        return tuple(removed)

    def _all(self) -> tuple[Network, ...]:
        return tuple(parse_network(row.document) for row in self._records.all())

    def _info(self, record: NetworkRecord) -> NetworkInfo:
        network = parse_network(record.document)
        rows = self._records.endpoints(network_id=record.id)
        return NetworkInfo(
            id=network.id,
            name=network.name,
            driver=network.driver,
            created=moment(record.created_ns),
            subnets=tuple(str(item.subnet) for item in network.subnets),
            gateways=tuple(str(item.gateway) for item in network.subnets if item.gateway),
            internal=network.internal,
            ipv6=network.ipv6,
            labels=network.labels,
            options=network.options,
            endpoints={row.container_id: endpoint_info(network, row.document) for row in rows},
        )


def endpoint_info(network: Network, document: str) -> EndpointInfo:
    """A container's place in a network, as it is shown."""
    endpoint, aliases = parse_endpoint(document)
    subnet = network.subnet(4)
    return EndpointInfo(
        network=network.name,
        network_id=network.id,
        ipv4=str(endpoint.ipv4 or ""),
        ipv6=str(endpoint.ipv6 or ""),
        gateway=str(subnet.gateway) if subnet and subnet.gateway else "",
        mac=endpoint.mac,
        aliases=aliases,
    )


def _predefined(name: str) -> NetworkInfo:
    driver = {"none": "null"}.get(name, name)
    return NetworkInfo(id="", name=name, driver=driver, created=None)


def _routes() -> list[IPNetwork]:
    """The destinations that the host has routes to; a default route is none of them."""
    with Channel(ROUTE) as channel:
        found = [links.read_route(body) for _, body in channel.dump(links.all_routes())]
    return [route.destination for route in found if route and route.destination]
