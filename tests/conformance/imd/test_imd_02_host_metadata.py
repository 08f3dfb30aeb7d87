"""IMD-02: The metadata address is unreachable from host processes."""

from ipaddress import ip_address

import pytest

from clawkeep.register.tiers import Tier
from clawkeep.site.inventory import Site
from clawkeep.subjects.network.metadata import HostMetadata
from clawkeep.subjects.network.ruleset import Ruleset
from clawkeep_host.addresses import METADATA

pytestmark = pytest.mark.control("IMD-02")

ENDPOINTS = tuple(ip_address(text) for text in METADATA)


def test_output_drops_metadata_of_every_user(ruleset: Ruleset, tier: Tier, site: Site) -> None:
    resolvers = [ip_address(text) for text in site.resolvers]
    assert ruleset.metadata_from_host(ENDPOINTS, tier["imd_exempt_uids"], resolvers) == []


def test_no_process_of_the_host_reaches_metadata(host_metadata: HostMetadata, tier: Tier) -> None:
    assert host_metadata.reached(tier["imd_exempt_uids"]) == []
