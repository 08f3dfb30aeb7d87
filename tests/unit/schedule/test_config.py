"""The node's settings and its secrets: what is refused, and that no refusal holds a secret."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from clawkeep.base.errors import ClawkeepError
from clawkeep.schedule import config

GOOD: dict[str, Any] = {
    "schema": 1,
    "node": "watcher",
    "inventory": "/etc/clawkeep-verifier/inventory",
    "state": "/var/lib/clawkeep-verifier",
    "period": "daily",
    "sign_key": "/var/lib/clawkeep-verifier/keys/evidence",
}
MAIL = {"host": "mail.example", "sender": "clawkeep@example.org", "recipients": ["ops@example.org"]}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def written(**changed: Any) -> Path:
        path = tmp_path / "schedule.yml"
        path.write_text(yaml.safe_dump({**GOOD, **changed}))
        return path

    return written


def test_settings_are_read(write: Callable[..., Path]) -> None:
    found = config.load(write(mail=MAIL, webhook={"url_file": "webhook-url"}))
    assert found.ledger == Path("/var/lib/clawkeep-verifier/schedule.json")
    assert found.mail is not None
    assert (found.mail.security, found.mail.port) == ("starttls", 587)
    assert found.stale_seconds == 1.5 * 86400


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"schema": 2}, "schema: "),
        ({"period": "hourly"}, "period: "),
        ({"keep": 0}, "keep: "),
        ({"stale_after": 2.5}, "stale_after: "),
        ({"stale_after": 1}, "stale_after: "),
        ({"kepe": 3}, "kepe: extra inputs"),
        ({"node": "two\nlines"}, "node: "),
        ({"tell": "never"}, "tell: "),
        ({"mail": {**MAIL, "recipients": []}}, "mail.recipients: "),
        ({"mail": {**MAIL, "user": "u"}}, "user and password_file go together"),
        (
            {"mail": {**MAIL, "security": "none", "user": "u", "password_file": "p"}},
            "a password goes over starttls or tls only",
        ),
        ({"mail": {**MAIL, "sender": "a@b\r\nBcc: c@d"}}, "mail.sender: "),
    ],
)
def test_wrong_settings_are_one_sentence_with_their_file(
    write: Callable[..., Path], changed: dict[str, Any], said: str
) -> None:
    path = write(**changed)
    with pytest.raises(ClawkeepError) as raised:
        config.load(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_no_yaml_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "schedule.yml"
    with pytest.raises(ClawkeepError, match="cannot be read: No such file"):
        config.load(path)
    path.write_text("schema: 1\nnode: [")
    with pytest.raises(ClawkeepError, match="line 2"):
        config.load(path)


def secret_file(folder: Path, data: bytes, mode: int = 0o600) -> Path:
    path = folder / "secret"
    path.write_bytes(data)
    path.chmod(mode)
    return path


def test_a_secret_is_the_line_in_its_file(tmp_path: Path) -> None:
    assert config.secret(secret_file(tmp_path, b"hunter2\n")) == "hunter2"


def test_a_credential_of_the_service_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret_file(tmp_path, b"hunter2", mode=0o444)  # systemd guards the folder
    with pytest.raises(ClawkeepError, match="the credential secret is there for the systemd service alone"):
        config.secret(Path("secret"))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert config.secret(Path("secret")) == "hunter2"


@pytest.mark.parametrize(
    ("data", "mode", "said"),
    [
        (b"hunter2", 0o604, "is open to everybody: chmod o="),
        (b"", 0o600, "must be one line"),
        (b"hunter2\nhunter3", 0o600, "must be one line"),
        (b"hunter2" * 2000, 0o600, "must be one line"),
        (b"\xffhunter2", 0o600, "is not text"),
    ],
)
def test_a_refused_secret_is_not_told(tmp_path: Path, data: bytes, mode: int, said: str) -> None:
    path = secret_file(tmp_path, data, mode)
    with pytest.raises(ClawkeepError) as raised:
        config.secret(path)
    assert said in str(raised.value)
    assert "hunter" not in str(raised.value)
