#!/usr/bin/python3
"""Open the emergency account for a stated number of minutes, loudly, and close it with every session in it.

    clawkeep-breakglass open --minutes 30 --reason "why"
    clawkeep-breakglass close
    clawkeep-breakglass status [--json]

Sealed, the account is locked and expired, sshd admits nobody by its name and reads no key for it, and the firewall has
no rule for it. Opening changes these in the order timer, alarm, account, sshd, firewall: what fails half-way is closed
at once, and nothing opens before what closes it is armed and before somebody is told. The firewall's opening also ends
in the kernel by itself. `enforce` closes what is past its end, `seal` closes without a word (at boot).

Exit status: 0 done, 1 refused or failed (one sentence on stderr).
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pwd
import signal
import subprocess
import sys
import syslog
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable

SETTINGS = Path("/etc/clawkeep/breakglass/settings.json")
KEYS = "/etc/clawkeep/breakglass/authorized_keys"
RUNTIME = Path("/run/clawkeep/breakglass")
STATE = RUNTIME / "open.json"
SHADOW = Path("/etc/shadow")
INCLUDE = RUNTIME / "sshd.conf"
TIMER = "clawkeep-breakglass-close"
LONGEST = 120  # minutes
SSH = 22
TABLE, SET, COMMENT = "inet clawkeep", "emergency", "clawkeep-breakglass"
GRACE = 5.0  # seconds that a session's processes get before they are killed


class Refusal(Exception):
    """A sentence for the operator; the command stops with exit status 1."""


def run(*argv: str, stdin: str = "") -> str:
    """Return the output of a command; raise Refusal with its last words when it fails."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise Refusal(f"`{' '.join(argv)}` failed: {(done.stderr or done.stdout).strip() or done.returncode}")
    return done.stdout


def user() -> str:
    """The account's name."""
    try:
        return str(json.loads(SETTINGS.read_text(encoding="utf-8"))["user"])
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise Refusal(f"{SETTINGS} cannot be read ({problem}); run the role breakglass against this host.") from None


def alarm(event: str, **facts: Any) -> None:
    """Tell syslog at its loudest for a person's doing, and everybody who is logged in; raise Refusal when nobody hears."""
    words = " ".join(f"{name}={json.dumps(str(value))}" for name, value in facts.items())
    if not Path("/dev/log").exists():
        raise Refusal("there is no /dev/log, so nobody would hear the alarm.")
    syslog.openlog("clawkeep-breakglass", syslog.LOG_PID, syslog.LOG_AUTHPRIV)
    syslog.syslog(syslog.LOG_ALERT, f"emergency access {event} {words}".strip())
    subprocess.run(["wall", f"Emergency access {event}. {words}"], capture_output=True, check=False, timeout=30)


def operator() -> str:
    """Who runs this: the login behind sudo, or the uid and terminal."""
    terminal = os.ttyname(0) if os.isatty(0) else "no terminal"
    return f"{os.environ.get('SUDO_USER') or os.environ.get('USER') or os.geteuid()} on {terminal}"


def remembered() -> dict[str, Any]:
    """What the state file remembers; empty when it is not there, an opening long past when it cannot be read."""
    if not STATE.exists():
        return {}
    try:
        found = json.loads(STATE.read_text(encoding="utf-8"))
        return {"until": int(found["until"]), "since": int(found["since"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"until": 0, "since": 0}


def write(path: Path, text: str) -> None:
    """Write a file whole."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.chmod(0o644)
    fresh.replace(path)


def reload_sshd() -> None:
    """Have sshd read its settings, if it runs: at boot it does not yet."""
    run("/usr/sbin/sshd", "-t")
    if not subprocess.run(["systemctl", "is-active", "--quiet", "ssh.service"], check=False).returncode:
        run("systemctl", "reload", "ssh.service")


def let_in(seconds: int) -> None:
    """Let administrators' networks reach ssh; the port is a member of a set, from which the kernel takes it in time."""
    rules = [
        f"insert rule {TABLE} input {family} saddr @admin{version} tcp dport @{SET} accept comment \"{COMMENT}\"\n"
        for family, version in (("ip", 4), ("ip6", 6))
    ]
    members = f"add set {TABLE} {SET} {{ type inet_service; flags timeout; elements = {{ {SSH} timeout {seconds}s }}; }}\n"
    run("nft", "--file", "-", stdin=members + "".join(rules))


def shut_out() -> None:
    """Take the rules and the set of an opening away, if there are any; the policy itself is left as it is."""
    listing = subprocess.run(["nft", "--json", "list", "table", *TABLE.split()], capture_output=True, text=True, check=False)
    if listing.returncode:
        return  # no table, no rule
    found = json.loads(listing.stdout)["nftables"]
    ours = [one["rule"] for one in found if "rule" in one and one["rule"].get("comment") == COMMENT]
    script = "".join(f"delete rule {TABLE} {rule['chain']} handle {rule['handle']}\n" for rule in ours)
    if any("set" in one and one["set"]["name"] == SET for one in found):
        script += f"delete set {TABLE} {SET}\n"
    if script:
        run("nft", "--file", "-", stdin=script)


def open_(given: argparse.Namespace) -> None:
    """Open; a second call while it is open is refused, for it would hide the first one's end."""
    if not 1 <= given.minutes <= LONGEST:
        raise Refusal(f"--minutes is between 1 and {LONGEST}.")
    if not (given.reason or "").strip():
        raise Refusal('say why with --reason "...": whoever is alarmed has to know.')
    if remembered():
        raise Refusal("it is open already; `clawkeep-breakglass status` says until when.")
    name = user()
    since = int(time.time())
    until = since + 60 * given.minutes
    ends = datetime.fromtimestamp(until, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    RUNTIME.mkdir(mode=0o755, parents=True, exist_ok=True)
    write(STATE, json.dumps({"since": since, "until": until}))
    try:
        # A second before the end is too early for nobody; the command itself is what closes, so it can be run by hand.
        run("systemd-run", "--quiet", f"--unit={TIMER}", f"--on-active={60 * given.minutes}s", "--timer-property=AccuracySec=1s",
            sys.argv[0], "close")  # fmt: skip
        alarm("opened", account=name, minutes=given.minutes, until=ends, by=operator(), reason=given.reason.strip())
        run("usermod", "--expiredate", "", name)
        write(INCLUDE, f"AllowUsers {name}\nMatch User {name}\n    AuthorizedKeysFile {KEYS}\nMatch all\n")
        reload_sshd()
        let_in(60 * given.minutes)
    except BaseException:
        close(given)
        raise
    print(f"open until {ends}: ssh {name}@HOST with the offline key, then sudo")


def processes(uid: int) -> list[int]:
    """The processes whose real user is the account."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and entry.stat().st_uid == uid:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def scopes(name: str) -> list[str]:
    """The logind sessions of the account, by which processes that became root are found too."""
    done = subprocess.run(["loginctl", "list-sessions", "--no-legend"], capture_output=True, text=True, check=False)
    rows = [line.split() for line in done.stdout.splitlines()]
    return [row[0] for row in rows if len(row) > 2 and row[2] == name]


def end_sessions(name: str) -> None:
    """End everything that the account runs, what it runs as root in its sessions too."""
    for session in scopes(name):
        subprocess.run(["loginctl", "kill-session", session, "--signal=SIGKILL"], capture_output=True, check=False)
        subprocess.run(["loginctl", "terminate-session", session], capture_output=True, check=False)
    try:
        uid = pwd.getpwnam(name).pw_uid
    except KeyError:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in processes(uid):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + GRACE
        while processes(uid) and time.monotonic() < deadline:
            time.sleep(0.05)
    if processes(uid):
        raise Refusal(f"processes of {name} are still there.")


def expired(name: str) -> bool:
    """Whether the account's days are over: an expiry that is not set never comes."""
    for line in SHADOW.read_text(encoding="utf-8").splitlines():
        fields = line.split(":")
        if fields[0] == name:
            return bool(fields[7]) and int(fields[7]) <= time.time() // 86400
    raise Refusal(f"{name} has no entry in {SHADOW}.")


def close(_: argparse.Namespace, quiet: bool = False) -> None:
    """Close everything, whatever is open; each step is tried, and what failed is told at the end."""
    was = remembered()
    name = user()
    failures: list[str] = []

    def step(action: Callable[[], Any]) -> None:
        try:
            action()
        except (Refusal, OSError, ValueError, KeyError, subprocess.SubprocessError) as problem:
            failures.append(str(problem))

    step(shut_out)
    step(lambda: run("usermod", "--lock", "--expiredate", "1", name))
    if INCLUDE.exists():
        step(INCLUDE.unlink)
        step(reload_sshd)
    step(lambda: end_sessions(name))
    if not failures:
        STATE.unlink(missing_ok=True)
    if was and not quiet:
        step(lambda: alarm("closed" if not failures else "NOT CLOSED", account=name, failures="; ".join(failures)))
    subprocess.run(["systemctl", "stop", f"{TIMER}.timer"], capture_output=True, check=False)
    if failures:
        raise Refusal("; ".join(failures))
    print("sealed")


def enforce(given: argparse.Namespace) -> None:
    """Close what is past its end, or half open without an opening that is remembered."""
    was = remembered()
    if was and was["until"] > time.time():
        print("open within its time")
    elif was or INCLUDE.exists() or not expired(user()):
        close(given)
    else:
        print("closed")


def seal(given: argparse.Namespace) -> None:
    """Close at boot."""
    close(given, quiet=True)


def status(given: argparse.Namespace) -> None:
    """Say whether it is open, and until when."""
    was = remembered()
    answer = {"open": bool(was), "until": was.get("until"), "user": user(), "sessions": scopes(user())}
    until = datetime.fromtimestamp(was.get("until") or 0, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    print(json.dumps(answer) if given.json else f"open until {until}" if was else "sealed")


COMMANDS = {"open": open_, "close": close, "enforce": enforce, "seal": seal, "status": status}


def main() -> int:
    """Run one command at a time."""
    parser = argparse.ArgumentParser(prog="clawkeep-breakglass", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--minutes", type=int, default=0, help="how long it stays open")
    parser.add_argument("--reason", help="why, for whoever is alarmed")
    parser.add_argument("--json", action="store_true", help="answer `status` in JSON")
    given = parser.parse_args()
    try:
        RUNTIME.mkdir(mode=0o755, parents=True, exist_ok=True)
        with (RUNTIME / ".lock").open("a", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            COMMANDS[given.command](given)
    except (Refusal, OSError, subprocess.SubprocessError) as problem:
        print(f"clawkeep-breakglass: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
