"""Open the emergency account for a stated number of minutes, loudly, and close it with every session in it.

    clawkeep-breakglass open --minutes 30 --reason "why"
    clawkeep-breakglass close
    clawkeep-breakglass status [--json]

Sealed, the account is locked and expired, sshd admits nobody by its name and reads no key for it, and the firewall has
no rule for it. Opening changes these in the order timer, alarm, account, sshd, firewall: what fails half-way is closed
at once, and nothing opens before what closes it is armed and before somebody is told. The firewall's opening also ends
in the kernel by itself. What cannot be closed is told, and tried again every minute. `enforce` closes what is past its
end, `seal` closes without a word (at boot).

Exit status: 0 done, 1 refused or failed (one sentence on stderr).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pwd
import signal
import syslog
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NoReturn

from clawkeep_host import files, system_log
from clawkeep_host.command import Parser, Refusal, attempt, conclude, printable, run, succeeds
from clawkeep_host.package import FOLDER

PROGRAM = "clawkeep-breakglass"
SETTINGS = Path("/etc/clawkeep/breakglass/settings.json")
KEYS = "/etc/clawkeep/breakglass/authorized_keys"
RUNTIME = Path("/run/clawkeep/breakglass")
STATE = RUNTIME / "open.json"
SHADOW = Path("/etc/shadow")
PROC = Path("/proc")
INCLUDE = RUNTIME / "sshd.conf"
TIMER = "clawkeep-breakglass-close"
LONGEST = 120  # minutes
AGAIN = 60  # seconds until what could not be closed is tried again
SSH = 22
TABLE, SET, COMMENT = "inet clawkeep", "emergency", "clawkeep-breakglass"
GRACE = 5.0  # seconds that a session's processes get before they are killed
WAITS = 30.0  # for another run of this program
HEARD = 5.0  # seconds in which the system's log has to take the alarm
REASON, FAILURES = 500, 1000  # characters of each that the alarm tells


def user() -> str:
    """The account's name."""
    try:
        return str(json.loads(SETTINGS.read_text(encoding="utf-8"))["user"])
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise Refusal(f"{SETTINGS} cannot be read ({problem}); run the role breakglass against this host.") from None


def alarm(event: str, **facts: Any) -> None:
    """Tell syslog at its loudest for a person's doing, and everybody who is logged in.

    Raises Refusal when the log does not hear it. A terminal that takes no words keeps nobody in or out.
    """
    words = " ".join(f"{name}={json.dumps(str(value))}" for name, value in facts.items())
    try:
        system_log.tell(PROGRAM, syslog.LOG_ALERT, f"emergency access {event} {words}", HEARD)
    except OSError as trouble:
        raise Refusal(f"the system's log does not hear the alarm: {trouble}") from None
    text = printable(f"Emergency access {event}. {words}", system_log.LIMIT)
    attempt("wall", "--timeout", "5", stdin=f"{text}\n", seconds=10)


def remembered() -> dict[str, Any]:
    """The opening that the state file tells of: empty when there is none, one long past when it is illegible."""
    try:
        found = json.loads(STATE.read_text(encoding="utf-8"))
        since, until = int(found["since"]), int(found["until"])
        if not since <= until <= since + 60 * LONGEST:
            raise ValueError
        return {"since": since, "until": until, "user": str(found.get("user", ""))}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError):
        return {"since": 0, "until": 0, "user": ""}


def shown(seconds: int) -> str:
    """A time of day as a person and a parser read it."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def reload_sshd() -> None:
    """Have sshd read its settings, if it runs: at boot it does not yet."""
    run("/usr/sbin/sshd", "-t")
    if succeeds("systemctl", "is-active", "--quiet", "ssh.service"):
        run("systemctl", "reload", "ssh.service")


def let_in(seconds: int) -> None:
    """Let administrators' networks reach ssh; the port is a member of a set, from which the kernel takes it in time."""
    rules = [
        f'insert rule {TABLE} input {family} saddr @admin{version} tcp dport @{SET} accept comment "{COMMENT}"\n'
        for family, version in (("ip", 4), ("ip6", 6))
    ]
    port = f"{SSH} timeout {seconds}s"
    members = f"add set {TABLE} {SET} {{ type inet_service; flags timeout; elements = {{ {port} }}; }}\n"
    run("nft", "--file", "-", stdin=members + "".join(rules))


def shut_out() -> None:
    """Take the rules and the set of an opening away, if there are any; the policy itself is left as it is."""
    listing = attempt("nft", "--json", "list", "table", *TABLE.split())
    if not listing.ok:
        if "No such file or directory" in listing.stderr:
            return  # no table, no rule
        raise Refusal(listing.complaint)
    found = json.loads(listing.stdout)["nftables"]
    ours = [one["rule"] for one in found if "rule" in one and one["rule"].get("comment") == COMMENT]
    script = "".join(f"delete rule {TABLE} {rule['chain']} handle {rule['handle']}\n" for rule in ours)
    if any("set" in one and one["set"]["name"] == SET for one in found):
        script += f"delete set {TABLE} {SET}\n"
    if script:
        run("nft", "--file", "-", stdin=script)


def arm(minutes: int) -> None:
    """Have systemd close it in time, and again and again where that fails."""
    run(
        "systemd-run",
        "--quiet",
        "--collect",
        f"--unit={TIMER}",
        f"--on-active={60 * minutes}s",
        f"--on-unit-inactive={AGAIN}s",
        "--timer-property=AccuracySec=1s",
        f"{FOLDER}/{PROGRAM}",
        "close",
    )


def open_(given: argparse.Namespace) -> None:
    """Open; a second call while it is open is refused, for it would hide the first one's end."""
    if not 1 <= given.minutes <= LONGEST:
        raise Refusal(f"--minutes is between 1 and {LONGEST}.")
    reason = (given.reason or "").strip()
    if not reason:
        raise Refusal('say why with --reason "...": whoever is alarmed has to know.')
    if remembered():
        raise Refusal("it is open already; `clawkeep-breakglass status` says until when.")
    name = user()
    since = int(time.time())
    until = since + 60 * given.minutes
    opening = {"since": since, "until": until, "user": name}
    files.write(STATE, json.dumps(opening), 0o644)
    try:
        arm(given.minutes)
        who = system_log.operator()
        alarm("opened", account=name, minutes=given.minutes, until=shown(until), by=who, reason=reason[:REASON])
        run("usermod", "--expiredate", "", name)
        text = f"AllowUsers {name}\nMatch User {name}\n    AuthorizedKeysFile {KEYS}\nMatch all\n"
        files.write(INCLUDE, text, 0o644)
        reload_sshd()
        let_in(60 * given.minutes)
        if remembered() != opening:
            raise Refusal("it was closed while it was being opened.")
    except BaseException as trouble:
        try:
            close(given)
        except Refusal as left:
            raise Refusal(f"{trouble}; and closing it again failed: {left}") from trouble
        raise
    print(f"open until {shown(until)}: ssh {name}@HOST with the offline key, then sudo")


def processes(uid: int) -> list[int]:
    """The processes of which the account is the real, effective or saved user.

    The owner of /proc/PID is the effective one alone, which a setuid program that the account left running changed.
    """
    found = []
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                status = (entry / "status").read_bytes().decode("ascii", "replace")
                line = next((line for line in status.splitlines() if line.startswith("Uid:")), "")
                if str(uid) in line.split()[1:]:
                    found.append(int(entry.name))
    return found


def scopes(name: str) -> list[str]:
    """The logind sessions of the account, by which processes that became root are found too."""
    rows = [line.split() for line in attempt("loginctl", "list-sessions", "--no-legend").stdout.splitlines()]
    return [row[0] for row in rows if len(row) > 2 and row[2] == name]


def end_sessions(name: str) -> None:
    """End everything that the account runs, what it runs as root in its sessions too."""
    for session in scopes(name):
        attempt("loginctl", "kill-session", session, "--signal=SIGKILL")
        attempt("loginctl", "terminate-session", session)
    uid = uid_of(name)
    if uid is None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in processes(uid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + GRACE
        while processes(uid) and time.monotonic() < deadline:
            time.sleep(0.05)
    if processes(uid):
        raise Refusal(f"processes of {name} are still there.")


def uid_of(name: str) -> int | None:
    """The account's uid; None when there is no such account."""
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def lock_account(name: str) -> None:
    """Lock the account and let it expire; one that is not there lets nobody in."""
    if uid_of(name) is not None:
        run("usermod", "--lock", "--expiredate", "1", name)


def expired(name: str) -> bool:
    """Whether the account's days are over: an expiry that is not set, or illegible, never comes."""
    for line in SHADOW.read_text(encoding="utf-8", errors="replace").splitlines():
        fields = line.split(":")
        if fields[0] == name:
            days = fields[7] if len(fields) > 7 else ""
            return days.isdecimal() and int(days) <= time.time() // 86400
    raise Refusal(f"{name} has no entry in {SHADOW}.")


def close(_: argparse.Namespace, quiet: bool = False) -> None:
    """Close everything, whatever is open; each step is tried, and what failed is told at the end."""
    was = remembered()
    failures: list[str] = []

    def step(action: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return action(*arguments)
        except Exception as problem:
            failures.append(str(problem) or type(problem).__name__)
            return None

    step(shut_out)
    name = step(user) or was.get("user")
    if name:
        step(lock_account, name)
    # A former try may have taken the settings away, and sshd may not have read that yet.
    if was or INCLUDE.exists():
        step(lambda: INCLUDE.unlink(missing_ok=True))
        step(reload_sshd)
    if name:
        step(end_sessions, name)
    if not failures:
        step(lambda: STATE.unlink(missing_ok=True))
    closed = not failures
    if not closed or (was and not quiet):
        told = "; ".join(failures)[:FAILURES]
        step(lambda: alarm("closed" if closed else "NOT CLOSED", account=name, failures=told))
    if closed:  # else it is tried again
        attempt("systemctl", "stop", f"{TIMER}.timer")
    if failures:
        raise Refusal("; ".join(failures))
    print("sealed")


def enforce(given: argparse.Namespace) -> None:
    """Close what is past its end, or half open without an opening that is remembered."""
    was = remembered()
    if was and was["since"] <= time.time() + 60 and time.time() < was["until"]:
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
    print(json.dumps(answer) if given.json else f"open until {shown(was['until'])}" if was else "sealed")


@contextlib.contextmanager
def alone(needed: bool) -> Iterator[None]:
    """Hold the lock; where it is not `needed`, only wait for it: nothing stays open for a lock, or a full /run."""
    with contextlib.ExitStack() as held:
        try:
            files.make_folder(RUNTIME, 0o755)
            held.enter_context(files.lock(RUNTIME / "lock", PROGRAM, WAITS))
        except (Refusal, OSError):
            if needed:
                raise
        yield


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "open": open_,
    "close": close,
    "enforce": enforce,
    "seal": seal,
    "status": status,
}


def act(given: argparse.Namespace) -> None:
    """Run a command; those that change anything run one at a time."""
    with alone(needed=given.command == "open") if given.command != "status" else contextlib.nullcontext():
        COMMANDS[given.command](given)


def main() -> NoReturn:
    """Read the command line and exit."""
    parser = Parser(PROGRAM, __doc__)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--minutes", type=int, default=0, help="how long it stays open")
    parser.add_argument("--reason", help="why, for whoever is alarmed")
    parser.add_argument("--json", action="store_true", help="answer `status` in JSON")
    given = parser.parse_args()
    conclude(PROGRAM, lambda: act(given))
