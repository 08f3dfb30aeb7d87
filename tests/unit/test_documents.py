"""What documents point to is there: pages and files that people are sent to, and the schedule's names in its guide."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from clawkeep.base import clock, repo
from clawkeep.schedule import metrics, summary
from clawkeep.site import estate, inventory
from clawkeep.site.ledger import Attempt, Ledger

ROOT = repo.find(Path(__file__)).root
SPEAK = ("src", "roles", "playbooks", "docs", "inventories", "molecule", "scripts", "tests")  # and files of the root
MADE_ELSEWHERE = {"recorded", "schemas", "__pycache__"}  # folders of other people's words and of recordings
PLACEHOLDERS = {"docs/controls/ID.md"}

# Not the end of a longer path, unless it is one on a control node, where the checkout is /opt/clawkeep/current.
PATH = re.compile(r"(?:(?<![\w./-])|(?<=/current/))((?:docs|inventories/example)/[\w./-]*\.(?:md|yml))\b")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.M)
GUIDE = ROOT / "docs" / "guides" / "schedule.md"


def documents() -> Iterator[tuple[Path, str]]:
    """Every file of ours that is text, and what is written there."""
    paths = [path for path in ROOT.iterdir() if path.is_file()]
    paths += [path for name in SPEAK for path in (ROOT / name).rglob("*") if path.is_file()]
    for path in sorted(paths):
        if path == Path(__file__) or MADE_ELSEWHERE & set(path.relative_to(ROOT).parts):
            continue
        try:
            yield path, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as a forge makes them."""
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(text)}


def lost(path: Path, text: str) -> Iterator[str]:
    """What a document points to in vain."""
    for named in PATH.findall(text):
        if named not in PLACEHOLDERS and not (ROOT / named).exists():
            yield named
    for link in LINK.findall(text) if path.suffix == ".md" else ():
        target, _, anchor = link.partition("#")
        if "://" in link:
            continue
        page = path.parent / target if target else path
        if not page.exists() or (anchor and anchor not in anchors(page.read_text(encoding="utf-8"))):
            yield link


def test_what_a_document_names_is_there() -> None:
    found = [f"{path.relative_to(ROOT)} points to {name}" for path, text in documents() for name in lost(path, text)]
    if found:
        pytest.fail("\n".join(found), pytrace=False)


@pytest.mark.parametrize(
    "text",
    [
        "see docs/guides/none.md",
        "file:{{ __verifier_home }}/current/docs/guides/none.md",
        "`inventories/example/none.yml`",
        "[a page](none.md)",
        "[a part](schedule.md#none)",
        "[here](#none)",
    ],
)
def test_a_broken_pointer_is_seen(text: str) -> None:
    assert list(lost(GUIDE, text)) != []


def test_the_readme_leads_to_every_guide() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    guides = [str(path.relative_to(ROOT)) for path in GUIDE.parent.glob("*.md")]
    assert [guide for guide in guides if f"({guide})" not in text] == []


def test_the_example_inventory_is_whole() -> None:
    """A copy of it can be used: read, reached as root, and each host has the reason that preflight asks for."""
    example = ROOT / "inventories" / "example"
    known = inventory.load(example, repo.find(Path(__file__)))
    reasons = estate.load(example / estate.FILE)
    assert {name: entry.tier for name, entry in reasons.items()} == {host.name: host.tier.name for host in known.hosts}
    variables = known.listing["_meta"]["hostvars"]
    assert [host.name for host in known.hosts if variables[host.name].get("ansible_become") is not True] == []
    allowed = {host.name: host.tier["estate_data_classes"] for host in known.hosts}
    assert [name for name, entry in reasons.items() if not set(entry.data) <= set(allowed[name])] == []


def test_the_schedules_guide_names_its_metrics_and_no_others() -> None:
    now = clock.now()
    attempt = Attempt(name="20261122T220404Z", started=now, finished=now, exit_status=0)
    known = Ledger(node="node", period="daily", established=now, attempts=(attempt,))
    report = summary.Report(schema=1, exit_status=0, hosts=(), results=())
    gauges = [*metrics.of_run(known, report, {"mail": ""}, "0"), *metrics.of_watch(known)]
    told = set(re.findall(r"\bclawkeep_[a-z_]+\b", GUIDE.read_text(encoding="utf-8")))
    assert told - {"clawkeep_addresses", "clawkeep_verify", "clawkeep_watch"} == {gauge.name for gauge in gauges}


def test_the_schedules_guide_names_options_and_units_that_there_are() -> None:
    text, role = GUIDE.read_text(encoding="utf-8"), ROOT / "roles" / "verifier"
    spec = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    assert set(re.findall(r"\bverifier_\w+", text)) <= spec["argument_specs"]["main"]["options"].keys()
    units = {path.stem for path in (role / "templates").rglob("clawkeep-*.j2")}
    assert set(re.findall(r"\bclawkeep-[a-z]+@?\.(?:service|timer)\b", text)) == units
