"""How a container meets the network: its namespace, its files, its addresses and ports.

``none`` is a namespace with nothing but its loopback, ``host`` is the host's own,
``container:NAME`` another container's; every other mode is a network that is joined by pid, between
the creation and the start of the container.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from workbench.engine.host_files import host_hosts, host_resolvers
from workbench.engine.names import new_id
from workbench.engine.network_facts import endpoint_json, parse_endpoint, parse_network
from workbench.engine.networks import DEFAULT, Networks, endpoint_info
from workbench.engine.options import EndpointOptions, NetworkOptions, PortMapping, RunOptions
from workbench.engine.settled import Settled
from workbench.engine.spec.inputs import Joined
from workbench.engine.values import EndpointInfo
from workbench.errors import Conflict, InvalidInput, Unsupported
from workbench.linux.host import Host
from workbench.monitor.record import read_run
from workbench.network import addresses, files, names, ports, slirp
from workbench.network.driver import Endpoint, Network, NetworkDriver, Publication
from workbench.network.gate import Gate
from workbench.oci import codec
from workbench.state.containers import ContainerRecord, Containers
from workbench.state.networks import EndpointRecord, PortRecord
from workbench.state.networks import Networks as Records


class Networking:
    """The network side of containers' lives. Every call may be repeated."""

    def __init__(
        self,
        host: Host,
        containers: Containers,
        records: Records,
        networks: Networks,
        driver: NetworkDriver | None,
        gate: Gate,
        run_directories: Path,
    ) -> None:
        self._host = host
        self._containers = containers
        self._records = records
        self._networks = networks
        self._driver = driver
        self._gate = gate
        self._directories = run_directories

    # -- at creation

    def check(self, options: RunOptions) -> None:
        """Raises InvalidInput or NotFound for networks and ports that cannot be."""
        network = options.networking
        mode = network.mode
        if mode.startswith("container:"):
            self._containers.find(mode.partition(":")[2])
        if network.ports and (mode == "host" or mode.startswith("container:")):
            return
        if self.attaches(options) and not self._host.rootless:
            for wanted in _wanted(network):
                self._networks.ensure(wanted.network)
        if network.hostname and mode.startswith("container:"):
            raise InvalidInput("conflicting options: hostname and the network mode")

    def hostname(self, id: str, options: RunOptions) -> str:
        """What was asked for, the host's own in its namespaces, else the short id."""
        network = options.networking
        if network.mode == "host" or options.namespaces.uts == "host":
            return network.hostname or os.uname().nodename
        return network.hostname or id[:12]

    def attaches(self, options: RunOptions) -> bool:
        """Whether the container joins a network of ours between its creation and its start."""
        mode = options.networking.mode
        return mode not in ("none", "host") and not mode.startswith("container:")

    def joined(self, options: RunOptions) -> Joined:
        """Which namespaces are the container's own, the host's or another container's."""
        spaces = options.namespaces
        return Joined(
            pid=self._space(spaces.pid, "pid"),
            ipc=self._space(spaces.ipc, "ipc"),
            uts=None if spaces.uts == "host" else "",
            network=self._space(options.networking.mode, "net"),
            cgroup="" if self._private_cgroup(spaces.cgroupns) else None,
        )

    def _private_cgroup(self, mode: str) -> bool:
        # Docker's default: private on v2, the host's on v1.
        return mode == "private" or (mode != "host" and self._host.cgroup == "v2")

    def _space(self, mode: str, file: str) -> str | None:
        if mode == "host":
            return None
        if not mode.startswith("container:"):
            return ""
        record = self._containers.find(mode.partition(":")[2])
        pid = _pid_of(self._directories / record.id)
        return f"/proc/{pid}/ns/{file}" if pid else ""

    def write_files(self, where: Path, options: RunOptions, hostname: str) -> None:
        """The three files as they are before an address is known."""
        (where / "hostname").write_text(files.hostname_file(hostname))
        self._write_hosts(where, options, hostname, ())
        (where / "resolv.conf").write_text(self._resolv_conf(options))

    def _resolv_conf(self, options: RunOptions) -> str:
        network = options.networking
        asked = files.ResolverOptions(
            servers=network.dns, search=network.dns_search, options=network.dns_options
        )
        host = host_resolvers()
        if network.mode == "host":
            return files.host_resolv_conf(host, asked)
        if self._host.rootless:
            servers = network.dns or (slirp.NAME_SERVER,)
            return files.default_resolv_conf(host, replace(asked, servers=servers))
        if network.mode in (DEFAULT, "none") or not self.attaches(options):
            return files.default_resolv_conf(host, asked)
        return files.user_resolv_conf(host, asked)

    def _write_hosts(
        self, where: Path, options: RunOptions, hostname: str, own: Sequence[str]
    ) -> None:
        network = options.networking
        gateway = self._gateway(network) if self.attaches(options) else "127.0.0.1"
        extra = [files.parse_extra_host(line, gateway=gateway) for line in network.extra_hosts]
        if network.mode == "host":
            text = files.host_hosts_file(host_hosts(), extra)
        else:
            text = files.hosts_file(files.own_hosts(own, hostname, network.domainname), extra)
        # In place: the file is mounted into the container, which would keep a replaced one.
        (where / "hosts").write_text(text)

    def _gateway(self, options: NetworkOptions) -> str:
        if self._host.rootless:
            return "10.0.2.2"
        subnet = self._networks.ensure(options.mode).subnet(4)
        return str(subnet.gateway) if subnet and subnet.gateway else ""

    # -- around a run

    def attach(self, record: ContainerRecord, options: RunOptions, pid: int) -> tuple[str, ...]:
        """Join its networks; what the user should know about it.

        Raises Conflict for a port that is taken; nothing is left then. Where an ordinary user's
        way out does not work and nothing was published, the container has its loopback alone.
        """
        try:
            self._join_all(record, options, pid)
        except Unsupported as error:
            if not self._host.rootless or options.networking.ports:
                raise
            return (f"the container has no network but its loopback: {error}",)
        return ()

    def _join_all(self, record: ContainerRecord, options: RunOptions, pid: int) -> None:
        try:
            members = [
                self._join(record, options, wanted, index, pid)
                for index, wanted in enumerate(_wanted(options.networking))
            ]
        except BaseException:
            self.detach(record)
            raise
        settled = codec.loads(Settled, record.settled)
        own = [member.ipv4 for member in members if member.ipv4]
        if self._host.rootless and self._host.slirp4netns:
            own = [slirp.ADDRESS]
        self._write_hosts(self._directories / record.id, options, settled.hostname, own)
        if any(member.network_name != DEFAULT for member in members) and not self._host.rootless:
            self._gate.publish(
                names.Names(
                    container_id=record.id,
                    pid=pid,
                    started=names.start_time(pid),
                    memberships=tuple(members),
                    upstreams=options.networking.dns,
                )
            )

    def _join(
        self,
        record: ContainerRecord,
        options: RunOptions,
        wanted: EndpointOptions,
        index: int,
        pid: int,
    ) -> names.Membership:
        if self._driver is None:
            raise Unsupported(
                "neither slirp4netns nor pasta is installed", hint="apt-get install slirp4netns"
            )
        network = self._network(wanted.network)
        aliases = (record.name, *wanted.aliases, record.id[:12])
        with self._records.transaction():
            endpoint = self._endpoint(record, options, network, wanted, index)
            for port in endpoint.ports:
                self._take(record, port)
            if not self._host.rootless:
                self._records.add_endpoint(
                    EndpointRecord(
                        network_id=network.id,
                        container_id=record.id,
                        ipv4=str(endpoint.ipv4) if endpoint.ipv4 else None,
                        ipv6=str(endpoint.ipv6) if endpoint.ipv6 else None,
                        document=endpoint_json(endpoint, aliases),
                    )
                )
        self._driver.attach(network, endpoint, pid)
        return names.Membership(
            network_id=network.id,
            network_name=network.name,
            names=aliases,
            ipv4=str(endpoint.ipv4 or ""),
            ipv6=str(endpoint.ipv6 or ""),
            internal=network.internal,
        )

    def _network(self, name: str) -> Network:
        if self._host.rootless:
            return Network(id="0" * 64, name=DEFAULT)
        return self._networks.ensure(name)

    def _endpoint(
        self,
        record: ContainerRecord,
        options: RunOptions,
        network: Network,
        wanted: EndpointOptions,
        index: int,
    ) -> Endpoint:
        settled = codec.loads(Settled, record.settled)
        return Endpoint(
            id=new_id(),
            network_id=network.id,
            container_id=record.id,
            ipv4=self._address(network, 4, wanted.ipv4),  # type: ignore[arg-type]
            ipv6=self._address(network, 6, wanted.ipv6),  # type: ignore[arg-type]
            mac=wanted.mac or options.networking.mac,
            interface=f"eth{index}",
            default_route=index == 0,
            ports=self._publications(options.networking, settled) if index == 0 else (),
        )

    def _address(
        self, network: Network, version: int, wanted: str
    ) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        subnet = network.subnet(version)
        if subnet is None:
            return None
        rows = self._records.endpoints(network_id=network.id)
        texts = [row.ipv4 if version == 4 else row.ipv6 for row in rows]
        taken = [ipaddress.ip_address(text) for text in texts if text]
        if wanted:
            address = addresses.parse_address(wanted)
            if address in taken:
                raise Conflict(f"Address already in use: {address}")
            if address not in subnet.subnet:
                raise InvalidInput(
                    f"invalid IP address {address}: it is not in the subnet {subnet.subnet}"
                )
            return address
        return addresses.allocate(
            subnet.subnet, taken, gateway=subnet.gateway, ip_range=subnet.ip_range
        )

    def _publications(self, options: NetworkOptions, settled: Settled) -> tuple[Publication, ...]:
        taken = {row.host_port for row in self._records.ports()}
        wanted = list(options.ports)
        if options.publish_all:
            wanted += [_exposed(text) for text in settled.exposed]
        found = []
        for port in wanted:
            number = port.host_port or ports.choose(port.protocol, port.host_ip, taken)
            taken.add(number)
            found.append(
                Publication(
                    container_port=port.container_port,
                    host_port=number,
                    protocol=port.protocol,
                    host_ip="" if port.host_ip == "0.0.0.0" else port.host_ip,
                )
            )
        return tuple(found)

    def _take(self, record: ContainerRecord, port: Publication) -> None:
        self._records.take_port(
            PortRecord(
                host_ip=port.host_ip or "0.0.0.0",
                host_port=port.host_port,
                protocol=port.protocol,
                container_id=record.id,
                container_port=port.container_port,
            )
        )
        ports.check_free(port)

    def detach(self, record: ContainerRecord) -> None:
        """It has ended: free its addresses and ports, and forget its names. Idempotent."""
        rows = self._records.endpoints(container_id=record.id)
        if rows and self._driver is not None:
            with contextlib.suppress(OSError):
                self._gate.withdraw(record.id)
            known = self._known()
            for row in rows:
                endpoint, _ = parse_endpoint(row.document)
                self._driver.detach(known[row.network_id], endpoint, ended=True)
                self._records.remove_endpoint(row.network_id, record.id)
        if self._records.ports(record.id):
            self._records.free_ports(record.id)

    # -- looking

    def published(self, record: ContainerRecord) -> tuple[PortMapping, ...]:
        """The ports that are published now."""
        return tuple(
            PortMapping(
                container_port=row.container_port,
                host_port=row.host_port,
                host_ip=row.host_ip,
                protocol=row.protocol,
            )
            for row in self._records.ports(record.id)
        )

    def endpoints(self, record: ContainerRecord) -> tuple[EndpointInfo, ...]:
        """Its places in networks while it runs."""
        rows = self._records.endpoints(container_id=record.id)
        known = self._known() if rows else {}
        return tuple(endpoint_info(known[row.network_id], row.document) for row in rows)

    def _known(self) -> dict[str, Network]:
        return {row.id: parse_network(row.document) for row in self._records.all()}


def facts(records: Records) -> tuple[Sequence[Network], Sequence[Endpoint]]:
    """All networks and the endpoints of running containers."""
    networks = [parse_network(row.document) for row in records.all()]
    return networks, [parse_endpoint(row.document)[0] for row in records.endpoints()]


def _wanted(options: NetworkOptions) -> tuple[EndpointOptions, ...]:
    return options.endpoints or (EndpointOptions(network=options.mode),)


def _exposed(text: str) -> PortMapping:
    number, _, protocol = text.partition("/")
    return PortMapping(container_port=int(number), protocol=protocol or "tcp")


def _pid_of(directory: Path) -> int:
    run = read_run(directory)
    return run.pid if run else 0
