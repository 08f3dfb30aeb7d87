#!/usr/bin/python3
"""Load this host's firewall, and change it without ever locking the operator out.

A policy is a directory of three files, one decision in two layers:

    clawkeep.nft        the table `inet clawkeep`, both families
    docker-user.rules   the chain CLAWKEEP below DOCKER-USER, IPv4 (iptables-restore format)
    docker-user.rules6  its IPv6 twin

/etc/clawkeep/firewall holds the policy that is loaded at boot; /run/clawkeep/firewall holds a change in flight.

A change is `arm` (save what runs, start the timer that brings it back, load the candidate) and then `confirm`
over a connection that was opened AFTER the candidate was in force. Only that proves that an administrator can
still come in: packets of older connections pass as established ones. Without it the timer rolls back. Only
`confirm` writes /etc/clawkeep/firewall.

Exit status: 0 done, 1 refused or failed (one sentence on stderr).
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

SAVED = Path("/etc/clawkeep/firewall")
RUNTIME = Path("/run/clawkeep/firewall")
STATE = RUNTIME / "armed.json"
PREVIOUS = RUNTIME / "previous"
CANDIDATE = RUNTIME / "candidate"

RULESET = "clawkeep.nft"
LAYERS = {"iptables": "docker-user.rules", "ip6tables": "docker-user.rules6"}
FILES = (RULESET, *LAYERS.values())

TABLE = ("inet", "clawkeep")
CHAIN = "CLAWKEEP"
HOOK = "DOCKER-USER"
TIMER = "clawkeep-firewall-rollback"
REPLACE = "add table inet clawkeep\ndelete table inet clawkeep\n"


class Refusal(Exception):
    """A sentence for the operator; the command stops with exit status 1."""


# --- commands ---------------------------------------------------------------------------------------------------


def run(*argv: str, stdin: str | None = None) -> str:
    """Return the output of a command; raise Refusal with its last words when it fails."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        words = (done.stderr or done.stdout).strip() or f"exit status {done.returncode}"
        raise Refusal(f"`{' '.join(argv)}` failed: {words}")
    return done.stdout


def succeeds(*argv: str) -> bool:
    """Tell whether a command exits with 0."""
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def journal(line: str) -> None:
    """Leave a line in the journal under our identifier, and show it to whoever ran the command."""
    run("systemd-cat", "--identifier=clawkeep-firewall", "--priority=notice", stdin=line + "\n")
    if "JOURNAL_STREAM" not in os.environ:  # a unit's output goes to the journal by itself
        print(line)


# --- the nft table ----------------------------------------------------------------------------------------------


def canonical(listing: str) -> str:
    """Return `nft --json list table` without what changes by itself.

    Handles, counter values and the members of dynamic sets differ between two loads of one file, and the kernel
    may list set members in any order.
    """

    def clean(node: object) -> object:
        if isinstance(node, list):
            return [clean(item) for item in node]
        if not isinstance(node, dict):
            return node
        kept = {key: clean(value) for key, value in node.items() if key not in ("handle", "packets", "bytes")}
        if "elem" in kept and "dynamic" in kept.get("flags", []):
            del kept["elem"]
        elif isinstance(kept.get("elem"), list):
            kept["elem"].sort(key=lambda item: json.dumps(item, sort_keys=True))
        return kept

    objects = [item for item in json.loads(listing)["nftables"] if "metainfo" not in item]
    return json.dumps(clean(objects), sort_keys=True)


def running_table() -> str | None:
    """Return the canonical form of the table in force, or None when there is none."""
    if not succeeds("nft", "list", "table", *TABLE):
        return None
    return canonical(run("nft", "--json", "list", "table", *TABLE))


def table_of(ruleset: Path) -> str:
    """Return the canonical form that a ruleset file would have once loaded, found out in a network of its own."""
    script = 'nft --file "$0" && nft --json list table inet clawkeep'
    return canonical(run("unshare", "--net", "sh", "-ec", script, str(ruleset)))


# --- the DOCKER-USER layer ----------------------------------------------------------------------------------------


def rules(tool: str, chain: str) -> list[str]:
    """Return a chain's rules as `iptables -S` prints them; empty when there is no such chain."""
    done = subprocess.run([tool, "-w", "-S", chain], capture_output=True, text=True, check=False)
    return [line for line in done.stdout.splitlines() if line.startswith("-A ")]


def exists(tool: str, chain: str) -> bool:
    """Tell whether a chain exists in the filter table."""
    return succeeds(tool, "-w", "-S", chain)


def jump_first(tool: str, chain: str, target: str) -> bool:
    """Make the jump to TARGET the first rule of CHAIN and its only jump there; tell whether that changed anything."""
    jump = f"-A {chain} -j {target}"
    present = rules(tool, chain)
    if present[:1] == [jump] and present.count(jump) == 1:
        return False
    run(tool, "-w", "-I", chain, "1", "-j", target)
    for number in range(len(present), 0, -1):  # from the end, so that numbers stay right while rules go
        if present[number - 1] == jump:
            run(tool, "-w", "-D", chain, str(number + 1))
    return True


def apply_layer(tool: str, file: Path) -> bool:
    """Bring one family's CLAWKEEP chain and the jumps that lead to it into force; tell whether that changed anything.

    Engines older than 27 make no IPv6 DOCKER-USER chain, and a flushed ruleset loses the jump from FORWARD for good
    while the daemon keeps running containers over its restart: both are put right here.
    """
    before = rules(tool, CHAIN)
    run(f"{tool}-restore", "-w", "--noflush", stdin=file.read_text(encoding="utf-8"))
    changed = rules(tool, CHAIN) != before
    if not exists(tool, HOOK):
        run(tool, "-w", "-N", HOOK)
        changed = True
    changed = jump_first(tool, HOOK, CHAIN) or changed
    return jump_first(tool, "FORWARD", HOOK) or changed


def remove_layer(tool: str) -> None:
    """Take our chain out of DOCKER-USER; whatever else is in there is not ours."""
    for rule in rules(tool, HOOK):
        if rule == f"-A {HOOK} -j {CHAIN}":
            run(tool, "-w", "-D", HOOK, "-j", CHAIN)
    if exists(tool, CHAIN):
        run(tool, "-w", "-F", CHAIN)
        run(tool, "-w", "-X", CHAIN)


def layer_in_force(tool: str, file: Path) -> bool:
    """Tell whether a family's layer runs as FILE has it, first in DOCKER-USER and reached from FORWARD first."""
    if rules(tool, HOOK)[:1] != [f"-A {HOOK} -j {CHAIN}"] or rules(tool, "FORWARD")[:1] != [f"-A FORWARD -j {HOOK}"]:
        return False
    script = f'{tool}-restore --noflush <"$0" && {tool} -S {CHAIN}'
    wanted = run("unshare", "--net", "sh", "-ec", script, str(file)).splitlines()
    return rules(tool, CHAIN) == [line for line in wanted if line.startswith("-A ")]


# --- policies: three files together ------------------------------------------------------------------------------


def complete(policy: Path) -> Path:
    """Return POLICY when all three files are there."""
    missing = [name for name in FILES if not (policy / name).is_file()]
    if missing:
        raise Refusal(f"{policy} lacks {', '.join(missing)}; run the role firewall against this host.")
    return policy


def apply(policy: Path) -> None:
    """Load a policy; the nft table is replaced in one transaction, so no packet ever meets half of it."""
    run("nft", "--file", str(policy / RULESET))
    for tool, name in LAYERS.items():
        if (policy / name).is_file():
            apply_layer(tool, policy / name)
        else:
            remove_layer(tool)


def in_force(policy: Path) -> bool:
    """Tell whether what runs is exactly this policy."""
    if running_table() != table_of(policy / RULESET):
        return False
    return all(layer_in_force(tool, policy / name) for tool, name in LAYERS.items())


def same_files(one: Path, other: Path) -> bool:
    """Tell whether two policies are the same, byte for byte."""
    return all(
        (one / name).is_file() and (other / name).is_file() and (one / name).read_bytes() == (other / name).read_bytes()
        for name in FILES
    )


def keep_running(target: Path) -> None:
    """Write down what runs at this moment, in a form that `apply` can load."""
    fresh(target)
    has_table = succeeds("nft", "list", "table", *TABLE)
    table = run("nft", "--stateless", "list", "table", *TABLE) if has_table else ""
    (target / RULESET).write_text(REPLACE + table, encoding="utf-8")
    for tool, name in LAYERS.items():
        if exists(tool, CHAIN):
            lines = ["*filter", f":{CHAIN} - [0:0]", *rules(tool, CHAIN), "COMMIT", ""]
            (target / name).write_text("\n".join(lines), encoding="utf-8")


def fresh(directory: Path) -> None:
    """Make an empty directory that root alone reads."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700, parents=True)


def persist(policy: Path) -> str:
    """Make POLICY the one that boot loads; return the digest of its ruleset."""
    for name in FILES:
        temporary = SAVED / f".{name}.new"
        shutil.copyfile(policy / name, temporary)
        temporary.chmod(0o600)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(SAVED / name)
    return hashlib.sha256((SAVED / RULESET).read_bytes()).hexdigest()


# --- who is asking ------------------------------------------------------------------------------------------------


def boot_ticks() -> int:
    """Return the time since boot in the clock ticks in which /proc tells when a process started."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))


def process(pid: int) -> tuple[str, int, int]:
    """Return a process's name, its parent and the tick in which it started."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    name, _, rest = stat.partition("(")[2].rpartition(")")
    fields = rest.split()
    return name, int(fields[1]), int(fields[19])


def connection() -> tuple[int, int] | None:
    """Return pid and start of the sshd-session that this command was typed into, or None on a console.

    sshd forks one privileged sshd-session for each TCP connection and another below it that drops privileges;
    the topmost is the connection. All sessions multiplexed over it share it, which is what has to be noticed.
    """
    found, pid = None, os.getpid()
    while pid > 1:
        name, parent, start = process(pid)
        if name == "sshd-session":
            found = (pid, start)
        pid = parent
    return found


def named(conn: tuple[int, int] | list[int] | None) -> str:
    """Return a connection as the journal names it."""
    return f"{conn[0]}:{conn[1]}" if conn else "console"


# --- verbs --------------------------------------------------------------------------------------------------------


@contextmanager
def alone():
    """Let one invocation at a time change anything: the timer and a late `confirm` may meet."""
    RUNTIME.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (RUNTIME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def armed() -> dict | None:
    """Return the change in flight, or None."""
    return json.loads(STATE.read_text(encoding="utf-8")) if STATE.is_file() else None


def disarm() -> None:
    """Stop the rollback timer; the state goes first, so that a timer that fires meanwhile finds nothing to do."""
    STATE.unlink()
    subprocess.run(["systemctl", "stop", f"{TIMER}.timer"], capture_output=True, check=False)
    if succeeds("systemctl", "is-active", "--quiet", f"{TIMER}.timer"):
        raise Refusal(f"{TIMER}.timer does not stop; it will find nothing to roll back.")


def roll_back(change: dict) -> None:
    """Bring back what ran before the change, in both layers and both families."""
    apply(PREVIOUS)
    STATE.unlink()
    journal(f"rolled-back id={change['id']}")


def arm(options: argparse.Namespace) -> None:
    """Save what runs, arm the rollback, load the candidate."""
    candidate = complete(options.candidate)
    run("nft", "--check", "--file", str(candidate / RULESET))
    forgotten = armed()
    if forgotten:
        roll_back(forgotten)
    elif same_files(candidate, SAVED) and in_force(candidate):
        print("unchanged")
        return
    change = {"id": secrets.token_hex(4), "conn": connection(), "loaded": None}
    keep_running(PREVIOUS)
    run("nft", "--check", "--file", str(PREVIOUS / RULESET))
    fresh(CANDIDATE)
    for name in FILES:
        shutil.copyfile(candidate / name, CANDIDATE / name)

    # A timer of the same name may have been left by a change that was rolled back by hand.
    subprocess.run(["systemctl", "stop", f"{TIMER}.timer"], capture_output=True, check=False)
    STATE.write_text(json.dumps(change), encoding="utf-8")
    run(
        "systemd-run",
        f"--unit={TIMER}",
        f"--on-active={options.seconds}",
        "--timer-property=AccuracySec=100ms",  # the default lets a timer come up to a minute late
        "--collect",
        str(Path(__file__).resolve()),
        "rollback",
        f"--id={change['id']}",
    )
    run("systemctl", "is-active", "--quiet", f"{TIMER}.timer")
    journal(f"armed id={change['id']} conn={named(change['conn'])}")
    try:
        apply(CANDIDATE)
    except Refusal:
        roll_back(change)
        raise
    change["loaded"] = boot_ticks()
    STATE.write_text(json.dumps(change), encoding="utf-8")


def confirm(_: argparse.Namespace) -> None:
    """Keep the change in flight, if this very connection proves that new ones come through."""
    change = armed()
    if change is None:
        raise Refusal("No change is armed: it was confirmed before, or it has been rolled back.")
    conn = connection()
    if change["loaded"] is None:
        raise Refusal(f"Change {change['id']} is not in force yet; the rollback stays armed.")
    if conn is None:
        raise Refusal("A console proves nothing about the network: confirm over a new ssh connection.")
    if list(conn) == change["conn"] or conn[1] <= change["loaded"]:
        raise Refusal(
            f"This connection ({named(conn)}) is older than change {change['id']}, so it does not prove that a new one"
            " comes through: confirm over a new ssh connection, without multiplexing. The rollback stays armed."
        )
    disarm()
    journal(f"confirmed id={change['id']} conn={named(conn)}")
    digest = persist(CANDIDATE)
    journal(f"saved id={change['id']} sha256={digest}")


def rollback(options: argparse.Namespace) -> None:
    """Undo the change in flight: the timer's own command, and the operator's."""
    change = armed()
    if change is None or options.id not in (None, change["id"]):
        print("nothing to roll back")
        return
    roll_back(change)
    if options.id is None:  # the timer does not stop itself
        subprocess.run(["systemctl", "stop", f"{TIMER}.timer"], capture_output=True, check=False)


def load(_: argparse.Namespace) -> None:
    """Load the saved policy, as boot does. DOCKER-USER follows when the engine has made its chains."""
    run("nft", "--file", str(complete(SAVED) / RULESET))


def docker_user(_: argparse.Namespace) -> None:
    """Bring the DOCKER-USER layer of the saved policy into force, first in its chain, in both families."""
    complete(SAVED)
    changed = [tool for tool, name in LAYERS.items() if apply_layer(tool, SAVED / name)]
    print(f"changed {' '.join(changed)}" if changed else "unchanged")


def status(_: argparse.Namespace) -> None:
    """Print as JSON whether a change is in flight, and whether what runs is what boot would load."""
    complete(SAVED)
    change = armed()
    print(
        json.dumps(
            {
                "armed": change["id"] if change else None,
                "ruleset_in_force": running_table() == table_of(SAVED / RULESET),
                "docker_user_in_force": {tool: layer_in_force(tool, SAVED / name) for tool, name in LAYERS.items()},
                "saved_sha256": hashlib.sha256((SAVED / RULESET).read_bytes()).hexdigest(),
            }
        )
    )


def command_line() -> argparse.ArgumentParser:
    """Return the parser; `--help` shows this file's own description."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(name: str, function, **more: object) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=function.__doc__.split("\n")[0], description=function.__doc__, **more)
        added.set_defaults(function=function)
        return added

    verb("load", load)
    arming = verb("arm", arm)
    arming.add_argument("candidate", type=Path, help="directory of the new policy")
    arming.add_argument("--seconds", type=int, default=120, help="time to confirm in (default 120)")
    verb("confirm", confirm)
    verb("rollback", rollback).add_argument("--id", help="only if this change is the one in flight")
    verb("docker-user", docker_user)
    verb("status", status)
    return parser


def main() -> int:
    """Run one verb."""
    options = command_line().parse_args()
    if os.geteuid() != 0:
        print("clawkeep-firewall: only root changes the firewall.", file=sys.stderr)
        return 1
    try:
        with alone():
            options.function(options)
    except Refusal as refusal:
        print(f"clawkeep-firewall: {refusal}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
