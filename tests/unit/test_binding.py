"""One id, one thread: page, tagged task, test, sabotage and report row of every control belong together.

Each test gathers every breach, so that a person who adds a control sees all that is missing at once.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from clawkeep.base import repo
from clawkeep.register import register
from clawkeep.register.register import Control, Proof
from clawkeep.sabotage import world
from clawkeep.sabotage.world import Kind, Sabotage
from clawkeep.subjects.table import SUBJECTS


@pytest.fixture(scope="module")
def checkout() -> repo.Repo:
    return repo.find(Path(__file__))


@pytest.fixture(scope="module")
def controls(checkout: repo.Repo) -> dict[str, Control]:
    return register.load(checkout.controls)


@pytest.fixture(scope="module")
def automated(controls: dict[str, Control]) -> dict[str, Control]:
    return {name: control for name, control in controls.items() if control.proof is Proof.AUTOMATED}


@pytest.fixture(scope="module")
def modules(checkout: repo.Repo) -> dict[Path, ast.Module]:
    """The test modules of the conformance suite, parsed."""
    paths = sorted(checkout.suite.rglob("test_*.py"))
    return {path: ast.parse(path.read_text(encoding="utf-8"), str(path)) for path in paths}


@pytest.fixture(scope="module")
def sabotages(checkout: repo.Repo) -> dict[str, Sabotage]:
    return world.load(checkout.sabotages)


@pytest.fixture(scope="module")
def tags(checkout: repo.Repo) -> dict[str, list[Path]]:
    """Every control id that a role's task or a playbook wears as a tag, and where."""
    found: dict[str, list[Path]] = defaultdict(list)
    paths = [
        *checkout.roles.glob("*/tasks/*.yml"),
        *checkout.roles.glob("*/handlers/*.yml"),
        *checkout.playbooks.glob("*.yml"),
    ]
    for path in sorted(paths):
        for tag in _tags(yaml.safe_load(path.read_text(encoding="utf-8"))):
            if register.ID.fullmatch(tag):
                found[tag].append(path)
    return found


def none(sentences: list[str]) -> None:
    """Fail with every sentence on a line of its own."""
    if sentences:
        pytest.fail("\n".join(sentences), pytrace=False)


def _tags(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _tags(item)
    elif isinstance(node, dict):
        worn = node.get("tags", [])
        yield from (str(tag) for tag in (worn if isinstance(worn, list) else str(worn).split(",")))
        for value in node.values():
            yield from _tags(value)


def _marks(module: ast.Module, marker: str) -> set[str]:
    """The arguments of every `pytest.mark.<marker>(...)` in a module."""
    return {
        str(argument.value)
        for node in ast.walk(module)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == marker
        for argument in node.args
        if isinstance(argument, ast.Constant)
    }


def test_every_automated_control_is_remedied_by_a_tagged_task(
    automated: dict[str, Control], tags: dict[str, list[Path]]
) -> None:
    none([f"no task of a role wears the tag {name}" for name in automated if name not in tags])


def test_every_tag_that_looks_like_a_control_is_one(controls: dict[str, Control], tags: dict[str, list[Path]]) -> None:
    unknown = {name: paths for name, paths in tags.items() if name not in controls}
    none([f"{paths[0]} wears the tag {name}, which has no page" for name, paths in unknown.items()])


def test_every_remedy_runs_that_controls_tag(automated: dict[str, Control]) -> None:
    wrong = [c for c in automated.values() if "--tags" in c.remedy and not re.search(rf"--tags \S*{c.id}", c.remedy)]
    none([f"{control.page}: the remedy `{control.remedy}` has the tag of something else" for control in wrong])


def test_every_automated_control_has_one_test_module(
    automated: dict[str, Control], modules: dict[Path, ast.Module]
) -> None:
    names = [path.name for path in modules]
    found = {c.id: [name for name in names if name.startswith(c.module_prefix)] for c in automated.values()}
    wrong = {name: paths for name, paths in found.items() if len(paths) != 1}
    none([f"{name} has {len(paths)} test modules, not one: {paths}" for name, paths in wrong.items()])


def test_every_module_names_its_control_in_file_mark_and_docstring(
    controls: dict[str, Control], modules: dict[Path, ast.Module]
) -> None:
    wrong = []
    for path, module in modules.items():
        marks = _marks(module, "control")
        if len(marks) != 1:
            wrong.append(f"{path} marks {sorted(marks) or 'no control'}: a module proves exactly one")
            continue
        (name,) = marks
        if name not in controls:
            wrong.append(f"{path} proves {name}, which has no page")
            continue
        if not path.name.startswith(controls[name].module_prefix):
            wrong.append(f"{path} proves {name}: its name must begin with {controls[name].module_prefix}")
        wanted = f"{name}: {controls[name].title}."
        said = (ast.get_docstring(module) or "").splitlines()[:1]
        if said != [wanted]:
            wrong.append(f'{path} must begin with the docstring """{wanted}"""')
    none(wrong)


def test_tests_are_pure_functions_of_evidence(modules: dict[Path, ast.Module]) -> None:
    """A test calls no shell, opens no file and imports nothing that could."""
    forbidden = {"subprocess", "os", "socket", "pathlib", "testinfra", "nmap", "docker", "re", "json"}
    wrong = []
    for path, module in modules.items():
        for node in ast.walk(module):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            wrong += [f"{path} imports {name}" for name in names if name.partition(".")[0] in forbidden]
    none(wrong)


def test_every_automated_control_is_broken_crudely_and_subtly(
    automated: dict[str, Control], sabotages: dict[str, Sabotage]
) -> None:
    kinds = defaultdict(set)
    for sabotage in sabotages.values():
        kinds[sabotage.control].add(sabotage.kind)
    missing = [f"{name} has no {kind} sabotage" for name in automated for kind in Kind if kind not in kinds[name]]
    none(missing)


def test_every_sabotage_names_controls_of_the_register(
    controls: dict[str, Control], sabotages: dict[str, Sabotage]
) -> None:
    unknown = [
        f"{sabotage.path} names {name}, which has no page"
        for sabotage in sabotages.values()
        for name in sorted(sabotage.red | sabotage.unmeasured)
        if name not in controls
    ]
    none(unknown)


def test_every_page_tells_its_sabotages_and_no_others(
    controls: dict[str, Control], sabotages: dict[str, Sabotage]
) -> None:
    wrong = []
    for control in controls.values():
        told = set(re.findall(rf"`({control.id}-[a-z0-9-]+)`", control.body))
        kept = {name for name, sabotage in sabotages.items() if sabotage.control == control.id}
        wrong += [f"{control.page} tells of {name}, which is not in tests/sabotage" for name in sorted(told - kept)]
        wrong += [f"{control.page} does not tell of {name}" for name in sorted(kept - told)]
    none(wrong)


def test_every_sabotage_lies_in_the_folder_of_its_family(checkout: repo.Repo, sabotages: dict[str, Sabotage]) -> None:
    lost = [one.path for name, one in sabotages.items() if one.path != world.place(checkout.sabotages, name)]
    none([f"{path} belongs into the folder of its family" for path in lost])


def test_no_patch_has_lost_its_sabotage(checkout: repo.Repo, sabotages: dict[str, Sabotage]) -> None:
    known = {sabotage.patch for sabotage in sabotages.values()}
    none([str(path) for path in checkout.sabotages.rglob(f"*{world.PATCH}") if path not in known])


def test_subjects_have_names_of_their_own() -> None:
    assert SUBJECTS.keys() & {"evidence", "tier", "site", "observation"} == set()


@pytest.mark.parametrize(
    "clock",
    [
        "import datetime\n\n_ = datetime.datetime.now(datetime.UTC)",
        "from datetime import datetime as day\n\n_ = day.today()",
        "import datetime\n\n_ = datetime.date.today()",
        "import time\n\n_ = time.time()",
        "from time import time\n\n_ = time()",
        "from clawkeep.base import clock\n\n_ = clock.now()",
        "from clawkeep.base.clock import now\n\n_ = now()",
        "from datetime import datetime\n\n_ = datetime.fromtimestamp(0)",  # the judge's own time zone
    ],
)
@pytest.mark.parametrize(
    "folder",
    ["tests/conformance/egr", "src/clawkeep/subjects/host", "src/clawkeep/verify", "src/clawkeep/report/html"],
)
def test_ruff_refuses_a_clock_where_is_judged(checkout: repo.Repo, folder: str, clock: str) -> None:
    argv = [sys.executable, "-m", "ruff", "check", "--quiet", "--output-format", "concise"]
    name = ["--stdin-filename", f"{folder}/planted.py", "-"]
    done = subprocess.run(
        [*argv, *name], input=clock + "\n", cwd=checkout.root, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (1, ""), done.stdout
    assert re.search(r"TID251|DTZ\d+", done.stdout)
