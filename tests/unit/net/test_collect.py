"""The collector's part: what it loads into a scratch namespace, and sockets made as somebody else."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import threading
from pathlib import Path
from typing import Any

import pytest

from clawkeep.collector import network
from clawkeep.collector.experiments import metadata
from clawkeep.collector.experiments.connects import Connect
from clawkeep.collector.network import (
    LIST_SAVED,
    LIST_SAVED_LAYER,
    entry,
    legacy_iptables,
)
from clawkeep.collector.recorder import Recorder
from clawkeep.subjects.network.firewall import policy, saved_layers
from clawkeep_host.addresses import METADATA

from .conftest import POLICY, Listed, scratch

LAYER = "*filter\n:CLAWKEEP - [0:0]\n-A CLAWKEEP -i clawkeep0 -d {} -j DROP\n-A CLAWKEEP -j DROP\nCOMMIT\n"


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A saved policy as clawkeep-firewall keeps it."""
    (tmp_path / "clawkeep.nft").write_text(f"add table inet clawkeep\ndelete table inet clawkeep\n{POLICY}")
    (tmp_path / "docker-user.rules").write_text(LAYER.format("10.0.0.0/8"))
    (tmp_path / "docker-user.rules6").write_text(LAYER.format("fc00::/7"))
    return tmp_path


def run(script: str, folder: Path) -> str:
    return scratch(f"sh -c {shlex.quote(script)} {shlex.quote(str(folder))}")


def test_the_saved_ruleset_is_listed_as_the_kernel_would_have_it(saved: Path, listed: Listed) -> None:
    assert policy(json.loads(run(LIST_SAVED, saved))) == policy(listed(POLICY))


def test_both_saved_layers_are_listed(saved: Path) -> None:
    assert saved_layers(run(LIST_SAVED_LAYER, saved).splitlines()) == {
        "ip": ("-A CLAWKEEP -d 10.0.0.0/8 -i clawkeep0 -j DROP", "-A CLAWKEEP -j DROP"),
        "ip6": ("-A CLAWKEEP -d fc00::/7 -i clawkeep0 -j DROP", "-A CLAWKEEP -j DROP"),
    }


def test_a_file_is_told_by_its_digest(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x")
    file.chmod(0o640)
    found = entry(str(file)) or {}
    assert (found["sha256"], found["mode"]) == (hashlib.sha256(b"x").hexdigest(), "0640")
    assert entry(str(tmp_path / "none")) is None


def test_rules_of_the_old_packet_filter_are_listed_where_it_has_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = {"/proc/net/ip_tables_names": ["nat"], "/proc/net/ip6_tables_names": []}
    monkeypatch.setattr(network, "_read", tables.get)
    recorder = Recorder()
    legacy_iptables(recorder)
    assert recorder.facts == {"legacy-iptables": {"ip": ["nat"], "ip6": []}}
    assert list(recorder.commands) == ["iptables-legacy-save"]


def test_every_user_tries_metadata_and_the_public_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: dict[int, list[str]] = {}

    def pretend(uid: int, wishes: list[Connect]) -> list[dict[str, Any]]:
        tried[uid] = [f"{wish.group} {wish.target}" for wish in wishes]
        return [{"group": wish.group} for wish in wishes]

    monkeypatch.setattr("clawkeep.collector.experiments.metadata.connect_as", pretend)
    monkeypatch.setattr(
        "clawkeep.collector.experiments.metadata._uid_of", lambda account: [13] if account == "proxy" else []
    )
    recorder = Recorder({"site": {"public_endpoint": "198.51.100.10:80", "public_endpoint6": "[2001:db8:51::10]:80"}})
    metadata.collect(recorder)
    assert set(tried) == {0, 13, 1000, 65534}
    assert tried[0] == [
        *(f"metadata {f'[{address}]' if ':' in address else address}:80" for address in METADATA),
        "public 198.51.100.10:80",
        "public [2001:db8:51::10]:80",
    ]
    assert set(recorder.facts["metadata-output"]) == {"0", "13", "1000", "65534"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes sockets as somebody else")
def test_another_user_s_socket_is_made_by_one_thread_alone() -> None:
    found: list[int] = []

    def fsuid() -> int:
        status = Path(f"/proc/self/task/{threading.get_native_id()}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("Uid:")).split()[4])

    def as_somebody() -> None:
        metadata.connect_as(65534, [])
        found.append(fsuid())

    thread = threading.Thread(target=as_somebody)
    thread.start()
    thread.join()
    assert found == [65534]
    assert fsuid() == 0
