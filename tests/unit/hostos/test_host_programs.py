"""The host programs: what the collector records of them, and that only those which this Clawkeep installs are green."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clawkeep.base import repo
from clawkeep.base.verdict import Unmeasured
from clawkeep.collector import programs as collector
from clawkeep.collector.programs import KEY
from clawkeep.collector.recorder import Recorder
from clawkeep.evidence.document import HostEvidence
from clawkeep.sabotage import world
from clawkeep.sabotage.record import recorded
from clawkeep.subjects.host.host_programs import HostPrograms
from clawkeep_host import package
from clawkeep_host.version import version

from .world import World, asked, entry

OLDER = "0.1.0+00aa11bb22cc33dd"
KILL = "/usr/local/sbin/clawkeep-kill"
Change = Callable[[World], object]


def complaints(change: Change | None = None) -> list[str]:
    programs = asked(HostPrograms, change)
    return [*programs.others(), *programs.changeable()]


def archive(**changes: Any) -> Change:
    return lambda world: world["facts"][KEY]["archive"].update(changes)


def kill(**changes: Any) -> Change:
    return lambda world: next(row for row in world["facts"][KEY]["wrappers"] if row["path"] == KILL).update(changes)


def folder(**changes: Any) -> Change:
    return lambda world: world["facts"][KEY]["folders"][1].update(changes)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def older(world: World) -> None:
    """As an older Clawkeep would have left the host."""
    archive(sha256="0" * 64, version=OLDER)(world)
    for row in world["facts"][KEY]["wrappers"]:
        text = package.wrapper(row["path"].rpartition("/")[2], version=OLDER)
        row.update(sha256=digest(text), version=OLDER)


def other_import() -> str:
    text = package.wrapper("clawkeep-kill")
    changed = text.replace(f'path.insert(0, "{package.ARCHIVE}")', 'path.insert(0, "/opt/hotfix")')
    assert changed != text
    return changed


def test_the_programs_that_this_clawkeep_installs_are_green() -> None:
    assert complaints() == []


def test_programs_of_another_release_are_told_once_with_both_versions() -> None:
    assert complaints(older) == [
        f"the programs of {package.ARCHIVE} on this host are {OLDER}, this Clawkeep installs {version()}: run the "
        "playbook, or judge with the Clawkeep that installed them"
    ]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda w: w["facts"][KEY].update(archive=None), f"{package.ARCHIVE} is missing"),
        (archive(sha256="0" * 64), f"says that it is {version()} and is not"),
        (archive(sha256="0" * 64, version=OLDER), f"on this host are {OLDER}, this Clawkeep installs {version()}"),
        (archive(sha256=None), f"says that it is {version()} and is not"),
        (archive(uid=1000), "belongs to uid 1000"),
        (archive(mode=0o666), "can be changed by everybody"),
        (archive(mode=0o664, gid=1000), "can be changed by the group 1000"),
        (archive(acl=[{"whom": "user", "id": 1000, "bits": 7}]), "has an access list"),
        (kill(sha256="0" * 64), f"{KILL} is not the wrapper that Clawkeep installs"),
        (kill(sha256=digest(other_import())), f"{KILL} is not the wrapper that Clawkeep installs"),
        (kill(sha256=digest(package.wrapper("clawkeep-vpn"))), f"{KILL} is not the wrapper that Clawkeep installs"),
        (
            kill(sha256=digest(package.wrapper("clawkeep-kill", version=OLDER)), version=OLDER),
            f"clawkeep-kill was installed with {OLDER} and the archive is {version()}: run the whole playbook",
        ),
        (kill(path=f"{KILL}.bak"), "clawkeep-kill.bak is no program of this Clawkeep"),
        (kill(mode=0o757), "can be changed by everybody"),
        (folder(uid=1000), "/usr/local/sbin belongs to uid 1000"),
        (folder(mode=0o777), "/usr/local/sbin can be changed by everybody"),
        (folder(mode=0o775, gid=27), "/usr/local/sbin can be changed by the group 27"),
        (folder(kind="link"), "/usr/local/sbin is a link"),
    ],
)
def test_each_other_program_is_told(change: Change, complaint: str) -> None:
    found = complaints(change)
    assert len(found) == 1
    assert complaint in found[0]


def test_an_archive_without_a_version_is_none_of_ours() -> None:
    found = complaints(archive(sha256="0" * 64, version=None))
    assert f"{package.ARCHIVE} is none of Clawkeep's: run the playbook, and find out who changed it" in found


def test_a_wrapper_of_an_older_release_does_not_excuse_what_else_it_says() -> None:
    def change(world: World) -> None:
        older(world)
        kill(sha256=digest(other_import().replace(version(), OLDER)))(world)

    assert f"{KILL} is not the wrapper that Clawkeep installs" in "\n".join(complaints(change))


def test_a_wrapper_that_is_a_link_is_told() -> None:
    assert any(f"{KILL} is a link: only root may change it" in one for one in complaints(kill(kind="link")))


def test_debians_group_of_administrators_may_own_usr_local() -> None:
    assert complaints(folder(mode=0o2775, gid=50)) == []


def test_evidence_from_before_the_archive_says_nothing_of_what_the_programs_are() -> None:
    assert complaints(lambda world: world["facts"].pop(KEY)) == []


def test_evidence_from_before_the_archive_still_says_who_can_change_them() -> None:
    def change(world: World) -> None:
        world["facts"].pop(KEY)
        world["facts"]["break-glass-files"] = [entry(KILL, 0o777)]

    assert complaints(change) == [f"{KILL} can be changed by everybody: only root may change it"]


@pytest.mark.parametrize(
    "change",
    [
        lambda w: (w["facts"].pop(KEY), w["problems"].update(programs="the collector's part programs broke")),
        lambda w: (w["facts"].pop(KEY), w["facts"].pop("break-glass-files")),
        lambda w: w["facts"].update({KEY: None}),
        lambda w: w["facts"][KEY].update(wrappers=[]),
        lambda w: w["facts"][KEY].update(wrappers=None),
        lambda w: w["facts"][KEY].pop("folders"),
        archive(uid=None),
        archive(sha256=7),
        archive(acl=None),
        kill(mode="0755"),
    ],
)
def test_unknown_programs_never_pass(change: Change) -> None:
    with pytest.raises(Unmeasured):
        complaints(change)


@pytest.fixture(name="installed")
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the archive and two wrappers, where the collector looks."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "sbin").mkdir()
    (tmp_path / "lib/clawkeep_host.zip").write_bytes(package.archive())
    for name in ("clawkeep-kill", "clawkeep-vpn"):
        (tmp_path / "sbin" / name).write_text(package.wrapper(name), encoding="utf-8")
        (tmp_path / "sbin" / name).chmod(0o755)
    monkeypatch.setattr(collector, "ARCHIVE", f"{tmp_path}/lib/clawkeep_host.zip")
    monkeypatch.setattr(collector, "WRAPPERS", f"{tmp_path}/sbin/clawkeep-*")
    return tmp_path


def collected() -> dict[str, Any]:
    recorder = Recorder()
    collector.collect(recorder)
    found: dict[str, Any] = json.loads(json.dumps(recorder.facts[KEY]))
    return found


def test_the_collector_looks_where_the_role_installs() -> None:
    assert collector.ARCHIVE == package.ARCHIVE
    assert f"{package.FOLDER}/clawkeep-*" == collector.WRAPPERS
    assert all(name.startswith("clawkeep-") for name in package.PROGRAMS)


def test_what_is_installed_is_recorded_and_green(installed: Path) -> None:
    fact = collected()
    assert [row["path"] for row in fact["wrappers"]] == [
        f"{installed}/sbin/clawkeep-kill",
        f"{installed}/sbin/clawkeep-vpn",
    ]
    assert {row["version"] for row in (*fact["wrappers"], fact["archive"])} == {version()}
    assert [row["kind"] for row in fact["folders"]] == ["directory", "directory"]
    for row in (*fact["wrappers"], fact["archive"], *fact["folders"]):
        row.update(uid=0, gid=0)  # whoever runs the tests
    raw = {"schema": 1, "host": "alpha", "inside": {"schema": 1, "facts": {KEY: fact}}}
    programs = HostEvidence("alpha", raw).subject(HostPrograms)
    assert [*programs.others(), *programs.changeable()] == []


def test_a_program_that_was_changed_is_red_by_what_the_collector_records(installed: Path) -> None:
    (installed / "sbin/clawkeep-kill").write_text(other_import(), encoding="utf-8")
    fact = collected()
    raw = {"schema": 1, "host": "alpha", "inside": {"schema": 1, "facts": {KEY: fact}}}
    assert [one.partition(" is ")[2][:23] for one in HostEvidence("alpha", raw).subject(HostPrograms).others()] == [
        "not the wrapper that Cl"
    ]


def test_no_archive_is_recorded_as_none(installed: Path) -> None:
    (installed / "lib/clawkeep_host.zip").unlink()
    assert collected()["archive"] is None


def test_what_is_no_file_is_recorded_without_waiting(installed: Path) -> None:
    os.mkfifo(installed / "sbin/clawkeep-pipe")
    (installed / "sbin/clawkeep-vpn").unlink()
    (installed / "sbin/clawkeep-vpn").symlink_to("clawkeep-kill")
    (installed / "sbin/clawkeep-gone").symlink_to("nowhere")
    rows = {row["path"].rpartition("/")[2]: row for row in collected()["wrappers"]}
    rows.pop("clawkeep-kill")
    assert {name: (row["kind"], row["sha256"]) for name, row in rows.items()} == {
        "clawkeep-gone": ("link", None),
        "clawkeep-pipe": ("other", None),
        "clawkeep-vpn": ("link", None),
    }


@pytest.mark.usefixtures("installed")
def test_a_file_beyond_all_measure_has_no_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "LIMIT", 100)
    assert [row["sha256"] for row in collected()["wrappers"]] == [None, None]


def test_only_a_version_is_taken_for_one(installed: Path) -> None:
    (installed / "lib/clawkeep_host.zip").write_bytes(b"PK\x05\x06" + b"\0" * 18 + b"<script>" * 20)
    (installed / "sbin/clawkeep-kill").write_text(f"#!/bin/sh\n# x of Clawkeep {'9' * 65}: \n", encoding="utf-8")
    fact = collected()
    assert fact["archive"]["version"] is None
    assert fact["wrappers"][0]["version"] is None


@pytest.mark.parametrize("tier", ["tier1_personal", "tier2_team"])
def test_a_recorded_host_is_replayed_without_its_programs(tier: str) -> None:
    """They are those of the day of the recording; compared with today's they would turn red by themselves."""
    evidence = recorded(repo.find(Path(__file__)), tier).evidence
    assert evidence
    assert KEY not in evidence.raw["inside"]["facts"]


def test_a_sabotage_that_changes_an_installed_program_says_that_bgl_05_turns_red() -> None:
    changing = re.compile(rf"(--in-place|>)[^\n]* ({package.FOLDER}/clawkeep-|{package.ARCHIVE})")
    sabotages = world.load(repo.find(Path(__file__)).sabotages)
    changed = {stem for stem, one in sabotages.items() if changing.search(one.do)}
    assert "WEB-08-prefix" in changed
    assert [stem for stem in sorted(changed) if "BGL-05" not in sabotages[stem].red] == []
