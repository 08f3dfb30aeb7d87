"""Every role says what it takes, and says it once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .conftest import ROLES, ROOT, options, read

EACH_ROLE = pytest.mark.parametrize("role", ROLES)


def tasks(role: str) -> list[Path]:
    return sorted((ROOT / "roles" / role / "tasks").rglob("*.yml"))


@EACH_ROLE
def test_the_defaults_are_those_of_the_specification(role: str) -> None:
    declared = {name: spec["default"] for name, spec in options(role).items() if "default" in spec}
    assert read(ROOT / "roles" / role / "defaults" / "main.yml") == declared


@EACH_ROLE
def test_every_option_says_what_it_is(role: str) -> None:
    def undescribed(declared: dict[str, Any]) -> list[str]:
        found = [name for name, spec in declared.items() if not spec.get("description") or not spec.get("type")]
        for spec in declared.values():
            found += undescribed(spec.get("options", {}))
        return found

    assert undescribed(options(role)) == []


@EACH_ROLE
def test_an_option_without_a_default_is_required(role: str) -> None:
    assert [name for name, spec in options(role).items() if ("default" in spec) == spec.get("required", False)] == []


@EACH_ROLE
def test_public_variables_bear_the_roles_name(role: str) -> None:
    own = [name for name in options(role) if not name.startswith(("site_", "clawkeep_"))]
    assert [name for name in own if not name.startswith(f"{role}_")] == []
    assert [
        name for name in read(ROOT / "roles" / role / "vars" / "main.yml") if not name.startswith(f"__{role}_")
    ] == []


@EACH_ROLE
def test_the_main_file_is_a_table_of_contents(role: str) -> None:
    for task in read(ROOT / "roles" / role / "tasks" / "main.yml"):
        assert set(task) <= {"name", "tags", "when", "ansible.builtin.import_tasks"}, task["name"]


@EACH_ROLE
def test_no_failure_is_ignored(role: str) -> None:
    assert [str(file) for file in tasks(role) if "ignore_errors" in file.read_text(encoding="utf-8")] == []


@EACH_ROLE
def test_nothing_is_taken_at_its_latest(role: str) -> None:
    files = [path for path in (ROOT / "roles" / role).rglob("*") if path.is_file()]
    texts = {path: path.read_text(encoding="utf-8", errors="replace") for path in files}
    assert [str(path) for path, text in texts.items() if ":latest" in text or "state: latest" in text] == []


@EACH_ROLE
def test_no_role_knows_a_tier(role: str) -> None:
    names = [path.stem for path in (ROOT / "playbooks" / "group_vars").glob("tier*.yml")]
    assert names
    files = [path for path in (ROOT / "roles" / role).rglob("*") if path.is_file()]
    texts = {path: path.read_text(encoding="utf-8", errors="replace") for path in files}
    assert [str(path) for path, text in texts.items() if any(name in text for name in names)] == []


@EACH_ROLE
def test_names_are_orders(role: str) -> None:
    names = [task["name"] for file in tasks(role) for task in read(file) or []]
    assert [name for name in names if name.startswith("Ensure")] == []
