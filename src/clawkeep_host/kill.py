#!/usr/bin/python3
"""Stop the agent, cut its network and name the tokens to revoke. It stays down until it is released.

    clawkeep-kill kill       do it
    clawkeep-kill --dry-run  tell what would be done, and change nothing
    clawkeep-kill status     tell whether the agent is stopped
    clawkeep-kill release    lift it: the only way back, over restarts of Docker and of the host
    clawkeep-kill quarantine cut the network only (the unit clawkeep-quarantine.service does it at boot)

The order matters. A flag holds the agent's units back; the network goes next, since it needs neither Docker nor the
agent's consent; containers are frozen before anything is read, lose their restart policy before they are killed (Docker
starts an `on-failure` container again when it ended by a signal), and are evidence afterwards. Every step is tried even
when one before it failed, and failures are told at the end.

/etc/clawkeep/kill.conf says what is reached. /var/lib/clawkeep/kill/active is the flag and remembers what to restore;
/var/lib/clawkeep/kill/TIME holds the evidence (0700), without the values of environment variables. Programs in
/etc/clawkeep/kill.d run last, in the order of their names: they revoke.

Exit status: 0 done, 1 something failed (one sentence each on stderr), 2 bad usage.
"""

from __future__ import annotations

import argparse
import configparser
import http.client
import json
import os
import socket
import subprocess
import sys
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

SETTINGS = Path("/etc/clawkeep/kill.conf")
HOOKS = Path("/etc/clawkeep/kill.d")
STATE = Path("/var/lib/clawkeep/kill")
FLAG = STATE / "active"
ENGINE = "/run/docker.sock"
LABEL = "clawkeep.role"
ENGINE_SECONDS = 20
EVIDENCE_SECONDS = 180  # the engine compares whole file systems; the agent is cut off and frozen meanwhile
HOOK_SECONDS = 30
LOG_LINES = 5000

TABLE = "inet clawkeep_quarantine"
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


class Failure(Exception):
    """A sentence for the operator."""


# --- the engine -------------------------------------------------------------------------------------------------


class EngineConnection(http.client.HTTPConnection):
    """HTTP over the engine's socket: an order of magnitude faster than its command line."""

    def __init__(self, seconds: float) -> None:
        """The host's name goes into a header that the engine does not read."""
        super().__init__("docker", timeout=seconds)

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(ENGINE)


def engine(method: str, path: str, body: dict[str, Any] | None = None, seconds: float = ENGINE_SECONDS) -> bytes:
    """Ask the engine; raise Failure with its words when it refuses or does not answer."""
    connection = EngineConnection(seconds)
    try:
        text = json.dumps(body) if body is not None else None
        connection.request(method, path, text, {"Content-Type": "application/json"} if text else {})
        answer = connection.getresponse()
        content = answer.read()
    except (OSError, http.client.HTTPException) as trouble:
        raise Failure(f"Docker does not answer: {trouble}") from trouble
    finally:
        connection.close()
    if answer.status >= 400:
        raise Failure(f"Docker refuses {method} {path.partition('?')[0]}: {content.decode(errors='replace').strip()}")
    return content


@dataclass(frozen=True)
class Container:
    """A container with agent work."""

    id: str
    name: str
    role: str
    running: bool
    paused: bool
    restart: dict[str, Any]
    settings: dict[str, Any]  # the engine's whole answer, environment values taken out
    secrets: tuple[str, ...]  # names of environment variables that sound like one


def containers(roles: list[str]) -> list[Container]:
    """Every container whose label says agent work, running or not."""
    wanted = urllib.parse.quote(json.dumps({"label": [LABEL]}))
    found = []
    for row in json.loads(engine("GET", f"/containers/json?all=true&filters={wanted}")):
        if row["Labels"].get(LABEL) not in roles:
            continue
        settings = json.loads(engine("GET", f"/containers/{row['Id']}/json"))
        names = [line.partition("=")[0] for line in settings["Config"].get("Env") or []]
        settings["Config"]["Env"] = names
        state = settings["State"]
        found.append(
            Container(
                id=settings["Id"],
                name=settings["Name"].lstrip("/"),
                role=row["Labels"][LABEL],
                running=bool(state["Running"]),
                paused=bool(state["Paused"]),
                restart=dict(settings["HostConfig"].get("RestartPolicy") or {}),
                settings=settings,
                secrets=tuple(name for name in names if sounds_secret(name)),
            )
        )
    return found


def sounds_secret(name: str) -> bool:
    """Whether an environment variable's name says that its value is one to revoke."""
    return name.upper().endswith(("TOKEN", "KEY", "SECRET", "PASSWORD", "PASSWD", "CREDENTIALS"))


# --- what is reached --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """/etc/clawkeep/kill.conf."""

    roles: list[str]
    bridges: list[str]
    units: list[str]
    secret_files: list[str]

    @classmethod
    def read(cls) -> Settings:
        """Read the file; raise Failure when it is missing or incomplete."""
        parser = configparser.ConfigParser()
        try:
            with SETTINGS.open(encoding="utf-8") as file:
                parser.read_file(file)
            part = parser["kill"]
            return cls(*(part[key].split() for key in ("roles", "bridges", "units", "secret_files")))
        except (OSError, configparser.Error, KeyError) as trouble:
            raise Failure(f"{SETTINGS} cannot be read: {trouble}") from trouble


def revocations(settings: Settings, found: list[Container]) -> list[dict[str, str]]:
    """Tokens that the agent held, by name and place; their values are looked at by nobody."""
    named = {}
    for path in settings.secret_files:
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except OSError:
            continue
        for line in lines:
            name, equals, _ = line.partition("=")
            if equals and not name.lstrip().startswith("#"):
                named[name.strip()] = path
    for container in found:
        for name in container.secrets:
            named.setdefault(name, f"environment of container {container.name}")
    return [{"name": name, "where": where} for name, where in sorted(named.items())]


def hooks() -> list[Path]:
    """Programs that revoke, in the order in which they run."""
    return [path for path in sorted(HOOKS.glob("*")) if path.is_file() and os.access(path, os.X_OK)]


def plan(settings: Settings) -> dict[str, Any]:
    """Everything that `kill` reaches. Shape: see the keys; every container ends with restart policy `no`."""
    found = containers(settings.roles)
    return {
        "stopped": FLAG.exists(),
        "containers": [
            {
                "id": container.id,
                "name": container.name,
                "role": container.role,
                "running": container.running,
                "restart_policy": "no",
                "restart_policy_now": container.restart.get("Name") or "no",
            }
            for container in found
        ],
        "bridges": settings.bridges,
        "units": settings.units,
        "hooks": [str(path) for path in hooks()],
        "revoke": revocations(settings, found),
    }


# --- doing it ---------------------------------------------------------------------------------------------------


@dataclass
class Attempt:
    """Steps that are all tried, and what went wrong."""

    failures: list[str] = field(default_factory=list)

    def step(self, what: str, action: Callable[[], Any]) -> Any:
        """Try one step; return its result, or None when it failed."""
        try:
            return action()
        except (Failure, OSError, ValueError, KeyError, subprocess.SubprocessError) as failure:
            self.failures.append(f"{what}: {failure}")
            return None


def command(*argv: str, stdin: str | None = None, seconds: float = 30) -> str:
    """Return the output of a command; raise Failure with its words when it fails."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False, timeout=seconds)
    if done.returncode:
        raise Failure(f"`{argv[0]}` failed: {done.stderr.strip() or done.returncode}")
    return done.stdout


def quarantine(bridges: list[str]) -> None:
    """Drop everything from and to the bridges, whether they exist yet or not."""
    if bridges:
        names = ", ".join(json.dumps(name) for name in bridges)
        command("nft", "--file", "-", stdin=QUARANTINE.format(table=TABLE, bridges=names))


def remember(memory: dict[str, Any]) -> None:
    """Write the flag, at once and durably: from here on nothing starts the agent."""
    STATE.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = STATE / ".active.new"
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(memory, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(FLAG)


def remembered() -> dict[str, Any]:
    """What the flag remembers; empty when the agent is not stopped."""
    try:
        found = json.loads(FLAG.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def store(folder: Path, name: str, content: bytes) -> None:
    """Write one piece of evidence, for root alone."""
    with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)


def gather(folder: Path, container: Container) -> None:
    """Keep what will be asked for later. The container is frozen while this is read."""
    def ask(what: str) -> bytes:
        return engine("GET", f"/containers/{container.id}/{what}", seconds=EVIDENCE_SECONDS)

    store(folder, f"{container.name}.inspect.json", json.dumps(container.settings, indent=2).encode())
    if container.running:
        store(folder, f"{container.name}.processes.json", ask("top"))
    store(folder, f"{container.name}.changes.json", ask("changes"))
    query = f"stdout=true&stderr=true&timestamps=true&tail={LOG_LINES}"
    store(folder, f"{container.name}.log", ask(f"logs?{query}"))


def stop(attempt: Attempt, folder: Path, found: list[Container]) -> None:
    """Freeze all, then take evidence, the restart policy and the life of each."""
    for one in found:
        if one.running and not one.paused:
            attempt.step(f"{one.name} was not frozen", lambda one=one: engine("POST", f"/containers/{one.id}/pause"))
    for one in found:
        attempt.step(f"evidence of {one.name} is incomplete", lambda one=one: gather(folder, one))
        attempt.step(
            f"{one.name} keeps its restart policy",
            lambda one=one: engine("POST", f"/containers/{one.id}/update", {"RestartPolicy": {"Name": "no"}}),
        )
        if one.running:
            attempt.step(f"{one.name} was not killed", lambda one=one: engine("POST", f"/containers/{one.id}/kill"))


def kill(settings: Settings) -> tuple[dict[str, Any], list[str]]:
    """Stop the agent. A second call reaches what has appeared since, and forgets nothing of the first."""
    attempt = Attempt()
    before = remembered()
    memory = {
        "since": before.get("since") or datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "bridges": sorted({*before.get("bridges", []), *settings.bridges}),
        "restart": dict(before.get("restart", {})),
        "units": list(before.get("units", [])),
    }
    remember(memory)
    attempt.step("the network was not cut", lambda: quarantine(memory["bridges"]))
    folder = STATE / datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    folder.mkdir(mode=0o700, exist_ok=True)
    found = attempt.step("containers were not found", lambda: containers(settings.roles)) or []
    for one in found:
        if one.restart.get("Name", "no") not in ("", "no"):
            memory["restart"][one.id] = one.restart
    remember(memory)
    stop(attempt, folder, found)
    for unit in settings.units:
        if attempt.step(f"{unit} is of unknown state", lambda unit=unit: active(unit)):
            memory["units"] = sorted({*memory["units"], unit})
            remember(memory)
            attempt.step(f"{unit} was not stopped", lambda unit=unit: command("systemctl", "stop", unit))
    for hook in hooks():
        said = attempt.step(f"{hook.name} failed", lambda hook=hook: command(str(hook), seconds=HOOK_SECONDS))
        store(folder, f"{hook.name}.out", (said or "").encode())
    ruleset = attempt.step("packet counters were not kept", lambda: command("nft", "list", "ruleset"))
    store(folder, "ruleset.txt", (ruleset or "").encode())
    answer = {
        "stopped": True,
        "since": memory["since"],
        "containers": [{"id": one.id, "name": one.name} for one in found],
        "bridges": memory["bridges"],
        "units": settings.units,
        "evidence": str(folder),
        "revoke": revocations(settings, found),
    }
    store(folder, "kill.json", json.dumps({**answer, "failures": attempt.failures}, indent=2).encode())
    return answer, attempt.failures


def active(unit: str) -> bool:
    """Whether a unit is up."""
    return subprocess.run(("systemctl", "is-active", "--quiet", unit), check=False, timeout=30).returncode == 0


def release(_: Settings) -> tuple[dict[str, Any], list[str]]:
    """Lift the stop: restart policies, flag, network, and the units that ran."""
    attempt = Attempt()
    memory = remembered()
    if not FLAG.exists():
        return {"stopped": False, "message": "the agent is not stopped"}, []
    for identity, policy in memory.get("restart", {}).items():
        attempt.step(
            f"container {identity[:12]} did not get its restart policy back",
            lambda identity=identity, policy=policy: engine(
                "POST", f"/containers/{identity}/update", {"RestartPolicy": policy}
            ),
        )
    FLAG.unlink()
    attempt.step(
        "the network stays cut",
        lambda: command("nft", "--file", "-", stdin=f"add table {TABLE}\ndelete table {TABLE}\n"),
    )
    for unit in memory.get("units", []):
        attempt.step(f"{unit} did not start", lambda unit=unit: command("systemctl", "restart", unit, seconds=300))
    return {"stopped": False, "since": memory.get("since"), "units": memory.get("units", [])}, attempt.failures


def status(settings: Settings) -> tuple[dict[str, Any], list[str]]:
    """Whether the agent is stopped, and whether that holds."""
    memory = remembered()
    cut = subprocess.run(("nft", "list", "table", *TABLE.split()), capture_output=True, check=False, timeout=30)
    running = [one.name for one in containers(settings.roles) if one.running]
    failures = [f"container {name} runs although the agent is stopped" for name in running if FLAG.exists()]
    if FLAG.exists() and cut.returncode:
        failures.append("the network is not cut although the agent is stopped")
    answer = {
        "stopped": FLAG.exists(),
        "since": memory.get("since"),
        "network_cut": not cut.returncode,
        "running": running,
    }
    return answer, failures


def only_network(settings: Settings) -> tuple[dict[str, Any], list[str]]:
    """Cut the network only."""
    bridges = sorted({*remembered().get("bridges", []), *settings.bridges})
    quarantine(bridges)
    return {"bridges": bridges}, []


COMMANDS = {"kill": kill, "release": release, "status": status, "quarantine": only_network}


# --- command line -----------------------------------------------------------------------------------------------


def told(answer: dict[str, Any]) -> str:
    """The answer for a person."""
    lines = []
    for key, value in answer.items():
        lines.append(f"{key}: {value}" if not isinstance(value, list) else f"{key}:{'' if value else ' none'}")
        lines += [f"  {worded(row)}" for row in value] if isinstance(value, list) else []
    return "\n".join(lines)


def worded(row: Any) -> str:
    """One line of a list: a name, and where it is."""
    return f"{row['name']}  ({row.get('where') or row['id'][:12]})" if isinstance(row, dict) else str(row)


def main() -> int:
    """Read the command line; print the answer, and a sentence for each step that failed."""
    parser = argparse.ArgumentParser(prog="clawkeep-kill", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("command", nargs="?", choices=COMMANDS, help="what to do; nothing happens without it")
    parser.add_argument("--dry-run", action="store_true", help="tell what `kill` would do, and change nothing")
    parser.add_argument("--json", action="store_true", help="answer in JSON")
    given = parser.parse_args()
    if given.dry_run and given.command not in (None, "kill"):
        parser.error("--dry-run goes with `kill` only")
    if given.command is None and not given.dry_run:
        parser.error("say what to do: kill, release or status")
    try:
        settings = Settings.read()
        answer, failures = (plan(settings), []) if given.dry_run else COMMANDS[given.command](settings)
    except (Failure, OSError, subprocess.SubprocessError) as failure:
        print(f"clawkeep-kill: {failure}", file=sys.stderr)
        return 1
    print(json.dumps(answer) if given.json else told(answer))
    for sentence in failures:
        print(f"clawkeep-kill: {sentence}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
