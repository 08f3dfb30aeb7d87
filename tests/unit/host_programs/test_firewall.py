"""clawkeep-firewall: changes undo themselves, and only a new connection keeps them."""

from __future__ import annotations

import argparse
import importlib.machinery
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import pytest

from .conftest import ROOT

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TOOL = ROOT / "roles/firewall/files/usr/local/sbin/clawkeep-firewall"


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The tool as a module, with its folders in a temporary place and a change armed by connection 100 at tick 1000."""
    loader = importlib.machinery.SourceFileLoader("clawkeep_firewall", str(TOOL))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    loader.exec_module(module)
    saved, runtime = tmp_path / "saved", tmp_path / "run"
    for name, value in {
        "SAVED": saved,
        "RUNTIME": runtime,
        "STATE": runtime / "armed.json",
        "PREVIOUS": runtime / "previous",
        "CANDIDATE": runtime / "candidate",
    }.items():
        monkeypatch.setattr(module, name, value)
    saved.mkdir()
    module.CANDIDATE.mkdir(parents=True)
    for name in module.FILES:
        (module.CANDIDATE / name).write_text(f"new {name}\n", encoding="utf-8")
    module.STATE.write_text(json.dumps({"id": "c0ffee", "conn": [100, 500], "loaded": 1000}), encoding="utf-8")
    monkeypatch.setattr(module, "journal", Mock())
    monkeypatch.setattr(module, "succeeds", Mock(return_value=False))
    monkeypatch.setattr(module, "subprocess", Mock())
    return module


def processes(**table: tuple[str, int, int]) -> Any:
    """Return a stand-in for `process` that knows these: p42=(name, parent, start)."""
    return lambda pid: table[f"p{pid}"]


def test_a_connection_is_its_topmost_session(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool.os, "getpid", lambda: 9)
    table = processes(
        p9=("python3", 8, 90),
        p8=("sudo", 7, 80),
        p7=("sshd-session", 6, 70),
        p6=("sshd-session", 5, 60),
        p5=("sshd", 1, 1),
    )
    monkeypatch.setattr(tool, "process", table)
    assert tool.connection() == (6, 60)


def test_a_console_is_no_connection(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool.os, "getpid", lambda: 9)
    monkeypatch.setattr(tool, "process", processes(p9=("python3", 8, 90), p8=("login", 1, 80)))
    assert tool.connection() is None


def test_a_new_connection_keeps_the_change(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "connection", lambda: (200, 1001))
    tool.confirm(argparse.Namespace())
    assert [(tool.SAVED / name).read_text(encoding="utf-8") for name in tool.FILES] == [
        f"new {name}\n" for name in tool.FILES
    ]
    assert not tool.STATE.exists()


@pytest.mark.parametrize(
    ("connection", "why"),
    [
        pytest.param((100, 500), "older than change", id="the-one-that-armed"),
        pytest.param((200, 900), "older than change", id="another-that-was-open-before"),
        pytest.param((200, 1000), "older than change", id="one-of-the-same-tick"),
        pytest.param((100, 1001), None, id="a-new-one-with-a-reused-pid"),
        pytest.param(None, "console", id="console"),
    ],
)
def test_only_a_newer_connection_confirms(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, connection: tuple[int, int] | None, why: str | None
) -> None:
    monkeypatch.setattr(tool, "connection", lambda: connection)
    if why is None:
        tool.confirm(argparse.Namespace())
        return
    with pytest.raises(tool.Refusal, match=why):
        tool.confirm(argparse.Namespace())
    assert tool.STATE.exists()
    assert list(tool.SAVED.iterdir()) == []


def test_a_change_that_is_not_in_force_is_not_confirmed(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    tool.STATE.write_text(json.dumps({"id": "c0ffee", "conn": [100, 500], "loaded": None}), encoding="utf-8")
    monkeypatch.setattr(tool, "connection", lambda: (200, 1001))
    with pytest.raises(tool.Refusal, match="not in force"):
        tool.confirm(argparse.Namespace())


def test_after_the_rollback_there_is_nothing_to_confirm(tool: ModuleType) -> None:
    tool.STATE.unlink()
    with pytest.raises(tool.Refusal, match="rolled back"):
        tool.confirm(argparse.Namespace())


def test_a_late_timer_leaves_a_confirmed_change_alone(tool: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    tool.rollback(argparse.Namespace(id="another"))
    assert "nothing" in capsys.readouterr().out
    assert tool.STATE.exists()


def test_what_changes_by_itself_is_no_difference(tool: ModuleType) -> None:
    def listing(handle: int, packets: int, members: list[str], meter: list[str]) -> str:
        return json.dumps(
            {
                "nftables": [
                    {"metainfo": {"version": "1"}},
                    {"counter": {"name": "drop", "handle": handle, "packets": packets, "bytes": packets}},
                    {"set": {"name": "private", "elem": members, "flags": ["interval"]}},
                    {"set": {"name": "rate", "elem": meter, "flags": ["dynamic"]}},
                ]
            }
        )

    one = tool.canonical(listing(1, 0, ["10.0.0.0/8", "fc00::/7"], []))
    assert one == tool.canonical(listing(2, 9, ["fc00::/7", "10.0.0.0/8"], ["192.0.2.1"]))
    assert one != tool.canonical(listing(1, 0, ["10.0.0.0/8"], []))


ROUND_TRIP = """
mount -t tmpfs none /run; mount -t tmpfs none /etc; mkdir -p /etc/clawkeep/firewall
ip link set lo up 2>/dev/null || true
tool() { "$PYTHON" "$TOOL" "$@"; }
listing() { nft list table inet clawkeep; iptables -S; ip6tables -S; }

tool arm "$ONE"
cp /run/clawkeep/firewall/candidate/* /etc/clawkeep/firewall/
rm /run/clawkeep/firewall/armed.json          # as confirmed; the tests above prove by whom
listing >/run/before

test "$(tool arm "$ONE")" = unchanged
tool arm "$OTHER" >/dev/null
! listing | cmp -s - /run/before
tool rollback >/dev/null
listing | diff /run/before -

iptables -I DOCKER-USER 1 -j RETURN           # what a subtle hand does
ip6tables -D FORWARD -j DOCKER-USER
tool status | grep -q '"iptables": false, "ip6tables": false'
test "$(tool docker-user)" = "changed iptables ip6tables"
test "$(tool docker-user)" = unchanged
tool status | grep -q '"iptables": true, "ip6tables": true'
"""


def test_rolling_back_restores_both_layers_in_both_families(render: Any, tmp_path: Path) -> None:
    """The whole tool, in a network and a mount namespace of its own; systemd alone is played."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    for name, body in {"systemd-run": ":", "systemctl": ":", "systemd-cat": "cat >/dev/null"}.items():
        (binaries / name).write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        (binaries / name).chmod(0o755)
    for name in ("iptables", "ip6tables", "iptables-restore", "ip6tables-restore"):  # /etc/alternatives is hidden there
        (binaries / name).symlink_to(os.path.realpath(shutil.which(name, path=SYSTEM_PATH) or name))
    for policy, networks in {"one": ["192.0.2.0/24"], "other": ["198.51.100.0/24", "2001:db8::/32"]}.items():
        (tmp_path / policy).mkdir()
        variables = {"firewall_admin_networks": networks, "firewall_private_networks": networks}
        for name, template, family in (
            ("clawkeep.nft", "clawkeep.nft", 4),
            ("docker-user.rules", "docker-user.rules", 4),
            ("docker-user.rules6", "docker-user.rules", 6),
        ):
            text = render("firewall", f"etc/clawkeep/firewall/{template}.j2", firewall_layer_family=family, **variables)
            (tmp_path / policy / name).write_text(text, encoding="utf-8")
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    done = subprocess.run(
        ["unshare", *user, "--net", "--mount", "bash", "-euc", ROUND_TRIP],
        env={
            "PATH": f"{binaries}:{SYSTEM_PATH}",
            "PYTHON": os.path.realpath(sys.executable),
            "TOOL": str(TOOL),
            "ONE": str(tmp_path / "one"),
            "OTHER": str(tmp_path / "other"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
