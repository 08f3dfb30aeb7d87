"""ssh into the lab's host: its key, its options and its patience."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from clawkeep.lab.errors import LabError
from clawkeep.lab.guest import ADMIN
from clawkeep.lab.topology import Lab

ADDRESS = "127.0.0.1"
_LOGIN_PATIENCE = 60  # seconds; a guest under emulation on a busy machine takes tens of them to say its banner
_FIRST_PATIENCE = 5  # while it boots, QEMU accepts at once and nobody answers: ask anew rather than wait
# A time service that had followed ours would take the jump for a fault of ours and of no other's: it begins anew.
_SET_CLOCK = (
    'echo ready; read now; date -u -s "@$now" >/dev/null || exit 1; '
    'if pgrep -x chronyd >/dev/null; then chronyc -m "reset sources" "burst 4/4" >/dev/null; fi'
)


def key(lab: Lab) -> Path:
    """The administrator's private key, made when first asked for."""
    path = lab.state / "id_ed25519"
    if not path.exists():
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"clawkeep-lab-{lab.id}", "-f", str(path)]
        subprocess.run(argv, stdin=subprocess.DEVNULL, check=True)
    return path


def public_key(lab: Lab) -> str:
    """The one line of the public key."""
    return key(lab).with_suffix(".pub").read_text().strip()


def options(lab: Lab) -> list[str]:
    """ssh's options: nothing of the user's own configuration, agent or known hosts takes part."""
    return [
        *("-F", "none"),
        *(
            f"-o{option}"
            for option in (
                f"UserKnownHostsFile={lab.state / 'known_hosts'}",
                "StrictHostKeyChecking=accept-new",
                "IdentitiesOnly=yes",
                "IdentityAgent=none",
                "BatchMode=yes",
                "ControlMaster=no",
                "ControlPath=none",
                "LogLevel=ERROR",
                f"ConnectTimeout={_LOGIN_PATIENCE}",
                "ServerAliveInterval=15",
                "ServerAliveCountMax=8",
            )
        ),
    ]


def argv(lab: Lab, port: int, command: str, *extra: str) -> list[str]:
    """The command line that runs `command` as the administrator; of an option given twice, ssh takes `extra`'s."""
    base = ["ssh", *extra, *options(lab), "-i", str(key(lab)), "-p", str(port), f"{ADMIN}@{ADDRESS}"]
    return [*base, command]


def as_root(words: Sequence[str]) -> str:
    """The remote command that runs `words` as root: one word is a shell's text, several are a program's own."""
    if not words:
        return "exec sudo -n -i"
    text = words[0] if len(words) == 1 else shlex.join(words)
    return f"exec sudo -n -- bash -c {shlex.quote(text)}"


def run(lab: Lab, port: int, command: str, seconds: float, *extra: str) -> subprocess.CompletedProcess[str]:
    """Run a command as the administrator; exit status 255 also stands for a connection that took too long."""
    line = argv(lab, port, command, *extra)
    try:
        return subprocess.run(
            line, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(line, 255, "", f"no answer within {seconds:.0f} s")


def wait(lab: Lab, port: int, command: str, seconds: float, what: str) -> None:
    """Repeat the command until it succeeds. Raises `LabError` after `seconds`."""
    deadline = time.monotonic() + seconds
    patience = float(_FIRST_PATIENCE)
    while True:
        left = max(deadline - time.monotonic(), 1.0)
        done = run(lab, port, command, left, f"-oConnectTimeout={patience:.0f}")
        if done.returncode == 0:
            return
        if time.monotonic() > deadline:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise LabError(f"{what} within {seconds:.0f} s ({reason}): read {lab.state / 'console.log'}")
        patience = min(patience * 1.5, _LOGIN_PATIENCE)
        time.sleep(0.3)


def set_clock(lab: Lab, port: int, seconds: float) -> None:
    """Set the guest's clock to ours, to within a few milliseconds of emulation.

    A restored guest lives in the past. The time is sent when the far end is ready to set it, since the login itself
    takes seconds under emulation. Raises `LabError` when ssh does not answer in time.
    """
    command = f"sudo -n sh -c '{_SET_CLOCK}'"
    deadline = time.monotonic() + seconds
    while True:
        with subprocess.Popen(
            argv(lab, port, command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            if process.stdin and process.stdout and process.stdout.readline() == "ready\n":
                process.stdin.write(f"{time.time():.3f}\n")
                process.stdin.close()
                if process.wait(timeout=60) == 0:
                    return
            process.kill()
        if time.monotonic() > deadline:
            raise LabError(f"ssh did not answer within {seconds:.0f} s: read {lab.state / 'console.log'}")
        time.sleep(0.2)
