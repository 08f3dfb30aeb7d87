"""clawkeep-vpn: the interface has what its files declare, and an expired peer is cut whatever else fails."""

from __future__ import annotations

import importlib
import json
import stat
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from clawkeep_host import files, vpn
from clawkeep_host.command import Refusal

PRIVATE = "A" * 43 + "="
PSK = "B" * 42 + "A="
ANNA, BOB = "C" * 42 + "A=", "D" * 42 + "A="
FUTURE, PAST = "9999-01-01", "2000-01-01"


class Host:
    """WireGuard and the kernel's interfaces, as far as the tool asks."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.given = ""
        self.links: set[str] = set()
        self.listed: list[dict[str, Any]] = []
        self.handshakes = f"{ANNA}\t1700000000\n{BOB}\t0\n"
        self.allowed: list[str] = []  # before and after
        self.broken: dict[str, str] = {}

    def __call__(self, *argv: str, stdin: str = "") -> str:
        line = " ".join(argv)
        self.calls.append(line)
        for start, words in self.broken.items():
            if line.startswith(start):
                raise Refusal(words)
        if argv[:3] == ("ip", "link", "add"):
            self.links.add(argv[3])
        if argv[:3] == ("ip", "link", "delete"):
            self.links.remove(argv[3])
        if argv[:3] == ("wg", "syncconf", "clawkeep1"):
            assert argv[3] == "/dev/stdin"
            self.given = stdin
        if line == "wg show clawkeep1 allowed-ips" and self.allowed:
            return self.allowed.pop(0)
        if line == "wg pubkey":
            assert stdin == PRIVATE
        return {
            "wg genkey": PRIVATE + "\n",
            "wg pubkey": "PUBLIC\n",
            "wg show clawkeep1 latest-handshakes": self.handshakes,
            "ip -json address show dev clawkeep1": json.dumps(self.listed),
        }.get(line, "")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host with an interface, anna declared and bob expired."""
    fake = Host()
    fake.links.add("clawkeep1")
    base = tmp_path / "vpn"
    (base / "psk").mkdir(parents=True)
    monkeypatch.setattr(vpn, "BASE", base)
    monkeypatch.setattr(vpn, "SEEN", tmp_path / "state" / "seen.json")
    monkeypatch.setattr(vpn, "run", fake)
    monkeypatch.setattr(vpn, "exists", lambda interface: interface in fake.links)
    monkeypatch.setattr(time, "time", lambda: 1800000000.5)
    settings()
    declare(peer("anna", ANNA, FUTURE, 2), peer("bob", BOB, PAST, 3))
    for path, text in (("private.key", PRIVATE), ("psk/anna", PSK), ("psk/bob", PSK)):
        (base / path).touch(mode=0o600)
        (base / path).write_text(text + "\n")
    return fake


def settings(**more: Any) -> None:
    known = {"interface": "clawkeep1", "port": 51820, "addresses": ["10.78.0.1/24", "fd5e::1/64"]}
    (vpn.BASE / "settings.json").write_text(json.dumps({**known, **more}))


def peer(name: str, public: str, expires: Any, number: int) -> dict[str, Any]:
    addresses = {"address4": f"10.78.0.{number}", "address6": f"fd5e::{number}"}
    return {"name": name, "public_key": public, "expires": expires, "owner": name, **addresses}


def declare(*peers: Any) -> None:
    (vpn.BASE / "peers.json").write_text(json.dumps(peers))


def seen() -> Any:
    return json.loads(vpn.SEEN.read_text())


CONFIGURATION = f"""\
[Interface]
PrivateKey = {PRIVATE}
ListenPort = 51820
[Peer]
PublicKey = {ANNA}
PresharedKey = {PSK}
AllowedIPs = 10.78.0.2/32, fd5e::2/128
"""


# --- sync -----------------------------------------------------------------------------------------------------------


def test_only_declared_peers_in_date_are_given(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.allowed = ["before", "after"]
    vpn.sync()
    assert host.given == CONFIGURATION
    assert host.calls == [
        "wg show clawkeep1 latest-handshakes",
        "wg show clawkeep1 allowed-ips",
        "wg syncconf clawkeep1 /dev/stdin",
        "wg show clawkeep1 latest-handshakes",
        "wg show clawkeep1 allowed-ips",
    ]
    assert capsys.readouterr().out == "bob expired on 2000-01-01 and is cut\nchanged\n"
    assert seen() == {ANNA: 1700000000, BOB: 1800000000}
    assert stat.S_IMODE(vpn.SEEN.stat().st_mode) == 0o600


def test_what_did_not_change_is_said_to_be_unchanged(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    declare(peer("anna", ANNA, FUTURE, 2))
    host.allowed = ["same", "same"]
    vpn.sync()
    assert capsys.readouterr().out == "unchanged\n"


@pytest.mark.parametrize(
    ("expires", "counts"),
    [
        ("2026-12-01", True),
        ("2026-12-02", True),
        ("2026-11-30", False),
        ("next year", False),
        (None, False),
        (20261201.5, False),
        ("20261202", False),  # a later Python reads this, and the next two, as a day
        ("2026-W49-7", False),
        ("2026-12-02\n", False),
    ],
)
def test_a_peer_counts_up_to_its_last_day(expires: Any, counts: bool) -> None:
    assert vpn.in_date({"expires": expires}, date(2026, 12, 1)) is counts
    assert not vpn.in_date({}, date(2026, 12, 1))


def test_a_peer_without_a_date_is_cut(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    one = peer("anna", ANNA, FUTURE, 2)
    del one["expires"]
    declare(one)
    vpn.sync()
    assert ANNA not in host.given
    assert capsys.readouterr().out.startswith("anna expired on None and is cut\n")


@pytest.mark.usefixtures("host")
def test_what_was_heard_of_before_a_reboot_is_kept() -> None:
    vpn.SEEN.parent.mkdir()
    vpn.SEEN.write_text(json.dumps({ANNA: 1750000000, BOB: "1600000000", "gone": 5}))
    vpn.sync()
    assert seen() == {ANNA: 1750000000, BOB: 1600000000}


@pytest.mark.parametrize("content", ["", "[]", "null", '{"x": "y"}', '{"x": null}', "\udcff"])
def test_a_broken_memory_begins_anew(host: Host, content: str) -> None:
    vpn.SEEN.parent.mkdir()
    vpn.SEEN.write_bytes(content.encode("utf-8", "surrogateescape"))
    vpn.sync()
    assert host.given == CONFIGURATION
    assert seen()[ANNA] == 1700000000


def test_a_full_disk_does_not_keep_an_expired_peer_connected(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write", full)
    with pytest.raises(Refusal, match=r"^when peers were last heard of is not kept: .*No space left on device"):
        vpn.sync()
    assert host.given == CONFIGURATION
    assert "bob expired on 2000-01-01 and is cut" in capsys.readouterr().out


def test_an_answer_of_wireguard_that_cannot_be_read_cuts_all_the_same(host: Host) -> None:
    host.handshakes = "nonsense"
    with pytest.raises(Refusal, match=r"^when peers were last heard of is not kept: "):
        vpn.sync()
    assert host.given == CONFIGURATION


def test_without_an_interface_there_is_nothing_to_synchronise(host: Host) -> None:
    host.links.clear()
    with pytest.raises(Refusal, match=r"^there is no interface clawkeep1; `systemctl start clawkeep-vpn` makes it\.$"):
        vpn.sync()
    assert host.calls == []


# --- what is in the files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one.update(name="../private"),
        lambda one: one.update(name="Anna"),
        lambda one: one.update(name="anna\n"),
        lambda one: one.update(name=None),
        lambda one: one.update(public_key="short"),
        lambda one: one.update(public_key=f"{ANNA}\nAllowedIPs = 0.0.0.0/0"),
        lambda one: one.update(address4="10.78.0.0/24"),
        lambda one: one.update(address4="fd5e::2"),
        lambda one: one.update(address6="10.78.0.2"),
        lambda one: one.pop("address6"),
        lambda one: one.pop("public_key"),
    ],
)
def test_a_peer_that_is_none_is_refused_as_a_whole(host: Host, change: Callable[[dict[str, Any]], Any]) -> None:
    one = peer("anna", ANNA, FUTURE, 2)
    change(one)
    declare(one)
    with pytest.raises(Refusal, match=r"^the peer '?\S+ has a"):
        vpn.sync()
    assert host.given == ""


@pytest.mark.parametrize("content", ["{}", '["anna"]', "null", "[", ""])
def test_peers_that_are_no_list_are_refused(host: Host, content: str) -> None:
    (vpn.BASE / "peers.json").write_text(content)
    with pytest.raises(Refusal, match=r"peers\.json (is no list of peers|cannot be read .*); run the role vpn against"):
        vpn.sync()
    assert host.given == ""


@pytest.mark.parametrize(
    "more",
    [
        {"port": "any"},
        {"port": None},
        {"addresses": ["10.78.0"]},
        {"addresses": 5},
        {"interface": "--help"},
        {"interface": "../x"},
        {"interface": "sixteen-letters-"},
        {"interface": ""},
    ],
)
@pytest.mark.parametrize("command", ["up", "sync", "down"])
def test_settings_that_make_no_sense_are_refused(host: Host, more: dict[str, Any], command: str) -> None:
    settings(**more)
    with pytest.raises(Refusal, match=r"settings\.json .*; run the role vpn against this host\.$"):
        vpn.COMMANDS[command]()
    assert host.calls == []


def test_settings_that_are_none_are_refused(host: Host) -> None:
    for content in ("[]", "null", "{}", "{"):
        (vpn.BASE / "settings.json").write_text(content)
        with pytest.raises(Refusal, match=r"settings\.json .*; run the role vpn against this host\.$"):
            vpn.sync()
    (vpn.BASE / "settings.json").unlink()
    with pytest.raises(Refusal, match=r"settings\.json cannot be read \(.*No such file.*\); run the role vpn"):
        vpn.sync()
    assert host.calls == []


@pytest.mark.parametrize("path", ["private.key", "psk/anna"])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o601])
def test_a_key_that_others_can_read_is_not_used(host: Host, path: str, mode: int) -> None:
    (vpn.BASE / path).chmod(mode)
    with pytest.raises(
        Refusal, match=rf"{path} can be read by others than root; make a new key and remove this one\.$"
    ):
        vpn.sync()
    assert host.given == ""


@pytest.mark.parametrize("content", [b"", b"A" * 44, b"\xff" * 44, PRIVATE.encode() + b"\nListenPort = 1"])
def test_a_key_that_is_none_is_not_used(host: Host, content: bytes) -> None:
    (vpn.BASE / "psk" / "anna").write_bytes(content)
    with pytest.raises(Refusal, match=r"psk/anna holds no WireGuard key\.$") as refusal:
        vpn.sync()
    assert "AAAA" not in str(refusal.value)
    assert host.given == ""


# --- key --------------------------------------------------------------------------------------------------------------


def test_a_key_is_made_once_and_only_its_public_part_is_told(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    (vpn.BASE / "private.key").unlink()
    vpn.key()
    assert host.calls == ["wg genkey", "wg pubkey"]
    assert capsys.readouterr() == ("PUBLIC\n", "")
    assert (vpn.BASE / "private.key").read_text() == PRIVATE + "\n"
    assert stat.S_IMODE((vpn.BASE / "private.key").stat().st_mode) == 0o600
    vpn.key()
    assert host.calls[2:] == ["wg pubkey"]


# --- up and down ------------------------------------------------------------------------------------------------------


def address(local: str, prefix: int, scope: str = "global") -> dict[str, Any]:
    return {"local": local, "prefixlen": prefix, "scope": scope}


def test_up_makes_the_interface_with_its_addresses_and_starts_it_last(host: Host) -> None:
    host.links.clear()
    vpn.up()
    assert host.calls[:4] == [
        "ip link add clawkeep1 type wireguard",
        "ip -json address show dev clawkeep1",
        "ip address add 10.78.0.1/24 dev clawkeep1",
        "ip address add fd5e::1/64 dev clawkeep1 nodad",
    ]
    assert host.calls[-1] == "ip link set clawkeep1 up mtu 1420"
    assert host.given == CONFIGURATION


def test_up_leaves_what_is_right_and_takes_away_what_is_not(host: Host) -> None:
    host.listed = [
        {"addr_info": [address("10.78.0.1", 24), address("10.9.9.9", 8), address("fe80::1", 64, "link")]},
        {},
    ]
    vpn.up()
    changes = [call for call in host.calls if call.startswith("ip ") and "show" not in call]
    assert changes == [
        "ip address delete 10.9.9.9/8 dev clawkeep1",
        "ip address add fd5e::1/64 dev clawkeep1 nodad",
        "ip link set clawkeep1 up mtu 1420",
    ]


def test_a_full_disk_does_not_keep_the_interface_down(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the way in: without it nobody comes to make room."""

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write", full)
    with pytest.raises(Refusal, match="No space left"):
        vpn.up()
    assert host.calls[-1] == "ip link set clawkeep1 up mtu 1420"


def test_down_remembers_and_removes(host: Host) -> None:
    vpn.down()
    assert host.calls == ["wg show clawkeep1 latest-handshakes", "ip link delete clawkeep1"]
    assert seen()[ANNA] == 1700000000
    vpn.down()
    assert len(host.calls) == 2


def test_what_cannot_be_remembered_is_removed_all_the_same(host: Host) -> None:
    host.broken["wg show"] = "`wg show` failed: no"
    with pytest.raises(Refusal, match=r"^when peers were last heard of is not kept: `wg show` failed: no$"):
        vpn.down()
    assert host.links == set()


# --- command line -----------------------------------------------------------------------------------------------------


def start(monkeypatch: pytest.MonkeyPatch, *argv: str) -> int:
    monkeypatch.setattr(sys, "argv", ["clawkeep-vpn", *argv])
    with pytest.raises(SystemExit) as end:
        vpn.main()
    assert isinstance(end.value.code, int)
    return end.value.code


def test_each_command_runs_under_the_lock(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(vpn.COMMANDS) == ["key", "up", "sync", "down"]
    held = []

    def act() -> None:
        with pytest.raises(Refusal), files.lock(vpn.BASE / ".lock", "test", 0):
            pytest.fail("nobody holds the lock")
        held.append(1)

    for command in vpn.COMMANDS:
        monkeypatch.setitem(vpn.COMMANDS, command, act)
        assert start(monkeypatch, command) == 0
    assert len(held) == 4
    assert host.calls == []


def test_a_refusal_is_one_sentence_without_a_key(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    host.links.clear()
    assert start(monkeypatch, "sync") == 1
    assert capsys.readouterr() == (
        "",
        "clawkeep-vpn: there is no interface clawkeep1; `systemctl start clawkeep-vpn` makes it.\n",
    )
    (vpn.BASE / "psk" / "anna").unlink()
    host.links.add("clawkeep1")
    assert start(monkeypatch, "sync") == 1
    assert "No such file" in capsys.readouterr().err
    assert start(monkeypatch) == 2
    assert start(monkeypatch, "--version") == 0


def test_no_environment_leads_it_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs as root: its files are where they are."""
    monkeypatch.setenv("CLAWKEEP_VPN", str(tmp_path))
    monkeypatch.setenv("CLAWKEEP_VPN_STATE", str(tmp_path))
    fresh = importlib.reload(vpn)
    assert (Path("/etc/clawkeep/vpn"), Path("/var/lib/clawkeep/vpn/seen.json")) == (fresh.BASE, fresh.SEEN)
