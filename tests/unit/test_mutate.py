"""scripts/mutate.py: what it keeps between runs, what it asks for again, and how it tells a survivor."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from clawkeep.base import repo

ROOT = repo.find(Path(__file__)).root
SOURCE = """\
import os


class Door:
    def locked(self):
        if self.key:
            return True
        return False


def locked(key):
    # Two lines alike.
    if key:
        return True

    if key:
        return True
"""


@pytest.fixture(scope="module")
def mutate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutate", ROOT / "scripts/mutate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def diff(before: str, ahead: int) -> list[str]:
    """As mutmut prints one, counted from the function's first line."""
    return [f"@@ -{ahead},3 +{ahead},3 @@", f"-{before}", "+pass"]


@pytest.mark.parametrize(
    ("function", "hunk", "line"),
    [
        ("Door.locked", diff("        return False", 4), 8),
        ("locked", diff("    if key:", 3), 13),
        ("locked", diff("    if key:", 6), 16),
        ("locked", ["@@ -5,2 +5,3 @@", " ", "+    pass"], 16),
    ],
)
def test_a_survivor_is_told_with_its_line(mutate: ModuleType, function: str, hunk: list[str], line: int) -> None:
    assert mutate.line_of(SOURCE, function, hunk) == line


def test_a_sample_is_the_same_one_each_time(mutate: ModuleType) -> None:
    module = mutate.Module("clawkeep_host/kill.py", dict.fromkeys((f"m{number}" for number in range(100)), None))
    assert module.sample(10) == module.sample(10)
    assert len(set(module.sample(10))) == 10
    assert module.sample(None) == module.sample(1000) == sorted(module.notes)


def test_only_what_was_killed_is_not_tried_again(mutate: ModuleType, tmp_path: Path) -> None:
    meta = tmp_path / "kill.py.meta"
    meta.write_text(json.dumps({"exit_code_by_key": {"killed": 1, "ended": -24, "lives": 0, "unreached": 33}}))
    mutate.forget_survivors(meta)
    notes = json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"]
    assert notes == {"killed": 1, "ended": -24, "lives": None, "unreached": None}


def test_a_survivor_with_a_reason_is_known_by_module_function_and_line(mutate: ModuleType) -> None:
    table = "| `a.py` | `f` | `x = a \\| None` | it does not matter |"
    survivor = mutate.Survivor("a.py", 7, "f", "x = a | b", "x = a | None", True)
    assert survivor.accepted(table)
    assert not mutate.Survivor("b.py", 7, "f", "x = a | b", "x = a | None", True).accepted(table)
    assert not mutate.Survivor("a.py", 7, "f", "x = a | b", "x = None", True).accepted(table)


def test_the_score_is_what_was_killed_of_all(mutate: ModuleType) -> None:
    lines = mutate.table([mutate.Score("a.py", 10, 2, 1), mutate.Score("b.py", 10, 0, 0)]).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["a.py", "10", "7", "2", "1", "70%"],
        ["b.py", "10", "10", "0", "0", "100%"],
        ["total", "20", "17", "2", "1", "85%"],
    ]


def test_a_mutated_module_that_a_test_starts_runs_its_mutant(
    mutate: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: dict[str, object] = {}
    exec(mutate.STAND_IN, names)  # noqa: S102 (our own text)

    def original() -> str:
        return "original"

    chosen = names["wrap_in_trampoline"]({"_mutmut_orig": original, "x_original__mutmut_1": lambda: "mutant"})(original)  # type: ignore[operator]
    assert chosen() == "original"
    monkeypatch.setenv("MUTANT_UNDER_TEST", f"{__name__}.x_original__mutmut_1")
    assert chosen() == "mutant"
    monkeypatch.setenv("MUTANT_UNDER_TEST", "other.x_original__mutmut_1")
    assert chosen() == "original"
