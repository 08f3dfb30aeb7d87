"""Names and addresses that Clawkeep gives its own parts, and those at which clouds hand out credentials.

Roles have the same values as their literal defaults, for a role can be used alone; a unit test holds them together with
what is written here. Whoever reads a host, stops it, alarms about it or judges it takes them from here.
"""

from __future__ import annotations

import ipaddress

AGENT_BRIDGE = "clawkeep0"
AGENT_SUBNETS = ("172.30.0.0/24", "fd5e:c1a0:30::/64")
AGENT_GATEWAYS = ("172.30.0.1", "fd5e:c1a0:30::1")  # the host on the agents' bridge
FIRST_AGENT = "172.30.0.2"  # what the engine gives the first container there
PROXY_PORT = 3128  # where agents ask it, on the bridge
SECOND_HOP_PORT = 3129  # where it asks itself, on loopback
NAME_SERVER_PORT = 53
VPN_INTERFACE = "wg0"

# Every address of the link-local block is a service of the platform: instances, containers (ECS) and pods (EKS).
LINK_LOCAL = "169.254.0.0/16"
METADATA = (
    "169.254.169.254",  # AWS, GCP, Azure, DigitalOcean, Hetzner and most others
    "169.254.170.2",  # ECS: credentials of tasks
    "169.254.170.23",  # EKS Pod Identity
    "100.100.100.200",  # Alibaba
    "192.0.0.192",  # Oracle
    "fd00:ec2::254",  # AWS
    "fd00:ec2::23",  # EKS Pod Identity
    "fd20:ce::254",  # GCP
    "fd00:c1::a9fe:a9fe",  # Oracle
)
# Azure's wire server: its guest agent on the host cannot do without, and no container has business there.
PLATFORM = ("168.63.129.16",)


def metadata_networks() -> tuple[str, ...]:
    """What a firewall refuses to reach metadata: the link-local block, and each address outside of it."""
    block = ipaddress.ip_network(LINK_LOCAL)
    return (LINK_LOCAL, *(one for one in METADATA if ipaddress.ip_address(one) not in block))


def is_metadata(address: str) -> bool:
    """Whether an address is one of clouds' metadata services, also when it is written inside an IPv6 one."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    if str(found) in (*METADATA, *PLATFORM):
        return True
    return any(found in ipaddress.ip_network(network) for network in metadata_networks())
