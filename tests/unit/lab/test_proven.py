"""A proven machine is found by all that went into it, and by nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from clawkeep.base import repo
from clawkeep.lab import cache, machine, proven, state
from clawkeep.lab.errors import LabError
from clawkeep.lab.state import Process, State
from clawkeep.lab.topology import SCENARIOS, Lab

IMAGE = Path("/cache/host-0123456789ab")
TIER = "tier1_personal"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "checkout"
    for source in proven.SOURCES[1:]:
        (root / source / "below").mkdir(parents=True)
        (root / source / "below/file.yml").write_text(source)
    (root / "ansible.cfg").write_text("[defaults]\n")
    monkeypatch.setattr(repo, "find", lambda: SimpleNamespace(root=root))
    monkeypatch.setenv("CLAWKEEP_CACHE", str(tmp_path / "cache"))
    return root


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab that was proven: its files, and no machine behind them."""

    @contextlib.contextmanager
    def paused(_: Lab) -> Iterator[None]:
        yield

    monkeypatch.setattr(machine, "paused", paused)
    made = Lab(SCENARIOS["climb"], tmp_path / "lab")
    for name in (
        "disk.qcow2",
        "memories/green",
        "memories/other",
        "id_ed25519",
        "log/host.key",
        "world/x.log",
        "qemu.log",
    ):
        (made.state / name).parent.mkdir(parents=True, exist_ok=True)
        (made.state / name).write_text(name)
    (made.state / "id_ed25519").chmod(0o600)
    state.save(made, State(2222, str(IMAGE), (Process("machine", 1, 1),)))
    return made


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("source", [f"{one}/below/file.yml" for one in proven.SOURCES[1:]] + ["ansible.cfg"])
def test_any_changed_source_is_another_machine(checkout: Path, lab: Lab, source: str) -> None:
    before = proven.name(lab, TIER, IMAGE)
    (checkout / source).write_text("changed")
    assert proven.name(lab, TIER, IMAGE) != before


def test_a_new_a_lost_and_a_moved_source_count_and_what_python_makes_does_not(checkout: Path, lab: Lab) -> None:
    names = [proven.name(lab, TIER, IMAGE)]
    (checkout / "roles/__pycache__").mkdir()
    (checkout / "roles/__pycache__/x.pyc").write_text("x")
    assert proven.name(lab, TIER, IMAGE) == names[0]
    (checkout / "roles/new.yml").write_text("")
    names.append(proven.name(lab, TIER, IMAGE))
    (checkout / "roles/new.yml").rename(checkout / "roles/moved.yml")
    names.append(proven.name(lab, TIER, IMAGE))
    (checkout / "roles/below/file.yml").unlink()
    names.append(proven.name(lab, TIER, IMAGE))
    assert len(set(names)) == 4


@pytest.mark.usefixtures("checkout")
def test_image_tier_and_folder_count(lab: Lab, tmp_path: Path) -> None:
    other = Lab(lab.scenario, tmp_path / "elsewhere")
    names = {
        proven.name(lab, TIER, IMAGE),
        proven.name(lab, "tier2_team", IMAGE),
        proven.name(lab, TIER, IMAGE.with_name("host-ffffffffffff")),
        proven.name(other, TIER, IMAGE),
    }
    assert len(names) == 4


@pytest.mark.usefixtures("checkout")
def test_what_is_kept_is_brought_back_without_what_ran(lab: Lab, tmp_path: Path) -> None:
    kept = proven.keep(lab)
    assert proven.find(lab, TIER, IMAGE) == kept
    again = Lab(lab.scenario, tmp_path / "again")
    proven.bring(kept, again)
    assert files(again.state) == {"disk.qcow2", "memories/green", "id_ed25519", "log/host.key", "state.json"}
    assert (again.state / "id_ed25519").stat().st_mode & 0o777 == 0o600
    assert again.state.stat().st_mode & 0o077 == 0
    found = state.load(again)
    assert found is not None
    assert (found.port, found.image, found.processes) == (2222, str(IMAGE), ())


def test_the_last_one_of_its_kind_is_kept(checkout: Path, lab: Lab) -> None:
    first = proven.keep(lab)
    state.set_tier(lab, "tier2_team")
    other_tier = proven.keep(lab)
    state.set_tier(lab, TIER)
    (checkout / "roles/below/file.yml").write_text("changed")
    second = proven.keep(lab)
    assert {path.name for path in cache.home().glob("proven_*")} == {other_tier.name, second.name}
    assert first != second


@pytest.mark.usefixtures("checkout")
def test_what_was_not_proven_is_neither_kept_nor_found(lab: Lab) -> None:
    with pytest.raises(LabError, match="no machine is kept that was proven as tier1_personal with these sources"):
        proven.find(lab, TIER, IMAGE)
    (lab.state / "memories/green").unlink()
    with pytest.raises(LabError, match="has no snapshot green"):
        proven.keep(lab)
