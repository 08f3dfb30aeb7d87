"""The collector's parts of containers, as far as they need no container: walks, canaries, the probe's rows."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clawkeep.collector import mounts, others, privileged, processes, trees
from clawkeep.collector.experiments import canaries, probe_script
from clawkeep.collector.recorder import Recorder
from clawkeep.collector.trees import tree
from clawkeep_host import files

LONG = "d" * 250
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def test_a_walk_records_what_is_open_and_counts_the_rest(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    for name, mode in (("a.sqlite", 0o600), ("b.sqlite", 0o644), ("suid", 0o4700)):
        (tmp_path / "state" / name).write_text("")
        (tmp_path / "state" / name).chmod(mode)
    (tmp_path / "link").symlink_to("/etc/shadow")
    found = tree(str(tmp_path), everything=False)
    assert [(one["path"], one["kind"]) for one in found["entries"]] == [
        (".", "d"),
        ("link", "l"),
        ("state/b.sqlite", "f"),
        ("state/suid", "f"),
    ]
    assert (found["counted"], found["complete"]) == (5, True)
    assert found["files"][:2] == ["state/a.sqlite", "state/b.sqlite"]
    assert len(tree(str(tmp_path), everything=True)["entries"]) == 6


def test_a_second_name_of_a_file_is_open(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    (tmp_path / "x").chmod(0o600)
    os.link(tmp_path / "x", tmp_path / "y")
    assert {one.get("links") for one in tree(str(tmp_path), everything=False)["entries"][1:]} == {2}


def test_a_tree_that_is_too_large_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "TREE_ENTRIES", 2)
    for name in "abc":
        (tmp_path / name).write_text("")
    assert tree(str(tmp_path), everything=False)["complete"] is False
    assert tree(str(tmp_path / "none"), everything=False)["entries"] == []


def test_the_time_of_a_walk_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("")
    monkeypatch.setattr(trees, "TREE_SECONDS", -1.0)
    assert tree(str(tmp_path), everything=True)["complete"] is False


def deep(base: Path, name: str) -> str:
    """A file's path below `base` that is longer than any path that can be opened; its mode lets everybody read."""
    here = Path.cwd()
    os.chdir(base)
    try:
        for _ in range(20):
            os.mkdir(LONG)  # noqa: PTH102 - no path leads here
            os.chdir(LONG)
        Path(name).write_text("")
        Path(name).chmod(0o4755)
    finally:
        os.chdir(here)
    return "/".join([LONG] * 20 + [name])


def test_what_lies_deeper_than_any_path_reaches_is_looked_at(tmp_path: Path) -> None:
    """An agent makes such a place with mkdir and chdir."""
    path = deep(tmp_path, "credentials.json")
    found = tree(str(tmp_path), everything=False)
    assert path in [one["path"] for one in found["entries"]]
    assert (found["counted"], found["complete"], found["files"]) == (21, True, [])


def test_a_folder_that_turns_into_a_link_meanwhile_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The walk has seen a folder; its owner puts a link to the host in its place before the walk goes on."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret.json").write_text("")
    (tmp_path / "state/folder").mkdir(parents=True)
    describe = trees.describe

    def swapping(entry: files.Entry) -> dict[str, Any]:
        found = describe(entry)
        if entry.name == "folder":
            (tmp_path / "state/folder").rmdir()
            (tmp_path / "state/folder").symlink_to(tmp_path / "outside")
        return found

    monkeypatch.setattr(trees, "describe", swapping)
    found = tree(str(tmp_path / "state"), everything=True)
    assert [one["path"] for one in found["entries"]] == [".", "folder"]


def test_names_that_are_no_text_can_be_written_down(tmp_path: Path) -> None:
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.json"))).write_text("")
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xfe"))).symlink_to(os.fsdecode(b"/\xfd"))
    found = tree(str(tmp_path), everything=True)
    assert json.dumps(found, ensure_ascii=False).encode()
    assert [one["path"] for one in found["entries"]] == [".", "\\xfe", "\\xff.json"]
    assert found["entries"][1]["target"] == "/\\xfd"


@pytest.mark.parametrize("kind", ["link", "file", "absent", "pipe"])
def test_a_root_that_is_no_directory_is_told_alone(tmp_path: Path, kind: str) -> None:
    (tmp_path / "folder").mkdir()
    root = tmp_path / "root"
    make: dict[str, Callable[[], object]] = {
        "link": lambda: root.symlink_to("folder"),
        "file": lambda: root.write_text(""),
        "absent": tmp_path.exists,
        "pipe": lambda: os.mkfifo(root),
    }
    make[kind]()
    found = tree(str(root), everything=True)
    assert [one["kind"] for one in found["entries"]] == {"link": ["l"], "file": ["f"], "absent": [], "pipe": ["p"]}[
        kind
    ]


def test_canaries_are_laid_and_taken_away(tmp_path: Path) -> None:
    places = [tmp_path / "etc", tmp_path / "work"]
    for place in places:
        place.mkdir()
    old = os.umask(0o077)
    try:
        with canaries.Canaries([str(places[0]), str(tmp_path / "none")], [str(places[1])]) as laid:
            assert laid.planted == [str(place) for place in places]
            assert [[path.name for path in place.iterdir()] for place in places] == [[laid.name]] * 2
            assert (places[1] / laid.name).stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(old)
    assert [list(place.iterdir()) for place in places] == [[], []]


@as_root
def test_no_canary_is_laid_through_a_link_of_the_agents(tmp_path: Path) -> None:
    (tmp_path / "cron.d").mkdir()
    (tmp_path / "home").mkdir()
    os.chown(tmp_path / "home", 1000, 1000)
    (tmp_path / "home/.config").symlink_to(tmp_path / "cron.d")
    with canaries.Canaries([str(tmp_path / "home/.config")], []) as laid:
        assert laid.planted == []
        assert list((tmp_path / "cron.d").iterdir()) == []


def test_a_canary_is_taken_away_where_it_was_laid(tmp_path: Path) -> None:
    """Its directory has another name by now, and another directory has its name."""
    (tmp_path / "work").mkdir()
    with canaries.Canaries([], [str(tmp_path / "work")]) as laid:
        (tmp_path / "work").rename(tmp_path / "moved")
        (tmp_path / "work").mkdir()
        (tmp_path / "work" / laid.name).write_text("of somebody else")
    assert list((tmp_path / "moved").iterdir()) == []
    assert [path.read_text() for path in (tmp_path / "work").iterdir()] == ["of somebody else"]


def test_sources_are_resolved_and_looked_into(tmp_path: Path) -> None:
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "home")
    container = {"Mounts": [{"Source": str(tmp_path / "link")}], "HostConfig": {"Binds": ["name:/x", "/none:/y:ro"]}}
    found = mounts.sources([container], [{"Options": {"device": str(tmp_path)}}, {"Options": None}])
    assert found[str(tmp_path / "link")] == {"real": str(tmp_path / "home"), "kind": "directory", "holds": [".ssh"]}
    assert found["/none"]["kind"] == "absent"
    assert found[str(tmp_path)]["holds"] == ["home/.ssh"]
    assert "name" not in found


def test_a_sensitive_name_is_found_however_deep_it_lies(tmp_path: Path) -> None:
    path = deep(tmp_path, ".netrc")
    container = {"Mounts": [{"Type": "bind", "Source": str(tmp_path)}]}
    assert mounts.sources([container], [])[str(tmp_path)]["holds"] == [path]


def test_a_link_is_no_sensitive_folder_behind_it(tmp_path: Path) -> None:
    """In the container it leads somewhere else."""
    (tmp_path / "link").symlink_to("/root")
    assert mounts.sensitive_names(str(tmp_path), [], time.monotonic() + 60) == ([], True)


def test_the_engines_own_volumes_are_the_containers_to_fill(tmp_path: Path) -> None:
    (tmp_path / "repository/.config").mkdir(parents=True)
    container = {"Mounts": [{"Type": "volume", "Source": str(tmp_path)}]}
    assert mounts.sources([container], [])[str(tmp_path)]["holds"] == []


@pytest.mark.parametrize(("name", "value"), [("SOURCE_ENTRIES", 3), ("SOURCES_SECONDS", -1.0)])
def test_a_source_that_was_not_looked_at_to_its_end_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: float
) -> None:
    for number in range(5):
        (tmp_path / str(number)).mkdir()
    monkeypatch.setattr(mounts, name, value)
    container = {"Mounts": [{"Type": "bind", "Source": str(tmp_path)}]}
    assert mounts.sources([container], [])[str(tmp_path)]["complete"] is False


def test_mount_points_have_the_bytes_that_they_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path may hold what parts lines elsewhere, and the kernel writes blanks in octal."""
    lines = [
        b"1 0 8:1 / /a\x0bb\x85c rw - ext4 /dev/vda rw",
        b"2 0 8:1 / /d\\040e\xff rw - ext4 /dev/vda rw",
        b"3 0 0:5 / /proc rw - proc proc rw",
        b"",
    ]
    monkeypatch.setattr("clawkeep_host.files.content", lambda *_: b"\n".join(lines))
    points = list(mounts.mount_points(mounts.mountinfo(1)))
    assert [os.fsencode(point) for point in points] == [b"/a\x0bb\x85c", b"/d e\xff"]


def test_a_process_that_has_gone_has_no_mounts() -> None:
    assert mounts.mountinfo(2**22 + 1) == []


HAS_FIND = pytest.mark.skipif(shutil.which("find") is None, reason="no find here")


def search(tmp_path: Path, *points: str) -> dict[str, Any]:
    """The privileged files at these places, which lie in this process's own root."""
    found = privileged.privileged_files(Recorder(), os.getpid(), points or (str(tmp_path),))
    return {**found, "files": [[path.removeprefix(str(tmp_path)), *rest] for path, *rest in found["files"]]}


@as_root
@HAS_FIND
def test_files_that_lift_are_found_wherever_and_whatever_they_are_called(tmp_path: Path) -> None:
    path = deep(tmp_path, "suid")
    names = [b"token=abcdefghijklmnop", b"\xff\xfe", b"a\nb c", b"-newer"]
    for name in names:
        place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
        place.write_text("")
        place.chmod(0o755)
        os.setxattr(place, "security.capability", bytes.fromhex("0100000200000000000000000000000000000000"))
    (tmp_path / "plain").write_text("")
    (tmp_path / "plain").chmod(0o755)
    found = search(tmp_path)
    assert found["error"] is None
    assert found["executables"] == len(names) + 2
    assert {(name, mode, capable) for name, mode, _, capable in found["files"]} == {
        ("/" + path, "4755", False),
        *(("/" + name.decode("utf-8", "backslashreplace"), "755", True) for name in names),
    }


@as_root
@HAS_FIND
def test_a_file_that_is_mounted_by_itself_is_looked_at_too(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("")
    (tmp_path / "tool").chmod(0o4755)
    assert search(tmp_path, str(tmp_path / "tool"))["files"] == [["/tool", "4755", 0, False]]


@as_root
@HAS_FIND
def test_a_mount_that_cannot_be_entered_is_not_searched_in_silence(tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    os.chown(tmp_path / "volume", 1000, 1000)
    (tmp_path / "volume/link").symlink_to("/")
    found = search(tmp_path, str(tmp_path / "volume/link"), str(tmp_path / "none"))
    assert (found["files"], found["executables"]) == ([], 0)
    assert found["error"].endswith("volume/link cannot be entered: Too many levels of symbolic links")


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


@as_root
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
