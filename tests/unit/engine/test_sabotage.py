"""Broken worlds: how they are declared, compared with what was seen, and cut down to a small patch."""

from __future__ import annotations

import copy
import itertools
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jsonpatch
import pytest
from tests.unit.engine.conftest import Checkout, Observe

from clawkeep.base.errors import ClawkeepError
from clawkeep.register.register import Control, Proof, Severity
from clawkeep.sabotage import world
from clawkeep.sabotage.campaign import representative
from clawkeep.sabotage.difference import Operation, difference
from clawkeep.sabotage.minimise import minimise, shrink
from clawkeep.sabotage.record import smallest
from clawkeep.verify.evaluate import evaluate

GOOD = """\
control: NET-01
kind: crude
title: A port is open
do: |
  nc -l 80 &
await: ss | grep 80
red: [NET-01, NET-02]
"""


@pytest.fixture
def declare(tmp_path: Path) -> Callable[..., Path]:
    def write(text: str, name: str = "NET-01-open") -> Path:
        path = tmp_path / f"{name}.yml"
        path.write_text(text)
        return path

    return write


def test_a_sabotage_is_read(declare: Callable[..., Path]) -> None:
    sabotage = world.read(declare(GOOD))
    assert (sabotage.stem, sabotage.control, sabotage.kind) == ("NET-01-open", "NET-01", "crude")
    assert (sabotage.do, sabotage.awaiting) == ("nc -l 80 &", "ss | grep 80")
    assert sabotage.red == {"NET-01", "NET-02"}
    assert sabotage.patch.name == "NET-01-open.patch.json"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("kind: crude", "kind: [", "cannot be read as YAML"),
        ("kind: crude", "kind: nasty", "kind: "),
        ("red: [NET-01, NET-02]", "red: [NET-02]", "red must contain NET-01"),
        ("red: [NET-01, NET-02]", "red: []", "red: "),
        ("control: NET-01", "control: NET-02", "its name must begin with NET-02-"),
        ("await:", "awaits:", "awaits: extra inputs"),
        ("do: |\n  nc -l 80 &\n", "", "give `gateway`, `do` or `here`, or say `constructed: true`"),
        ("kind: crude", "kind: crude\nconstructed: true", "give `gateway`, `do` or `here`, or say"),
        ("kind: crude", "kind: crude\ngateway: {settings: {a: 1}}", "so leave `do`, `here`, `await` and `undo` out"),
        ("kind: crude", "kind: crude\ngateway: {}", "say what is changed"),
        ("kind: crude", "kind: crude\ngateway: {files: {../a: b}}", "gateway.files"),
    ],
)
def test_a_wrong_sabotage_is_one_sentence(declare: Callable[..., Path], old: str, new: str, sentence: str) -> None:
    path = declare(GOOD.replace(old, new))
    with pytest.raises(ClawkeepError) as raised:
        world.read(path)
    assert str(raised.value).startswith(str(path))
    assert sentence in str(raised.value)


def test_a_patch_that_is_missing_or_broken_is_named(declare: Callable[..., Path]) -> None:
    sabotage = world.read(declare(GOOD))
    with pytest.raises(ClawkeepError, match=r"NET-01-open.patch.json is missing: .*--record"):
        world.read_patch(sabotage)
    sabotage.patch.write_text("{}")
    with pytest.raises(ClawkeepError, match="is no JSON Patch"):
        world.read_patch(sabotage)


def test_a_patch_that_does_not_fit_is_named(observe: Observe) -> None:
    with pytest.raises(ClawkeepError, match="x does not fit the good evidence"):
        world.broken(observe(), "w", [{"op": "remove", "path": "/inside/facts/none"}], "x")


def test_what_differs_from_the_promise_is_told(
    checkout: Checkout, observe: Observe, declare: Callable[..., Path]
) -> None:
    for control in ("NET-01", "NET-02", "NET-03", "NET-04"):
        checkout.page(control)
        fact = control.lower()
        checkout.test(control, f"def test_it(evidence):\n    assert evidence.inside.fact('{fact}') == []\n")
    sabotage = world.read(declare(GOOD))
    promised = {"net-01": ["a"], "net-02": ["b"], "net-03": [], "net-04": []}
    seen = {"net-01": ["a"], "net-02": [], "net-03": ["c is open"]}
    report = evaluate([observe("as", facts=promised), observe("not", facts=seen)], checkout=checkout.repo)
    assert world.complaints(sabotage, report, "as") == []
    stayed, turned, lost = world.complaints(sabotage, report, "not")
    assert stayed.startswith("NET-02 stayed green")
    assert turned == "NET-03 turned red too: c is open"
    assert lost.startswith("NET-04 was not measured")


def test_one_of_each_area_is_representative(declare: Callable[..., Path]) -> None:
    texts = {
        "NET-01-a": GOOD,
        "NET-01-b": GOOD.replace("crude", "subtle"),
        "CTR-01-a": GOOD.replace("NET", "CTR"),
        "WEB-01-a": re.sub(r"do: .*\nred", "gateway: {settings: {a: 1}}\nred", GOOD.replace("NET", "WEB"), flags=re.S),
        "MNT-01-a": re.sub(r"do: .*\nred", "constructed: true\nred", GOOD.replace("NET", "MNT"), flags=re.S),
    }
    sabotages = [world.read(declare(text, name)) for name, text in texts.items()]
    assert [s.stem for s in representative(sabotages)] == ["CTR-01-a", "NET-01-b"]


def test_a_sabotage_is_of_its_tier_or_the_lowest_that_its_control_binds(declare: Callable[..., Path]) -> None:
    def control(name: str, tier: int, proof: Proof = Proof.AUTOMATED) -> Control:
        return Control(name, name, tier, Severity.HIGH, proof, waivable=True, remedy="x")

    controls = {c.id: c for c in (control("NET-01", 1), control("VPN-01", 2), control("LOG-01", 1, Proof.PLANNED))}
    known = {name: world.read(declare(GOOD.replace("NET-01", name), f"{name}-a")) for name in controls}
    known["higher"] = world.read(declare(f"{GOOD}tier: 2\n", "NET-01-b"))
    assert list(world.of_tier(known, controls, 1)) == ["NET-01"]
    assert list(world.of_tier(known, controls, 2)) == ["VPN-01", "higher"]


def _document(source: random.Random, depth: int = 3) -> object:
    if depth == 0 or source.random() < 0.2:
        return source.choice([1, 2, "a", "b", None, True, 1.0])
    if source.random() < 0.5:
        return [_document(source, depth - 1) for _ in range(source.randrange(5))]
    return {
        key: _document(source, depth - 1) for key in source.sample(["a", "b/c", "d~e", "", "f"], source.randrange(4))
    }


@pytest.mark.parametrize("seed", range(60))
def test_any_part_of_a_difference_applies_and_the_whole_is_exact(seed: int) -> None:
    source = random.Random(seed)  # noqa: S311 - not for secrets
    before, after = {"x": _document(source)}, {"x": _document(source)}
    patch = difference(before, after)
    untouched = copy.deepcopy(before)
    assert jsonpatch.apply_patch(before, patch) == after
    assert before == untouched
    for part in itertools.islice(itertools.combinations(patch, max(0, len(patch) - 1)), 8):
        jsonpatch.apply_patch(before, list(part))
    jsonpatch.apply_patch(before, [operation for operation in patch if source.random() < 0.5])


def test_lines_are_aligned_so_that_an_insertion_is_one_operation() -> None:
    before = [f"line {i}" for i in range(100)]
    after = [*before[:40], "new", *before[40:60], *before[61:]]
    patch = difference({"lines": before}, {"lines": after})
    assert patch == [{"op": "remove", "path": "/lines/60"}, {"op": "add", "path": "/lines/40", "value": "new"}]


@pytest.mark.parametrize("needed", [set(), {3}, {0, 49}, {7, 8, 30}, set(range(50))])
def test_what_matters_remains_and_nothing_else(needed: set[int]) -> None:
    asked = []

    def judge(candidates: Sequence[Sequence[int]]) -> list[bool]:
        asked.append(len(candidates))
        return [needed <= set(candidate) for candidate in candidates]

    assert shrink(list(range(50)), judge) == sorted(needed)
    assert len(asked) <= 4


def test_units_that_stand_in_for_one_another_are_thinned_to_one() -> None:
    assert len(shrink(list(range(9)), lambda many: [any(u % 2 for u in kept) for kept in many])) == 1


def test_a_long_value_is_cut_to_what_matters() -> None:
    value: dict[str, Any] = {
        "name": "web",
        "ports": [{"port": p, "text": "x" * 100} for p in range(30)],
        "labels": {"a": "y" * 2000},
    }
    patch: list[Operation] = [
        {"op": "add", "path": "/c/0", "value": value},
        {"op": "replace", "path": "/time", "value": 2},
    ]

    def judge(candidates: Sequence[list[Operation]]) -> list[bool]:
        def matters(candidate: list[Operation]) -> bool:
            world = jsonpatch.apply_patch({"c": [], "time": 1}, candidate)
            return any(port.get("port") == 7 for c in world["c"] for port in c.get("ports", []))

        return [matters(candidate) for candidate in candidates]

    assert minimise(patch, judge) == [
        {"op": "add", "path": "/c/0", "value": {"ports": [{"port": 7, "text": "x" * 100}]}}
    ]


def test_a_recorded_world_is_judged_as_it_was_seen(checkout: Checkout, observe: Observe) -> None:
    checkout.page("NET-01")
    checkout.page("NET-02")
    for control, fact in (("NET-01", "open"), ("NET-02", "quiet")):
        checkout.test(control, f"def test_it(evidence):\n    assert evidence.inside.fact('{fact}') == []\n")
    good = observe(facts={"open": [], "quiet": [], "pid": 17, "lines": [str(i) for i in range(50)]})
    seen = observe(facts={"open": ["80 is open"], "quiet": [], "pid": 18, "lines": [str(i) for i in range(5, 55)]})
    patch = smallest(good, seen, "NET-01-open", checkout.repo)
    assert patch == [{"op": "add", "path": "/inside/facts/open/0", "value": "80 is open"}]
