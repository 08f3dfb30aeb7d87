"""The log roles' programs: nothing secret passes, a changed store is told, and what is forbidden raises an alert."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest
from tests.unit.roles.tools import load

redactor = load("log_agent", "clawkeep-log-redact")
digest = load("log_collector", "clawkeep-log-digest")
alerter = load("log_collector", "clawkeep-log-alert")
SECRET = "clawkeep-canary-0123456789abcdef0123"  # noqa: S105 - a dummy


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
    record = redactor.Shaper("h", "b").record(json.dumps({"msg": text, "syslogtag": "x:", "programname": "x"}))
    shown = json.dumps(record)
    assert SECRET not in shown
    assert SECRET.encode().hex().upper() not in shown
    assert base64.b64encode(f"token={SECRET}".encode()).decode() not in shown
    assert "[redacted]" in shown


def test_an_illegible_line_is_withheld() -> None:
    assert SECRET not in json.dumps(redactor.Shaper("h", "b").record(f"no json {SECRET}"))


def test_everyday_text_stays() -> None:
    record = redactor.Shaper("h", "b").record(json.dumps({"msg": "Started a session", "syslogtag": "x:"}))
    assert record["message"] == "Started a session"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of two finished days, with its key."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    public = (tmp_path / "key.pub").read_text(encoding="utf-8")
    (tmp_path / "allowed").write_text(f"log-store {public}", encoding="utf-8")
    folder = tmp_path / "store" / "192.0.2.1"
    folder.mkdir(parents=True)
    for day in ("2026-01-01", "2026-01-02"):
        (folder / f"{day}.jsonl").write_text(f'{{"day": "{day}"}}\n', encoding="utf-8")
    return tmp_path


def wrong(base: Path, head: str | None = None) -> list[str]:
    found = digest.verify(base / "store", base / "chain", base / "allowed", head, "2026-01-03")
    return list(found["wrong"])


def test_the_chain_tells_of_every_change(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "seal", lambda _: None)
    closed = digest.close(store / "store", store / "chain", store / "key", "2026-01-03")
    assert closed["closed"] == 2
    assert wrong(store, closed["head"]) == []
    file = store / "store/192.0.2.1/2026-01-01.jsonl"
    kept = file.read_text(encoding="utf-8")
    file.write_text(kept + "{}\n", encoding="utf-8")
    assert any("not those that were chained" in one for one in wrong(store))
    file.unlink()
    assert any("are gone" in one for one in wrong(store))
    file.write_text(kept, encoding="utf-8")
    lines = (store / "chain").read_text(encoding="utf-8").splitlines()
    (store / "chain").write_text(lines[0] + "\n", encoding="utf-8")
    (store / "store/192.0.2.1/2026-01-02.jsonl").unlink()
    assert wrong(store) == []  # what no store can see by itself
    assert any("its end is missing" in one for one in wrong(store, closed["head"]))
    (store / "chain").write_text(lines[0].replace('"lines":1', '"lines":2') + "\n", encoding="utf-8")
    assert any("did not sign" in one for one in wrong(store))


def line(source: str, message: str, second: int = 0) -> str:
    record = {"source": source, "message": message, "host": "h"}
    return json.dumps({"received": f"2026-01-01T00:00:{second:02}+00:00", "from": "192.0.2.1", "record": record})


def rules(threshold: int = 3) -> object:
    return alerter.Rules(frozenset({"unexpected_outbound", "system_files"}), 300, threshold)


def test_forbidden_traffic_is_alerted_and_metadata_only_in_numbers() -> None:
    known = rules()
    drop = "clawkeep-forward IN=clawkeep0 SRC=172.30.0.2 DST={} PROTO=UDP DPT=53"
    assert [one["destination"] for one in known.of(line("firewall", drop.format("192.0.2.9")))] == ["192.0.2.9"]
    polls = [known.of(line("firewall", drop.format("169.254.169.254"), second)) for second in range(4)]
    assert [len(one) for one in polls] == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("decision", "status", "bump", "alerted"),
    [
        ("TCP_DENIED", "403", "-", True),
        ("NONE_NONE", "200", "terminate", True),  # the TLS client named another host than the tunnel
        ("NONE_NONE", "200", "splice", False),  # its first hop of two, before anything is sent on
        ("TCP_TUNNEL", "200", "splice", False),
    ],
)
def test_what_the_proxy_refused_is_alerted(decision: str, status: str, bump: str, alerted: bool) -> None:
    """In the form in which role egress_proxy has Squid write it."""
    told = {"client": "172.30.0.2", "method": "CONNECT", "target": "evil.example:443"}
    stored = json.loads(line("proxy", ""))
    stored["record"]["data"] = {**told, "decision": decision, "status": status, "bump": bump}
    found = rules().of(json.dumps(stored))
    assert [(one["subject"], one["destination"]) for one in found] == [("172.30.0.2", "evil.example:443")] * alerted


def test_a_refused_file_is_alerted_by_the_joined_event() -> None:
    known = rules()
    call = 'type=SYSCALL msg=audit(1.000:7): success=no exit=-13 uid=1000 exe="/bin/cat" key="clawkeep-refused"'
    assert known.of(line("audit", call)) == []
    (alert,) = known.of(line("audit", 'type=PATH msg=audit(1.000:7): item=0 name="/root/x" nametype=UNKNOWN'))
    assert (alert["alert"], alert["destination"]) == ("system_files", "/root/x")
    assert known.of(line("audit", 'type=PATH msg=audit(1.000:8): item=0 name="/root/x"')) == []
