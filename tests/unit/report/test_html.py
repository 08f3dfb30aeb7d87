"""The HTML page as text: one file, nothing asked for, nothing but its own script, whatever a host says."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any

import pytest
from tests import reports

from clawkeep.base.printable import clean
from clawkeep.base.verdict import Status
from clawkeep.report import html, page
from clawkeep.report.html import data
from clawkeep.verify.report import Drift, Excerpt, Report

VOID = {"meta", "link", "br", "input", "img", "hr", "use", "path", "circle", "rect"}


class Parsed(HTMLParser):
    """The page's elements and texts; the parser is strict about nesting."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.blocks: dict[str, list[str]] = {"script": [], "style": []}
        self.words = ""
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag in self.blocks:
            self.blocks[tag].append("")
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in self.blocks:
            self.blocks[self._open[-1]][-1] += data
        else:
            self.words += data

    def attributes(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.elements if name in attributes]


def parsed(report: Report, register: Any = reports.REGISTER) -> Parsed:
    return Parsed(html.as_html(report, register).decode())


REPORTS = pytest.mark.parametrize(
    "report", [reports.rich(), reports.hostile()[0], reports.of(), reports.of(drift=Drift("x"))]
)


@REPORTS
def test_the_page_is_well_formed_and_needs_nothing_else(report: Report) -> None:
    found = parsed(report)
    for name in ("src", "srcset", "poster", "data", "action", "background", "ping"):
        assert found.attributes(name) == []
    assert {href for href in found.attributes("href") if not href.startswith("#")} == {"data:,"}
    style = found.blocks["style"][0]
    assert "@import" not in style
    assert "url(" not in style
    assert not {tag for tag, _ in found.elements} & {
        "iframe",
        "object",
        "embed",
        "base",
        "img",
        "form2",
        "audio",
        "video",
    }


@REPORTS
def test_the_policy_names_the_style_and_the_script_that_are_there_and_allows_nothing_else(report: Report) -> None:
    found = parsed(report)
    (policy,) = [a["content"] for t, a in found.elements if a.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["require-trusted-types-for"] == "'script'"
    (style,) = found.blocks["style"]
    block, script = found.blocks["script"]
    for rule, text in (("style-src", style), ("script-src", script)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert json.loads(block)["statuses"]
    assert found.attributes("style") == []  # the policy would refuse it
    assert not [name for _, attributes in found.elements for name in attributes if name.startswith("on")]


@REPORTS
def test_ids_are_unique_and_what_refers_to_them_finds_them(report: Report) -> None:
    found = parsed(report)
    ids = Counter(found.attributes("id"))
    assert [name for name, count in ids.items() if count > 1] == []
    wanted = [*found.attributes("aria-labelledby"), *(href[1:] for href in found.attributes("href") if href[0] == "#")]
    assert set(wanted) <= ids.keys()


def test_hostile_text_adds_no_element_and_no_attribute() -> None:
    hostile, harmless = (parsed(reports.hostile(text)[0]) for text in (reports.HOSTILE, "x harmless"))

    def shape(found: Parsed) -> list[tuple[str, tuple[str, ...]]]:
        return [(tag, tuple(attributes)) for tag, attributes in found.elements]

    assert shape(hostile) == shape(harmless)


def test_hostile_text_is_there_as_words() -> None:
    said = parsed(reports.hostile()[0]).words
    assert "<script>window.owned=1</script>" in said
    assert "\\u202egnp.exe" in said
    assert "{{7*7}}" in said
    assert "שלום" in said


def test_the_block_of_data_cannot_end_early_and_says_the_same() -> None:
    value = {"</script>": "<!-- & \u2028 \u2029 ]]>", "é": ["'", '"', "\\"]}
    written = str(html.inert_json(value))
    assert not re.search("[<>&\u2028\u2029]", written)
    assert json.loads(written) == value


def test_without_scripts_the_verdict_the_counts_and_what_fails_are_there() -> None:
    said = " ".join(parsed(reports.rich()).words.split())
    for part in (
        "1 promise is broken, 3 could not be measured",
        "Exit status 4:",
        "1 of 2 hosts measured at 2026-11-19T23:58:07Z; the run took 1 min 48 s.",
        "alpha measured 19 November 2026, 23:58 UTC",
        "20 November 2026, 06:00 UTC",
        "NET-09 matches no host",
        "ends in 9 days",
        "1 host did not answer; nothing is known about it",
        "no route to host",
        "NET-02 The state of NET-02 is as promised",
        "fails on 1 host",
        "ansible-playbook playbooks/site.yml --tags NET-02",
        "Since the baseline of 13 November 2026, 06:00 UTC",
        "60 days left",
        "M. Okafor",
        "Planned, no proof yet: 1 control AGT-07 The state of AGT-07 is as promised",
        "their vantage was not asked for: 1 control CTR-01 The state of CTR-01",
    ):
        assert part in said, part


def test_a_green_run_needs_no_attention() -> None:
    said = " ".join(parsed(reports.of(reports.result(Status.PASS))).words.split())
    assert "Every required control holds" in said
    assert "What needs attention" not in said


@pytest.mark.parametrize(
    ("days", "mark", "words"),
    [
        (60, "is-fine", "60 days left"),
        (14, "is-soon", "14 days left"),
        (1, "is-soon", "1 day left"),
        (0, "is-soon", "today is its last day"),
        (-1, "is-expired", "expired 1 day ago"),
    ],
)
def test_a_waiver_wears_its_urgency(days: int, mark: str, words: str) -> None:
    found = parsed(reports.of(reports.result(Status.WAIVED, waiver=reports.waiver(days))))
    assert f"waiver {mark}" in found.attributes("class")
    assert words in found.words


def test_an_expired_waiver_fills_no_meter_and_no_bar_is_wider_than_the_page() -> None:
    found = parsed(
        reports.of(reports.result(Status.WAIVED, waiver=reports.waiver(-400)), reports.result(Status.FAIL, "NET-02"))
    )
    widths = [float(a["width"]) for tag, a in found.elements if tag == "rect" and "x" in a]
    assert widths
    assert all(0 < width <= 100 for width in widths)
    assert ("rect", {"class": "fill", "width": "0", "height": "4"}) in found.elements


def decoded(report: Report) -> set[tuple[str, str, str, str, tuple[tuple[str, str, str | None], ...]]]:
    """The block of data, read back as the script reads it: (host, control, status, message, evidence)."""
    block = data.encode(report, reports.REGISTER)
    texts = block["texts"]
    rows = set()
    for host, row in enumerate(block["grid"]):
        told = iter(block["details"][host])
        for control, digit in enumerate(row):
            if digit == ".":
                continue
            message, *cited = next(told)
            evidence = tuple(
                (texts[source], texts[digest], None if shown < 0 else texts[shown])
                for source, digest, shown in (block["evidence"][number] for number in cited)
            )
            status = block["statuses"][int(digit)]
            rows.add((block["hosts"][host][0], block["controls"][control][0], status, texts[message], evidence))
        assert next(told, None) is None
    return rows


@pytest.mark.parametrize("report", [reports.rich(), reports.hostile()[0], reports.fleet(7, 30)[0], reports.of()])
def test_the_block_of_data_holds_every_result_with_its_evidence(report: Report) -> None:
    assert decoded(report) == {
        (
            clean(r.host),
            r.control,
            r.status.value,
            clean(r.message),
            tuple((clean(e.source), clean(e.digest), clean(e.excerpt, 2000)) for e in r.evidence),
        )
        for r in report.results
    }


def test_where_room_is_short_the_excerpts_of_what_fails_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "ROOM", 100)
    long = [Excerpt("s", f"d{number}", str(number) * 60) for number in range(3)]
    report = reports.of(
        reports.result(Status.PASS, evidence=(long[0],)),
        reports.result(Status.FAIL, "NET-02", evidence=(long[1],)),
        reports.result(Status.PASS, "CTR-01", evidence=(Excerpt("s", "d3", "short"),)),
    )
    shown = {row[1]: row[4][0][2] for row in decoded(report)}
    assert shown == {"NET-01": None, "NET-02": "1" * 60, "CTR-01": "short"}


def test_a_thousand_hosts_take_one_letter_a_result() -> None:
    report, register = reports.fleet(200, 100)
    block = data.encode(report, register)
    assert {len(row) for row in block["grid"]} == {100}
    assert len(block["texts"]) == len(set(block["texts"]))


def test_a_page_of_the_register_is_shown_as_prose_and_its_markup_as_text() -> None:
    shown = page.as_html(
        "## Why\n\n*So* `x < y`. See [0001](../decisions/0001.md) and [a](javascript:alert(1)).\n\n"
        "<script>alert(1)</script>\n\n<img src=x onerror=alert(1)>\n\n- one\n\n```\n<b>\n```\n\n![i](http://evil.example/x.png)"
    )
    assert "<h4>Why</h4>" in shown
    assert "<em>So</em> <code>x &lt; y</code>. See 0001 and" in shown
    assert not re.search(r"<(script|img|b)\b", shown)
    assert re.findall(r'href="([^"]*)"', shown) == ["http://evil.example/x.png"]  # a link to follow, nothing that loads
