"""What role `openclaw` writes for a tier, rendered from the role's own templates by Ansible itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from clawkeep.base.repo import Repo
from clawkeep.lab import cache, tools
from clawkeep.lab import topology as t
from clawkeep.lab.progress import step

ROLE = "openclaw"
TEMPLATES = f"roles/{ROLE}/templates/etc/clawkeep/openclaw/candidate"
SETTINGS, COMPOSE = "openclaw.json", "compose.yml"


@dataclass(frozen=True)
class Rendered:
    """The text of openclaw.json, and the service `gateway` of compose.yml."""

    settings: str
    service: dict[str, Any]


def rendered(checkout: Repo, tier: str, image_id: str) -> Rendered:
    """The configuration of a tier's gateway that runs this image."""
    variables = {"openclaw_image_id": image_id, "reverse_proxy_server_name": t.FRONT_DOOR}
    folder = cache.product(
        f"bench-{tier}-{_key(checkout, tier, variables)}", lambda into: _render(checkout, tier, variables, into)
    )
    compose = yaml.safe_load((folder / COMPOSE).read_text(encoding="utf-8"))
    return Rendered((folder / SETTINGS).read_text(encoding="utf-8"), compose["services"]["gateway"])


def play(checkout: Repo, tier: str, variables: Path, into: Path) -> list[dict[str, Any]]:
    """A play that renders the role's templates into a folder, with the variables that playbooks/site.yml gives it."""
    task = {
        "name": "Render what the role renders",
        "ansible.builtin.template": {"src": "{{ item }}", "dest": f"{into}/", "mode": "0600"},
        "loop": [str(checkout.root / TEMPLATES / f"{name}.j2") for name in (SETTINGS, COMPOSE)],
        "vars": _handed_over(checkout),
    }
    files = [str(path) for path in (*_variables(checkout, tier), variables)]
    return [
        {
            "name": "Render a tier's gateway",
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars_files": files,
            "tasks": [task],
        }
    ]


def _variables(checkout: Repo, tier: str) -> Iterator[Path]:
    """Files of variables, the stronger ones last: every role's defaults, the role's own, the lab's site, the tier."""
    yield from sorted(checkout.roles.glob("*/defaults/main.yml"))
    yield checkout.roles / ROLE / "vars" / "main.yml"
    yield checkout.root / "inventories" / "lab" / "group_vars" / "all.yml"
    yield checkout.tiers / f"{tier}.yml"


def _handed_over(checkout: Repo) -> dict[str, Any]:
    """The variables that playbooks/site.yml hands to the role."""
    (site,) = yaml.safe_load((checkout.playbooks / "site.yml").read_text(encoding="utf-8"))
    return next(dict(role.get("vars", {})) for role in site["roles"] if role["role"] == ROLE)


def _render(checkout: Repo, tier: str, variables: dict[str, str], into: Path) -> None:
    site, playbook = into / "variables.json", into / "play.json"
    site.write_text(json.dumps(variables), encoding="utf-8")
    playbook.write_text(json.dumps(play(checkout, tier, site, into)), encoding="utf-8")
    ansible = str(Path(sys.executable).with_name("ansible-playbook"))
    interpreter = f"ansible_python_interpreter={sys.executable}"
    with step(f"rendering the gateway of {tier}"):
        tools.run([ansible, "-i", "localhost,", "-e", interpreter, str(playbook)], cwd=checkout.root)
        for name in (SETTINGS, COMPOSE):
            (into / f"{name}.j2").rename(into / name)


def _key(checkout: Repo, tier: str, variables: dict[str, str]) -> str:
    """Changes with everything the files are rendered from."""
    templates = [checkout.root / TEMPLATES / f"{name}.j2" for name in (SETTINGS, COMPOSE)]
    read = [*_variables(checkout, tier), checkout.playbooks / "site.yml", *templates, Path(__file__)]
    return cache.key(version("ansible-core"), json.dumps(variables), *(path.read_bytes() for path in read))
