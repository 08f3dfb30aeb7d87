"""clawkeep-log-redact: every record has one shape, no secret leaves in it, and no hostile line stops the program."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from tests.unit.host_programs.planted import HEX, PLANTED, jwt, made

from clawkeep_host import package
from clawkeep_host.log import redact as redactor
from clawkeep_host.redaction import REDACTED

SECRET = "clawkeep-canary-" + made(20, "canary", HEX)
STORE_LIMIT = 64 * 1024  # bytes of a record, as the store's rsyslog takes one


def shaped(text: str, tag: str = "x:", program: str = "x", rainerscript: Any = None, **fields: Any) -> dict[str, Any]:
    """The record of a message of rsyslog's."""
    message = {"msg": text, "syslogtag": tag, "programname": program, "timereported": "then", **fields}
    message |= {"$!": rainerscript} if rainerscript is not None else {}
    record: dict[str, Any] = redactor.Shaper("h", "b").record(json.dumps(message))
    return record


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {SECRET}",
        f"OPENAI_API_KEY={SECRET}",
        f"http://user:{SECRET}@host/",
        f'{{"headers": {{"cookie": "sid={SECRET}"}}}}',
        base64.b64encode(f"token={SECRET}".encode()).decode(),
        f"proctitle={f'curl -H x-api-key: {SECRET}'.encode().hex().upper()}",
    ],
)
def test_a_secret_leaves_a_mark_and_nothing_else(text: str) -> None:
    shown = json.dumps(shaped(text))
    assert SECRET not in shown
    assert SECRET.encode().hex().upper() not in shown
    assert base64.b64encode(f"token={SECRET}".encode()).decode() not in shown
    assert "[redacted]" in shown


def test_no_planted_secret_leaves_in_any_field() -> None:
    """In the message, as text and as JSON, and in whatever a program may call itself."""
    for planted in PLANTED:
        fields = {"_EXE": planted.text, "_SYSTEMD_UNIT": planted.text, "metadata": {"filename": planted.text}}
        for text in (planted.text, json.dumps({"log": planted.text}), json.dumps({"a": [{planted.text: 1}]})):
            record = shaped(text, program=planted.text, rainerscript=fields)
            assert planted.secret not in json.dumps(record, ensure_ascii=False), planted.what
            assert json.dumps(planted.secret)[1:-1] not in json.dumps(record), planted.what
            assert {"unit", "executable", "file", "program", "message"} <= record.keys()


def test_an_illegible_line_is_withheld() -> None:
    assert SECRET not in json.dumps(redactor.Shaper("h", "b").record(f"no json {SECRET}"))


def test_everyday_text_stays() -> None:
    record = redactor.Shaper("h", "b").record(json.dumps({"msg": " Started a session", "syslogtag": "x:"}))
    assert (record["message"], record["source"], record["severity"], record["schema"]) == (
        *("Started a session", "journal", 6, 1),
    )


def test_json_is_told_as_fields_with_its_own_message() -> None:
    record = shaped(json.dumps({"log": "said \n", "n": 1, "tokens": 5}))
    assert (record["message"], record["data"]) == ("said ", {"log": "said \n", "n": 1, "tokens": 5})
    assert shaped('{"msg": 1}')["message"] == ""
    assert shaped("[1]")["message"] == "[1]"
    assert shaped("{no json")["message"] == "{no json"


# --- a long one -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("letter", ["x", "\u00e9", "\u0001", '"', "\U0001f511"])
@pytest.mark.parametrize("form", ["{}", '{{"log": "{}"}}', '{{"a": "{}", "message": "m"}}'])
def test_no_record_is_longer_than_the_store_takes(form: str, letter: str) -> None:
    text = form.format(json.dumps(letter * 90_000)[1:-1])
    record = shaped(text)
    assert len(json.dumps(record)) < STORE_LIMIT
    assert record["cut"] > 60_000
    assert len(record["message"]) > 1000
    many = shaped("x", program="p" * 90_000, rainerscript={"_EXE": "e" * 90_000})
    assert len(json.dumps(many)) < STORE_LIMIT
    assert many["message"] == "x"


def test_what_fits_is_not_cut() -> None:
    record = shaped("x" * 50_000)
    assert (len(record["message"]), "cut" in record) == (50_000, False)
    assert shaped("x", cut=7)["cut"] == 7
    assert shaped("x" * 90_000, cut=123_456)["cut"] == 123_456


def test_a_cut_goes_through_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the cut falls: half of a secret has no look any more."""
    monkeypatch.setattr(redactor, "LIMIT", 1000)
    secret = made(30, "cut")
    for before in range(500, 1020, 7):
        for text in (
            f"{'x ' * (before // 2)}{jwt()} {'y ' * 1000}",
            f'{{"a": "{"x" * before}", "password": "{secret}", "b": "{"y" * 1000}"}}',
        ):
            left = json.dumps(shaped(text))
            assert jwt()[:12] not in left
            assert secret[:8] not in left


# --- where it came from -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "program", "fields", "text", "source"),
    [
        ("file.proxy:", "file.proxy", {}, "x", "proxy"),
        ("file.audit:", "x", {"_TRANSPORT": "kernel"}, "x", "audit"),
        ("", "kernel", {}, "x", "kernel"),
        ("", "kernel", {"_TRANSPORT": "kernel"}, "clawkeep-input IN=eth0 SRC=", "firewall"),
        ("", "anything", {"_TRANSPORT": "kernel"}, "x clawkeep-input IN=eth0", "firewall"),
        ("", "kernel", {"_TRANSPORT": "kernel"}, f"{'x' * 80}clawkeep-input IN=eth0", "kernel"),
        ("", "kernel", {"_TRANSPORT": "syslog"}, "clawkeep-input IN=eth0", "journal"),
        ("", "audit", {"_TRANSPORT": "syslog"}, "x", "journal"),
        ("", "audit", {}, "x", "audit"),
        ("", "x", {"_TRANSPORT": "audit"}, "x", "audit"),
        ("", "x", {"_SYSTEMD_UNIT": "clawkeep-proxy.service"}, "x", "proxy"),
        ("", "sshd-session", {"_SYSTEMD_UNIT": "ssh.service"}, "x", "auth"),
        ("", "clawkeep-kill", {"_SYSTEMD_UNIT": "session-3.scope"}, "x", "emergency"),
        ("", "clawkeep-breakglass", {"_SYSTEMD_UNIT": "clawkeep-breakglass-seal.service"}, "x", "emergency"),
        # A program that calls itself something else in a unit that is known.
        ("", "clawkeep-kill", {"_SYSTEMD_UNIT": "clawkeep-proxy.service"}, "x", "proxy"),
        ("", "x", {}, "x", "journal"),
    ],
)
def test_a_source_is_told_by_who_cannot_lie(
    tag: str, program: str, fields: dict[str, str], text: str, source: str
) -> None:
    assert shaped(text, tag, program, rainerscript=fields)["source"] == source


def test_an_audit_record_tells_its_time_and_nothing_else_does() -> None:
    """Whoever writes `msg=audit(1.0:1)` into a log would date his record back otherwise."""
    text = "type=PATH msg=audit(1795409265.923:7): item=0"
    assert shaped(text, "file.audit:")["time"] == "2026-11-23T04:47:45.923+00:00"
    assert shaped(text)["time"] == "then"
    assert shaped("no stamp", "file.audit:")["time"] == "then"
    assert shaped(f"msg=audit({'9' * 30}.0:1)", "file.audit:")["time"] == "then"


@pytest.mark.parametrize(
    "line",
    [
        '{"msg": "x", "syslogseverity": "loud"}',
        '{"msg": "x", "$!": [1]}',
        "[]",
        "1",
        "null",
        "{" * 100_000,
        '{"a":' * 100_000,
        json.dumps({"syslogtag": "file.journal:", "msg": json.dumps({"at": 10**30})}),
        json.dumps({"syslogtag": "file.journal:", "msg": json.dumps({"at": "soon"})}),
        json.dumps({"syslogtag": "file.journal:", "msg": json.dumps({"at": None})}),
        json.dumps({"syslogtag": "file.journal:", "msg": "[]"}),
        json.dumps({"syslogtag": "file.journal:", "msg": '{"cursor":"s'}),
        json.dumps({"msg": "x", "cut": "much"}),
    ],
)
def test_a_line_that_is_no_message_is_withheld_and_stops_nothing(line: str) -> None:
    shaper = redactor.Shaper("h", "b")
    record = shaper.record(line)
    assert record["message"].startswith("[withheld: illegible, ")
    assert (record["source"], record["id"].endswith("-1")) == ("log_agent", True)
    assert shaper.record(json.dumps({"msg": "on"}))["id"].endswith("-2")


@pytest.mark.parametrize(
    "text", ["msg=audit(" + "9" * 400 + ".0:1)", '{"a":' * 5000, '{"a": NaN, "b": 1e999}', "\ud800"]
)
def test_a_hostile_message_is_told_all_the_same(text: str) -> None:
    record = shaped(text, "file.audit:")
    assert "withheld" not in record["message"]
    json.loads(json.dumps(record, allow_nan=False))


def test_it_answers_rsyslog_line_by_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [json.dumps({"msg": f"token={SECRET}"}), "\xff\xfe", json.dumps({"msg": "on"})]
    stdin = types.SimpleNamespace(buffer=io.BytesIO("\n".join(lines).encode("latin-1")))
    monkeypatch.setattr(sys, "stdin", stdin)
    redactor.answer()
    answers = [json.loads(line)["$!"]["clawkeep_record"] for line in capsys.readouterr().out.splitlines()]
    messages = [json.loads(one)["message"] for one in answers]
    assert messages == [f"token={REDACTED}", "[withheld: illegible, JSONDecodeError]", "on"]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The program as it is installed: an archive and its wrapper."""
    (tmp_path / "clawkeep_host.zip").write_bytes(package.archive())
    program = tmp_path / redactor.PROGRAM
    program.write_text(package.wrapper(redactor.PROGRAM, archive=str(tmp_path / "clawkeep_host.zip")), encoding="utf-8")
    return program


def test_it_runs_from_the_archive(installed: Path) -> None:
    argv = [sys.executable, "-ISu", str(installed)]
    done = subprocess.run(argv, input=f'{{"msg": "{SECRET}"}}\n', capture_output=True, text=True, check=True)
    assert json.loads(json.loads(done.stdout)["$!"]["clawkeep_record"])["message"] == REDACTED
    told = subprocess.run([*argv, "--version"], capture_output=True, text=True, check=True)
    assert told.stdout.startswith("clawkeep-log-redact 0.")
    assert subprocess.run([*argv, "more"], capture_output=True, check=False).returncode == 2
