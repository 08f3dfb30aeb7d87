"""playbooks/collect.yml: the same evidence as `clawkeep verify --inside-only`, and no host is lost, however it answers.

Ansible runs for real. `ssh` is a stub on PATH whose far end is a shell on this machine; the collector is a program that
answers as the host's name says. Both run from a copy of the sources, with short limits.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.unit.engine.conftest import Observe

from clawkeep.base import repo
from clawkeep.base.errors import ClawkeepError
from clawkeep.evidence.bundle.bundle import open_bundle
from clawkeep.measure import gather, transport
from clawkeep.measure.conversation import READY, End
from clawkeep.site.inventory import Host, Inventory, Site

CHECKOUT = repo.find(Path(__file__))
MARK = "only-evidence-may-say-this"
SECRET = "a-become-password"  # noqa: S105
SSH = """#!/bin/sh
case "$*" in
    *-O*) exit 0 ;;
    *host-down*) echo 'ssh: connect to host host-down port 22: No route to host' >&2; exit 255 ;;
    *host-foreign*) echo 'Host key verification failed.' >&2; exit 255 ;;
    *host-deaf*) exec sleep 60 ;;
esac
eval "far=\\${$#}"; exec sh -c "$far"
"""
PROGRAM = f"""
import json, os, sys, time
told = json.loads(sys.stdin.read())
name = told["host"]["name"]
document = {{"schema": 1, "commands": {{}}, "problems": {{}}, "started": "", "finished": "",
            "identity": {{"uid": 0}}, "facts": {{"told": told, "mark": {MARK!r}}}}}
if name == "host-endless":
    while True:
        sys.stdout.write("x" * 65536)
if name == "host-slow":
    time.sleep(60)
if name == "host-text":
    sys.exit(print("hello"))
if name == "host-bytes":
    os.write(1, b"\\xff\\xfe\\x00")
    sys.exit()
if name == "host-user":
    document["identity"]["uid"] = 1000
if name == "host-broken":
    raise ValueError("strange")
if name == "host-unicode":
    document["facts"]["mark"] = "\\u2603"
    os.write(1, json.dumps(document, ensure_ascii=False).encode())
    sys.exit()
print(json.dumps(document))
"""
GOOD = ("host-a", "host-b", "host-unicode")
WHY = {
    "host-broken": "broke off with status 1: ValueError: strange",
    "host-bytes": "answered with something that is not JSON",
    "host-deaf": "did not answer within 10 s",
    "host-down": "is unreachable by ssh: ssh: connect to host host-down port 22: No route to host",
    "host-endless": "sent more than 4 MB",
    "host-foreign": "has an ssh host key that is not known here",
    "host-slow": "did not finish within 6 s",
    "host-text": "answered with something that is not JSON",
    "host-user": "was read as uid 1000, not as root",
}


@dataclass(frozen=True)
class Place:
    """Where the play runs: the copy of the checkout, the inventory, and the environment."""

    folder: Path
    inventory: Path
    environment: dict[str, str]

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        beside = Path(sys.executable).parent
        return subprocess.run(
            [str(beside / argv[0]), *argv[1:]],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            errors="replace",
        )

    def play(self, bundle: Path, *more: str) -> subprocess.CompletedProcess[str]:
        given = (
            "-i",
            str(self.inventory),
            str(self.folder / "playbooks/collect.yml"),
            "-e",
            f"collect_folder={bundle}",
        )
        return self.run("ansible-playbook", *given, *more)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("collect")
    for name in ("docs", "tests", "ansible.cfg"):
        (folder / name).symlink_to(CHECKOUT.root / name)
    for name in ("src", "playbooks"):
        shutil.copytree(CHECKOUT.root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "src/clawkeep/collector/__main__.py").write_text(PROGRAM)
    path = folder / "src/clawkeep/measure/transport.py"
    text = path.read_text()
    for long, short in (("OUTPUT_CAP = 32", "OUTPUT_CAP = 4"), ("HOST_LIMIT = 480", "HOST_LIMIT = 6")):
        assert long in text
        text = text.replace(long, short)
    path.write_text(text.replace("CONNECT_LIMIT = 30", "CONNECT_LIMIT = 4"))
    (folder / "bin").mkdir()
    (folder / "bin/ssh").write_text(SSH)
    (folder / "bin/ssh").chmod(0o755)
    (folder / "home").mkdir()
    source = folder / "inventory"
    (source / "group_vars").mkdir(parents=True)
    (source / "group_vars/all.yml").write_text('---\nsite_name: here\nsite_console: "a secret door"\n')
    hosts = {name: {"ansible_become": False, "ansible_become_password": SECRET} for name in (*GOOD, *WHY)}
    hosts["host-a"]["clawkeep_addresses"] = ["192.0.2.1"]
    listed = {"tier1_personal": {"hosts": hosts}, "web": {"hosts": {"host-a": {}}}}
    (source / "hosts.yml").write_text(json.dumps(listed))
    environment = {
        **os.environ,
        "PATH": f"{folder}/bin:{Path(sys.executable).parent}:/usr/bin:/bin",
        "PYTHONPATH": str(folder / "src"),
        "HOME": str(folder / "home"),
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
    }
    return Place(folder, source, environment)


@pytest.fixture(scope="module")
def collected(place: Place) -> tuple[subprocess.CompletedProcess[str], Path]:
    bundle = place.folder / "evidence" / "today"
    return place.play(bundle, "-vvv"), bundle


Collected = tuple[subprocess.CompletedProcess[str], Path]


def test_every_host_is_in_the_bundle_with_its_evidence_or_its_reason(collected: Collected) -> None:
    done, folder = collected
    bundle = open_bundle(folder)
    assert list(bundle.findings()) == [], done.stdout
    entries = {entry.name: entry for entry in bundle.manifest.hosts}
    assert {name for name, entry in entries.items() if entry.reached} == set(GOOD)
    assert {name: entry.message for name, entry in entries.items() if not entry.reached}.keys() == WHY.keys()
    for name, why in WHY.items():
        assert why in entries[name].message
        assert entries[name].message in done.stdout
    assert not bundle.manifest.limited


def test_the_play_fails_in_the_end_and_says_how_many(collected: Collected) -> None:
    done, folder = collected
    assert done.returncode == 2
    assert f"3 of 12 hosts gave evidence: {folder}" in done.stdout


def test_evidence_is_for_its_owner_alone_and_appears_in_one_step(collected: Collected) -> None:
    _, folder = collected
    assert sorted(path.name for path in folder.parent.iterdir()) == ["today"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "hosts")} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*.json")} == {0o600}


def test_no_evidence_and_no_secret_is_in_the_log_and_nothing_is_left_on_hosts(
    place: Place, collected: Collected
) -> None:
    done, _ = collected
    for secret in (MARK, SECRET, "a secret door"):
        assert secret not in done.stdout + done.stderr
    left = [path for path in (place.folder / "home").rglob("*") if path.is_file()]
    assert left == []


def test_it_is_what_verify_measures_from_inside(place: Place, collected: Collected) -> None:
    kept = place.folder / "verified"
    options = ("--limit", "host-a,host-b", "--inside-only", "--control", "HST-01", "--save-evidence", str(kept))
    done = place.run("clawkeep", "verify", "-i", str(place.inventory), *options)
    assert kept.is_dir(), done.stderr
    here, there = open_bundle(collected[1]), open_bundle(kept)
    assert here.manifest.site == there.manifest.site
    named = {entry.name: entry for entry in here.manifest.hosts}
    for entry in there.manifest.hosts:
        assert [_timeless(named[entry.name].model_dump())] == [_timeless(entry.model_dump())]
        assert _undated(here.evidence(named[entry.name])) == _undated(there.evidence(entry))


def _timeless(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key not in {"sha256", "after", "chain"}}


def _undated(raw: Any) -> Any:
    found = json.loads(json.dumps(raw))
    known = found["vantages"]["controller"]
    for document in (known, known["facts"]):
        for key in ("started", "finished", "asked", "measured"):
            document.pop(key, None)
    return found


def test_in_batches_with_a_limit_and_a_key(place: Place) -> None:
    key, bundle = place.folder / "key", place.folder / "batches"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    given = ("--limit", "host-a,host-down,host-b", "-e", "collect_serial=1", "-e", f"collect_sign_key={key}")
    done = place.play(bundle, *given)
    opened = open_bundle(bundle)
    assert list(opened.findings()) == [], done.stdout
    assert [(e.name, e.reached) for e in opened.manifest.hosts] == [
        ("host-a", True),
        ("host-b", True),
        ("host-down", False),
    ]
    assert opened.manifest.limited
    author = opened.author()
    assert author is not None
    assert f"signed with the key {author.key}" in done.stdout
    again = place.play(bundle, "--limit", "host-a")
    assert again.returncode != 0
    assert "is not empty" in again.stdout + again.stderr


# --- what the play rests on ---


@pytest.fixture
def begun(tmp_path: Path, observe: Observe) -> gather.Gathering:
    tier = observe().host.tier
    hosts = tuple(Host(name, tier, ("192.0.2.1",), ("all",)) for name in ("alpha", "beta"))
    collection = gather.gathering(tmp_path / "new" / "bundle")
    collection.begin(Inventory(tmp_path, hosts, Site(name="x"), {}), lambda _: "", limited=False)
    return collection


def answer(**facts: object) -> End:
    document = {"schema": 1, "identity": {"uid": 0}, "commands": {}, "facts": facts, "problems": {}}
    return gather.answered(0, b"Welcome\n" + READY + json.dumps(document).encode(), "")


def test_a_host_whose_worker_was_killed_is_not_lost(begun: gather.Gathering) -> None:
    assert begun.keep("alpha", answer(), "2026-01-01T00:00:00Z", by_ssh=True) == ""
    ended = begun.finish()
    assert (ended.hosts, ended.missing) == (2, (f"beta: {gather.UNTOLD}",))
    bundle = open_bundle(begun.folder)
    assert [(e.name, e.reached, e.message) for e in bundle.manifest.hosts][1] == ("beta", False, gather.UNTOLD)
    assert list(bundle.findings()) == []
    assert not begun.work.exists()


def test_what_is_sent_is_what_verify_sends(begun: gather.Gathering) -> None:
    sent = begun.order("alpha")
    assert sent.startswith(b"clawkeep-zip %d\n" % len(transport.collector()) + transport.collector())
    told = json.loads(sent.partition(b"\n")[2][len(transport.collector()) :])
    assert (told["host"]["name"], told["turns"]) == ("alpha", False)


def test_a_collection_on_its_way_is_not_disturbed(begun: gather.Gathering, tmp_path: Path) -> None:
    with pytest.raises(ClawkeepError, match="on its way or was stopped"):
        begun.begin(Inventory(tmp_path, (), Site(name="x"), {}), lambda _: "", limited=False)
    with pytest.raises(ClawkeepError, match="has no plan/"):
        begun.order("gamma")


def test_a_key_that_is_gone_in_the_end_loses_nothing(begun: gather.Gathering, tmp_path: Path) -> None:
    for name in ("alpha", "beta"):
        begun.keep(name, answer(), "2026-01-01T00:00:00Z", by_ssh=True)
    ended = begun.finish(tmp_path / "no-key")
    assert ended.missing == ()
    assert "there is no key" in ended.saved.problem
    assert ended.saved.signed_by is None
    assert list(open_bundle(begun.folder).findings()) == []


def test_an_answer_that_is_too_long_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "OUTPUT_CAP", 10)
    assert gather.answered(0, READY + b"x" * 11, "").overflow
    assert not gather.answered(1, b"", "no").ready
