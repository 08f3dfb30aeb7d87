"""When a refusal counts, what gets through, and the page of all cases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.egress import worlds

from clawkeep.base import repo
from clawkeep.base.verdict import Unmeasured
from clawkeep.collector.experiments.bypass import question
from clawkeep.collector.experiments.bypass_cases import CASES, CONTROL_EXPERIMENTS, DIRECT, QUERY, REFUSALS, fill
from clawkeep.report import bypass_page
from clawkeep.subjects.network.bypass import OPTIONAL, Bypass

CONTROLS = sorted({case.control for case in CASES})
Change = Callable[[dict[str, Any]], None]


def bypass(change: Change | None = None) -> Bypass:
    own = worlds.inside()
    if change:
        change(own)
    return Bypass.read(worlds.host(own))


def agent(own: dict[str, Any]) -> dict[str, Any]:
    return own["facts"]["bypass"]["containers"][0]  # type: ignore[no-any-return]


def ending(name: str, /, **more: Any) -> Change:
    def change(own: dict[str, Any]) -> None:
        for one in agent(own)["attempts"]:
            if one["case"] == name:
                one.update(more)

    return change


def test_cases_are_told_apart_by_their_ids() -> None:
    assert len({case.id for case in CASES}) == len(CASES)
    assert {case.way for case in CASES} == set(CONTROL_EXPERIMENTS) == set(REFUSALS)


def test_the_page_in_the_repo_is_fresh() -> None:
    page = repo.find().root / "docs" / "guides" / "bypass.md"
    assert page.read_text(encoding="utf-8") == bypass_page.render(), f"`{bypass_page.COMMAND}` writes it again"


@pytest.mark.parametrize("control", CONTROLS)
def test_a_good_world_passes(control: str) -> None:
    assert bypass().passed(control) == []
    assert bypass().unreachable() == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_each_case_that_gets_through_is_told(case: Any) -> None:
    opened: dict[str, Any] = {"outcome": "answered", "status": 200, "served": True}
    if case.way in DIRECT:
        opened = {"outcome": "open"}
    elif case.way == QUERY:
        opened = {"outcome": "answered", "status": 0, "records": 1}
    (sentence,) = bypass(ending(case.id, **opened)).passed(case.control)
    assert case.what in sentence


def test_a_target_that_the_proxy_tried_is_told_though_it_failed() -> None:
    (sentence,) = bypass(ending("unlisted", status=503)).passed("EGR-02")
    assert sentence.endswith("forbidden.example:443: status 503")


def test_a_name_that_exists_without_a_record_is_told() -> None:
    (sentence,) = bypass(ending("name-txt", status=0, records=0)).passed("EGR-04")
    assert sentence.endswith("name-txt, an unlisted name, its text: forbidden.example at 127.0.0.11: answered")


def test_a_reset_from_beyond_is_told() -> None:
    (sentence,) = bypass(ending("direct-https-v4", outcome="refused")).passed("EGR-01")
    assert sentence.endswith("198.51.100.20:443: refused")


def undeclared(case: str) -> Change:
    return ending(case, outcome="undeclared", sent=0)


@pytest.mark.parametrize("case", sorted(OPTIONAL))
def test_what_only_a_laboratory_stages_may_be_left_out(case: str) -> None:
    control = next(one.control for one in CASES if one.id == case)
    assert bypass(undeclared(case)).passed(control) == []


def no_peer(own: dict[str, Any]) -> None:
    own["facts"]["bypass"]["host"][0]["outcome"] = "timeout"


def no_counter(own: dict[str, Any]) -> None:
    own["commands"]["bypass-counters-after"]["json"] = {"nftables": []}


def little_counted(own: dict[str, Any]) -> None:
    own["commands"]["bypass-counters-after"] = own["commands"]["bypass-counters-before"]


def nothing_sent(own: dict[str, Any]) -> None:
    for one in agent(own)["attempts"]:
        one["sent"] = 0


def proxy_down(own: dict[str, Any]) -> None:
    agent(own)["approved"][0].update(status=0, served=False)


def resolver_down(own: dict[str, Any]) -> None:
    agent(own)["resolved"][0]["records"] = 0


def no_attempts(own: dict[str, Any]) -> None:
    agent(own)["attempts"] = []


@pytest.mark.parametrize(
    ("control", "change", "why"),
    [
        ("EGR-01", no_peer, "the host itself gets no answer either from 198.51.100.30:443"),
        ("EGR-01", no_counter, "the firewall has no counter egress_forward_drop"),
        ("EGR-01", little_counted, "19 packets got no answer, yet egress_forward_drop grew by 0"),
        ("EGR-01", nothing_sent, "not one packet past the proxy left the container"),
        ("EGR-01", proxy_down, "reaches no approved name through the proxy"),
        ("EGR-01", undeclared("direct-https-v6"), "declares no target for direct-https-v6"),
        ("EGR-02", proxy_down, "reaches no approved name through the proxy"),
        ("EGR-02", no_attempts, "did not try approved-plain, unlisted, unlisted-plain"),
        ("EGR-02", ending("unlisted", status=0), "not clear what refused unlisted, .*: answered"),
        ("EGR-02", ending("unlisted", outcome="error"), "not clear what refused unlisted, .*: status 403"),
        ("EGR-03", ending("sni-other", outcome="error", status=0), "not clear what refused sni-other, .*: error"),
        ("EGR-03", ending("sni-other", status=500), "not clear what refused sni-other, .*: status 500"),
        ("EGR-04", resolver_down, "not every name server answers for the approved name"),
        ("EGR-04", ending("name-a", outcome="silent"), "not clear what refused name-a"),
        ("EGR-04", undeclared("dns-https"), "declares no target for dns-https"),
        ("IMD-03", proxy_down, "reaches no approved name through the proxy"),
    ],
)
def test_a_refusal_without_its_experiment_is_unmeasured(control: str, change: Change, why: str) -> None:
    with pytest.raises(Unmeasured, match=why):
        bypass(change).passed(control)


@pytest.mark.parametrize(
    "value",
    [None, [], {}, {"host": [], "containers": []}, {"host": None, "containers": [{"name": "a"}]}],
)
def test_misshapen_evidence_is_unmeasured(value: Any) -> None:
    def change(own: dict[str, Any]) -> None:
        own["facts"]["bypass"] = value

    with pytest.raises(Unmeasured):
        bypass(change)


@pytest.mark.parametrize("more", [{"case": "nonesuch"}, {"sent": "1"}, {"target": None}, {"served": "yes"}])
def test_a_misshapen_attempt_is_unmeasured(more: dict[str, Any]) -> None:
    with pytest.raises(Unmeasured):
        bypass(ending("sni-other", **more))


def test_a_container_in_the_hosts_network_is_a_violation() -> None:
    def change(own: dict[str, Any]) -> None:
        own["facts"]["bypass"]["containers"] = [{"name": "openclaw", "host_network": True}]

    (sentence,) = bypass(change).passed("EGR-01")
    assert "openclaw" in sentence
    assert "the host's network" in sentence


def test_an_approved_name_that_does_not_pass_is_told() -> None:
    (sentence,) = bypass(proxy_down).unreachable()
    assert sentence.endswith("the approved api.model.example:443 does not pass the proxy: status 0")


def test_spellings() -> None:
    known = {"a": "169.254.169.254", "n": "api.model.example"}
    assert fill("{a:decimal} {a:octal} {a:hex}", known) == "2852039166 0251.0376.0251.0376 0xa9fea9fe"
    assert fill("{n:anydot} {n:upper}", known) == "apixmodel.example API.MODEL.EXAMPLE"
    assert fill("{missing}", known) is None


def test_labels_of_the_greatest_length_fit_a_question() -> None:
    assert len(question(".".join(["a" * 62] * 3) + ".forbidden.example", "A")) < 512
