"""A small checkout of its own: a register, a suite and tiers that a test writes as it needs them."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from clawkeep.base import repo
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.observation import Observation
from clawkeep.register import tiers
from clawkeep.site.inventory import Host, Site

PAGE = """\
---
id: {id}
title: {title}
tier: {tier}
severity: high
status: {status}
waivable: true
remedy: ansible-playbook playbooks/site.yml --tags {id}
maps: {{cis_controls: ["4.4"]}}
---
## Promise

It holds.
"""

HEAD = """\
import pytest
from clawkeep.base.verdict import Manual, NotApplicable, Unmeasured

pytestmark = pytest.mark.control("{control}")

"""


class Checkout:
    """Writes pages and test modules below a folder."""

    def __init__(self, root: Path) -> None:
        self.repo = repo.Repo(root)
        self.repo.controls.mkdir(parents=True)
        self.repo.suite.mkdir(parents=True)

    def page(self, control: str, *, tier: int = 1, status: str = "automated", title: str = "It holds") -> Path:
        path = self.repo.controls / f"{control}.md"
        path.write_text(PAGE.format(id=control, tier=tier, status=status, title=title))
        return path

    def test(self, control: str, body: str, *, name: str = "claim", mark: str = "") -> Path:
        """A module of tests of one control."""
        slug = control.lower().replace("-", "_")
        path = self.repo.suite / f"test_{slug}_{name}.py"
        head = HEAD.format(control=control)
        path.write_text(f"{head}\n{mark}{textwrap.dedent(body)}")
        return path


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    """An empty checkout; the modules that its suite leaves behind are forgotten, for the next has the same names."""
    yield Checkout(tmp_path / "checkout")
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


Observe = Callable[..., Observation]


@pytest.fixture
def observe() -> Observe:
    """An observed host: `facts` is what its inside document says."""

    def make(
        name: str = "alpha",
        *,
        rank: int = 1,
        facts: Mapping[str, Any] | None = None,
        message: str = "",
        **vantages: Any,
    ) -> Observation:
        tier = tiers.parse(f"tier{rank}_x", {"tier": {"name": "x", "rank": rank}, "openclaw_port": 18789}, "a test")
        inside = {"schema": 1, "commands": {}, "facts": dict(facts or {"ports": []}), "problems": {}}
        raw = {"schema": 1, "host": name, "inside": inside, "vantages": vantages}
        evidence = None if message else HostEvidence(name, raw)
        return Observation(Host(name, tier, ()), Site(name="a site"), evidence, message)

    return make
