"""clawkeep-log-digest: each finished day is chained and signed, and every change of what was chained is told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from clawkeep_host.log import digest

TODAY = "2026-01-03"


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


def run(monkeypatch: pytest.MonkeyPatch, *argv: object) -> int:
    monkeypatch.setattr(sys, "argv", [digest.PROGRAM, *map(str, argv)])
    with pytest.raises(SystemExit) as ended:
        digest.main()
    return int(ended.value.code or 0)


def test_the_command_closes_and_verifies(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(digest, "seal", lambda _: None)
    place = ["--store", store / "store", "--chain", store / "chain", "--today", TODAY]
    assert run(monkeypatch, "close", *place, "--key", store / "key") == 0
    closed = json.loads(capsys.readouterr().out)
    assert (closed["closed"], closed["entries"]) == (2, 2)
    assert run(monkeypatch, "close", *place, "--key", store / "key") == 0
    assert json.loads(capsys.readouterr().out) == {**closed, "closed": 0}
    assert run(monkeypatch, "verify", *place, "--allowed", store / "allowed", "--head", closed["head"]) == 0
    assert json.loads(capsys.readouterr().out)["wrong"] == []
    assert run(monkeypatch, "verify", *place, "--allowed", store / "allowed", "--head", "0" * 63 + "1") == 1
    assert run(monkeypatch, "close", *place) == 2
    assert run(monkeypatch, "verify", *place) == 2


def test_a_key_that_does_not_sign_is_told_in_one_sentence(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--store", store / "store", "--chain", store / "chain", "--today", TODAY]
    assert run(monkeypatch, "close", *place, "--key", store / "nothing") == 1
    told = capsys.readouterr().err
    assert told.startswith("clawkeep-log-digest: ssh-keygen does not sign with ")
    assert not (store / "chain").exists()


def test_lines_that_are_no_entries_and_days_that_are_not_chained_are_told(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digest, "seal", lambda _: None)
    digest.close(store / "store", store / "chain", store / "key", "2026-01-02")
    (sentence,) = wrong(store)
    assert sentence == "the day 2026-01-02 of 192.0.2.1 is over and not chained"
    with (store / "chain").open("ab") as chain:
        chain.write(b"no json\n" + b'{"host": 1}\n' + b'{"host": "h", "day": "d", "bytes"')
    told = wrong(store)
    assert [one for one in told if "is no entry" in one] == [f"line {n} of the chain is no entry" for n in (2, 3, 4)]


def test_a_sealed_file_has_no_write_permission(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_text("x", encoding="utf-8")
    try:
        digest.seal(file)
        assert file.stat().st_mode & 0o777 == 0o400
    finally:
        subprocess.run(["chattr", "-i", str(file)], check=False, capture_output=True)


def test_only_days_of_hosts_are_the_stores(tmp_path: Path) -> None:
    (tmp_path / "h").mkdir()
    for name in ("2026-01-01.jsonl", "x.jsonl", "2026-01-02.json"):
        (tmp_path / "h" / name).touch()
    (tmp_path / "h/2026-01-03.jsonl").symlink_to(tmp_path / "h/2026-01-01.jsonl")
    (tmp_path / "alerts.jsonl").touch()
    assert list(digest.days(tmp_path)) == [("h", "2026-01-01")]
