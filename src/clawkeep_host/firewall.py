"""Load this host's firewall, and change it without ever locking the operator out.

A policy is a directory of three files, one decision in two layers:

    clawkeep.nft        the table `inet clawkeep`, both families
    docker-user.rules   the chain CLAWKEEP below DOCKER-USER, IPv4 (iptables-restore format)
    docker-user.rules6  its IPv6 twin

/etc/clawkeep/firewall holds the policy that is loaded at boot; /run/clawkeep/firewall holds a change in flight.

A change is `arm` (save what runs, start the timer that brings it back, load the candidate) and then `confirm`
over a connection that was opened AFTER the candidate was in force. Only that proves that an administrator can
still come in: packets of older connections pass as established ones. Without it the timer rolls back, and tries again
until it succeeds. Only `confirm` writes /etc/clawkeep/firewall.

Exit status: 0 done, 1 refused or failed (one sentence on stderr).
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from clawkeep_host import files, package
from clawkeep_host.command import Parser, Refusal, attempt, conclude, run, succeeds

PROGRAM = "clawkeep-firewall"
INSTALLED = f"{package.FOLDER}/{PROGRAM}"  # what the timer starts, whatever started us
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
NONE = 1  # iptables' status for a chain that there is not; a held lock and a missing table have others
UNREADABLE = "unreadable"  # stands for the id of a change whose record is broken


def journal(line: str) -> None:
    """Leave a line in the journal under our identifier, and show it to whoever ran the command.

    Neither may stop what is under way: the journal may take nothing, and the terminal may have gone with a connection.
    """
    done = attempt("systemd-cat", f"--identifier={PROGRAM}", "--priority=notice", stdin=line + "\n")
    with contextlib.suppress(OSError):
        if not done.ok:
            print(f"{PROGRAM}: {line!r} is not in the journal: {done.complaint}", file=sys.stderr)
        if "JOURNAL_STREAM" not in os.environ:  # a unit's output goes to the journal by itself
            print(line)


# --- the nft table ----------------------------------------------------------------------------------------------


def canonical(listing: str) -> str:
    """Return `nft --json list table` without what changes by itself.

    Handles, counter values and the members of dynamic sets differ between two loads of one file, and the kernel
    may list set members in any order.
    """

    def clean(node: Any) -> Any:
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


def has_table() -> bool:
    """Tell whether our table is loaded; raise Refusal when that is not known."""
    return f"table {' '.join(TABLE)}" in run("nft", "list", "tables").splitlines()


def running_table() -> str | None:
    """Return the canonical form of the table in force, or None when there is none."""
    if not has_table():
        return None
    return canonical(run("nft", "--json", "list", "table", *TABLE))


def table_of(ruleset: Path) -> str:
    """Return the canonical form that a ruleset file would have once loaded, found out in a network of its own."""
    script = 'nft --file "$0" && nft --json list table inet clawkeep'
    return canonical(run("unshare", "--net", "sh", "-ec", script, str(ruleset)))


# --- the DOCKER-USER layer ----------------------------------------------------------------------------------------


def rules(tool: str, chain: str) -> list[str]:
    """Return a chain's rules as `iptables -S` prints them; empty when there is no such chain."""
    return [line for line in listed(tool, chain) or [] if line.startswith("-A ")]


def exists(tool: str, chain: str) -> bool:
    """Tell whether a chain exists in the filter table."""
    return listed(tool, chain) is not None


def listed(tool: str, chain: str) -> list[str] | None:
    """Return what `iptables -S` prints of a chain, or None when there is none; raise Refusal when that is not known."""
    done = attempt(tool, "-w", "-S", chain)
    if not done.ok and done.status != NONE:
        raise Refusal(done.complaint)
    return done.stdout.splitlines() if done.ok else None


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
    run(f"{tool}-restore", "-w", "--noflush", stdin=file.read_text(encoding="utf-8", errors="surrogateescape"))
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


def parts(policy: Path) -> list[Callable[[], object]]:
    """Return what loads a policy, in order. The nft table comes in one transaction: no packet meets half of it."""
    steps: list[Callable[[], object]] = [partial(run, "nft", "--file", str(policy / RULESET))]
    for tool, name in LAYERS.items():
        file = policy / name
        steps.append(partial(apply_layer, tool, file) if file.is_file() else partial(remove_layer, tool))
    return steps


def apply(policy: Path) -> None:
    """Load a policy up to the first part that fails."""
    for part in parts(policy):
        part()


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
    table = run("nft", "--stateless", "list", "table", *TABLE) if has_table() else ""
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
    """Make POLICY the one that boot loads; return the digest of its ruleset.

    All files are on the disk before the first takes its place, so a full disk leaves the former policy whole.
    """
    contents = {name: (policy / name).read_bytes() for name in FILES}
    waiting = {name: SAVED / f".{name}.new" for name in FILES}
    try:
        for name, content in contents.items():
            files.write(waiting[name], content)
        for name in FILES:
            waiting[name].replace(SAVED / name)
    finally:
        for path in waiting.values():
            path.unlink(missing_ok=True)
    files.settle(SAVED)
    return hashlib.sha256(contents[RULESET]).hexdigest()


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


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Let one invocation at a time change anything: the timer and a late `confirm` may meet."""
    RUNTIME.mkdir(mode=0o700, parents=True, exist_ok=True)
    with files.lock(RUNTIME / "lock", PROGRAM):
        yield


def armed() -> dict[str, Any] | None:
    """Return the change in flight, or None. One that cannot be read can be rolled back, and not confirmed."""
    try:
        text = STATE.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    try:
        change = json.loads(text)
        return {key: change[key] for key in ("id", "conn", "loaded")}
    except (ValueError, KeyError, TypeError):
        return {"id": UNREADABLE, "conn": None, "loaded": None}


def remember(change: dict[str, Any]) -> None:
    """Write down the change in flight, whole or not at all: the timer's rollback depends on it."""
    files.write(STATE, json.dumps(change))


def start_timer(change: dict[str, Any], seconds: int) -> None:
    """Have systemd roll the change back in time."""
    run(
        "systemd-run",
        f"--unit={TIMER}",
        f"--on-active={seconds}",
        "--timer-property=AccuracySec=100ms",  # the default lets a timer come up to a minute late
        "--property=Restart=on-failure",  # a rollback that fails once may succeed when iptables' lock is free
        "--property=RestartSec=10",
        "--collect",
        INSTALLED,
        "rollback",
        f"--id={change['id']}",
    )
    run("systemctl", "is-active", "--quiet", f"{TIMER}.timer")


def stop_timer() -> None:
    """Stop the rollback timer, and a rollback that waits for us, or for its next attempt."""
    attempt("systemctl", "stop", f"{TIMER}.timer", f"{TIMER}.service")


def disarm() -> None:
    """Stop the rollback timer; the state goes first, so that a timer that fires meanwhile finds nothing to do."""
    STATE.unlink()
    stop_timer()
    if succeeds("systemctl", "is-active", "--quiet", f"{TIMER}.timer"):
        raise Refusal(f"{TIMER}.timer does not stop; it will find nothing to roll back.")


def roll_back(change: dict[str, Any]) -> None:
    """Bring back what ran before the change, in both layers and both families, each as far as it goes.

    Where nobody knows what ran before, since somebody has removed it, that is what boot would load.
    """
    former = PREVIOUS if (PREVIOUS / RULESET).is_file() else complete(SAVED)
    complaints = [complaint for part in parts(former) if (complaint := failure(part))]
    if complaints:
        raise Refusal(f"change {change['id']} is not rolled back as a whole: {'; '.join(complaints)}")
    STATE.unlink(missing_ok=True)
    journal(f"rolled-back id={change['id']}")


def failure(part: Callable[[], object]) -> str | None:
    """Do one part and tell why it failed, so that the next one is done all the same."""
    try:
        part()
    except (Refusal, OSError) as problem:
        return str(problem)
    return None


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
    change: dict[str, Any] = {"id": secrets.token_hex(4), "conn": connection(), "loaded": None}
    keep_running(PREVIOUS)
    run("nft", "--check", "--file", str(PREVIOUS / RULESET))
    fresh(CANDIDATE)
    for name in FILES:
        shutil.copyfile(candidate / name, CANDIDATE / name)

    stop_timer()  # one of the same name may have been left by a change that was rolled back by hand
    remember(change)
    try:
        start_timer(change, options.seconds)
    except BaseException:
        STATE.unlink(missing_ok=True)  # nothing was loaded, and nothing would bring it back
        stop_timer()
        raise
    journal(f"armed id={change['id']} conn={named(change['conn'])}")
    try:
        apply(CANDIDATE)
        remember({**change, "loaded": boot_ticks()})
    except BaseException:
        roll_back(change)
        stop_timer()
        raise


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
    if change is None or (change["id"] != UNREADABLE and options.id not in (None, change["id"])):
        print("nothing to roll back")
        return
    roll_back(change)
    if options.id is None:  # the timer does not stop itself
        stop_timer()


def load(_: argparse.Namespace) -> None:
    """Load the saved policy, as boot does. DOCKER-USER follows when the engine has made its chains."""
    run("nft", "--file", str(complete(SAVED) / RULESET))


def docker_user(_: argparse.Namespace) -> None:
    """Bring the DOCKER-USER layer of the saved policy into force, first in its chain, in both families."""
    complete(SAVED)
    changed, complaints = [], []
    for tool, name in LAYERS.items():
        try:
            if apply_layer(tool, SAVED / name):
                changed.append(tool)
        except Refusal as refusal:
            complaints.append(str(refusal))
    if complaints:
        raise Refusal("; ".join(complaints))
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


def command_line() -> Parser:
    """Return the parser; `--help` shows this file's own description."""
    parser = Parser(PROGRAM, __doc__)
    verbs = parser.add_subparsers(required=True, metavar="VERB", parser_class=argparse.ArgumentParser)

    def verb(name: str, function: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        words = function.__doc__ or ""
        added = verbs.add_parser(name, help=words.partition("\n")[0], description=words)
        added.set_defaults(function=function)
        return added

    verb("load", load)
    arming = verb("arm", arm)
    arming.add_argument("candidate", type=Path, help="directory of the new policy")
    arming.add_argument("--seconds", type=positive, default=120, help="time to confirm in (default 120)")
    verb("confirm", confirm)
    verb("rollback", rollback).add_argument("--id", help="only if this change is the one in flight")
    verb("docker-user", docker_user)
    verb("status", status)
    return parser


def positive(text: str) -> int:
    """A number of seconds that a timer can wait."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is no time to confirm in")
    return number


def main() -> NoReturn:
    """Run one verb."""
    options = command_line().parse_args()

    def act() -> None:
        if os.geteuid() != 0:
            raise Refusal("only root changes the firewall.")
        with alone():
            options.function(options)

    conclude(PROGRAM, act)
