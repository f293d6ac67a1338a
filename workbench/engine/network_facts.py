"""Networks and endpoints between ``network``'s values and the JSON of the facts."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import asdict
from typing import Any

from workbench.network.driver import Address, Endpoint, Network, Publication, Subnet


def network_json(network: Network) -> str:
    """The document of a network."""
    tree = asdict(network)
    tree["subnets"] = [
        {
            "subnet": str(item.subnet),
            "gateway": str(item.gateway) if item.gateway else None,
            "ip_range": str(item.ip_range) if item.ip_range else None,
        }
        for item in network.subnets
    ]
    return json.dumps(tree)


def parse_network(text: str) -> Network:
    """A network out of its document."""
    tree: dict[str, Any] = json.loads(text)
    subnets = tuple(
        Subnet(
            subnet=ipaddress.ip_network(item["subnet"]),
            gateway=_address(item["gateway"]),
            ip_range=ipaddress.ip_network(item["ip_range"]) if item["ip_range"] else None,
        )
        for item in tree.pop("subnets")
    )
    return Network(subnets=subnets, **tree)


def endpoint_json(endpoint: Endpoint, aliases: tuple[str, ...]) -> str:
    """The document of an endpoint with the names that the container has in the network."""
    tree = asdict(endpoint)
    tree["ipv4"] = str(endpoint.ipv4) if endpoint.ipv4 else None
    tree["ipv6"] = str(endpoint.ipv6) if endpoint.ipv6 else None
    return json.dumps({"endpoint": tree, "aliases": aliases})


def parse_endpoint(text: str) -> tuple[Endpoint, tuple[str, ...]]:
    """An endpoint and its names out of its document."""
    document: dict[str, Any] = json.loads(text)
    tree = document["endpoint"]
    tree["ipv4"] = ipaddress.IPv4Address(tree["ipv4"]) if tree["ipv4"] else None
    tree["ipv6"] = ipaddress.IPv6Address(tree["ipv6"]) if tree["ipv6"] else None
    tree["ports"] = tuple(Publication(**item) for item in tree["ports"])
    return Endpoint(**tree), tuple(document["aliases"])


def _address(text: str | None) -> Address | None:
    return ipaddress.ip_address(text) if text else None
