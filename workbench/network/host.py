"""The host driver: a container that stays in the host's own network namespace."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.errors import InvalidInput
from workbench.network.driver import Attachment, Endpoint, Network


class HostDriver:
    """Makes nothing: the runtime leaves out the network namespace."""

    def create(self, network: Network) -> tuple[str, ...]:
        """Nothing to make."""
        return ()

    def attach(self, network: Network, endpoint: Endpoint, pid: int) -> Attachment:
        """Nothing to join. Published ports are open anyway and are not looked at."""
        ports = "Published ports are discarded when using host network mode"
        return Attachment(endpoint=endpoint, notices=(ports,) if endpoint.ports else ())

    def detach(self, network: Network, endpoint: Endpoint, *, ended: bool = False) -> None:
        """Raises InvalidInput for a container that runs: it cannot leave the host's namespace."""
        if not ended:
            raise InvalidInput("container cannot be disconnected from host network")

    def delete(self, network: Network) -> None:
        """Nothing was made."""

    def reconcile(self, networks: Sequence[Network], endpoints: Sequence[Endpoint]) -> None:
        """Nothing can be missing."""
