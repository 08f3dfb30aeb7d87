"""The repository's Ansible side, read without any host."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template

ROOT = Path(__file__).resolve().parents[3]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())


def read(path: Path) -> Any:
    """Return a YAML file's content, or an empty mapping when there is no such file."""
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}


def options(role: str) -> dict[str, Any]:
    """Return the options that a role's main entry point declares."""
    declared: dict[str, Any] = read(ROOT / "roles" / role / "meta" / "argument_specs.yml")
    options: dict[str, Any] = declared["argument_specs"]["main"].get("options", {})
    return options


def trusted(value: Any) -> Any:
    """Mark every string of a structure as one that Ansible may template, as it does for what it reads from files."""
    if isinstance(value, dict):
        return {key: trusted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [trusted(item) for item in value]
    return trust_as_template(value) if isinstance(value, str) else value


@pytest.fixture(scope="session")
def render() -> Callable[..., str]:
    """Render a role's template as the module `template` does, with the role's defaults and the variables given."""
    init_plugin_loader([])

    def rendered(role: str, template: str, **variables: Any) -> str:
        folder = ROOT / "roles" / role
        known = {"ansible_managed": "Ansible managed", **read(folder / "defaults" / "main.yml")}
        known |= read(folder / "vars" / "main.yml") | variables
        templar = Templar(loader=DataLoader(), variables=trusted(known))
        source = f"{{{{ lookup('ansible.builtin.template', '{folder}/templates/{template}') }}}}"
        return str(templar.template(trust_as_template(source)))

    return rendered
