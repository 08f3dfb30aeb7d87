"""BGL-02: The recovery procedure is current and drilled, console included."""

import pytest

from clawkeep.base.verdict import Manual, Question, Unmeasured
from clawkeep.register.tiers import Tier
from clawkeep.site.inventory import Site
from clawkeep.subjects.host.runbook import Runbook

pytestmark = pytest.mark.control("BGL-02")


def test_the_runbook_is_there_and_roots_alone(runbook: Runbook) -> None:
    assert runbook.unusable() == []


def test_the_runbook_names_the_hosts_present_addresses(runbook: Runbook) -> None:
    assert runbook.stale_addresses() == []


def test_the_runbook_names_the_sites_operators_and_console(runbook: Runbook, site: Site) -> None:
    if not site.operators or not site.console.strip():
        raise Unmeasured("the site names no operator or no console (site_operators, site_console)")
    people = [word for operator in site.operators for word in (operator.name, operator.contact)]
    assert runbook.missing([*people, site.console]) == []


def test_the_runbook_shows_the_ways_back(runbook: Runbook) -> None:
    assert runbook.missing_commands() == []


def test_the_procedure_was_drilled(runbook: Runbook, tier: Tier) -> None:
    assert runbook.unusable() == []
    days = tier["breakglass_drill_days"]
    raise Manual(
        f"nobody attests a recovery drill over the console within {days} days; the runbook itself is measured",
        Question(runbook.digest, days),
    )
