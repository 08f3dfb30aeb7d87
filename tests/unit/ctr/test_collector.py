"""The collector's parts of containers, as far as they need no container: walks, canaries, the probe's rows."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from clawkeep.collector import mounts, others, processes
from clawkeep.collector.experiments import probe_script
from clawkeep.collector.recorder import Recorder


def test_a_walk_records_what_is_open_and_counts_the_rest(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    for name, mode in (("a.sqlite", 0o600), ("b.sqlite", 0o644), ("suid", 0o4700)):
        (tmp_path / "state" / name).write_text("")
        (tmp_path / "state" / name).chmod(mode)
    (tmp_path / "link").symlink_to("/etc/shadow")
    found = mounts.tree(str(tmp_path), everything=False)
    assert [(one["path"], one["kind"]) for one in found["entries"]] == [
        (".", "d"),
        ("link", "l"),
        ("state/b.sqlite", "f"),
        ("state/suid", "f"),
    ]
    assert (found["counted"], found["complete"]) == (5, True)
    assert found["files"][:2] == ["state/a.sqlite", "state/b.sqlite"]
    assert len(mounts.tree(str(tmp_path), everything=True)["entries"]) == 6


def test_a_second_name_of_a_file_is_open(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    (tmp_path / "x").chmod(0o600)
    os.link(tmp_path / "x", tmp_path / "y")
    assert {one.get("links") for one in mounts.tree(str(tmp_path), everything=False)["entries"][1:]} == {2}


def test_a_tree_that_is_too_large_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "TREE_ENTRIES", 2)
    for name in "abc":
        (tmp_path / name).write_text("")
    assert mounts.tree(str(tmp_path), everything=False)["complete"] is False
    assert mounts.tree(str(tmp_path / "none"), everything=False)["entries"] == []


def test_canaries_are_laid_and_taken_away(tmp_path: Path) -> None:
    places = [tmp_path / "etc", tmp_path / "work"]
    for place in places:
        place.mkdir()
    with mounts.Canaries([str(places[0]), str(tmp_path / "none")], [str(places[1])]) as canaries:
        assert canaries.planted == [str(place) for place in places]
        assert [[path.name for path in place.iterdir()] for place in places] == [[canaries.name]] * 2
    assert [list(place.iterdir()) for place in places] == [[], []]


def test_sources_are_resolved_and_looked_into(tmp_path: Path) -> None:
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "home")
    container = {"Mounts": [{"Source": str(tmp_path / "link")}], "HostConfig": {"Binds": ["name:/x", "/none:/y:ro"]}}
    found = mounts.sources([container], [{"Options": {"device": str(tmp_path)}}, {"Options": None}])
    assert found[str(tmp_path / "link")] == {"real": str(tmp_path / "home"), "kind": "directory", "holds": [".ssh"]}
    assert found["/none"]["kind"] == "absent"
    assert str(tmp_path) in found
    assert "name" not in found


@pytest.mark.skipif(shutil.which("perl") is None, reason="no perl here")
@pytest.mark.parametrize("text", [probe_script.script("nonce", "token"), probe_script.filled(probe_script.BOOT)])
def test_the_probe_is_perl(text: str) -> None:
    checked = subprocess.run(["perl", "-c", "-"], input=text, text=True, capture_output=True, check=False)
    assert checked.stderr.strip() == "- syntax OK"


@pytest.mark.parametrize(
    ("name", "executable", "helper"),
    [
        ("runc:[2:INIT]", "/memfd:runc_cloned:/proc/self/exe (deleted)", True),
        ("6", "/memfd:runc_cloned:/proc/self/exe (deleted)", True),
        ("exe", "/usr/sbin/runc", True),
        ("sleep", "/usr/bin/sleep", False),
    ],
)
def test_the_runtime_on_its_way_in_is_known(name: str, executable: str, helper: bool) -> None:
    assert processes.is_runtime_helper({"name": name, "executable": executable}) is helper


def test_a_helper_that_stays_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = {"pid": 2**30, "name": "runc:[2:INIT]", "executable": ""}
    monkeypatch.setattr(processes, "SETTLE_SECONDS", 0.5)
    monkeypatch.setattr(processes, "members", lambda *_: [stuck])
    assert processes.observe(1, {})["processes"] == [stuck]


def test_this_process_is_described() -> None:
    found = processes.process(os.getpid())
    assert found is not None
    assert found["uids"] == [os.getuid()] * 4
    assert found["no_new_privileges"] in ("0", "1")
    assert set(found["namespaces"]) <= set(processes.NAMESPACES)


def test_a_process_that_has_gone_is_none() -> None:
    assert processes.process(2**22 + 1) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_stranger_is_refused_what_the_owner_gets(tmp_path: Path) -> None:
    private = tmp_path / "state"
    private.mkdir(mode=0o700)
    (private / "x.sqlite").write_text("")
    for path in (private, private / "x.sqlite"):
        os.chown(path, 1000, 1000)
    requests = [{"do": "read", "tree": str(private), "path": "x.sqlite", "uid": uid} for uid in (1000, 65534)]
    assert others.ask(Recorder(), requests) == ["ok", "EACCES"]
    assert others.ask(Recorder(), [{"do": "read", "tree": str(tmp_path / "none"), "path": ".", "uid": 1000}]) == [None]


def test_only_the_agents_own_volumes_are_known_to_show_their_canary() -> None:
    volumes = {
        "openclaw-state": "/home/node/.openclaw",
        "work": "/home/node/.openclaw/workspace",
        "extra": "/srv/exchange",
    }
    attached = [
        {"Type": "volume", "RW": True, "Source": f"/volumes/{name}", "Destination": place}
        for name, place in volumes.items()
    ]
    assert mounts.own_volumes({"Mounts": attached}) == ["/volumes/openclaw-state", "/volumes/work"]
