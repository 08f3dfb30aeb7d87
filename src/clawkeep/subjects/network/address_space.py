"""Which addresses the world cannot reach."""

from __future__ import annotations

import ipaddress

PRIVATE = [
    ipaddress.ip_network(text)
    for text in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "fc00::/7",
        "fe80::/10",
    )
]


def is_private(text: str) -> bool:
    """Whether an address is of a private, shared or link-local network."""
    address = ipaddress.ip_address(text)
    return any(address in network for network in PRIVATE if network.version == address.version)
