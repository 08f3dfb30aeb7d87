"""IMD-02: The metadata address is unreachable from host processes."""

from ipaddress import ip_address

import pytest

from clawkeep.register.tiers import Tier
from clawkeep.site.inventory import Site
from clawkeep.subjects.network.metadata import HostMetadata
from clawkeep.subjects.network.ruleset import Ruleset

pytestmark = pytest.mark.control("IMD-02")

# Where clouds answer with credentials: instance, container and pod services of every large provider.
METADATA = tuple(
    ip_address(text)
    for text in (
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "100.100.100.200",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd00:ec2::23",
    )
)


def test_output_drops_metadata_of_every_user(ruleset: Ruleset, tier: Tier, site: Site) -> None:
    resolvers = [ip_address(text) for text in site.resolvers]
    assert ruleset.metadata_from_host(METADATA, tier["imd_exempt_uids"], resolvers) == []


def test_no_process_of_the_host_reaches_metadata(host_metadata: HostMetadata, tier: Tier) -> None:
    assert host_metadata.reached(tier["imd_exempt_uids"]) == []
