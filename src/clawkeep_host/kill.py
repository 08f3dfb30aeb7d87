"""Stop the agent, cut its network and name the tokens to revoke. It stays down until it is released.

    clawkeep-kill kill       do it
    clawkeep-kill --dry-run  tell what would be done, and change nothing
    clawkeep-kill status     tell whether the agent is stopped
    clawkeep-kill release    lift it: the only way back, over restarts of Docker and of the host
    clawkeep-kill quarantine cut the network only (the unit clawkeep-quarantine.service does it at boot)

The order matters. The network is cut first, since that needs neither Docker nor a disk nor the agent's consent. A flag
holds the agent's units back. Containers are frozen as soon as they are known, and lose their restart policy before they
are killed (Docker starts an `on-failure` container again when it ended by a signal). Units are stopped; what they
started meanwhile, and agents that lack Clawkeep's label, are looked for. Then the programs in /etc/clawkeep/kill.d
revoke, in the order of their names, and evidence is kept. Every step is tried even when one before it failed, say on a
full disk; failures are told at the end.

/etc/clawkeep/kill.conf says what is reached. The flag is /var/lib/clawkeep/kill/active and remembers what to restore;
its copy in /run/clawkeep/kill holds until a reboot when the disk takes none. /var/lib/clawkeep/kill/TIME holds the
evidence (0700), without secrets. The system's log hears of the start, of each step that failed and of the end.

Exit status: 0 done, 1 something failed (one sentence each on stderr), 2 bad usage.
"""

from __future__ import annotations

import argparse
import configparser
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NoReturn

from clawkeep_host import agent_containers, files, stop_flag
from clawkeep_host.agent_containers import Container, Inspection, containers
from clawkeep_host.command import Parser, Refusal, attempt, conclude, printable, run, succeeds
from clawkeep_host.kill_evidence import CHANGES, LOG, PROCESSES, Evidence, Halted, as_json, ask
from clawkeep_host.redaction import is_secret_name, redact_text
from clawkeep_host.steps import SENTENCE, Budget, Disk, Steps
from clawkeep_host.stop_flag import Memory
from clawkeep_host.system_log import operator

PROGRAM = "clawkeep-kill"
SETTINGS = Path("/etc/clawkeep/kill.conf")
HOOKS = Path("/etc/clawkeep/kill.d")
FLAG, COPY = stop_flag.ON_DISK, stop_flag.ON_TMPFS
STATE = FLAG.parent
LOCK = COPY.with_name("lock")

COMMAND_SECONDS = 30.0
ENGINE_SECONDS = 60.0  # for all that is asked of the engine until the containers are stopped
HOOK_SECONDS = 30.0
KILL_WAITS = 10.0  # for another run of this program, before it goes on beside it
RELEASE_WAITS = 60.0
START_SECONDS = 300.0
SECRETS_BYTES = 1 << 20

DOWN = ("inactive", "failed", "unknown")  # states of a unit that is neither up nor on its way
TABLE = "inet clawkeep_quarantine"
INTERFACE = re.compile(r"[^\s\"*/:\\]{1,15}")
# Before connection tracking and before every other table: nothing of theirs can accept what this drops.
QUARANTINE = """\
add table {table}
delete table {table}
table {table} {{
	set bridges {{
		type ifname
		elements = {{ {bridges} }}
	}}
	chain from_bridges {{
		type filter hook prerouting priority -450; policy accept;
		iifname @bridges counter drop
	}}
	chain forwarded {{
		type filter hook forward priority -450; policy accept;
		oifname @bridges counter drop
	}}
	chain to_bridges {{
		type filter hook output priority -450; policy accept;
		oifname @bridges counter drop
	}}
}}
"""
LIFTED = f"add table {TABLE}\ndelete table {TABLE}\n"

Outcome = tuple[dict[str, Any], list[str]]  # the answer, and a sentence about each thing that failed


# --- what is reached --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """/etc/clawkeep/kill.conf; no role means every labelled container. `trouble` says why it was not read whole."""

    roles: list[str]
    bridges: list[str]
    units: list[str]
    secret_files: list[str]
    trouble: str = ""

    @classmethod
    def read(cls) -> Settings:
        """Read the file, or what is legible of it: the agent is stopped as far as it is known."""
        keys, text = ("roles", "bridges", "units", "secret_files"), ""
        try:
            text = SETTINGS.read_bytes().decode("utf-8", "replace")
            parser = configparser.ConfigParser(interpolation=None)
            parser.read_string(text, str(SETTINGS))
            return cls._of([parser["kill"][key] for key in keys])
        except (OSError, configparser.Error) as problem:
            trouble = f"{SETTINGS} cannot be read: {problem}"
        except KeyError as missing:
            trouble = f"{SETTINGS} lacks {missing}"
        lines = [re.search(rf"^[ \t]*{key}[ \t]*[=:](.*)$", text, re.MULTILINE) for key in keys]
        return cls._of([line[1] if line else "" for line in lines], trouble)

    @classmethod
    def _of(cls, values: list[str], trouble: str = "") -> Settings:
        roles, bridges, units, secret_files = (value.split() for value in values)
        return cls(roles, bridges, units, secret_files, trouble)


def hooks() -> list[Path]:
    """Programs that revoke, in the order in which they run."""
    return [path for path in sorted(HOOKS.glob("*")) if path.is_file() and os.access(path, os.X_OK)]


def variables(path: Path) -> list[str]:
    """Names that an environment file sets; none when it is not there.

    Raises OSError when it cannot be read, is no file, or lies behind a link that others than root can have made.
    """
    try:
        text = files.content_beneath("/", str(path), SECRETS_BYTES).decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    lines = [line.strip().partition("=") for line in text.splitlines()]
    return [name.strip() for name, equals, _ in lines if equals and not name.startswith("#")]


def revocations(steps: Steps, settings: Settings, seen: dict[str, Inspection]) -> list[dict[str, str]]:
    """Tokens that the agent held, by name and place; their values are looked at by nobody. `seen` is by container."""
    named = {}
    for path in settings.secret_files:
        for name in steps.attempt(f"tokens in {path} are not named", variables, Path(path)) or []:
            named[name] = path
    for container, inspection in seen.items():
        for name in filter(is_secret_name, inspection.environment):
            named.setdefault(name, f"environment of container {container}")
    return [{"name": name, "where": where} for name, where in sorted(named.items())]


def plan(settings: Settings) -> Outcome:
    """Everything that `kill` reaches; every container ends with restart policy `no`.

    Raises Refusal when the settings cannot be read or Docker does not answer.
    """
    if settings.trouble:
        raise Refusal(settings.trouble)
    steps = Steps()
    found, seen = [], {}
    labelled = containers(settings.roles)
    wanted = [*labelled, *unlabelled(steps, settings.roles, lambda: agent_containers.SECONDS)]
    for one in wanted:
        failures = len(steps.failures)
        inspection = steps.attempt(f"{one.name} cannot be looked at", agent_containers.inspect, one)
        if inspection:
            seen[one.name] = inspection
        elif len(steps.failures) == failures:
            continue  # it is gone meanwhile
        found.append(
            {
                "id": one.id,
                "name": one.name,
                "role": one.role,
                "running": one.running,
                "restart_policy": "no",
                "restart_policy_now": (inspection.restart.get("Name") or "no") if inspection else "unknown",
            }
        )
    answer = {
        "stopped": stop_flag.is_set((FLAG, COPY)),
        "containers": found,
        "bridges": reached(steps, settings.bridges, wanted),
        "units": settings.units,
        "hooks": [str(path) for path in hooks()],
        "revoke": revocations(steps, settings, seen),
    }
    return answer, steps.failures


def reached(steps: Steps, listed: list[str], found: list[Container]) -> list[str]:
    """The bridges to cut: those that are listed, and those of other networks that agents are on."""
    others = {name for one in found for name in one.networks} - {*listed, "host", "none"}
    if not others:
        return listed
    unknown = f"the bridges of {', '.join(sorted(others))} are not known"
    own = steps.attempt(unknown, agent_containers.bridges, others, Budget.LEAST) or []
    return sorted({*listed, *own})


# --- the network and the units ----------------------------------------------------------------------------------


def command(*argv: str, stdin: str = "", seconds: float = COMMAND_SECONDS) -> str:
    """The output of a command; raises Refusal with its words when it fails."""
    return run(*argv, stdin=stdin, seconds=seconds)


def quarantine(bridges: list[str]) -> None:
    """Drop everything from and to the bridges, whether they exist yet or not.

    Raises Refusal when that fails, and, once the others are cut off, for names that no interface can have.
    """
    fit = [name for name in bridges if INTERFACE.fullmatch(name)]
    if fit:
        names = ", ".join(f'"{name}"' for name in fit)
        command("nft", "--file", "-", stdin=QUARANTINE.format(table=TABLE, bridges=names))
    odd = [name for name in bridges if name not in fit]
    if odd:
        raise Refusal(f"no interface can have the name {', '.join(odd)}; correct {SETTINGS}")


def active(unit: str) -> bool:
    """Whether a unit is up, or on its way up or down; raises Refusal when systemd does not tell."""
    done = attempt("systemctl", "is-active", unit, seconds=COMMAND_SECONDS)
    state = done.stdout.strip()
    if not state:
        raise Refusal(done.complaint)
    return state not in DOWN


# --- kill -------------------------------------------------------------------------------------------------------


class Flag:
    """The flag in the making: on the tmpfs, which answers at once, and on the disk, which may be full or worse."""

    def __init__(self, memory: Memory, disk: Disk) -> None:
        """Nothing is written yet."""
        self.memory, self._disk = memory, disk
        self._troubles: dict[Path, Exception] = {}

    def hold(self) -> None:
        """Hold the units back until a reboot."""
        self._write(COPY, stop_flag.write, COPY, self.memory)

    def remember(self) -> None:
        """Write all that is known by now, in both places."""
        self.hold()
        self._write(FLAG, self._disk.do, stop_flag.write, FLAG, self.memory)

    def _write(self, flag: Path, action: Callable[..., Any], *arguments: Any) -> None:
        self._troubles.pop(flag, None)
        try:
            action(*arguments)
        except Exception as trouble:
            self._troubles[flag] = trouble

    def report(self, steps: Steps) -> None:
        """Tell what the flag does not do, as far as it could not be written."""
        disk, copy = self._troubles.get(FLAG), self._troubles.get(COPY)
        if disk and copy:
            steps.failed("nothing holds the agent's units back", disk)
            memory = f"restart policies {json.dumps(self.memory.restart)}; units {' '.join(self.memory.units)}"
            steps.failed("a release will not know what to restore", memory)
        elif disk:
            steps.failed("the stop holds only until a reboot", f"{disk} (mend {STATE}, then `{PROGRAM} kill` again)")
        elif copy:
            steps.failed(f"the stop holds only as long as {FLAG} can be read", copy)


@contextlib.contextmanager
def alone(steps: Steps) -> Iterator[bool]:
    """Hold the lock, or go on without: no stop is refused for a lock. Gives whether another run had it at first."""
    with contextlib.ExitStack() as held:
        waited = False
        try:
            files.make_folder(LOCK.parent)
            try:
                held.enter_context(files.lock(LOCK, PROGRAM, 0))
            except Refusal:
                waited = True
                held.enter_context(files.lock(LOCK, PROGRAM, KILL_WAITS))
        except (Refusal, OSError) as trouble:
            steps.failed("went on without the lock", trouble)
        yield waited


def halt(steps: Steps, flag: Flag, found: list[Container]) -> list[Halted]:
    """Freeze all, look at each, remember, then take the restart policy and the life of each."""
    left = Budget(ENGINE_SECONDS, agent_containers.SECONDS)
    for one in found:
        steps.attempt(f"{one.name} was not frozen", agent_containers.freeze, one, left())
    halted = []
    for one in found:
        unseen = f"the restart policy of {one.name} is not remembered"
        inspection = steps.attempt(unseen, agent_containers.inspect, one, left())
        if inspection and inspection.restarts:
            flag.memory.restart[one.id] = inspection.restart
        wanted = [PROCESSES] if one.running else []
        if one.running and inspection and inspection.passing:
            wanted += [LOG, CHANGES]  # they go with it
        told = {}
        for what in wanted:
            content = steps.attempt(f"evidence of {one.name} is incomplete", ask, one, what, left())
            if content is not None:
                told[what] = content
        halted.append(Halted(one, inspection, told))
    flag.remember()
    for one in found:
        never = agent_containers.NEVER
        steps.attempt(
            f"{one.name} keeps its restart policy", agent_containers.set_restart_policy, one.id, never, left()
        )
        steps.attempt(f"{one.name} was not killed", agent_containers.end, one, left())
    return halted


def halt_units(steps: Steps, flag: Flag, units: list[str]) -> None:
    """Stop the units that are up, or may be; one that is on its way up would start the agent yet."""
    up = [unit for unit in units if steps.attempt(f"{unit} is of unknown state", active, unit) is not False]
    flag.memory.units = sorted({*flag.memory.units, *up})
    flag.remember()
    for unit in up:
        steps.attempt(f"{unit} was not stopped", command, "systemctl", "stop", unit)


def overlooked(steps: Steps, roles: list[str]) -> list[Container]:
    """Containers that run after all were killed, for a unit or a rollout that was under way started them, and agents'
    containers without the label, whose search takes longer.
    """
    again = steps.attempt("containers were not looked for again", containers, roles) or []
    left = Budget(ENGINE_SECONDS, agent_containers.SECONDS)
    return [*(one for one in again if one.running), *unlabelled(steps, roles, left)]


def unlabelled(steps: Steps, roles: list[str], seconds: Callable[[], float]) -> list[Container]:
    """Agents' containers without the label."""
    search = agent_containers.unlabelled
    found, unseen = steps.attempt("agents without the label were not looked for", search, roles, seconds) or ([], [])
    for name in unseen:
        steps.failed(f"whether {name} is an agent is not known", "the engine did not tell")
    return list(found)


def run_hooks(steps: Steps) -> dict[str, str]:
    """Run the programs that revoke; what each printed, without secrets."""
    said = {}
    for hook in steps.attempt("no hook ran", hooks) or []:
        words = steps.attempt(f"{hook.name} failed", command, str(hook), seconds=HOOK_SECONDS)
        said[hook.name] = redact_text(words or "")
    return said


def kill(settings: Settings) -> Outcome:
    """Stop the agent. A second call reaches what has appeared since, and forgets nothing of the first."""
    steps = Steps(PROGRAM)
    steps.tell(f"kill started by {operator()}")
    try:
        answer = _kill(settings, steps)
    except BaseException:
        steps.tell("kill broken off")
        raise
    return answer, steps.conclude("kill")


def _kill(settings: Settings, steps: Steps) -> dict[str, Any]:
    if settings.trouble:
        steps.failed("not everything may be reached", settings.trouble)
    bridges = sorted({*settings.bridges, *stop_flag.read(COPY).bridges})
    cut = _cut(bridges)
    with alone(steps) as waited:
        disk = Disk()
        known = stop_flag.read(COPY).joined(
            steps.attempt("what a former kill took is not known", disk.do, stop_flag.read, FLAG) or Memory()
        )
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        flag = Flag(known.joined(Memory(now, settings.bridges)), disk)
        flag.hold()
        if not cut or waited or flag.memory.bridges != bridges:  # the run before this one may have lifted it
            steps.attempt("the network was not cut", quarantine, flag.memory.bridges)
        found = steps.attempt("containers were not found", containers, settings.roles) or []
        halted = halt(steps, flag, found)
        halt_units(steps, flag, settings.units)
        late = overlooked(steps, settings.roles)
        cut_off = reached(steps, flag.memory.bridges, [*found, *late])
        if cut_off != flag.memory.bridges:
            flag.memory.bridges = cut_off
            flag.remember()
            steps.attempt("the network was not cut", quarantine, cut_off)
        if late:
            halted = list({one.container.id: one for one in [*halt(steps, flag, late), *halted]}.values())
        flag.report(steps)
        steps.tell(f"the agent is stopped, containers: {len(halted)}, failed steps: {len(steps.failures)}")
        said = run_hooks(steps)
        evidence = Evidence(STATE, steps, disk)
        evidence.keep_containers(halted)
        for name, words in said.items():
            evidence.keep(name, f"{name}.out", str, words)
        evidence.keep("the packets", "ruleset.txt", command, "nft", "list", "ruleset")
        answer = {
            "stopped": True,
            "since": flag.memory.since,
            "containers": [{"id": one.container.id, "name": one.container.name} for one in halted],
            "bridges": flag.memory.bridges,
            "units": settings.units,
            "evidence": str(evidence.folder) if evidence.folder else None,
            "revoke": revocations(
                steps, settings, {one.container.name: one.inspection for one in halted if one.inspection}
            ),
        }
        evidence.keep("this run", "kill.json", as_json, {**answer, "failures": steps.failures})
    return answer


def _cut(bridges: list[str]) -> bool:
    """Cut the network before anything is waited for; a failure is told when it has failed twice."""
    try:
        quarantine(bridges)
    except Exception:
        return False
    return True


# --- afterwards -------------------------------------------------------------------------------------------------


def release(settings: Settings) -> Outcome:
    """Lift the stop: flag, restart policies, network, and the units that ran.

    Raises Refusal while another run is at work.
    """
    if not stop_flag.is_set((FLAG, COPY)):
        return {"stopped": False, "message": "the agent is not stopped"}, []
    steps = Steps(PROGRAM)
    steps.tell(f"release started by {operator()}")
    with contextlib.ExitStack() as held:
        try:
            files.make_folder(LOCK.parent)
            held.enter_context(files.lock(LOCK, PROGRAM, RELEASE_WAITS))
        except OSError as trouble:
            steps.failed("went on without the lock", trouble)
        answer = _release(settings, steps)
    return answer, steps.conclude("release")


def _release(settings: Settings, steps: Steps) -> dict[str, Any]:
    memory = stop_flag.read(COPY).joined(stop_flag.read(FLAG))
    stays: dict[str, Any] = {"stopped": True, "since": memory.since or None, "units": []}
    if memory.is_empty:
        steps.failed("the flag remembers nothing", f"start by hand what ran: {' '.join(settings.units)}")
    if stop_flag.is_set((FLAG,)):
        with contextlib.suppress(OSError):
            stop_flag.write(COPY, memory)  # a release that breaks off can be repeated until the policies are back
        if not _removed(steps, FLAG):
            return stays
    for identity, policy in memory.restart.items():
        if _stopped_again(steps, FLAG):
            return stays
        words = f"{policy.get('Name')}:{policy.get('MaximumRetryCount') or ''}".rstrip(":")
        steps.attempt(
            f"container {identity[:12]} did not get its restart policy {words} back",
            agent_containers.set_restart_policy,
            identity,
            policy,
        )
    if _stopped_again(steps, FLAG) or not _removed(steps, COPY) or _stopped_again(steps, FLAG, COPY):
        return stays
    steps.attempt("the network stays cut", command, "nft", "--file", "-", stdin=LIFTED)
    for unit in memory.units:
        if _stopped_again(steps, FLAG, COPY):
            return stays
        steps.attempt(f"{unit} did not start", command, "systemctl", "restart", unit, seconds=START_SECONDS)
    return {"stopped": False, "since": memory.since or None, "units": memory.units}


def _stopped_again(steps: Steps, *flags: Path) -> bool:
    """Whether a kill came in between, which does not wait long for a release: the rest is not for this one to do."""
    stopped = stop_flag.is_set(flags)
    if stopped:
        steps.failed("the release was not ended", "the agent was stopped again meanwhile")
    return stopped


def _removed(steps: Steps, flag: Path) -> bool:
    steps.attempt(f"{flag} was not removed", stop_flag.remove, flag)
    stays = stop_flag.is_set((flag,))
    if stays:
        steps.failed("the agent stays stopped", f"remove {flag} and release again")
    return not stays


def status(settings: Settings) -> Outcome:
    """Whether the agent is stopped, and whether that holds."""
    steps = Steps()
    if settings.trouble:
        steps.failed("not everything may be looked at", settings.trouble)
    stopped = stop_flag.is_set((FLAG, COPY))
    cut = succeeds("nft", "list", "table", *TABLE.split(), seconds=COMMAND_SECONDS)
    found = steps.attempt("containers were not found", containers, settings.roles)
    running = None if found is None else [one.name for one in found if one.running]
    if stopped:
        steps.failures += [f"container {name} runs although the agent is stopped" for name in running or []]
        if not cut:
            steps.failures.append("the network is not cut although the agent is stopped")
        if not stop_flag.is_set((FLAG,)):
            steps.failures.append(f"the stop holds only until a reboot, for {FLAG} is missing: `{PROGRAM} kill` again")
    since = stop_flag.read(COPY).joined(stop_flag.read(FLAG)).since
    return {"stopped": stopped, "since": since or None, "network_cut": cut, "running": running}, steps.failures


def only_network(settings: Settings) -> Outcome:
    """Cut the network only."""
    steps = Steps(PROGRAM)
    steps.tell(f"quarantine started by {operator()}")
    if settings.trouble:
        steps.failed("not everything may be reached", settings.trouble)
    memory = stop_flag.read(COPY).joined(stop_flag.read(FLAG))
    bridges = sorted({*memory.bridges, *settings.bridges})
    steps.attempt("the network was not cut", quarantine, bridges)
    return {"bridges": bridges}, steps.failures


COMMANDS = {"kill": kill, "release": release, "status": status, "quarantine": only_network}


# --- command line -----------------------------------------------------------------------------------------------


def told(answer: dict[str, Any]) -> str:
    """The answer for a person."""
    lines = []
    for key, value in answer.items():
        if isinstance(value, list):
            lines += [f"{key}:" if value else f"{key}: none", *(f"  {worded(row)}" for row in value)]
        else:
            lines.append(f"{key}: {printable(str(value))}")
    return "\n".join(lines)


def worded(row: Any) -> str:
    """One line of a list: a name, and where it is."""
    return printable(f"{row['name']} ({row.get('where') or row['id'][:12]})" if isinstance(row, dict) else str(row))


def act(given: argparse.Namespace) -> int:
    """Do what the command line says; print the answer, and a sentence for each step that failed."""
    settings = Settings.read()
    if given.command == "kill" and not given.dry_run:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what is begun is ended, though the session that began it is lost
    answer, failures = plan(settings) if given.dry_run else COMMANDS[given.command](settings)
    for sentence in failures:
        print(f"{PROGRAM}: {printable(sentence, SENTENCE)}", file=sys.stderr)
    print(json.dumps(answer) if given.json else told(answer))
    return 1 if failures else 0


def main() -> NoReturn:
    """Read the command line and exit."""
    parser = Parser(PROGRAM, __doc__)
    parser.add_argument("command", nargs="?", choices=COMMANDS, help="what to do; nothing happens without it")
    parser.add_argument("--dry-run", action="store_true", help="tell what `kill` would do, and change nothing")
    parser.add_argument("--json", action="store_true", help="answer in JSON")
    given = parser.parse_args()
    if given.dry_run and given.command not in (None, "kill"):
        parser.error("--dry-run goes with `kill` only")
    if given.command is None and not given.dry_run:
        parser.error("say what to do: kill, release or status")
    conclude(PROGRAM, lambda: act(given))
