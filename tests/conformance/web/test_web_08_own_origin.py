"""WEB-08: Cross-site requests and sockets are refused."""

import pytest

from clawkeep.site.inventory import Site
from clawkeep.subjects.entry.web import Gateways, Web

pytestmark = pytest.mark.control("WEB-08")


@pytest.mark.vantage("web")
def test_requests_of_other_origins_are_refused(web: Web) -> None:
    assert web.foreign_origins() == []


def test_the_gateway_knows_no_other_origin_either(gateways: Gateways, site: Site) -> None:
    assert gateways.loose_origins(site.web_names.values()) == []


@pytest.mark.vantage("web")
def test_nobody_may_frame_the_pages(web: Web) -> None:
    assert web.frameable() == []
