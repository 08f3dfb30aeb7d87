"""Emergency access: whether it is sealed, for whom it would open, and whether nothing of a former opening is left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Self

from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.parsing import boolean, integer, legible, mapping, rows, sequence, text, texts
from clawkeep.subjects.measurement import Measurement
from clawkeep.subjects.systemd import units

WRITABLE_BY_MORE_THAN_ROOT = 0o022
SEAL = "clawkeep-breakglass-seal.service"
TOOL = "/usr/local/sbin/clawkeep-breakglass"
EPOCH = date(1970, 1, 1)
KEY_WORDS = 2  # of a key line: its kind and its blob; the comment is anybody's


@dataclass(frozen=True)
class Emergency:
    """The account and what could let somebody in by it. Source: /etc/shadow less its hashes, `nft`, `loginctl`."""

    user: str
    exists: bool
    locked: bool
    expired: bool
    keys: tuple[str, ...]
    own_keys: tuple[str, ...]
    opening: Mapping[str, Any] | None
    admitted: bool
    ports: tuple[str, ...]
    processes: tuple[str, ...]
    sessions: tuple[str, ...]
    files: tuple[Mapping[str, Any], ...]
    seal: Mapping[str, str]
    now: float  # seconds since the epoch, by the machine that verifies

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """Read the inside evidence; raises `Unmeasured` when the account's state was not read."""
        inside, what = host.inside, "the state of emergency access"
        fact = mapping(inside.fact("emergency"), what)
        measurement = host.subject(Measurement)
        name, exists = text(fact.get("user"), what), boolean(fact.get("exists"), what)
        with legible(what):
            lines = [line.split() for line in inside.lines("emergency-sessions")]
            opening = fact.get("opening")
            return cls(
                user=name,
                exists=exists,
                locked=boolean(fact.get("locked"), what) if exists else True,
                expired=not exists or _expired(fact, measurement.day),
                keys=_keys(fact.get("keys")),
                own_keys=texts(fact.get("own-keys"), what) if exists else (),
                opening=None if opening is None else (opening if isinstance(opening, Mapping) else {}),
                admitted=fact.get("sshd") is not None,
                ports=_ports(host),
                processes=tuple(text(one.get("name"), what) for one in rows(fact.get("processes"), what)),
                sessions=tuple(words[0] for words in lines if name and name in words[1:4]),
                files=rows(fact.get("files"), what),
                seal=units(inside.lines("emergency-seal")).get(SEAL, {}),
                now=measurement.ended.timestamp(),
            )

    def missing(self, key: str | None) -> list[str]:
        """Sentences about an account, a key or a seal that is not there when the day comes; `key` is the site's."""
        found = [] if self.exists else [f"there is no emergency account {self.user}".rstrip()]
        if key is None:
            found.append("the site names no offline key (site_emergency_key), so nobody could come in")
        elif self.keys != (_core(key),):
            found.append("the emergency account would open to other keys than the site's offline one")
        if self.seal.get("LoadState") != "loaded" or self.seal.get("UnitFileState") != "enabled":
            found.append(f"{SEAL} is not enabled, so an opening would outlive a reboot")
        if not any(file.get("path") == TOOL for file in self.files):
            found.append(f"{TOOL} is missing")
        return found + [
            f"{file.get('path')} can be rewritten by others than root"
            for file in self.files
            if integer(file.get("uid"), "an owner") != 0
            or integer(file.get("mode"), "a mode") & WRITABLE_BY_MORE_THAN_ROOT
            or file.get("acl")
        ]

    def unsealed(self) -> list[str]:
        """Sentences about each thing that lets somebody in now, or that a closed opening has left behind."""
        found = []
        if self.opening is not None:
            until = self.opening.get("until")
            end = until if isinstance(until, int) and not isinstance(until, bool) else 0
            shown = datetime.fromtimestamp(max(0, min(end, 2**33)), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            past = "is past its end" if end <= self.now else "is still open"
            found.append(f"an opening of emergency access until {shown} {past}: `clawkeep-breakglass close`")
        if not self.locked:
            found.append(f"the account {self.user} has a password")
        if not self.expired:
            found.append(f"the account {self.user} has not expired, so it may log in")
        if self.admitted:
            found.append(f"sshd admits {self.user}")
        found += [f"the firewall lets port {port} in for an emergency" for port in self.ports]
        found += [f"{path} opens the account past its seal" for path in self.own_keys]
        found += [f"a session of {self.user} goes on ({session})" for session in self.sessions]
        return found + [f"a process of {self.user} runs: {name}" for name in self.processes]


def _expired(fact: Mapping[str, Any], day: date) -> bool:
    """Whether the eighth field of the account's shadow line, days since the epoch, is past; empty means never.

    It has to be past by the host's own day, which opens and shuts the account, and by the `day` of the measurement: a
    clock that is ahead is put right some day, and then the account would be open again.
    """
    written = text(fact.get("expires"), "the expiry of the emergency account")
    today = integer(fact.get("today"), "the host's day")
    return written.isdecimal() and int(written) <= min(today, (day - EPOCH).days)


def _keys(value: object) -> tuple[str, ...]:
    lines = text(value, "the keys of emergency access").splitlines() if value is not None else []
    return tuple(_core(line) for line in lines if line.strip() and not line.lstrip().startswith("#"))


def _core(line: str) -> str:
    """Kind and blob of a key line, its options and comment left out; the line itself where it has neither."""
    words = line.split()
    for at, word in enumerate(words[:-1]):
        if word.startswith(("ssh-", "sk-ssh-", "ecdsa-")):
            return " ".join(words[at : at + KEY_WORDS])
    return line


def _ports(host: HostEvidence) -> tuple[str, ...]:
    """What is in the firewall's set of emergency ports; there is none where ssh is open to administrators anyway."""
    listed = host.inside.json("emergency-set", statuses=(0, 1))
    if listed is None:
        return ()
    objects = sequence(mapping(listed, "the emergency set").get("nftables"), "the emergency set")
    elements = [one for item in objects for one in (item.get("set") or {}).get("elem") or []]
    return tuple(str((one.get("elem") or {}).get("val") if isinstance(one, Mapping) else one) for one in elements)
