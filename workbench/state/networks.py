"""Networks as facts, the endpoints in them, and the ports that are taken."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.errors import Conflict, InvalidInput, NetworkNotFound
from workbench.state.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRecord:
    """One network; ``document`` is its value as JSON."""

    id: str
    name: str
    document: str
    created_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointRecord:
    """A container's place in a network; addresses are text without prefix length, or None."""

    network_id: str
    container_id: str
    document: str
    ipv4: str | None = None
    ipv6: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRecord:
    """One published port. ``host_ip`` is "0.0.0.0", "::" or one address."""

    host_ip: str
    host_port: int
    protocol: str
    container_id: str
    container_port: int


class Networks:
    """The tables of networks, endpoints and ports. Methods may be called from any thread.

    Choosing an address and writing it down must be one step: use ``transaction()`` around both.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.transaction = database.transaction

    def add(self, record: NetworkRecord) -> None:
        """Raises Conflict where the name is taken."""
        with self._database.transaction() as connection:
            if connection.execute(
                "SELECT 1 FROM networks WHERE name = ?", (record.name,)
            ).fetchone():
                raise Conflict(f"network with name {record.name} already exists")
            connection.execute(
                "INSERT INTO networks VALUES (?, ?, ?, ?)",
                (record.id, record.name, record.document, record.created_ns),
            )

    def all(self) -> list[NetworkRecord]:
        """Oldest first."""
        rows = self._database.rows("SELECT * FROM networks ORDER BY created_ns")
        return [NetworkRecord(**dict(row)) for row in rows]

    def find(self, name: str) -> NetworkRecord:
        """By name, id, or a prefix of an id that only one has. Raises NetworkNotFound."""
        row = self._database.row(
            "SELECT * FROM networks WHERE name = ?1 OR id = ?1 ORDER BY name <> ?1 LIMIT 1", name
        )
        if row:
            return NetworkRecord(**dict(row))
        rows = self._database.rows(
            "SELECT * FROM networks WHERE id >= ? AND id < ? LIMIT 2", name, name + "g"
        )
        if len(rows) > 1:
            raise InvalidInput(f"network {name} is ambiguous ({len(rows)} matches found)")
        if not rows or not name:
            raise NetworkNotFound(f"network {name} not found")
        return NetworkRecord(**dict(rows[0]))

    def remove(self, id: str) -> None:
        """Raises Conflict while endpoints are left."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM networks WHERE id = ?", (id,))

    def add_endpoint(self, record: EndpointRecord) -> None:
        """Raises Conflict where an address is taken or the container is in the network already."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO endpoints (network_id, container_id, ipv4, ipv6, document)"
                " VALUES (?, ?, ?, ?, ?)",
                (
                    record.network_id,
                    record.container_id,
                    record.ipv4,
                    record.ipv6,
                    record.document,
                ),
            )

    def endpoints(
        self, *, network_id: str | None = None, container_id: str | None = None
    ) -> list[EndpointRecord]:
        """Those of a network, of a container, or all."""
        rows = self._database.rows(
            "SELECT * FROM endpoints WHERE (?1 IS NULL OR network_id = ?1)"
            " AND (?2 IS NULL OR container_id = ?2)",
            network_id,
            container_id,
        )
        return [EndpointRecord(**dict(row)) for row in rows]

    def remove_endpoint(self, network_id: str, container_id: str) -> None:
        with self._database.transaction() as connection:
            connection.execute(
                "DELETE FROM endpoints WHERE network_id = ? AND container_id = ?",
                (network_id, container_id),
            )

    def take_port(self, record: PortRecord) -> None:
        """Raises Conflict in Docker's words where the port is taken, on any overlapping address."""
        with self._database.transaction() as connection:
            for row in connection.execute(
                "SELECT host_ip FROM ports WHERE host_port = ? AND protocol = ?",
                (record.host_port, record.protocol),
            ).fetchall():
                if _overlap(row["host_ip"], record.host_ip):
                    raise Conflict(
                        f"Bind for {record.host_ip}:{record.host_port} failed: port is already"
                        " allocated"
                    )
            connection.execute(
                "INSERT INTO ports VALUES (?, ?, ?, ?, ?)",
                (
                    record.host_ip,
                    record.host_port,
                    record.protocol,
                    record.container_id,
                    record.container_port,
                ),
            )

    def ports(self, container_id: str | None = None) -> list[PortRecord]:
        rows = self._database.rows(
            "SELECT * FROM ports WHERE ?1 IS NULL OR container_id = ?1", container_id
        )
        return [PortRecord(**dict(row)) for row in rows]

    def free_ports(self, container_id: str) -> None:
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM ports WHERE container_id = ?", (container_id,))


def _overlap(one: str, other: str) -> bool:
    if (":" in one) != (":" in other):
        return False
    return one == other or bool({one, other} & {"0.0.0.0", "::"})
