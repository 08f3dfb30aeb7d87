"""Secrets are taken out on the host, before anything leaves it, and none lies in what the repo keeps of hosts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clawkeep.base import repo
from clawkeep.collector.recorder import REDACTED, Recorder, redact, redact_text, short

CHECKOUT = repo.find(Path(__file__))

# What a credential looks like: a second opinion, on purpose not the collector's own patterns.
LOOKS = {
    "private key": r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY",
    "AWS key": r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "GitHub token": r"\bgh[a-z]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}",
    "GitLab token": r"\bglpat-[\w-]{20}",
    "Slack token": r"\bxox[a-z]-[\w-]{10,}",
    "model key": r"\bsk-[\w-]{20,}",
    "Google key": r"\bAIza[\w-]{35}",
    "JSON web token": r"\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*",
    "bearer": r"(?i)\b(?:bearer|basic)\s+(?!\[redacted\])[\w.~+/=-]{16,}",
    "password in an address": r"[a-z][a-z0-9+.-]*://[^/\s:@\"]*:(?!\[redacted\])[^/\s@\"]+@",
    "password hash": r"\$(?:1|2[aby]|5|6|y|gy|argon2id?)\$[\w./$=,+-]{20,}",
    "setting": r"(?i)\b\w*(?:token|secret|passw(?:or)?d|api_?key|access_?key)\w*\s*[=:]\s*(?!\[redacted\])[\w/+-]{8,}",
}
NAMES = re.compile(r"(?i)(token|secret|passw|api_?key|private_?key|access_?key|credential|cookie)")


def strings(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a JSON value with the key that it stands under."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield "", str(key)
            yield from strings(item, str(key))
    elif isinstance(value, list):
        for item in value:
            yield from strings(item, name)
    elif isinstance(value, str):
        yield name, value


def credentials(value: Any) -> list[str]:
    """What looks like a credential, by kind; never the text itself, for this is printed."""
    found = []
    for name, text in strings(value):
        found += [f"{kind} under {name or 'a key'}" for kind, look in LOOKS.items() if re.search(look, text)]
        if (
            NAMES.search(name)
            and len(text) >= 8
            and REDACTED not in text
            and not re.fullmatch(r"[\w ]+ (yes|no)", text)
        ):
            found.append(f"setting under {name}")
    return found


FILES = sorted([*CHECKOUT.recorded.rglob("*.json"), *CHECKOUT.sabotages.rglob("*.json")])


@pytest.mark.parametrize("path", FILES, ids=lambda path: CHECKOUT.shown(path))
def test_no_credential_is_kept_in_the_repo(path: Path) -> None:
    assert credentials(json.loads(path.read_bytes())) == []


def test_there_is_recorded_evidence_to_look_at() -> None:
    assert any(path.parent.name == "hosts" for path in FILES)


# Put together here, so that no scanner of the repo takes them for real.
SECRETS = {
    "private key": "-----BEGIN OPENSSH "
    + "PRIVATE KEY-----\n"
    + "b3BlbnNzaC1rZXktdjE" * 3
    + "\n-----END OPENSSH PRIVATE KEY-----",
    "AWS key": "AKIA" + "Q3EXAMPLE7LQ2ZX5"[:16],
    "GitHub token": "ghp_" + "a1B2" * 9,
    "Slack token": "xoxb-" + "1234567890-abcdef",
    "model key": "sk-" + "ant-api03-" + "x" * 24,
    "bearer": "Authorization: Bearer " + "abcDEF123456" * 3,
    "setting": "OPENCLAW_GATEWAY_" + "TOKEN=" + "0123456789abcdef",
    "setting with a colon": "db_password: " + "correct-horse-battery",
    "password in an address": "DATABASE_URL=postgres://" + "ada:hunter2hunter2@db.example.org/x",
    "password of a proxy": "https_proxy=http://" + ":hunter2hunter2@proxy.example.org:3128",
    "JSON web token": "eyJ" + "hbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxIn0." + "x" * 20,
    "password hash": "ada:$6$" + "abcdefgh$" + "Xy" * 40 + ":19000:0:99999:7:::",
    "password hash of another kind": "$y$j9T$"
    + "F5Jx5fExrKuPp53xLKQ..1$"
    + "X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7",
    "fine-grained token": "github_pat_" + "11ABCDEFG0" * 4,
}


@pytest.mark.parametrize("text", SECRETS.values(), ids=SECRETS.keys())
def test_a_credential_is_seen_by_the_scan_and_gone_after_redaction(text: str) -> None:
    assert credentials([text])
    assert credentials(redact({"lines": ["before", text, "after"], "seen": text})) == []
    assert credentials([redact_text(f"before {text} after")]) == []


@pytest.mark.parametrize(
    "text",
    [
        "http://[2001:db8::1]:3128/a@b",
        "clawkeep/openclaw@sha256:" + "0a" * 32,
        "https://ada@example.org/x",
        "ssh://git@example.org:22/x",
        "tcp://127.0.0.1:2375",
        "passwordauthentication no",
        "$1 and $2 are arguments of $6",
        "table inet clawkeep { chain input { type filter hook input priority 0; policy drop; } }",
    ],
)
def test_what_is_no_secret_is_left_alone(text: str) -> None:
    assert redact({"x": [text]}) == {"x": [text]}


@pytest.mark.parametrize(
    "text", ["://" + "a" * 1_000_000, "eyJ" * 300_000, "$1$" * 300_000, "x:" * 500_000, "://:" * 250_000]
)
def test_a_long_line_without_end_is_redacted_too(text: str) -> None:
    """Each of these would keep a pattern that backtracks without a bound busy for hours."""
    assert redact_text(text + " TOKEN=" + "0123456789abcdef").endswith(REDACTED)


def test_a_secret_under_a_telling_name_is_gone_whatever_it_looks_like() -> None:
    planted = "plain words of no shape"
    held = redact({"gateway": {"authToken": planted, "port": 18789, "list": [{"client_secret": planted}]}})
    assert planted not in json.dumps(held)
    assert held["gateway"]["port"] == 18789


def test_what_a_command_prints_is_redacted_before_it_is_kept() -> None:
    planted = "0123456789abcdef"
    recorder = Recorder()
    recorder.run("text", ["printf", f"API_KEY={planted}\\n"])
    recorder.run("json", ["printf", json.dumps({"env": [f"API_KEY={planted}"], "password": planted})], parse="json")
    recorder.run("stderr", ["sh", "-c", f"echo TOKEN={planted} >&2"])
    recorder.note("fact", {"Env": [f"MY_SECRET={planted}"]})
    recorder.problem("part", f"it broke at token={planted}")
    kept = [
        recorder.commands["text"]["lines"],
        recorder.commands["json"]["json"],
        recorder.commands["stderr"]["stderr"],
    ]
    kept += [recorder.facts, recorder.problems]
    assert all(REDACTED in json.dumps(item) for item in kept)
    assert planted not in json.dumps(kept)


def test_a_text_is_redacted_before_it_is_cut() -> None:
    planted = "eyJ" + "a1B2" * 10 + "." + "c3D4" * 20 + "." + "e5F6" * 10
    for length in range(10, 200, 7):
        assert "eyJ" not in short(f"it broke at {planted} and went on", length)
    assert short("x" * 300, 200) == "x" * 200
