"""`clawkeep controls show`: all that carries an id, found in the files and in what its tests read."""

from __future__ import annotations

import functools
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from clawkeep.base.errors import ClawkeepError
from clawkeep.base.repo import Repo, find
from clawkeep.cli import thread as view
from clawkeep.register import register
from clawkeep.register.register import Control, Proof, Severity
from clawkeep.sabotage import collected, thread, world
from clawkeep.sabotage.thread import Task, Thread

Run = Callable[..., tuple[int, str, str]]
CHECKOUT = find(Path(__file__))
CONTROLS = register.load(CHECKOUT.controls)


# What every thread of this checkout begins with; its files do not change meanwhile.
READ_ONCE = [(world, "load"), (register, "load"), (collected, "recorded"), (thread, "recorded")]
ONCE = [(module, name, functools.cache(getattr(module, name))) for module, name in READ_ONCE]


@functools.cache
def of(control: str) -> Thread:
    with pytest.MonkeyPatch.context() as patch:
        for replacement in ONCE:
            patch.setattr(*replacement)
        return thread.of(CONTROLS[control], CHECKOUT)


@pytest.fixture
def clawkeep(clawkeep: Run) -> Run:
    """Run `clawkeep controls`."""
    return functools.partial(clawkeep, "controls")


def test_a_thread_names_test_subjects_and_sabotages() -> None:
    found = of("NET-04")
    assert [path.name for path in found.tests] == ["test_net_04_loopback_publishes.py"]
    assert {name: CHECKOUT.shown(path) for name, path in found.subjects.items()} == {
        "published": "src/clawkeep/subjects/network/published.py"
    }
    expected = {stem for stem in world.load(CHECKOUT.sabotages) if stem.startswith("NET-04-")}
    assert {one.stem for one in found.sabotages} == expected
    assert found.missing == ()


def test_a_task_is_named_with_the_line_where_it_begins() -> None:
    found = of("NET-04").tasks
    assert found
    for task in found:
        lines = task.path.read_text(encoding="utf-8").splitlines()
        assert lines[task.line - 1] == f"- name: {task.name}"


def test_evidence_is_what_the_tests_read_through_other_subjects_too() -> None:
    """NET-04 asks Published alone, which rests on the packet filter and on who listens."""
    read = {(key.vantage, key.path): [path.name for path in key.modules] for key in of("NET-04").keys}
    assert read["inside", "commands/docker-containers"] == ["api.py"]
    assert read["inside", "commands/nft-ruleset"] == ["network.py"]
    assert read["inside", "commands/ss@openclaw"] == ["egress.py"]
    assert ("inside", "facts/sysctl") not in read


def test_what_only_a_higher_tiers_host_answers_is_evidence_too() -> None:
    """LOG-10 binds tier 1, and asks the log store on hosts that send their records there."""
    assert "facts/modes" in {key.path for key in of("LOG-10").keys if key.vantage == "siem"}


def test_evidence_from_elsewhere_names_who_measures_it() -> None:
    assert {path.name for key in of("WEB-08").keys if key.vantage == "web" for path in key.modules} == {"web.py"}


@pytest.mark.parametrize(
    ("control", "experiments"),
    [
        ("HST-02", {"account.py"}),
        ("EGR-03", {"bypass.py"}),
        ("IMD-02", {"connects.py"}),
        ("DKR-01", set()),
    ],
)
def test_what_acts_on_the_host_is_named(control: str, experiments: set[str]) -> None:
    found = {path.name for path in of(control).experiments}
    assert experiments <= found
    assert bool(found) is bool(experiments)


def test_a_planned_control_says_what_is_missing() -> None:
    found = of("AGT-01")
    assert found.control.proof is Proof.PLANNED
    assert [sentence.split()[:2] for sentence in found.missing] == [["no", word] for word in MISSING]
    assert (found.tasks, found.tests, found.keys, found.sabotages) == ((), (), (), ())


MISSING = ("task", "module", "crude", "subtle")


def test_what_a_person_checks_misses_nothing() -> None:
    manual = next(control for control in CONTROLS.values() if control.proof is Proof.MANUAL)
    assert Thread(manual, (), (), {}, (), ()).missing == ()


def test_every_automated_controls_evidence_has_a_module_that_records_it() -> None:
    """Two of each family, for each asks for a run of its tests."""
    families: dict[str, list[Control]] = {}
    for control in CONTROLS.values():
        if control.proof is Proof.AUTOMATED:
            families.setdefault(control.area, []).append(control)
    some = [control for family in families.values() for control in family[:2]]
    nobodys = [f"{one.id} {key}" for one in some for key in of(one.id).keys if not key.modules]
    assert nobodys == []
    assert [one.id for one in some if not of(one.id).keys] == []


# --- tasks


def checkout(root: Path, text: str) -> Repo:
    path = root / "roles" / "x" / "tasks" / "main.yml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    (root / "playbooks").mkdir()
    return Repo(root)


def test_tags_are_found_wherever_yaml_has_them(tmp_path: Path) -> None:
    text = """\
---
- name: One of several
  tags: [NET-03, NET-04]
- name: Alone
  tags: NET-04
- name: A block
  block:
    - name: Inside
      vars: {secret: !vault x}
      tags: "NET-03, NET-04"
- name: Another's
  tags: [NET-05]
  vars: {note: NET-04}
"""
    found = list(thread.tasks(checkout(tmp_path, text), "NET-04"))
    path = tmp_path / "roles" / "x" / "tasks" / "main.yml"
    assert found == [Task(path, 2, "One of several"), Task(path, 4, "Alone"), Task(path, 8, "Inside")]


def test_a_file_that_is_no_yaml_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ClawkeepError, match=r"main\.yml cannot be read as YAML"):
        list(thread.tasks(checkout(tmp_path, "- tags: [NET-04\n"), "NET-04"))


# --- keys in the collector's source

SOURCE = """
NAMES = {"ip": "old-save", "ip6": "old-save6"}
KEY = "constant"

def collect(rec):
    rec.note("noted", 1)
    rec.run("not-kept", ["x"], keep=False)
    rec.json("first/" + rec.name, ["x"])
    functools.partial(rec.run, "partial", ("x",))
    threading.Thread(target=rec.run, args=("threaded", ["x"]))
    threading.Thread(target=api.record, args=(rec, "passed", "/x"))
    for family, tool in NAMES.items():
        rec.run(tool, [tool])
    rec.note(KEY, 1)
    rec.note(other.KEY, 1)
    subprocess.run(["not-a-key"])

def each(rec):
    key = "numbered/%d" % 1
    rec.run("a" if rec else "b", ["x"])
    jobs(key)

def jobs(key):
    rec.run(key, ["x"])

def acts(rec):
    rec.note(f"of {rec}", tried(1))
"""


def test_keys_are_found_however_they_are_handed_over(tmp_path: Path) -> None:
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "trial.py").write_text("def tried(x): ...\n")
    (tmp_path / "one.py").write_text(f"from clawkeep.collector.experiments.trial import tried\n{SOURCE}")
    found = collected.recorded(tmp_path)
    assert {one.pattern for one in found} == {
        *("noted", "first/*", "partial", "threaded", "passed", "old-save", "old-save6", "constant"),
        *("numbered/*", "a", "b", "of *"),
    }
    acting = {one.pattern for one in found if one.experiments}
    assert acting == {"of *"}
    assert [one.pattern for one in found if one.fits("numbered/7")] == ["numbered/*"]


def test_a_collector_that_is_no_python_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("def")
    with pytest.raises(ClawkeepError, match=r"one\.py cannot be read as Python"):
        collected.recorded(tmp_path)


# --- on the command line


def test_the_page_is_shown_and_its_thread_whatever_the_case(clawkeep: Run) -> None:
    ended, out, _ = clawkeep("show", "net-04")
    page = (CHECKOUT.controls / "NET-04.md").read_text(encoding="utf-8")
    assert ended == 0
    assert out.startswith(f"{page}\nThread\n")
    shown = out.removeprefix(page)
    for part in ("Tasks", "Test", "Subjects", "Evidence", "Experiments", "Sabotages"):
        assert re.search(rf"^{part}", shown, re.M), part
    assert re.search(r"^  roles/docker/tasks/main\.yml:\d+ +Set the engine's defaults *$", shown, re.M)
    assert re.search(r"^  inside +commands/ss +src/clawkeep/collector/experiments/egress\.py *$", shown, re.M)
    assert re.search(r"^  crude +tests/sabotage/net/NET-04-wildcard\.yml +A sidecar publishes", shown, re.M)
    assert "\x1b" not in out


def test_a_planned_controls_thread_is_what_is_missing(clawkeep: Run) -> None:
    assert "no module test_agt_01_*.py proves it" in clawkeep("show", "AGT-01")[1]


def test_machines_read_the_thread_alone(clawkeep: Run) -> None:
    ended, out, _ = clawkeep("show", "WEB-01", "--json")
    found = json.loads(out)
    assert ended == 0
    assert (found["control"], found["proof"], found["page"]) == ("WEB-01", "automated", "docs/controls/WEB-01.md")
    (masters,) = [one for one in found["evidence"] if one["path"] == "facts/nginx-masters"]
    assert masters["recorded_by"] == ["src/clawkeep/collector/web.py"]
    paths = [found["page"], *found["tests"], *found["subjects"].values(), *(one["path"] for one in found["tasks"])]
    assert [path for path in paths if not (CHECKOUT.root / path).is_file()] == []
    assert {one["kind"] for one in found["sabotages"]} == {"crude", "subtle"}


@pytest.mark.parametrize("terminal", [True, False])
def test_colours_are_for_terminals(terminal: bool) -> None:
    out = Console(file=io.StringIO(), width=120, force_terminal=terminal, color_system="standard" if terminal else None)
    view.show(of("NET-04"), CHECKOUT, out)
    assert ("\x1b[" in out.file.getvalue()) is terminal  # type: ignore[attr-defined]


def test_brackets_in_a_title_are_no_markup() -> None:
    control = Control("NET-01", "It [holds]", 1, Severity.HIGH, Proof.AUTOMATED, True, "play")
    odd = Task(CHECKOUT.roles / "x" / "tasks" / "main.yml", 1, "Set [bold]this[/bold]")
    out = Console(file=io.StringIO(), width=120)
    view.show(Thread(control, (odd,), (), {}, (), ()), CHECKOUT, out)
    assert "Set [bold]this[/bold]" in out.file.getvalue()  # type: ignore[attr-defined]
