"""Every role says what it takes, and says it once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import ROLES, ROOT, options, read
from .failures import swallowed

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
def test_no_failure_is_swallowed(role: str) -> None:
    files = [*tasks(role), *sorted((ROOT / "roles" / role / "handlers").glob("*.yml"))]
    assert [f"{file}: {sentence}" for file in files for sentence in swallowed(read(file))] == []


def test_no_playbook_swallows_a_failure() -> None:
    files = [*(ROOT / "playbooks").glob("*.yml"), *(ROOT / "molecule").rglob("*.yml")]
    assert {file.name for file in files} >= {"site.yml", "rollback.yml", "verify.yml"}
    # A host that could not be asked is in the bundle with the reason, and fails the play's last task.
    asked = "collect.yml: the task 'Ask the host'"
    known = [f"{asked} ignores every error", f"{asked} may fail, and nobody keeps what came of it"]
    assert [f"{file.name}: {sentence}" for file in files for sentence in swallowed(read(file))] == known


LOOK = """
- name: look
  ansible.builtin.command: {argv: [getent, group, docker]}
  register: found
  changed_when: false
  check_mode: false
  failed_when: false
- name: decide
  ansible.builtin.command: {argv: [groupadd, docker]}
  when: found.rc != 0
"""
CHANGE = """
- name: change
  ansible.builtin.command: {argv: [clawkeep-release, apply]}
  register: done
  changed_when: true
  failed_when: false
- name: stop
  ansible.builtin.assert: {that: done.rc == 0}
"""
REACH = """
- name: arm
  ansible.builtin.command: {argv: [clawkeep-firewall, arm]}
  register: armed
  changed_when: true
  ignore_unreachable: true
- name: confirm
  ansible.builtin.command: {argv: [clawkeep-firewall, confirm]}
  changed_when: true
  when: armed is unreachable
"""


@pytest.mark.parametrize(
    "text", [LOOK, CHANGE, REACH, CHANGE.replace("assert: {that: done.rc == 0}", "fail: {}\n  when: done.rc != 0")]
)
def test_a_failure_that_a_later_task_decides_by_is_not_swallowed(text: str) -> None:
    assert swallowed(yaml.safe_load(text)) == []
    assert swallowed([{"hosts": "all", "tasks": yaml.safe_load(text)}]) == []


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        (LOOK, "  register: found\n", ""),
        (LOOK, "found.rc != 0", "founder.rc != 0"),
        (LOOK, "  check_mode: false\n", ""),  # where it does not run, nobody decides
        (LOOK, "  changed_when: false\n", ""),
        (LOOK, "[getent, group, docker]", "[gpasswd, --delete, eve, docker]"),  # it only says that it changes nothing
        (LOOK, "[getent, group, docker]", "[auditctl, -D]"),
        (CHANGE, "done.rc == 0", "true"),
        (CHANGE, "assert: {that: done.rc == 0}", "debug: {var: done}"),
        (CHANGE, "assert: {that: done.rc == 0}", "command: {argv: [go, on]}\n  when: done.rc == 0"),
        (CHANGE, "{that: done.rc == 0}", "{that: done.rc == 0}\n  failed_when: false"),
        (CHANGE, "failed_when: false", "ignore_errors: true"),
        (REACH, "when: armed is unreachable", "when: true"),
        (REACH, "confirm]}", "confirm]}\n  failed_when: false"),
    ],
)
def test_a_swallowed_failure_is_told(text: str, old: str, new: str) -> None:
    assert old in text
    assert swallowed(yaml.safe_load(text.replace(old, new))) != []


@pytest.mark.parametrize("never", ["false", '"false"', "no", "never", "[]"])
def test_never_is_told_however_it_is_written(never: str) -> None:
    text = f"- name: x\n  ansible.builtin.command: {{argv: [apply]}}\n  changed_when: true\n  failed_when: {never}\n"
    assert swallowed(yaml.safe_load(text)) == ["the task 'x' may fail, and nobody keeps what came of it"]


@pytest.mark.parametrize("script", ["rm -r /x || true", "rm -r /x || :", "rm -r /x ; true", "set +e; rm -r /x"])
def test_a_script_that_shrugs_is_told(script: str) -> None:
    task = {"name": "x", "ansible.builtin.shell": {"cmd": script}, "register": "done", "changed_when": "done.rc == 0"}
    assert swallowed([task]) != []


def test_a_block_is_looked_into_and_a_rescue_has_to_fail() -> None:
    forgiven = {"name": "x", "ansible.builtin.command": {"argv": ["false"]}, "failed_when": False}
    assert swallowed([{"block": [{"block": [forgiven]}]}]) != []
    rescued = {"name": "x", "block": [], "rescue": [{"ansible.builtin.debug": {"msg": "never mind"}}]}
    assert swallowed([rescued]) != []
    assert swallowed([{**rescued, "rescue": [{"ansible.builtin.fail": {"msg": "broken"}}]}]) == []


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
