"""`clawkeep controls`: lists, filters, coverage, and one sentence for a filter that nothing has."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable

import pytest
from rich.console import Console

from clawkeep.base import repo
from clawkeep.cli import controls as cli_controls
from clawkeep.register import coverage, frameworks, register, tiers_page
from clawkeep.register.register import Control, Proof, Severity

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def clawkeep(clawkeep: Run) -> Run:
    """Run `clawkeep controls`."""
    return functools.partial(clawkeep, "controls")


def ids(out: str) -> list[str]:
    return [line.split()[0] for line in out.splitlines() if register.ID.match(line)]


def test_the_whole_register_is_listed(clawkeep: Run) -> None:
    ended, out, _ = clawkeep("list")
    assert ended == 0
    assert ids(out) == list(register.load(repo.find().controls))
    assert "109 of 109 controls" in out


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (("--tier", 1), 77),
        (("--tier", 2), 103),
        (("--tier", 3), 109),
        (("--area", "NET"), 10),
        (("--area", "net", "--tier", 1), 9),
        (("--framework", "owasp_asi", "--area", "AGT", "--tier", 1), 7),
    ],
)
def test_filters_narrow_the_list_together(clawkeep: Run, arguments: tuple[object, ...], count: int) -> None:
    ended, out, _ = clawkeep("list", *arguments)
    assert ended == 0
    assert len(ids(out)) == count


def test_a_framework_brings_its_ids_into_the_list(clawkeep: Run) -> None:
    assert "5.32, 1.1.2" in clawkeep("list", "--framework", "cis_docker", "--area", "MNT")[1]


def test_every_status_that_there_is_can_be_asked_for(clawkeep: Run) -> None:
    statuses = {control.id: control.proof for control in register.load(repo.find().controls).values()}
    for proof in register.Proof:
        found = ids(clawkeep("list", "--status", proof)[1])
        assert found == [name for name, status in statuses.items() if status is proof]


def test_filters_that_nothing_fits_say_so(clawkeep: Run) -> None:
    ended, out, _ = clawkeep("list", "--area", "VPN", "--tier", 1)
    assert (ended, out) == (0, "none of the 109 controls fits all of these filters\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("list", "--tier", 4), "there is no tier 4: the register knows 1, 2, 3"),
        (("list", "--area", "FOO"), "there is no area FOO: the register knows AGT, BGL, CTR, "),
        (("list", "--framework", "iso"), "there is no framework iso: the register knows cis_docker, cis_controls, "),
        (("list", "--status", "done"), "there is no status done: the register knows automated, manual, planned"),
        (("coverage", "--framework", "iso"), "there is no framework iso: the register knows cis_docker, "),
        (("show", "NET-99"), "there is no control NET-99: `clawkeep controls list` names them all"),
    ],
)
def test_a_value_that_nothing_has_is_one_sentence(clawkeep: Run, arguments: tuple[object, ...], sentence: str) -> None:
    ended, out, err = clawkeep(*arguments)
    assert (ended, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1


def test_coverage_tells_every_framework_both_ways(clawkeep: Run) -> None:
    ended, out, _ = clawkeep("coverage")
    assert ended == 0
    for framework in frameworks.load().values():
        assert f"({framework.key})" in out
    said = " ".join(out.split())
    assert "5.32 no engine socket is mounted MNT-01 " in said
    assert "1.1.3 dockerd is audited HST-06" in said
    assert "out of scope the host is in no swarm (DKR-02) 7.1 as few swarm managers as needed; " in said
    assert "Controls that no framework asks for: BGL-04, WEB-06, WEB-07." in said


def test_coverage_of_one_framework_is_that_one_alone(clawkeep: Run) -> None:
    out = clawkeep("coverage", "--framework", "owasp_asi")[1]
    assert "10 of 10 ids in scope are mapped (100 %)" in out
    assert "cis_docker" not in out


@pytest.mark.parametrize("width", [30, 44, 80, 200])
def test_tables_fold_on_a_narrow_terminal_and_lose_nothing(width: int) -> None:
    controls = register.load(repo.find().controls)
    out = Console(file=io.StringIO(), width=width)
    cli_controls.show_list(list(controls.values()), out, None, total=109)
    cli_controls.show_coverage([coverage.of(one, controls) for one in frameworks.load().values()], out)
    printed = out.file.getvalue()  # type: ignore[attr-defined]
    assert max(len(line) for line in printed.splitlines()) <= width
    assert "…" not in printed
    for control in controls:
        assert control in printed


def test_what_is_planned_is_marked_and_what_has_no_reason_is_told() -> None:
    framework = frameworks.Framework("f", "A framework", "1", {"1.1": "the first", "1.2": "the second"}, ())
    some = {
        name: Control(name, "It holds", 1, Severity.HIGH, proof, True, "play", {"f": ("1.1",)})
        for name, proof in (("NET-01", Proof.AUTOMATED), ("NET-02", Proof.PLANNED))
    }
    out = Console(file=io.StringIO(), width=120)
    cli_controls.show_coverage([coverage.of(framework, some)], out)
    printed = " ".join(out.file.getvalue().split())  # type: ignore[attr-defined]
    assert "1 of 2 ids in scope are mapped (50 %)" in printed
    assert "1.1 the first NET-01 NET-02* " in printed
    assert "in scope no reason is given 1.2 the second" in printed


def test_the_help_teaches(clawkeep: Run) -> None:
    said = " ".join(clawkeep("list", "--help")[1].split())
    assert "what a tier 1 host still waits for" in said
    said = " ".join(clawkeep("coverage", "--help")[1].split())
    assert "counts as mapped, not as proved" in said


def test_the_tiers_page_is_printed(clawkeep: Run) -> None:
    out = clawkeep("tiers")[1]
    assert out == (repo.find().root / "docs" / "tiers.md").read_text(encoding="utf-8")
    assert tiers_page.COMMAND in out
