"""clawkeep-breakglass: nothing opens before it is armed and told, and closing is refused by nothing."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clawkeep_host import breakglass, files, package, system_log
from clawkeep_host.command import OVERDUE, Done, Refusal
from clawkeep_host.version import version

NAME, UID = "clawkeep-emergency", 990
OPEN = ("open", "--minutes", "30", "--reason", "drill")
OPENED = ["timer", "alarm opened", f"usermod --expiredate  {NAME}", "reload sshd", "let in"]
SHUT = ["shut out", "usermod --lock --expiredate 1", "reload sshd", "end sessions"]
DISARMED = f"systemctl stop {breakglass.TIMER}.timer"


class Host:
    """What the program does to a host is a list of words, in order; what is in `failing` breaks."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.told: list[dict[str, object]] = []
        self.failing: set[str] = set()
        self.then: dict[str, Callable[[], object]] = {}

    def run(self, *argv: str, **_: object) -> str:
        word = " ".join(argv[:4]) if argv[0] != "systemd-run" else "timer"
        self.done.append(word)
        self.then.get(word, lambda: None)()
        if any(one in word for one in self.failing):
            raise Refusal(f"{word} failed")
        return ""

    def attempt(self, *argv: str, **_: object) -> Done:
        self.done.append(" ".join(argv))
        return Done(argv, 0, "", "")

    def alarm(self, event: str, **facts: object) -> None:
        self.done.append(f"alarm {event}")
        self.told.append(facts)
        if "alarm" in self.failing:
            raise Refusal("nobody hears")


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Host:
    fake = Host()
    runtime = tmp_path / "run/clawkeep/breakglass"
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"user": NAME}))
    (tmp_path / "shadow").write_text(f"root:*:20780::::::\n{NAME}:!:20780:::::1:\n")
    for name, value in {
        "SETTINGS": settings,
        "RUNTIME": runtime,
        "STATE": runtime / "open.json",
        "INCLUDE": runtime / "sshd.conf",
        "SHADOW": tmp_path / "shadow",
        "run": fake.run,
        "attempt": fake.attempt,
        "alarm": fake.alarm,
        "uid_of": lambda _: UID,
        "let_in": lambda _: fake.run("let", "in"),
        "shut_out": lambda: fake.run("shut", "out"),
        "reload_sshd": lambda: fake.run("reload", "sshd"),
        "end_sessions": lambda _: fake.run("end", "sessions"),
    }.items():
        monkeypatch.setattr(breakglass, name, value)
    return fake


def called(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Run the program with a command line; gives its exit status."""
    monkeypatch.setattr("sys.argv", ["./clawkeep-breakglass", *words])
    with pytest.raises(SystemExit) as end:
        breakglass.main()
    assert isinstance(end.value.code, int)
    return end.value.code


def refusing(number: int) -> Callable[..., Any]:
    def refuse(path: object, *_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), str(path))

    return refuse


# --- open -------------------------------------------------------------------------------------------------------


def test_it_arms_and_tells_before_it_opens(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(system_log, "operator", lambda: "ada on pts/0")
    began = int(time.time())
    assert called(monkeypatch, *OPEN) == 0
    assert host.done == OPENED
    state = json.loads(breakglass.STATE.read_text())
    assert state["until"] - state["since"] == 30 * 60
    assert 0 <= state["since"] - began < 60
    assert state["user"] == NAME
    ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(state["until"]))
    assert host.told == [{"account": NAME, "minutes": 30, "until": ends, "by": "ada on pts/0", "reason": "drill"}]
    assert breakglass.INCLUDE.read_text() == (
        f"AllowUsers {NAME}\nMatch User {NAME}\n"
        "    AuthorizedKeysFile /etc/clawkeep/breakglass/authorized_keys\nMatch all\n"
    )
    for path in (breakglass.STATE, breakglass.INCLUDE):
        assert path.stat().st_mode & 0o777 == 0o644
    assert capsys.readouterr().out == f"open until {ends}: ssh {NAME}@HOST with the offline key, then sudo\n"


def test_what_closes_it_is_the_installed_program_and_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """However it was called: systemd has another working directory, and knows no PATH of the caller's."""
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(breakglass, "run", lambda *argv: ran.append(argv))
    breakglass.arm(30)
    assert ran == [
        (
            "systemd-run",
            "--quiet",
            "--collect",  # else a close that failed leaves a unit behind whose name is taken
            "--unit=clawkeep-breakglass-close",
            "--on-active=1800s",
            "--on-unit-inactive=60s",
            "--timer-property=AccuracySec=1s",
            "/usr/local/sbin/clawkeep-breakglass",
            "close",
        )
    ]
    assert "clawkeep-breakglass" in package.PROGRAMS


@pytest.mark.parametrize("failing", ["timer", "alarm", "usermod --expiredate", "reload sshd", "let in"])
def test_what_fails_half_way_is_closed_at_once(
    host: Host, monkeypatch: pytest.MonkeyPatch, failing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    host.failing = {failing}
    assert called(monkeypatch, *OPEN) == 1
    assert "usermod --lock --expiredate 1" in host.done
    assert not breakglass.INCLUDE.exists()
    assert failing not in ("timer", "alarm") or OPENED[2] not in host.done
    assert "failed" in capsys.readouterr().err or failing == "alarm"


def test_an_opening_that_can_neither_go_on_nor_back_tells_both(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    host.failing = {"let in", "end sessions"}
    assert called(monkeypatch, *OPEN) == 1
    assert capsys.readouterr().err == (
        "clawkeep-breakglass: let in failed; and closing it again failed: end sessions failed\n"
    )
    assert host.done[-1] == "alarm NOT CLOSED"
    assert breakglass.STATE.exists()


def test_an_opening_that_was_closed_meanwhile_is_none(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A close that did not get the lock goes on beside an opening, which must not have the last word."""
    host.then["let in"] = breakglass_removed
    assert called(monkeypatch, *OPEN) == 1
    assert "it was closed while it was being opened." in capsys.readouterr().err
    assert "shut out" in host.done


def breakglass_removed() -> None:
    breakglass.STATE.unlink()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_what_cannot_be_remembered_is_not_opened(host: Host, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(files, "write", refusing(number))
    assert called(monkeypatch, *OPEN) == 1
    assert host.done == []


def test_an_interrupted_opening_is_closed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    host.then[OPENED[2]] = interrupt
    assert called(monkeypatch, *OPEN) == 130
    assert host.done[-3:] == ["end sessions", "alarm closed", DISARMED]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("open",), "--minutes is between 1 and 120."),
        (("open", "--minutes", "0", "--reason", "x"), "--minutes is between 1 and 120."),
        (("open", "--minutes", "121", "--reason", "x"), "--minutes is between 1 and 120."),
        (("open", "--minutes", "30"), "say why with --reason"),
        ((*OPEN[:4], " "), "say why with --reason"),
    ],
)
def test_an_opening_without_end_or_reason_is_refused(
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert called(monkeypatch, *words) == 1
    assert sentence in capsys.readouterr().err
    assert host.done == []


@pytest.mark.parametrize("minutes", [1, 120])
def test_the_shortest_and_the_longest_opening_are_allowed(
    host: Host, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    assert called(monkeypatch, "open", "--minutes", str(minutes), "--reason", "x") == 0
    assert host.done == OPENED


def test_a_second_opening_does_not_hide_the_firsts_end(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    called(monkeypatch, *OPEN)
    host.done.clear()
    assert called(monkeypatch, *OPEN) == 1
    assert "it is open already" in capsys.readouterr().err
    assert host.done == []


def test_a_long_reason_is_told_in_part(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not refused: this is no day for being brief."""
    assert called(monkeypatch, *OPEN[:4], "x" * 100_000) == 0
    assert host.told[0]["reason"] == "x" * 500


# --- the alarm --------------------------------------------------------------------------------------------------


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the system's log and the terminals were told."""
    told: list[Any] = []

    def attempt(*argv: str, stdin: str = "", seconds: float = 60.0) -> Done:
        told.append((argv, stdin, seconds))
        return Done(argv, OVERDUE, "", "")  # as with a terminal that takes no words (^S)

    monkeypatch.setattr(system_log, "tell", lambda *words: told.append(words))
    monkeypatch.setattr(breakglass, "attempt", attempt)
    return told


@pytest.mark.parametrize("event", ["opened", "closed", "NOT CLOSED"])
def test_the_alarm_has_the_words_that_the_log_store_looks_for(heard: list[Any], event: str) -> None:
    breakglass.alarm(event, account=NAME, minutes=30)
    assert heard == [
        ("clawkeep-breakglass", 1, f'emergency access {event} account="{NAME}" minutes="30"', 5.0),
        (("wall", "--timeout", "5"), f'Emergency access {event}. account="{NAME}" minutes="30"\n', 10),
    ]


def test_a_reason_forges_no_line_and_moves_no_cursor(heard: list[Any]) -> None:
    breakglass.alarm("opened", reason='x"\nemergency access closed account="y"\x1b[2J\x7f\u202e')
    assert heard[1][1].count("\n") == 1
    assert heard[1][1].isascii()
    assert not {"\x1b", "\x7f"} & set(heard[1][1])
    assert 'reason="x\\"\\nemergency access closed' in heard[0][2]


def test_an_alarm_that_the_log_does_not_hear_is_none(heard: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_log, "tell", refusing(errno.ECONNREFUSED))
    with pytest.raises(Refusal, match="the system's log does not hear the alarm: "):
        breakglass.alarm("opened")
    assert heard == []


# --- close ------------------------------------------------------------------------------------------------------


def test_closing_takes_everything_back_and_tells(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    called(monkeypatch, *OPEN)
    host.done.clear()
    capsys.readouterr()
    assert called(monkeypatch, "close") == 0
    assert host.done == [*SHUT, "alarm closed", DISARMED]
    assert host.told[-1] == {"account": NAME, "failures": ""}
    assert not breakglass.STATE.exists()
    assert not breakglass.INCLUDE.exists()
    assert capsys.readouterr().out == "sealed\n"


def test_closing_what_is_not_open_is_quiet(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    assert called(monkeypatch, "close") == 0
    assert host.done == [*SHUT[:2], "end sessions", DISARMED]


@pytest.mark.parametrize("failing", ["shut out", "usermod --lock", "reload sshd", "end sessions"])
def test_a_step_that_fails_stops_no_other_and_is_tried_again(
    host: Host, monkeypatch: pytest.MonkeyPatch, failing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    called(monkeypatch, *OPEN)
    host.done.clear()
    host.failing = {failing}
    assert called(monkeypatch, "close") == 1
    assert host.done == [*SHUT, "alarm NOT CLOSED"]  # and the timer stays: it tries again
    assert failing in str(host.told[-1]["failures"])
    assert breakglass.STATE.exists()
    assert failing in capsys.readouterr().err
    host.done.clear()
    host.failing.clear()
    assert called(monkeypatch, "close") == 0
    assert host.done == [*SHUT, "alarm closed", DISARMED]  # sshd is told again, though its file went the first time


@pytest.mark.parametrize("trouble", [KeyError("nftables"), ValueError("no JSON"), TypeError("odd"), ValueError()])
def test_closing_survives_every_surprise(host: Host, monkeypatch: pytest.MonkeyPatch, trouble: Exception) -> None:
    def surprise() -> None:
        raise trouble

    called(monkeypatch, *OPEN)
    host.done.clear()
    monkeypatch.setattr(breakglass, "shut_out", surprise)
    assert called(monkeypatch, "close") == 1
    assert host.done == [*SHUT[1:], "alarm NOT CLOSED"]
    assert host.told[-1]["failures"] == (str(trouble) or "ValueError")


def test_an_alarm_that_nobody_hears_leaves_it_closed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    called(monkeypatch, *OPEN)
    host.failing = {"alarm"}
    host.done.clear()
    assert called(monkeypatch, "close") == 1
    assert host.done == [*SHUT, "alarm closed", DISARMED]
    assert not breakglass.STATE.exists()


def test_without_its_settings_it_still_closes_what_was_opened(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name stands in what is remembered of the opening."""
    called(monkeypatch, *OPEN)
    host.done.clear()
    breakglass.SETTINGS.write_text("{")
    assert called(monkeypatch, "close") == 1
    assert host.done == [*SHUT, "alarm NOT CLOSED"]
    assert host.told[-1]["account"] == NAME
    assert "run the role breakglass" in str(host.told[-1]["failures"])


def test_without_any_name_the_firewall_and_sshd_are_closed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    breakglass.SETTINGS.unlink()
    breakglass.RUNTIME.mkdir(parents=True)
    breakglass.INCLUDE.touch()
    assert called(monkeypatch, "close") == 1
    assert host.done == ["shut out", "reload sshd", "alarm NOT CLOSED"]
    assert not breakglass.INCLUDE.exists()


def test_long_failures_are_told_in_part(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    called(monkeypatch, *OPEN)
    monkeypatch.setattr(breakglass, "shut_out", refusing(errno.EIO).__get__("x" * 5000))
    assert called(monkeypatch, "close") == 1
    assert len(str(host.told[-1]["failures"])) == 1000


def test_a_state_file_that_cannot_be_removed_is_told(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    called(monkeypatch, *OPEN)
    host.done.clear()
    really = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path == breakglass.STATE:
            refusing(errno.EROFS)(path)
        really(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    assert called(monkeypatch, "close") == 1
    assert host.done == [*SHUT, "alarm NOT CLOSED"]


def test_an_account_that_is_not_there_lets_nobody_in(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a role that removes all of it broke off in between, and runs again."""
    monkeypatch.setattr(breakglass, "uid_of", lambda _: None)
    breakglass.lock_account(NAME)
    assert host.done == []


def test_sealing_at_boot_says_nothing_unless_it_fails(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    called(monkeypatch, *OPEN)
    host.done.clear()
    assert called(monkeypatch, "seal") == 0
    assert host.done == [*SHUT, DISARMED]
    host.failing = {"usermod --lock"}
    host.done.clear()
    assert called(monkeypatch, "seal") == 1
    assert host.done[-1] == "alarm NOT CLOSED"


# --- enforce and status -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state",
    [
        '{"since": 1, "until": 2, "user": "x"}',
        "not JSON",
        "[]",
        '{"since": 1}',
        '{"since": 1, "until": Infinity}',
        '{"since": 1, "until": 99999999999}',  # longer than any opening
        '{"since": 5, "until": 2}',
    ],
)
def test_what_is_past_its_end_or_illegible_is_closed(
    host: Host, monkeypatch: pytest.MonkeyPatch, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    breakglass.RUNTIME.mkdir(parents=True)
    breakglass.STATE.write_text(state)
    assert called(monkeypatch, "status", "--json") == 0
    assert json.loads(capsys.readouterr().out)["open"] is True
    assert called(monkeypatch, "status") == 0
    assert capsys.readouterr().out.startswith("open until 1970-01-01T00:00:0")
    host.done.clear()
    assert called(monkeypatch, "enforce") == 0
    assert "end sessions" in host.done
    assert not breakglass.STATE.exists()
    host.done.clear()
    assert called(monkeypatch, "enforce") == 0
    assert host.done == []
    assert capsys.readouterr().out == "sealed\nclosed\n"


def test_a_clock_that_was_set_back_keeps_nothing_open(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    called(monkeypatch, *OPEN)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 3600)
    host.done.clear()
    assert called(monkeypatch, "enforce") == 0
    assert "end sessions" in host.done


def test_what_is_open_within_its_time_is_left_alone(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    called(monkeypatch, *OPEN)
    host.done.clear()
    capsys.readouterr()
    assert called(monkeypatch, "enforce") == 0
    assert capsys.readouterr().out == "open within its time\n"
    assert host.done == []


def test_an_include_without_an_opening_is_closed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    breakglass.RUNTIME.mkdir(parents=True)
    breakglass.INCLUDE.touch()
    assert called(monkeypatch, "enforce") == 0
    assert [word for word in host.done if word in SHUT] == SHUT


@pytest.mark.parametrize("expiry", ["", "99999", "never", "-1", "1.5"])
def test_an_account_that_nobody_opened_is_made_to_expire(
    host: Host, monkeypatch: pytest.MonkeyPatch, expiry: str
) -> None:
    """useradd gives an account of the system no expiry, whatever it is told."""
    breakglass.SHADOW.write_text(f"{NAME}:!:20780:::::{expiry}:\n")
    assert called(monkeypatch, "enforce") == 0
    assert "end sessions" in host.done


def test_a_short_shadow_line_never_expires_and_a_missing_one_is_told(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    breakglass.SHADOW.write_text(f"{NAME}:!:1\n")
    assert called(monkeypatch, "enforce") == 0
    assert "end sessions" in host.done
    breakglass.SHADOW.write_text("root:*:1:::::1:\n")
    assert called(monkeypatch, "enforce") == 1
    assert f"{NAME} has no entry in {breakglass.SHADOW}." in capsys.readouterr().err


def test_the_day_of_the_expiry_counts(host: Host) -> None:
    today = int(time.time() // 86400)
    for days, over in ((today, True), (today - 1, True), (today + 1, False)):
        breakglass.SHADOW.write_text(f"{NAME}:!:20780:::::{days}:\n")
        assert breakglass.expired(NAME) is over
    assert host.done == []


def test_the_status_is_told_without_the_lock(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(files, "lock", refusing(errno.EIO))
    assert called(monkeypatch, "status") == 0
    assert capsys.readouterr().out == "sealed\n"
    assert called(monkeypatch, "status", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"open": False, "until": None, "user": NAME, "sessions": []}
    assert host.done == ["loginctl list-sessions --no-legend"] * 2


def test_the_status_of_an_opening_is_told(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    called(monkeypatch, *OPEN)
    rows = f"  5 990 {NAME} - pts/1\n 6 0 root - -\nodd\n"
    monkeypatch.setattr(breakglass, "attempt", lambda *argv: Done(argv, 0, rows, ""))
    capsys.readouterr()
    assert called(monkeypatch, "status", "--json") == 0
    until = json.loads(breakglass.STATE.read_text())["until"]
    assert json.loads(capsys.readouterr().out) == {"open": True, "until": until, "user": NAME, "sessions": ["5"]}
    assert host.done == OPENED


# --- the lock ---------------------------------------------------------------------------------------------------


def test_no_other_user_can_hold_the_lock(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """flock needs no more than a descriptor to read from, and whoever has one keeps every close waiting."""
    before = os.umask(0)
    try:
        called(monkeypatch, *OPEN)
    finally:
        os.umask(before)
    assert (breakglass.RUNTIME / "lock").stat().st_mode & 0o777 == 0o600
    assert breakglass.RUNTIME.stat().st_mode & 0o777 == 0o755
    assert host.done == OPENED


@pytest.mark.parametrize("word", ["close", "seal", "enforce"])
def test_closing_goes_on_beside_whoever_holds_the_lock(host: Host, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    breakglass.RUNTIME.mkdir(parents=True)
    breakglass.STATE.write_text('{"since": 1, "until": 2}')
    monkeypatch.setattr(breakglass, "WAITS", 0)
    monkeypatch.setattr(files, "POLL_SECONDS", 0.01)
    with files.lock(breakglass.RUNTIME / "lock", "x"):
        assert called(monkeypatch, word) == 0
    assert [one for one in host.done if one in SHUT] == SHUT


def test_opening_waits_for_whoever_holds_the_lock_and_then_is_refused(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    breakglass.RUNTIME.mkdir(parents=True)
    asked: list[Any] = []
    really = files.lock

    def lock(path: Path, what: str, seconds: float | None = None) -> Any:
        asked.append(seconds)
        return really(path, what, 0)

    monkeypatch.setattr(files, "POLL_SECONDS", 0.01)
    with files.lock(breakglass.RUNTIME / "lock", "x"):
        monkeypatch.setattr(files, "lock", lock)
        assert called(monkeypatch, *OPEN) == 1
    assert capsys.readouterr().err == "clawkeep-breakglass: another clawkeep-breakglass is at work\n"
    assert host.done == []
    assert asked == [30.0]


@pytest.mark.parametrize("word", ["close", "seal"])
def test_closing_needs_no_room(host: Host, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    """On a /run that is full or was never made."""
    monkeypatch.setattr(files, "make_folder", refusing(errno.ENOSPC))
    assert called(monkeypatch, word) == 0
    assert host.done[:2] == SHUT[:2]
    assert called(monkeypatch, *OPEN) == 1


# --- single steps -----------------------------------------------------------------------------------------------


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is run, with its standard input."""
    ran: list[Any] = []

    def run(*argv: str, stdin: str = "") -> str:
        ran.append((argv, stdin))
        return ""

    monkeypatch.setattr(breakglass, "run", run)
    return ran


@pytest.mark.parametrize("runs", [True, False])
def test_sshd_reads_its_settings_once_they_are_valid(
    commands: list[Any], monkeypatch: pytest.MonkeyPatch, runs: bool
) -> None:
    asked: list[Any] = []

    def succeeds(*argv: str) -> bool:
        asked.append(argv)
        return runs

    monkeypatch.setattr(breakglass, "succeeds", succeeds)
    breakglass.reload_sshd()
    assert commands == [
        (("/usr/sbin/sshd", "-t"), ""),
        *([(("systemctl", "reload", "ssh.service"), "")] if runs else []),
    ]
    assert asked == [("systemctl", "is-active", "--quiet", "ssh.service")]


@pytest.mark.parametrize(
    "listing",
    [
        Done(("nft",), 1, "", "Error: netlink: Device or resource busy"),
        Done(("nft",), 127, "", "x"),
        Done((), 124, "", ""),
    ],
)
def test_a_firewall_that_cannot_be_read_is_not_taken_for_closed(
    commands: list[Any], monkeypatch: pytest.MonkeyPatch, listing: Done
) -> None:
    monkeypatch.setattr(breakglass, "attempt", lambda *_: listing)
    with pytest.raises(Refusal):
        breakglass.shut_out()
    assert commands == []


def test_a_firewall_without_our_table_is_closed(commands: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    missing = Done(("nft",), 1, "", "Error: No such file or directory\nlist table inet clawkeep\n")
    monkeypatch.setattr(breakglass, "attempt", lambda *_: missing)
    breakglass.shut_out()
    assert commands == []


def test_processes_are_found_by_each_of_their_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breakglass, "PROC", tmp_path)
    rows = {
        "10": "Name:\tsh\nUid:\t990\t990\t990\t990\n",
        "11": "Name:\tsudo\nUid:\t990\t0\t0\t0\n",
        "12": "Name:\tUid:\t990\nUid:\t0\t0\t0\t0\n",
        "13": "Name:\t\xff\nUid:\t0\t0\t990\t0\n",
        "14": "Name:\tx\n",
        "15": "Name:\tx\nUid:\t9900\t1990\t99\t0\nGid:\t990\t990\t990\t990\n",
        "self": "Uid:\t990\t990\t990\t990\n",
    }
    for pid, status in rows.items():
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "status").write_bytes(status.encode("latin-1"))
    (tmp_path / "16").mkdir()  # it has ended meanwhile
    assert sorted(breakglass.processes(990)) == [10, 11, 13]


def test_a_setuid_program_that_an_account_left_running_is_found() -> None:
    """On this machine, with a process as `su` is one while it waits for its child."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")
    script = (
        "import os, sys; os.setresuid(64123, 0, 0); print(os.stat('/proc/self').st_uid, flush=True); sys.stdin.read()"
    )
    left = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert left.stdout
        assert left.stdout.readline() == "0\n"
        assert breakglass.processes(64123) == [left.pid]
    finally:
        left.kill()
        left.wait()


def test_sessions_end_with_all_that_became_root_in_them(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    alive = {20: 2, 21: 1}  # signals that each needs
    sent: list[tuple[int, int]] = []

    def attempt(*argv: str) -> Done:
        ran.append(" ".join(argv))
        return Done(argv, 0, f"5 990 {NAME} - -\n", "")

    def kill(pid: int, number: int) -> None:
        sent.append((pid, number))
        if pid == 21 and number == signal.SIGKILL:
            raise ProcessLookupError
        alive[pid] -= 1

    monkeypatch.setattr(breakglass, "attempt", attempt)
    monkeypatch.setattr(breakglass, "uid_of", lambda _: UID)
    monkeypatch.setattr(breakglass, "GRACE", 0.05)
    monkeypatch.setattr(breakglass, "processes", lambda _: [pid for pid, needs in alive.items() if needs > 0])
    monkeypatch.setattr(os, "kill", kill)
    breakglass.end_sessions(NAME)
    assert ran == [
        "loginctl list-sessions --no-legend",
        "loginctl kill-session 5 --signal=SIGKILL",
        "loginctl terminate-session 5",
    ]
    assert sent == [(20, signal.SIGTERM), (21, signal.SIGTERM), (20, signal.SIGKILL)]
    alive[20] = 9
    with pytest.raises(Refusal, match=rf"^processes of {NAME} are still there\.$"):
        breakglass.end_sessions(NAME)


def test_an_account_is_found_by_its_name() -> None:
    assert breakglass.uid_of("root") == 0
    assert breakglass.uid_of("no-such-account") is None


def test_settings_without_a_name_tell_the_remedy(host: Host) -> None:
    for text in ("{", "[]", "{}", '"x"'):
        breakglass.SETTINGS.write_text(text)
        with pytest.raises(Refusal, match=r"cannot be read \(.*\); run the role breakglass against this host\.$"):
            breakglass.user()
    assert host.done == []


def test_it_tells_its_version_and_its_own_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"clawkeep-breakglass {version()}\n"
    assert called(monkeypatch, "--help") == 0
    assert 'clawkeep-breakglass open --minutes 30 --reason "why"' in capsys.readouterr().out


# --- the real packet filter -------------------------------------------------------------------------------------

POLICY = """
table inet clawkeep {
    set admin4 { type ipv4_addr; }
    set admin6 { type ipv6_addr; }
    chain input {
        type filter hook input priority 0; policy drop;
        ct state established accept
    }
}
"""
TRY = """
import subprocess, sys
from clawkeep_host import breakglass
def show():
    argv = ["nft", "list", "table", "inet", "clawkeep"]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout
breakglass.shut_out()  # there is no table yet
subprocess.run(["nft", "--file", sys.argv[1]], check=True)
before = show()
breakglass.let_in(60)
opened = show()
assert opened.count("@emergency accept") == 2 and "22 timeout 1m" in opened, opened
breakglass.shut_out()
assert show() == before, show()
breakglass.shut_out()
print("seen")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace of its own needs root")
def test_the_firewalls_opening_is_made_and_taken_away(tmp_path: Path) -> None:
    """In a network namespace of its own, with the real nft."""
    (tmp_path / "policy.nft").write_text(POLICY)
    (tmp_path / "try.py").write_text(TRY)
    argv = ["unshare", "--net", sys.executable, "-B", str(tmp_path / "try.py"), str(tmp_path / "policy.nft")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert done.stdout == "seen\n", done.stderr


def test_a_failed_opening_is_one_in_every_word(host: Host) -> None:
    """Called from Python, too: what is raised names the first trouble."""
    host.failing = {"timer"}
    breakglass.RUNTIME.mkdir(parents=True)
    with pytest.raises(Refusal, match=r"^timer failed$"):
        breakglass.open_(Namespace(minutes=5, reason="x"))
