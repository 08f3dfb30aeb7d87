"""ssh-keygen as it is run: it asks nobody, shows nothing, does not wait for ever, and refuses in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clawkeep.base import sshsig
from clawkeep.base.errors import ClawkeepError
from clawkeep.evidence.bundle import signature
from clawkeep.verify import attestations

NAMESPACES = (signature.NAMESPACE, attestations.NAMESPACE)


@pytest.fixture(autouse=True)
def _no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


@pytest.fixture
def key(tmp_path: Path) -> Callable[..., Path]:
    """A new key's file."""

    def make(passphrase: str = "") -> Path:
        path = tmp_path / "ada"
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-a", "1", "-C", "ada", "-N", passphrase, "-f", str(path)]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
        return path

    return make


@contextmanager
def agent(folder: Path) -> Iterator[str]:
    """An ssh-agent of one's own; gives its socket."""
    socket = str(folder / "agent")
    running = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert running.stdout is not None
        running.stdout.readline()  # it listens by now
        yield socket
    finally:
        running.terminate()
        running.wait()


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_what_is_signed_is_verified_for_its_purpose_and_words_alone(key: Callable[..., Path], namespace: str) -> None:
    path = key()
    public = path.with_name("ada.pub").read_text()
    armour = sshsig.sign(b"words", path, namespace)
    assert sshsig.verified(b"words", armour, [public], namespace)
    assert not sshsig.verified(b"other words", armour, [public], namespace)
    assert not sshsig.verified(b"words", armour, [], namespace)
    for other in {*NAMESPACES} - {namespace}:
        assert not sshsig.verified(b"words", armour, [public], other)


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_an_encrypted_key_asks_nobody_at_a_terminal(key: Callable[..., Path], namespace: str) -> None:
    """With a terminal to ask at, ssh-keygen would wait there; the run has none for it."""
    path = key("not known to anybody")
    leader, follower = os.openpty()
    script = (
        "import sys; from pathlib import Path; from clawkeep.base import sshsig\n"
        "try: sshsig.sign(b'words', Path(sys.argv[1]), sys.argv[2])\n"
        "except Exception as problem: print(problem)"
    )
    argv = ["setsid", "--ctty", "--wait", sys.executable, "-c", script, str(path), namespace]
    done = subprocess.run(argv, stdin=follower, stdout=subprocess.PIPE, text=True, check=False, timeout=60)
    os.close(follower)
    os.close(leader)
    assert f"it is encrypted; load it into ssh-agent with `ssh-add {path}`" in done.stdout


def test_no_program_is_asked_for_a_passphrase(
    key: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = key("known")
    asked = tmp_path / "asked"
    script = tmp_path / "askpass"
    script.write_text(f"#!/bin/sh\ntouch {asked}\necho known\n")
    script.chmod(0o755)
    for name, value in {"DISPLAY": ":0", "SSH_ASKPASS": str(script), "SSH_ASKPASS_REQUIRE": "force"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ClawkeepError, match="it is encrypted"):
        sshsig.sign(b"words", path, NAMESPACES[0])
    assert not asked.exists()


def test_nothing_of_a_key_is_shown(key: Callable[..., Path], capfd: pytest.CaptureFixture[str]) -> None:
    path = key()
    path.with_name("ada.pub").unlink()
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], "A" * 40, *lines[3:]]) + "\n")
    with pytest.raises(ClawkeepError, match="it is no key that ssh-keygen can read") as refused:
        sshsig.sign(b"words", path, NAMESPACES[0])
    assert capfd.readouterr() == ("", "")
    assert not any(line in str(refused.value) for line in lines)


def test_the_private_half_may_be_in_the_agent_alone(
    key: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = key()
    public = path.with_name("ada.pub")
    with agent(tmp_path) as socket:
        monkeypatch.setenv("SSH_AUTH_SOCK", socket)
        subprocess.run(["ssh-add", "-q", str(path)], check=True, capture_output=True)
        path.unlink()
        for named in (path, public):  # OpenSSH takes the public half that lies beside a name
            assert sshsig.verified(b"x", sshsig.sign(b"x", named, "test"), [public.read_text()], "test")
    with pytest.raises(ClawkeepError, match=f"there is no key {path}: make one with"):
        sshsig.sign(b"x", path, "test")


def test_it_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe in the key's place never answers."""
    os.mkfifo(tmp_path / "key", 0o600)
    monkeypatch.setattr(sshsig, "PATIENCE", 0.2)
    with pytest.raises(ClawkeepError, match=r"did not end within 0\.2 s: see what its key or agent waits for"):
        sshsig.sign(b"words", tmp_path / "key", NAMESPACES[0])
