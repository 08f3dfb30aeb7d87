"""Where the checkout lies and what lies where in it: the only place that knows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clawkeep.base.errors import ClawkeepError


@dataclass(frozen=True)
class Repo:
    """A checkout of Clawkeep: register, tiers, suite and playbooks are read from it."""

    root: Path

    @property
    def controls(self) -> Path:
        """The register: one page a control."""
        return self.root / "docs" / "controls"

    @property
    def playbooks(self) -> Path:
        """What Ansible calls the playbook directory."""
        return self.root / "playbooks"

    @property
    def tiers(self) -> Path:
        """The tier files."""
        return self.playbooks / "group_vars"

    @property
    def suite(self) -> Path:
        """The conformance suite: a folder for each family of controls."""
        return self.root / "tests" / "conformance"

    @property
    def roles(self) -> Path:
        """The Ansible roles."""
        return self.root / "roles"

    @property
    def sabotages(self) -> Path:
        """The violating worlds: what is done to the host, and the patch by which it changed the evidence."""
        return self.root / "tests" / "sabotage"

    @property
    def recorded(self) -> Path:
        """The good bundle of each tier."""
        return self.root / "tests" / "recorded"

    def shown(self, path: Path) -> str:
        """`path` as a person in the checkout would type it."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)


def find(start: Path | None = None) -> Repo:
    """The checkout that this package is installed from (editable), else the one around `start` (the current folder).

    Raises ClawkeepError when there is neither: the suite and the register are not part of the wheel.
    """
    around = (start or Path.cwd()).resolve()
    for folder in (Path(__file__).resolve().parents[3], around, *around.parents):
        if (folder / "docs" / "controls").is_dir() and (folder / "tests").is_dir():
            return Repo(folder)
    raise ClawkeepError(
        f"no Clawkeep checkout around {around}: run this inside one, or install it with `pip install -e`"
    )
