"""WEB-01: The browser entry speaks current TLS only, with a valid certificate."""

import pytest

from clawkeep.register.tiers import Tier
from clawkeep.site.inventory import Site
from clawkeep.subjects.entry.web import Web

pytestmark = pytest.mark.control("WEB-01")


@pytest.mark.vantage("web")
def test_only_current_versions_and_strong_suites_are_spoken(web: Web, tier: Tier) -> None:
    assert web.handshakes(tier["web_tls_versions"]) == []


@pytest.mark.vantage("web")
def test_the_certificate_is_valid_for_two_more_weeks(web: Web) -> None:
    assert web.certificates() == []


@pytest.mark.vantage("web")
def test_answers_carry_hsts_and_tell_no_version(web: Web) -> None:
    assert web.manners() == []


@pytest.mark.vantage("web")
def test_nginx_listens_on_the_entrys_addresses_alone(web: Web, site: Site) -> None:
    assert web.stray_listeners(site.web_addresses) == []


@pytest.mark.vantage("web")
def test_one_nginx_runs_and_with_the_settings_that_are_judged(web: Web) -> None:
    assert web.other_masters() == []
