"""The Markdown summary: short, complete in its counts, and hostile text is only text."""

from __future__ import annotations

import re

import pytest
from markdown_it import MarkdownIt
from tests import reports

from clawkeep.base.verdict import Status
from clawkeep.report import markdown
from clawkeep.verify.report import Report

COMMENT = 65_536  # characters that GitHub takes


def text(report: Report) -> str:
    return markdown.as_markdown(report, reports.REGISTER).decode()


def html(source: str) -> str:
    """As a reader with tables and raw HTML would show it: what gets through here gets through anywhere."""
    return str(MarkdownIt("commonmark", {"html": True, "linkify": False}).enable("table").render(source))


def test_the_summary_tells_everything_that_a_reviewer_asks() -> None:
    said = text(reports.rich()).replace("\\", "")
    for part in (
        "## 📜 Clawkeep: 1 promise is broken, 3 could not be measured\n",
        "1 of 2 hosts measured at 2026-11-19T23:58:07Z; the run was from 2026-11-20T06:00:04Z to",
        "exit status 4: the waivers",
        "| 1 | 1 | 2 | 1 | 1 | 1 | 1 | 1 |",
        "NET-09 matches no host",
        "`beta: no route to host`",
        "### Failing (1)",
        "| NET-02 The state of NET-02 is as promised | high | `alpha` | `fail was found` | `ansible-playbook",
        "### Not measured (3)",
        "Newly failing: NET-02 on `alpha`: `pass` to `fail`",
        "Host gone: `gamma`",
        "### Waived (1)",
        "`2027-01-19`, 60 days left",
        "### Waiting for a person (1)",
        "ends in 9 days",
        "Planned, not verified yet: 1 control",
        "- AGT-07 The state of AGT-07 is as promised",
        "- CTR-01",
    ):
        assert part in said, part


def test_a_green_run_is_short() -> None:
    said = text(reports.of(reports.result(Status.PASS)))
    assert said.startswith("## ✅ Clawkeep: Every required control holds or is waived\n")
    assert "###" not in said


def test_a_large_report_fits_into_a_comment_and_says_that_it_was_cut() -> None:
    report, register = reports.fleet(100, 100)
    said = markdown.as_markdown(report, register).decode()
    assert len(said) < COMMENT
    assert said.rstrip().endswith("*There is more: report.json and report.html have all of it.*")
    assert re.search(r"### Failing \(\d{3}\)", said)


def test_hostile_text_is_only_text() -> None:
    shown = html(text(reports.hostile()[0]))
    assert set(re.findall(r"<(\w+)", shown)) <= {
        "h2",
        "h3",
        "p",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "ul",
        "li",
        "code",
        "details",
        "summary",
        "em",
    }
    assert "href" not in shown
    assert "onerror" in shown  # as words


def test_mentions_and_references_stand_in_code_alone() -> None:
    shown = re.sub(r"<code>.*?</code>", "", html(text(reports.hostile()[0])), flags=re.S)
    assert "@everyone" not in shown
    assert "#1" not in shown


@pytest.mark.parametrize("said", ["a|b", r"a\|b", r"a\\|b", "``", "`a", "a`", "a``b`c", "|", "\\"])
def test_a_cell_stays_one_cell(said: str) -> None:
    source = f"| x | y |\n| --- | --- |\n| {markdown.literal(said)} | end |"
    cells = re.findall(r"<td>(.*?)</td>", html(source))
    assert len(cells) == 2
    assert cells[1] == "end"
    assert cells[0].replace("<code>", "").replace("</code>", "").replace("\\ |", "\\|").strip() == said


@pytest.mark.parametrize("said", ["a|b", r"a\|b", r"a\\|b", r"\\\|", "|"])
def test_a_cell_stays_one_cell_where_a_backslash_escapes_a_backslash(said: str) -> None:
    """GitHub's scanner takes two backslashes for one escaped character, and a bar behind them for the cell's end."""
    cells = re.findall(r"(?:\\[!-/:-@\[-`{-~]|[^|])+", f"{markdown.literal(said)}|end")
    assert cells == [markdown.literal(said), "end"]


def test_text_is_escaped_for_running_prose() -> None:
    assert markdown.plain("a_b *c* [d](e) <f> #1 @g") == r"a\_b \*c\* \[d\]\(e\) \<f\> \#1 \@g"
