"""The agent's service account: what it may do on the host, and how what runs under it is confined."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import Document, HostEvidence
from clawkeep.evidence.parsing import boolean, integer, mapping, rows, text, texts
from clawkeep.subjects.systemd import units

NO_SHELL = ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false", "/usr/bin/false")
DENIED = ("EACCES", "EPERM", "EROFS")
EX_CONFIG = "78"  # what the gateway ends with when its configuration is wrong: starting it again cannot help
CONFINED: Mapping[str, tuple[tuple[str, ...], str]] = {
    "NoNewPrivileges": (("yes",), "may gain privileges"),
    "ProtectSystem": (("strict",), "may write to the system's directories"),
    "ProtectHome": (("yes", "read-only", "tmpfs"), "sees home directories"),
    "MemoryDenyWriteExecute": (("no",), "forbids writable code, which Node's compiler needs"),
}
# What ProtectSystem=strict closes, and ReadWritePaths must not open again; `-` and `+` may stand before a path.
SYSTEM = re.compile(r"[-+]*/+((bin|boot|etc|home|lib\w*|opt|root|sbin|srv|usr)(/.*)?)?$|.*/\.\./")


@dataclass(frozen=True)
class Account:
    """One line of the account files; `login` is locked, none, empty, set or unknown."""

    name: str
    uid: int
    gid: int
    group: str
    groups: tuple[str, ...]
    shell: str
    login: str


@dataclass(frozen=True)
class Accounts:
    """The host's accounts and the agent's among them. Source: NSS, shadow's state, `sudo -l`, systemd, experiments."""

    document: Document
    everyone: tuple[Account, ...]

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """Read the inside evidence; raises `Unmeasured` when the accounts were not listed."""
        everyone = tuple(
            Account(
                text(row.get("name"), "the name of an account"),
                integer(row.get("uid"), "the uid of an account"),
                integer(row.get("gid"), "the gid of an account"),
                text(row.get("group"), "the primary group of an account"),
                texts(row.get("groups"), "the groups of an account"),
                text(row.get("shell"), "the shell of an account"),
                text(row.get("login"), "the login of an account"),
            )
            for row in rows(host.inside.fact("accounts"), "the list of accounts")
        )
        if not any(account.uid == 0 for account in everyone):
            raise Unmeasured("the list of accounts does not even have root")
        return cls(host.inside, everyone)

    def named(self, name: str) -> Account | None:
        """The account of that name."""
        return next((account for account in self.everyone if account.name == name), None)

    def agents(self, uid: int) -> tuple[Account, ...]:
        """The accounts that have the agent's uid: exactly one on a good host; `Unmeasured` when there is none."""
        found = tuple(account for account in self.everyone if account.uid == uid)
        if not found:
            raise Unmeasured(f"no account has uid {uid}, so the agent's account could not be looked at")
        return found

    def privileges(self, uid: int) -> list[str]:
        """Sentences about whatever makes the account more than an empty shell around a uid."""
        agents = self.agents(uid)
        found = (
            [f"uid {uid} has {len(agents)} accounts: {', '.join(a.name for a in agents)}"] if len(agents) > 1 else []
        )
        for agent in agents:
            if agent.shell not in NO_SHELL:
                found.append(f"{agent.name} has the login shell {agent.shell}")
            if agent.login in ("set", "empty"):
                found.append(f"{agent.name} can log in with {'a' if agent.login == 'set' else 'an empty'} password")
            elif agent.login not in ("locked", "none"):
                raise Unmeasured(f"whether {agent.name} has a password could not be told")
            if agent.groups:
                found.append(f"{agent.name} is in the groups {', '.join(agent.groups)}")
            if agent.gid == 0 or any(other.gid == agent.gid for other in self.everyone if other.uid != uid):
                found.append(f"{agent.name} shares its primary group {agent.group} with another account")
        return found

    def sudo_rights(self, uid: int) -> list[str]:
        """A sentence when sudo lets the account run anything."""
        agent = self.agents(uid)[0]
        if self.document.fact("sudo-present") is False:
            return []
        said = " ".join(self.document.lines("sudo-list", statuses=(0, 1)))
        if "is not allowed to run sudo" in said:
            return []
        if "may run the following commands" in said:
            commands = said.partition("may run the following commands")[2].partition(":")[2]
            return [f"sudo lets {agent.name} run {' '.join(commands.split())}"]
        raise Unmeasured(f"`sudo -l -U {agent.name}` said neither yes nor no: {said[:120]!r}")

    # --- what it could start ---------------------------------------------------------------------------------------

    def lasting_sessions(self, uid: int) -> list[str]:
        """Sentences about user managers and user units of the account, which no control of a system unit reaches."""
        names = {agent.name for agent in self.agents(uid)}
        found = [
            f"{name} lingers: its user manager starts at boot"
            for name in texts(self.document.fact("lingering"), "the lingering accounts")
            if name in names
        ]
        found += [
            f"{path} is a unit of the agent's own user manager"
            for path in texts(self.document.fact("user-units"), "the user units")
        ]
        found += [
            f"process {row.get('pid')} ({row.get('name')}) runs under the agent's user manager"
            for row in self._processes()
            if f"/user@{uid}.service/" in text(row.get("cgroup"), "the cgroup of a process")
        ]
        return found

    def schedules(self) -> list[str]:
        """Sentences about time tables that the account may write, by the tools' own answer."""
        tried = mapping(self._experiments().get("schedule"), "the attempt to use crontab and at")
        found = []
        for tool in ("crontab", "at"):
            answer = mapping(tried.get(tool), f"the answer of {tool}")
            if answer.get("present") is False:
                continue
            said = text(answer.get("says"), f"the words of {tool}").lower()
            if answer.get("status") == 0 or "no crontab for" in said:
                found.append(f"the agent's account may use {tool}")
            elif not any(word in said for word in ("not allowed", "do not have permission", "permission denied")):
                raise Unmeasured(
                    f"{tool} answered the agent's account in words that are not understood: {said[:120]!r}"
                )
        return found

    def writes(self) -> list[str]:
        """Sentences about system directories that the account can write to.

        `Unmeasured` unless the same attempt succeeds where it should: by root there, by the account in its own state.
        """
        tried = self._experiments()
        state = mapping(tried.get("state"), "the attempt on the agent's state")
        if state.get("write") != "ok":
            raise Unmeasured(f"the agent's account could not write its own state either: {state.get('write')}")
        as_agent = mapping(tried.get("writes"), "the attempts to write")
        as_root = mapping(tried.get("writes-as-root"), "root's attempts to write")
        if "/etc" not in as_agent:
            raise Unmeasured("no attempt to write to /etc was made")
        found = []
        for folder, outcome in as_agent.items():
            if outcome == "ok":
                found.append(f"the agent's account can write to {folder}")
            elif outcome not in DENIED or as_root.get(folder) != "ok":
                raise Unmeasured(f"writing to {folder} ended with {outcome}, for root with {as_root.get(folder)}")
        return found

    # --- how it is confined ----------------------------------------------------------------------------------------

    def loose_units(self) -> list[str]:
        """Sentences about system services of the account that are not confined, running or not."""
        named = texts(self.document.fact("agent-units"), "the units of the agent's account")
        if not named:
            return []
        shown = units(self.document.lines("agent-unit-properties"))
        found = []
        for unit in named:
            properties = shown.get(unit.replace("@.service", "@clawkeep.service"))
            if properties is None:
                raise Unmeasured(f"systemd did not show the properties of {unit}")
            for key, (good, trouble) in CONFINED.items():
                if properties.get(key) not in good:
                    found.append(f"{unit} {trouble} ({key}={properties.get(key)})")
            written = [path for path in properties.get("ReadWritePaths", "").split() if SYSTEM.match(path)]
            if written:
                found.append(f"{unit} may write to {', '.join(written)} (ReadWritePaths)")
            if EX_CONFIG not in properties.get("RestartPreventExitStatus", "").split():
                found.append(f"{unit} is started again after exit status {EX_CONFIG} (RestartPreventExitStatus)")
        return found

    def loose_processes(self) -> list[str]:
        """Sentences about processes of the account that run outside of containers and may gain privileges."""
        return [
            f"process {row.get('pid')} ({row.get('name')}) of the agent's account runs on the host in"
            f" {row.get('cgroup')} and may gain privileges"
            for row in self._processes()
            if not boolean(row.get("contained"), "contained of a process")
            and not boolean(row.get("no-new-privs"), "no-new-privs of a process")
        ]

    def _processes(self) -> tuple[Mapping[str, Any], ...]:
        return rows(self.document.fact("agent-processes"), "the agent's processes")

    def _experiments(self) -> Mapping[str, Any]:
        return mapping(self.document.json("agent-experiments"), "the experiments as the agent's account")
