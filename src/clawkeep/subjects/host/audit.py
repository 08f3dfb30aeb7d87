"""What the kernel's audit records: the rules in force, and whether a change that was just made is among the records."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import Document, HostEvidence
from clawkeep.evidence.parsing import mapping, text, texts

STEPS = ("made", "changed", "moved", "removed")
# Places whose changes an intruder would make first; one that the host does not have needs no rule.
GUARDED = (
    *("/etc", "/etc/sudoers", "/etc/sudoers.d", "/etc/ssh", "/etc/docker", "/usr/bin/docker", "/usr/sbin/dockerd"),
    *("/usr/bin/containerd", "/usr/sbin/runc", "/etc/clawkeep", "/usr/local/sbin", "/etc/systemd", "/etc/audit"),
)
PROGRAMS = "/usr/local/lib/clawkeep"  # where evidence from before the programs were an archive has not looked
FORBIDDEN = ("/etc/shadow", "/etc/ssh", "/etc/sudoers", "/etc/clawkeep", "/root", "/run/docker.sock")
ABSENT = "absent"


@dataclass(frozen=True)
class Rule:
    """One rule of `auditctl -l`: `action` is `always`, `never` or `watch`; fields as NAME -> {OPERATOR VALUE}."""

    line: str
    action: str
    calls: frozenset[str]
    fields: Mapping[str, frozenset[str]]

    def value(self, name: str) -> str:
        """The one value that a field has to equal; empty when the rule does not ask for it."""
        wanted = [one[1:] for one in self.fields.get(name, ()) if one.startswith("=")]
        return wanted[0] if len(wanted) == 1 else ""

    @property
    def place(self) -> str:
        """The file or folder that the rule watches, empty for one that watches none."""
        return (self.value("path") or self.value("dir")).rstrip("/")

    def whole(self, *, refused: bool = True) -> bool:
        """Whether it asks for nothing but place, permission and key: every account's doing, and what was refused."""
        free = {"path", "dir", "perm", "key", "arch"}
        if not refused and self.value("success") == "1":
            free.add("success")
        return set(self.fields) <= free and self.calls <= {"all"}

    def binds(self, uid: int) -> bool:
        """Whether what the account does is asked for, whoever else is."""
        return f"={uid}" in self.fields.get("uid", frozenset()) or "uid" not in self.fields


def parse(line: str) -> Rule:
    """A rule of one line, in the old form (`-w PATH -p wa -k KEY`) or the new; raises Unmeasured for anything else."""
    try:
        words = shlex.split(line)
    except ValueError as problem:
        raise Unmeasured(f"the audit rule {line!r} cannot be read: {problem}") from None
    action, calls, fields = "", set[str](), dict[str, set[str]]()
    pairs = list(zip(words[::2], words[1::2], strict=False))
    if len(words) % 2:
        raise Unmeasured(f"the audit rule {line!r} cannot be read")
    for option, value in pairs:
        if option in ("-a", "-A"):
            action = next((part for part in value.split(",") if part in ("always", "never")), "")
        elif option == "-w":
            action = "watch"
            fields.setdefault("dir", set()).add("=" + value)
        elif option == "-S":
            calls |= set(value.split(","))
        elif option == "-p":
            fields.setdefault("perm", set()).add("=" + value)
        elif option == "-k":
            fields.setdefault("key", set()).add("=" + value)
        elif option in ("-F", "-C"):
            for operator in ("!=", ">=", "<=", "&=", "=", ">", "<", "&"):
                name, found, rest = value.partition(operator)
                if found:
                    fields.setdefault(name, set()).add(operator + rest)
                    break
        else:
            raise Unmeasured(f"the audit rule {line!r} has an option that is not known: {option}")
    if not action:
        raise Unmeasured(f"the audit rule {line!r} does not say what it does")
    return Rule(line, action, frozenset(calls), {name: frozenset(values) for name, values in fields.items()})


@dataclass(frozen=True)
class Audit:
    """The kernel's audit. Source: `auditctl -l`, `auditctl -s`, a file made, changed, moved and removed."""

    document: Document
    rules: tuple[Rule, ...]
    places: Mapping[str, str]

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """Read the inside evidence; raises `Unmeasured` when the rules were not listed."""
        lines = [line.strip() for line in host.inside.lines("auditctl-rules")]
        rules = tuple(parse(line) for line in lines if line and line != "No rules")
        places = mapping(host.inside.fact("audit-places"), "the places that audit guards")
        return cls(host.inside, rules, {path: text(kind, f"what {path} is") for path, kind in places.items()})

    def _state(self) -> dict[str, str]:
        found = {}
        for line in self.document.lines("auditctl-state"):
            name, _, value = line.strip().partition(" ")
            found[name] = value.strip()
        if "enabled" not in found or "lost" not in found:
            raise Unmeasured("`auditctl -s` does not say whether audit is enabled and what was lost")
        return found

    def asleep(self, *, locked: bool) -> list[str]:
        """That audit is off, has nobody who writes, or is not locked where the tier locks it."""
        state = self._state()
        wrong = []
        if state["enabled"] not in ("1", "2"):
            wrong.append("the kernel's audit is off: start auditd, then `auditctl -e 1`")
        if state.get("pid", "0") == "0":
            wrong.append("no audit daemon takes the records: start auditd.service")
        if locked and state["enabled"] != "2":
            wrong.append("the audit rules can be changed at any time: the tier locks them until the next boot")
        return wrong

    def lost(self) -> list[str]:
        """Records that the kernel could not deliver since the boot."""
        count = self._state()["lost"]
        return (
            []
            if count == "0"
            else [f"the kernel lost {count} audit records: raise the backlog, or find what floods it"]
        )

    def silenced(self) -> list[str]:
        """Rules that leave something out."""
        return [f"an audit rule leaves records out: {rule.line}" for rule in self.rules if rule.action == "never"]

    def _watches(self, place: str, permissions: str, *, refused: bool = True) -> bool:
        """Whether one rule takes every account's access of these kinds to the place, and what was `refused` too."""
        return any(
            rule.action in ("always", "watch")
            and rule.whole(refused=refused)
            and set(permissions) <= set(rule.value("perm"))
            and (rule.place == place or (rule.value("dir") != "" and place.startswith(rule.place + "/")))
            for rule in self.rules
        )

    def unguarded(self) -> list[str]:
        """Places that protect the host, whose changes no rule records."""
        guarded = (*GUARDED, PROGRAMS) if PROGRAMS in self.places else GUARDED
        there = [place for place in guarded if self._known(place) != ABSENT]
        return [
            f"changes of {place} are not recorded: no audit rule watches it"
            for place in there
            if not self._watches(place, "wa")
        ]

    def unwatched_volumes(self, root: str = "/var/lib/docker/volumes") -> list[str]:
        """That the agent's volumes are not watched, or one volume is watched instead of the folder that stays."""
        # What was refused has changed nothing, and readers of databases try in vain to write all day long.
        if self._watches(root, "wa", refused=False):
            return []
        inner = sorted(rule.place for rule in self.rules if rule.place.startswith(root + "/"))
        if inner:
            return [f"audit watches {inner[0]} and not {root}: a volume that is made anew would not be watched"]
        return [f"what the agent changes in {root} is not recorded: no audit rule watches it"]

    def unheard(self, uid: int) -> list[str]:
        """What the agent's account could try without a record: places, refusals, programs."""
        wrong = []
        for place in FORBIDDEN:
            if self._known(place) == ABSENT:
                continue
            rules = [
                rule
                for rule in self.rules
                if rule.action == "always" and rule.place == place and rule.binds(uid) and "r" in rule.value("perm")
            ]
            if not rules:
                wrong.append(f"audit does not record that uid {uid} touches {place}")
            elif not any("success" not in rule.fields and "exit" not in rule.fields for rule in rules):
                wrong.append(f"audit records only some outcomes when uid {uid} touches {place}")
        for refusal in ("-EACCES", "-EPERM"):
            if not any(
                rule.action == "always" and rule.binds(uid) and rule.value("exit") == refusal and "openat" in rule.calls
                for rule in self.rules
            ):
                wrong.append(f"audit does not record what is refused to uid {uid} with {refusal}")
        return wrong

    def unrecorded_runs(self, uid: int) -> list[str]:
        """That programs which the agent's account starts are not recorded."""
        found = any(
            rule.action == "always" and rule.binds(uid) and {"execve", "execveat"} <= rule.calls and not rule.place
            for rule in self.rules
        )
        return [] if found else [f"audit does not record the programs that uid {uid} starts"]

    def unrecorded_changes(self) -> list[str]:
        """Steps of a file's life in the agent's workspace that the records do not tell, or tell of another account."""
        canary = mapping(self.document.fact("audit-canary"), "the trial of the audit")
        wrong: list[str] = []
        for who in ("agent", "root"):
            one = mapping(canary.get(who), f"the trial of the audit as {who}")
            tried = text(one.get("tried"), "why the trial was not made")
            if tried:
                raise Unmeasured(f"as {who} no file could be made in the agent's workspace: {tried}")
            names: Mapping[str, Any] = mapping(one.get("names"), "what was recorded of the trial")
            for step in STEPS:
                uids = texts(names.get(step) or [], "the accounts that were recorded")
                if not uids:
                    wrong.append(f"a file of the agent's workspace was {step} by {who} and no record tells it")
                elif set(uids) != {str(one.get("uid"))}:
                    wrong.append(
                        f"a file was {step} by uid {one.get('uid')} and recorded as uid {', '.join(sorted(uids))}"
                    )
        return wrong

    def _known(self, place: str) -> str:
        if place not in self.places:
            raise Unmeasured(f"the collector did not look whether the host has {place}")
        return self.places[place]
