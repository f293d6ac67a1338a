"""The none driver: a network namespace with nothing but its loopback."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.network.driver import Attachment, Endpoint, Network


class NoneDriver:
    """Makes nothing: the runtime brings the loopback of every new namespace up."""

    def create(self, network: Network) -> tuple[str, ...]:
        """Nothing to make."""
        return ()

    def attach(self, network: Network, endpoint: Endpoint, pid: int) -> Attachment:
        """Nothing to join."""
        return Attachment(endpoint=endpoint)

    def detach(self, network: Network, endpoint: Endpoint, *, ended: bool = False) -> None:
        """Nothing to leave."""

    def delete(self, network: Network) -> None:
        """Nothing was made."""

    def reconcile(self, networks: Sequence[Network], endpoints: Sequence[Endpoint]) -> None:
        """Nothing can be missing."""
