"""clawkeep-log-alert: each alert that a tier promises is raised by the very line that its producer writes."""

from __future__ import annotations

import json
import os
import re
import sys
import time
import types
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import yaml

from clawkeep.base import repo
from clawkeep.register import tiers
from clawkeep_host.command import Refusal
from clawkeep_host.log import alert as alerter
from clawkeep_host.log import journal, redact

CHECKOUT = repo.find(Path(__file__))
PROMISED = sorted({name for tier in tiers.load(CHECKOUT.tiers).values() for name in tier["log_agent_alerts"]})
HOST = "192.0.2.1"


def stored(record: dict[str, Any], second: int = 0) -> str:
    """The store's line of a record."""
    minute, second = divmod(second, 60)
    return json.dumps({"received": f"2026-01-01T00:{minute:02}:{second:02}+00:00", "from": HOST, "record": record})


def rules(threshold: int = 3, *, window: float = 300) -> alerter.Rules:
    return alerter.Rules(frozenset(PROMISED), window, threshold)


# --- the way of a record from whoever writes it ----------------------------------------------------------------------

SHAPER = redact.Shaper("h", "b")


def by_journal(message: str, **fields: str) -> dict[str, Any]:
    """What becomes of a message that the journal took: clawkeep-log-journal, rsyslog, clawkeep-log-redact."""
    entry = {"__CURSOR": "s=1", "__REALTIME_TIMESTAMP": "1795409265923955", "MESSAGE": message, **fields}
    text = journal.line_of(entry).decode().rstrip("\n")
    return SHAPER.record(json.dumps({"msg": f" {text}", "syslogtag": redact.JOURNAL, "programname": "file.journal"}))


def by_file(source: str, text: str) -> dict[str, Any]:
    """What becomes of a line of a file: rsyslog, clawkeep-log-redact."""
    return SHAPER.record(
        json.dumps({"msg": f" {text}", "syslogtag": f"file.{source}:", "programname": f"file.{source}"})
    )


def role(path: str) -> str:
    return (CHECKOUT.root / "roles" / path).read_text(encoding="utf-8")


def drop(chain: str, destination: str = "192.0.2.9", card: str = "clawkeep0") -> dict[str, Any]:
    """A packet that the role's rules log, as the kernel tells it."""
    text = (
        f"clawkeep-{chain} IN={card} OUT=eth0 PHYSIN=veth1 MAC=02:42:ac:1e:00:01 SRC=172.30.0.2 DST={destination} "
        "LEN=60 TOS=0x00 PREC=0x00 TTL=63 ID=1 DF PROTO=TCP SPT=40000 DPT=443 WINDOW=64240 RES=0x00 SYN URGP=0"
    )
    return by_journal(text, SYSLOG_IDENTIFIER="kernel", _TRANSPORT="kernel", PRIORITY="5")


SQUID = {
    **{
        "%{%Y-%m-%dT%H:%M:%S}tg.%03tu": "2026-11-23T09:41:50.028",
        "%>lp": "3128",
        "%>a": "172.30.0.2",
        "%#rm": "CONNECT",
    },
    **{"%#ru": "evil.example:443", "%#ssl::>sni": "-", "%#ssl::bump_mode": "-", "%Ss": "TCP_DENIED", "%03>Hs": "403"},
    **{"%<a": "-", "%>st": "179", "%<st": "3404", "%tr": "14"},
}


def proxied(**changed: str) -> dict[str, Any]:
    """A request, in the form that the role has Squid write."""
    form = re.search(
        r"^logformat clawkeep (.*)$", role("egress_proxy/templates/etc/clawkeep/proxy/squid.conf.j2"), re.M
    )
    assert form
    text = form[1]
    for code, value in {**SQUID, **changed}.items():
        assert code in text
        text = text.replace(code, value)
    return by_file("proxy", text)


def asked(words: str) -> dict[str, Any]:
    """A question, as dnsmasq writes it with `log-queries=extra`."""
    assert "log-queries=extra" in role("egress_proxy/templates/etc/clawkeep/resolver/dnsmasq.conf.j2")
    return by_file("resolver", f"Nov 23 09:41:49 dnsmasq[2096]: 714 172.30.0.2/59569 {words}")


def audited(name: str, key: str = "clawkeep-refused", serial: int = 7) -> list[dict[str, Any]]:
    """An open that the role's audit rules record, as auditd writes it into its log."""
    stamp = f"msg=audit(1795426911.052:{serial}):"
    call = f"type=SYSCALL {stamp} arch=c000003e syscall=257 success=no exit=-13 a0=ffffff9c items=1 ppid=1 pid=2 auid=7"
    return [
        by_file("audit", f'{call} uid=1000 gid=1000 comm="cat" exe="/usr/bin/cat" subj=unconfined key="{key}"'),
        by_file("audit", f'type=CWD {stamp} cwd="/"'),
        by_file("audit", f'type=PATH {stamp} item=0 name="{name}" nametype=UNKNOWN cap_fp=0'),
    ]


def breakglass(event: str, uid: str = "0", words: str = ' account="clawkeep-emergency"') -> dict[str, Any]:
    """What `clawkeep-breakglass` tells the system's log, from an operator's session."""
    who = {"SYSLOG_IDENTIFIER": "clawkeep-breakglass", "PRIORITY": "1", "_UID": uid, "_TRANSPORT": "syslog"}
    return by_journal(f"emergency access {event}{words}", _SYSTEMD_UNIT="session-3.scope", **who)


def killed(message: str) -> dict[str, Any]:
    """What `clawkeep-kill` tells the system's log."""
    who = {"SYSLOG_IDENTIFIER": "clawkeep-kill", "PRIORITY": "1", "_UID": "0", "_TRANSPORT": "syslog"}
    return by_journal(message, _SYSTEMD_UNIT="session-3.scope", **who)


def told(records: list[dict[str, Any]], known: alerter.Rules | None = None) -> list[dict[str, Any]]:
    known = known or rules()
    return [one for at, record in enumerate(records) for one in known.of(stored(record, at))]


def silence() -> list[dict[str, Any]]:
    return alerter.silent({HOST: 0.0}, 900, 901, {})[0]


RAISED: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "unexpected_outbound": lambda: told([drop("forward")]),
    "system_files": lambda: told(audited("/root/x")),
    "log_silence": silence,
    "breakglass": lambda: told([breakglass("opened")]),
}


@pytest.mark.parametrize("name", PROMISED)
def test_each_alert_that_a_tier_promises_is_raised(name: str) -> None:
    (alert,) = RAISED[name]()
    assert (alert["alert"], alert["from"]) == (name, HOST)


@pytest.mark.parametrize("name", PROMISED)
def test_an_alert_that_is_not_in_the_rules_is_not_raised(name: str) -> None:
    if name != "log_silence":
        without = alerter.Rules(frozenset(PROMISED) - {name})
        records = [
            drop("forward"),
            proxied(),
            asked("config x.example is NXDOMAIN"),
            *audited("/root/x"),
            breakglass("opened"),
        ]
        assert name not in {one["alert"] for one in told(records, without)}


def test_the_stores_rules_take_the_tiers_names() -> None:
    template = role("log_collector/templates/etc/clawkeep/log-collector/alerts.json.j2")
    for key in (
        "alerts",
        "window_seconds",
        "metadata_threshold",
        "output",
        "notify",
        "silence_seconds",
        "store",
        "watch",
    ):
        assert f'"{key}":' in template
    assert yaml.safe_load(role("log_collector/defaults/main.yml"))["log_collector_window_seconds"] == 300


# --- emergencies ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "subject"),
    [
        (breakglass("opened"), "emergency access"),
        (breakglass("NOT CLOSED"), "emergency access"),
        (killed("kill started by ada on /dev/pts/0"), "kill"),
        (killed("failed: stop the containers"), "kill"),
        (killed("kill ended, failed steps: 0"), "kill"),
        (killed("release started by ada"), "kill"),
    ],
)
def test_an_emergency_is_alerted_with_its_words(record: dict[str, Any], subject: str) -> None:
    (alert,) = told([record])
    assert (alert["alert"], alert["subject"], alert["uid"], alert["host"]) == ("breakglass", subject, "0", "h")
    assert alert["detail"] == record["message"]
    assert alert["program"] in ("clawkeep-kill", "clawkeep-breakglass")


@pytest.mark.parametrize(
    "record",
    [
        breakglass("closed"),
        by_journal("emergency access opened", SYSLOG_IDENTIFIER="somebody", _UID="0"),
        by_journal("emergency access opened", SYSLOG_IDENTIFIER="x", _SYSTEMD_UNIT="clawkeep-breakglass-seal.service"),
        by_journal("said: emergency access opened", SYSLOG_IDENTIFIER="clawkeep-breakglass", _UID="0"),
        by_file("openclaw", '{"log": "emergency access opened"}'),
    ],
)
def test_what_is_no_emergency_is_not_alerted(record: dict[str, Any]) -> None:
    assert told([record]) == []


def test_every_emergency_is_told_but_none_twice() -> None:
    """A second opening within the window is news, and so is a real one behind another account's lie."""
    known, opened = rules(), breakglass("opened")
    assert [one["uid"] for one in told([breakglass("opened", uid="1000"), opened, breakglass("opened")], known)] == [
        *("1000", "0", "0"),
    ]
    assert told([opened], known) == []  # the same record, sent twice


def test_the_programs_write_what_is_waited_for() -> None:
    """Whatever they were rewritten to: identifier and words."""
    places = [
        *CHECKOUT.root.glob("roles/*/files/usr/local/sbin/clawkeep-*"),
        *CHECKOUT.root.glob("src/clawkeep_host/*.py"),
    ]
    by_name = {path.stem.removeprefix("clawkeep-"): path.read_text(encoding="utf-8") for path in places}
    for word in ('"clawkeep-breakglass"', "emergency access {event}", '"opened"', '"NOT CLOSED"'):
        assert word in by_name["breakglass"]
    assert redact.SOURCES["clawkeep-breakglass"] == redact.SOURCES["clawkeep-kill"] == "emergency"


# --- outbound traffic -------------------------------------------------------------------------------------------------

CHAINS = sorted(set(re.findall(r"log\('(\w+)'\)", role("firewall/templates/etc/clawkeep/firewall/clawkeep.nft.j2"))))


def test_the_roles_rules_log_in_these_chains() -> None:
    assert CHAINS == ["egress", "forward", "input", "output"]


@pytest.mark.parametrize("chain", CHAINS)
def test_a_packet_that_is_dropped_is_alerted(chain: str) -> None:
    (alert,) = told([drop(chain)])
    assert {key: alert[key] for key in ("subject", "container_bridge", "destination", "protocol", "port")} == {
        **{"subject": "172.30.0.2", "container_bridge": "clawkeep0", "destination": "192.0.2.9"},
        **{"protocol": "TCP", "port": "443"},
    }


def test_what_strangers_send_is_no_traffic_of_the_agents() -> None:
    assert told([drop("input", card="eth0")]) == []
    assert told([by_journal("clawkeep-mark x IN=eth0", _TRANSPORT="kernel")]) == []


def test_metadata_is_alerted_in_numbers_only() -> None:
    """OpenClaw asks for cloud credentials when it starts."""
    known = rules(threshold=3)
    polls = [known.of(stored(drop("forward", "169.254.169.254"), second)) for second in range(5)]
    assert [len(one) for one in polls] == [0, 0, 0, 1, 0]
    late = [known.of(stored(drop("forward", "fd00:ec2::254"), second)) for second in range(400, 403)]
    assert [len(one) for one in late] == [0, 0, 0]
    for address in ("100.100.100.200", "168.63.129.16", "192.0.0.192"):
        assert told([drop("forward", address)]) == []
    assert told([drop("forward", "100.100.100.20")]) != []


@pytest.mark.parametrize(
    ("decision", "bump", "alerted"),
    [
        ("TCP_DENIED", "-", True),
        ("TCP_DENIED_REPLY", "-", True),
        ("NONE_NONE", "terminate", True),  # the TLS client named another host than the tunnel
        ("NONE_NONE", "splice", False),  # its first hop of two, before anything is sent on
        ("TCP_TUNNEL", "splice", False),
    ],
)
def test_what_the_proxy_refused_is_alerted(decision: str, bump: str, alerted: bool) -> None:
    found = told([proxied(**{"%Ss": decision, "%#ssl::bump_mode": bump})])
    assert [(one["subject"], one["destination"]) for one in found] == [("172.30.0.2", "evil.example:443")] * alerted


def test_a_refusal_of_the_proxy_that_is_no_json_is_alerted_too() -> None:
    (alert,) = told([by_file("proxy", "1795 TCP_DENIED/403 evil.example")])
    assert alert["destination"] == "1795 TCP_DENIED/403 evil.example"


@pytest.mark.parametrize(
    ("words", "destination"),
    [
        ("config evil.example is NXDOMAIN", "evil.example"),
        ("config evil.example is NODATA-IPv6", "evil.example"),
        ("config evil.example is REFUSED", "evil.example"),
        ("query refused: evil.example", "evil.example"),
        ("query[A] evil.example from 172.30.0.2", None),
        ("reply api.example is 192.0.2.5", None),
    ],
)
def test_a_name_that_is_not_given_is_alerted(words: str, destination: str | None) -> None:
    found = told([asked(words)])
    assert [one["destination"] for one in found] == ([destination] if destination else [])
    assert all(one["subject"] == "name" for one in found)


# --- system files -----------------------------------------------------------------------------------------------------


def test_a_refused_file_is_alerted_by_the_joined_event() -> None:
    known = rules()
    call, cwd, path = audited("/root/x")
    assert told([call, cwd], known) == []
    (alert,) = told([path], known)
    assert {key: alert[key] for key in ("subject", "destination", "executable", "success")} == {
        **{"subject": "uid 1000", "destination": "/root/x", "executable": "/usr/bin/cat", "success": "no"},
    }
    assert told([path], known) == []
    assert told(audited("/root/x", serial=8)[2:], known) == []


def test_one_event_is_one_alert_however_many_paths_it_names() -> None:
    known = rules()
    assert len(told(audited("/root/x"), known)) == 1
    assert told(audited("/root/y")[2:], known) == []


@pytest.mark.parametrize(
    ("name", "key", "alerted"),
    [
        *((path, "clawkeep-refused", True) for path in ("/etc/shadow", "/root", "/proc/7/environ", "/proc/self/mem")),
        *((path, "clawkeep-refused", False) for path in ("/etc/shadow2", "/rooted", "/srv/x", "/proc/7/status")),
        ("/srv/x", "clawkeep-system", True),
        ("/root/x", "clawkeep-else", False),
    ],
)
def test_the_systems_own_paths_are_alerted(name: str, key: str, alerted: bool) -> None:
    assert bool(told(audited(name, key))) is alerted


def test_memory_of_events_is_bounded() -> None:
    known = rules()
    for serial in range(400):
        told(audited("/srv/x", serial=serial), known)
    assert len(known.events) <= 256
    for _ in range(40):
        told(audited("/srv/x", serial=1), known)
        told([by_file("audit", "msg=audit(1795426911.052:1): " + 'name="/srv/y" ' * 50)], known)
    assert max(len(event["names"]) for event in known.events.values()) <= alerter.NAMES


# --- telling ----------------------------------------------------------------------------------------------------------


def test_the_same_alert_is_told_once_a_window_and_counted() -> None:
    known = rules(window=60)
    found = [known.of(stored(drop("forward"), second)) for second in (0, 10, 59, 60, 61)]
    assert [len(one) for one in found] == [1, 0, 0, 1, 0]
    assert [one["repeated"] for alerts in found for one in alerts] == [0, 2]
    assert len(known.of(stored(drop("forward", "192.0.2.10"), 62))) == 1


def test_memory_of_what_was_told_is_bounded() -> None:
    known = rules()
    known.told = {("x", str(n)): (0.0, 0) for n in range(10_000)}
    for n in range(5):
        known.of(stored(drop("forward", f"192.0.2.{n}")))
    assert len(known.told) == 10_000


@pytest.mark.parametrize(
    "line",
    [
        *("", "[]", "1", "{}", '{"record": 1, "from": "x", "received": "2026-01-01T00:00:00Z"}', "{" * 100_000),
        '{"record": {}, "from": "x", "received": "yesterday"}',
        '{"record": {}, "from": "x", "received": 7}',
        '{"record": {"source": "proxy", "data": 1}, "from": "x", "received": "2026-01-01T00:00:00Z"}',
    ],
)
def test_a_line_that_is_no_record_raises_none(line: str) -> None:
    assert rules().of(line) == []


@pytest.fixture
def wish(tmp_path: Path) -> dict[str, Any]:
    """The rules file's content."""
    store = tmp_path / "store"
    (store / HOST).mkdir(parents=True)
    return {
        **{"alerts": PROMISED, "window_seconds": 300, "metadata_threshold": 3, "output": str(store / "alerts.jsonl")},
        **{"notify": [], "silence_seconds": 900, "store": str(store), "watch": str(store / "silence.json")},
    }


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the system's log was told."""
    lines: list[str] = []
    monkeypatch.setattr("syslog.syslog", lambda _, text: lines.append(text))
    monkeypatch.setattr("syslog.openlog", lambda _: None)
    return lines


def run(monkeypatch: pytest.MonkeyPatch, *argv: str) -> int:
    monkeypatch.setattr(sys, "argv", [alerter.PROGRAM, *argv])
    with pytest.raises(SystemExit) as ended:
        alerter.main()
    return int(ended.value.code or 0)


def test_an_alert_is_written_logged_and_handed_on(
    tmp_path: Path, wish: dict[str, Any], logged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read() + chr(10))"
    wish["notify"] = [sys.executable, "-c", script, str(tmp_path / "handed")]
    (tmp_path / "rules.json").write_text(json.dumps(wish), encoding="utf-8")
    lines = f"no record\n{stored(breakglass('opened'))}\n{stored(drop('forward'))}\n"
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=BytesIO(lines.encode())))
    assert run(monkeypatch, str(tmp_path / "rules.json")) == 0
    written = Path(wish["output"]).read_text(encoding="utf-8").splitlines()
    assert [json.loads(one)["alert"] for one in written] == ["breakglass", "unexpected_outbound"]
    assert logged == written
    assert all(json.loads(one)["notified"] for one in written)
    handed = [json.loads(one) for one in (tmp_path / "handed").read_text(encoding="utf-8").splitlines()]
    assert handed == [{key: value for key, value in json.loads(one).items() if key != "notified"} for one in written]
    assert Path(wish["output"]).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("notify", [["/nonexistent"], ["false"]])
def test_a_notifier_that_fails_is_told_of(wish: dict[str, Any], logged: list[str], notify: list[str]) -> None:
    before = os.umask(0)
    alerter.tell({"alert": "x"}, wish["output"], notify)
    os.umask(before)
    assert Path(wish["output"]).stat().st_mode & 0o777 == 0o600
    assert [json.loads(one)["notified"] for one in logged] == [False]


def test_silence_is_looked_for_once(
    tmp_path: Path, wish: dict[str, Any], logged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path(wish["store"], HOST, "2026-01-01.jsonl")
    file.touch()
    os.utime(file, (0, time.time() - 1000))
    (tmp_path / "rules.json").write_text(json.dumps(wish), encoding="utf-8")
    for _ in range(2):
        assert run(monkeypatch, str(tmp_path / "rules.json"), "--silence") == 0
    assert [json.loads(one)["alert"] for one in logged] == ["log_silence"]
    seen = json.loads(Path(wish["watch"]).read_text(encoding="utf-8"))
    assert seen["hosts"][HOST]["told"] is not None


@pytest.mark.parametrize("content", [None, "no json", "[]"])
def test_rules_that_cannot_be_read_are_told_in_one_sentence(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "rules.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(Refusal, match="run the role log_collector"):
        alerter.settings(path)
