"""The HTML report in a real browser: no request, no error, no script but its own; it filters, reads and is driven.

`pytest tests/browser -m browser`. Without Debian's chromium these tests fail; they are never skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from clawkeep.base import repo
from clawkeep.base.verdict import Status
from clawkeep.register import register
from clawkeep.report import html
from tests import demo_report, reports
from tests.browser.chromium import Chromium

pytestmark = pytest.mark.browser

DESKTOP = (1280, 900)
PHONE = (390, 844)
AA = 4.5  # WCAG 2.2, contrast of text; 3 where it is large
AA_LARGE = 3.0

# Each visible piece of text whose contrast with what lies behind it is too low: [words, ratio, colours].
CONTRAST = """
(() => {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const behind = (node) => {
    const layers = [];
    for (let one = node; one; one = one.parentElement) layers.push(rgba(getComputedStyle(one).backgroundColor));
    return layers.reverse().reduce((under, layer) => over(layer, under), [255, 255, 255, 1]);
  };
  const luminance = ([r, g, b]) => {
    const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const [x, y, z] = [r, g, b].map((v) => linear(v / 255));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const bad = [];
  let looked = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    const words = walker.currentNode.textContent.trim();
    if (!words || node.closest(".sr, .skip, script, style")) continue;
    if (!node.checkVisibility({ visibilityProperty: true })) continue;
    looked++;
    const style = getComputedStyle(node);
    const under = behind(node);
    const pair = [luminance(over(rgba(style.color), under)), luminance(under)].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? LARGE : NORMAL)) bad.push([words.slice(0, 40), ratio.toFixed(2), node.className, style.color]);
  }
  return { looked, bad };
})()
""".replace("LARGE", str(AA_LARGE)).replace("NORMAL", str(AA))


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with Chromium() as running:
        yield running


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    controls = register.load(repo.find(Path(__file__)).controls)
    written = {
        "demo": (demo_report.demo(controls), controls),
        "rich": (reports.rich(), reports.REGISTER),
        "hostile": reports.hostile(),
        "empty": (reports.of(), {}),
        "green": (reports.of(reports.result(Status.PASS)), reports.REGISTER),
        "fleet": reports.fleet(300, 100),
    }
    for name, (report, known) in written.items():
        (folder / f"{name}.html").write_bytes(html.as_html(report, known))
    return {name: folder / f"{name}.html" for name in written}


@dataclass(frozen=True)
class Counts:
    """What the page says of how many results of the demo it shows; they grow with the register."""

    total: int
    wanting: int
    passed: int

    @property
    def at_first(self) -> str:
        return f"{self.wanting} of {self.total} results"

    @property
    def passing(self) -> str:
        return f"{self.passed} of {self.total} results"

    @property
    def one(self) -> str:
        return f"1 of {self.total} results"

    @property
    def none(self) -> str:
        return f"0 of {self.total} results"


@pytest.fixture(scope="module")
def counts() -> Counts:
    statuses = [r.status for r in demo_report.demo(register.load(repo.find(Path(__file__)).controls)).results]
    in_order = (Status.PASS, Status.NOT_APPLICABLE, Status.NOT_REQUIRED)
    return Counts(len(statuses), sum(s not in in_order for s in statuses), statuses.count(Status.PASS))


@pytest.fixture
def demo(browser: Chromium, pages: dict[str, Path]) -> Chromium:
    browser.look(*DESKTOP)
    browser.open(pages["demo"])
    return browser


def found(browser: Chromium) -> str:
    browser.settle()
    return str(browser.run("document.getElementById('found').textContent"))


def search(browser: Chromium, words: str) -> str:
    browser.run(f"document.getElementById('search').value = {words!r}")
    browser.run("document.getElementById('filters').dispatchEvent(new Event('input', {bubbles: true}))")
    return found(browser)


def rows(browser: Chromium) -> list[str]:
    return list(browser.run("[...document.querySelectorAll('#list > details > summary')].map(row => row.innerText)"))


@pytest.mark.parametrize("name", ["demo", "rich", "hostile", "empty", "green", "fleet"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_page_asks_for_nothing_and_has_no_error(
    browser: Chromium, pages: dict[str, Path], name: str, size: tuple[int, int]
) -> None:
    browser.look(*size)
    browser.open(pages[name])
    browser.run("document.querySelectorAll('details').forEach(one => one.open = true)")
    browser.settle()
    browser.pdf()
    assert browser.requests() == [pages[name].as_uri()]
    assert browser.complaints() == []
    assert browser.run("document.querySelector('#results .scripted').hidden") is False


@pytest.mark.parametrize("name", ["demo", "hostile", "fleet"])
def test_no_page_is_wider_than_a_phone(browser: Chromium, pages: dict[str, Path], name: str) -> None:
    browser.look(*PHONE)
    browser.open(pages[name])
    assert browser.run("document.documentElement.scrollWidth") == PHONE[0]


def test_the_browser_would_tell_a_request_and_an_error(browser: Chromium, tmp_path: Path) -> None:
    """The control experiment: without a policy the same browser is seen to ask, to run and to fail."""
    page = tmp_path / "bad.html"
    page.write_text("<img src='missing.png' onerror='window.owned=1'><script>nothing()</script>")
    browser.look(*DESKTOP)
    browser.open(page)
    assert any(url.endswith("missing.png") for url in browser.requests())
    assert browser.run("window.owned") == 1
    assert any("nothing is not defined" in said for said in browser.complaints())


def test_no_script_of_a_host_has_run(browser: Chromium, pages: dict[str, Path]) -> None:
    browser.look(*DESKTOP)
    browser.open(pages["hostile"])
    browser.run("document.querySelectorAll('#list > details').forEach(one => one.open = true)")
    browser.run("document.querySelectorAll('#heat td[data-host]').forEach(one => one.focus())")
    browser.settle()
    assert browser.run("window.owned") is None
    assert browser.run("document.scripts.length") == 2
    assert browser.run("document.images.length") == 0
    assert browser.run("[...document.links].every(link => link.getAttribute('href').startsWith('#'))")
    shown = browser.run("document.querySelector('#list .evidence').innerText")
    assert "</script><script>window.owned=1</script>" in shown
    assert "\\u202e" in shown


def test_the_policy_refuses_a_script_that_gets_in_all_the_same(browser: Chromium, pages: dict[str, Path]) -> None:
    browser.look(*DESKTOP)
    browser.open(pages["demo"])
    with pytest.raises(RuntimeError, match="TrustedHTML"):
        browser.run("document.body.innerHTML = '<b>x</b>'")
    browser.run("{ const bad = new Image(); bad.src = 'http://127.0.0.1:9/x.png'; document.body.append(bad); }")
    browser.settle()
    assert any("Content Security Policy" in said for said in browser.complaints())


def test_at_first_the_list_shows_what_is_not_in_order(demo: Chromium, counts: Counts) -> None:
    assert found(demo) == counts.at_first
    first = rows(demo)[0]
    assert "Fail" in first
    assert "critical" in first
    assert len(rows(demo)) == 30
    demo.run("document.getElementById('more').click()")
    assert len(rows(demo)) == counts.wanting


def test_search_finds_words_in_controls_hosts_and_messages(demo: Chromium, counts: Counts) -> None:
    assert search(demo, "HST-01 dana") == counts.one
    assert search(demo, "NET_RAW") == counts.one
    assert "claw-bo" in rows(demo)[0]
    assert search(demo, "no such words") == counts.none
    demo.run("document.getElementById('reset').click()")
    assert found(demo) == counts.at_first


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [("severity", "critical", "critical"), ("tier", "tier3_enterprise", "research-01"), ("area", "NET", "NET-0")],
)
def test_a_filter_leaves_only_what_it_names(
    demo: Chromium, field: str, value: str, expected: str, counts: Counts
) -> None:
    demo.run(f"document.getElementById('{field}').value = '{value}'")
    assert search(demo, "") != counts.at_first
    if field != "tier":
        assert all(expected in row for row in rows(demo))
    else:
        assert all(re.search("research-0|finance-0", row) for row in rows(demo))


def test_statuses_can_be_chosen(demo: Chromium, counts: Counts) -> None:
    demo.run("document.querySelectorAll('input[name=status]').forEach(box => box.checked = box.value === 'pass')")
    assert search(demo, "") == counts.passing
    assert all("Pass" in row for row in rows(demo))


def test_a_finding_opens_to_its_evidence_remedy_and_page(demo: Chromium, counts: Counts) -> None:
    assert search(demo, "HST-01 dana") == counts.one
    demo.run("document.querySelector('#list > details').open = true")
    demo.settle()
    said = demo.run("document.querySelector('#list .body').innerText")
    for part in (
        "passwordauthentication yes",
        "inside: sshd -T",
        "sha256:",
        "--tags HST-01",
        "About HST-01",
        "Newly failing",
    ):
        assert part in said
    demo.run("document.querySelector('#list .body a').click()")
    demo.settle()
    assert demo.run("document.getElementById('control-HST-01').open") is True


def last_control() -> str:
    """The last column of the map: it shows what is verified, in the order of the ids."""
    controls = register.load(repo.find(Path(__file__)).controls)
    return max(name for name, control in controls.items() if control.proof is not register.Proof.PLANNED)


def test_the_map_is_driven_by_keys(demo: Chromium, counts: Counts) -> None:
    demo.run("document.querySelector('#heat td[tabindex=\"0\"]').focus()")
    demo.press("ArrowRight", 39)
    demo.press("ArrowDown", 40)
    assert "BGL-02" in demo.run("document.getElementById('pointed').innerText")
    demo.press("End", 35)
    assert last_control() in demo.run("document.getElementById('pointed').innerText")
    demo.press("Home", 36)
    demo.press("Enter", 13)
    assert found(demo) == counts.one
    assert demo.run("document.activeElement.tagName") == "SUMMARY"
    assert demo.run("document.querySelector('#list > details').open") is True


def test_a_click_on_the_map_shows_that_result(demo: Chromium, counts: Counts) -> None:
    demo.run("document.querySelector('#heat .dot.fail').click()")
    (row,) = rows(demo)
    assert "Fail" in row
    demo.run("document.getElementById('only').click()")
    assert found(demo) == counts.at_first


def test_the_map_of_a_fleet_makes_only_the_rows_that_are_looked_at(browser: Chromium, pages: dict[str, Path]) -> None:
    browser.look(*DESKTOP)
    browser.open(pages["fleet"])
    made = browser.run("document.querySelectorAll('#heat td[data-host]').length")
    assert 0 < made < 300 * 100 / 2
    height = browser.run("document.getElementById('heat').scrollHeight")
    browser.run("document.getElementById('map').scrollIntoView(); document.getElementById('heat').scrollTop = 1e6")
    browser.settle()
    assert browser.run("document.querySelectorAll('#heat tbody:last-child td[data-host]').length") == 20 * 100
    assert browser.run("document.querySelectorAll('#heat td[data-host]').length") < 300 * 100 / 2
    assert abs(browser.run("document.getElementById('heat').scrollHeight") - height) < 300


def test_an_address_with_a_control_opens_its_page(browser: Chromium, pages: dict[str, Path]) -> None:
    browser.look(*DESKTOP)
    browser.open(pages["demo"], "#control-NET-04")
    assert browser.run("document.getElementById('control-NET-04').open") is True


def test_without_scripts_the_essentials_are_there(browser: Chromium, pages: dict[str, Path]) -> None:
    browser.look(*DESKTOP, scripts=False)
    browser.open(pages["demo"])
    text = browser.run("document.body.innerText")
    browser.look(*DESKTOP)
    for part in (
        "6 promises are broken",
        "NET-04 Every published",
        "203.0.113.42:9229 is published",
        "--tags NET-04",
        "9 days left",
    ):
        assert part in " ".join(text.split()), part


@pytest.mark.parametrize("name", ["demo", "rich", "fleet"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_every_text_has_the_contrast_of_wcag_aa(
    browser: Chromium, pages: dict[str, Path], name: str, dark: bool, size: tuple[int, int]
) -> None:
    browser.look(*size, dark=dark)
    browser.open(pages[name])
    browser.run("document.querySelectorAll('#list > details, .pages details').forEach((one, at) => one.open = at < 3)")
    browser.settle()
    seen: dict[str, Any] = browser.run(CONTRAST)
    assert seen["looked"] > 100
    assert seen["bad"] == []


def test_the_measure_of_contrast_can_fail(demo: Chromium) -> None:
    demo.run("document.querySelector('h1').style.color = '#999'; document.querySelector('.lede').style.color = '#aaa'")
    assert len(demo.run(CONTRAST)["bad"]) >= 2


def test_the_button_chooses_the_theme(demo: Chromium) -> None:
    paper = "getComputedStyle(document.documentElement).backgroundColor"
    light = demo.run(paper)
    demo.run("document.getElementById('theme').click()")
    dark = demo.run(paper)
    assert dark != light
    demo.run("document.getElementById('theme').click()")
    assert demo.run(paper) == light
    demo.look(*DESKTOP, dark=True)
    demo.settle()
    assert demo.run(paper) == light  # chosen by hand
    demo.run("document.getElementById('theme').click()")
    assert demo.run(paper) == dark  # as the system wants it


def test_every_control_of_the_page_has_a_name_and_takes_the_focus(demo: Chromium) -> None:
    nameless = demo.run(
        "[...document.querySelectorAll('button, select, input, a[href], summary')]"
        ".filter(one => one.checkVisibility())"
        ".filter(one => !(one.innerText || one.labels?.[0]?.innerText || one.ariaLabel || '').trim())"
        ".map(one => one.outerHTML)"
    )
    assert nameless == []
    demo.run("document.activeElement.blur(); scrollTo(0, 0)")
    visited = []
    for _ in range(4):
        demo.press("Tab", 9)
        visited.append(demo.run("document.activeElement.innerText"))
    assert visited == ["Skip to the summary", "Summary", "Attention", "Fleet"]
