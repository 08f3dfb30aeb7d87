"""sshd as it decides, for whom and from where."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from clawkeep.base.verdict import NotApplicable, Unmeasured
from clawkeep.evidence.document import Document, HostEvidence
from clawkeep.evidence.parsing import legible, mapping, number, rows, text
from clawkeep.subjects.systemd import units

# setting -> (values that keep to the promise, what is wrong otherwise)
KEY_ONLY: Mapping[str, tuple[str, str]] = {
    "passwordauthentication": ("no", "accepts passwords"),
    "kbdinteractiveauthentication": ("no", "accepts keyboard-interactive logins, which PAM answers with a password"),
    "permitemptypasswords": ("no", "accepts empty passwords"),
    "hostbasedauthentication": ("no", "trusts other hosts"),
    "gssapiauthentication": ("no", "accepts Kerberos tickets"),
    "pubkeyauthentication": ("yes", "does not accept keys"),
    "permitrootlogin": ("no", "lets root in"),
}
OPTIONAL = ("gssapiauthentication",)  # only in an sshd that was built with it
MAX_TRIES = 3
WILD = re.compile(r"[*?!]")


@dataclass(frozen=True)
class Policy:
    """What is in force for one connection: `who` describes it, `settings` maps a lower-case keyword to its values."""

    who: str
    settings: Mapping[str, tuple[str, ...]]

    def one(self, name: str) -> str:
        """The value of a setting; `Unmeasured` when this sshd does not print it."""
        values = self.settings.get(name)
        if not values:
            raise Unmeasured(f"`sshd -T` does not print {name}")
        return values[0].lower()


@dataclass(frozen=True)
class Sshd:
    """Every listening sshd. Source: `sshd -T -C ...`, a login attempt without a method, `systemctl show`."""

    document: Document

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """Read the inside evidence; raises `NotApplicable` on a host where no sshd listens."""
        listening = rows(host.inside.fact("sshd-listeners"), "the list of listening sshd")
        others = [
            f"{row.get('owner')} on port {row.get('port')}"
            for row in rows(host.inside.fact("tcp-answers"), "what the TCP listeners answer")
            if row.get("says") == "ssh"
        ]
        if others:
            raise Unmeasured(f"an ssh server answers that is no sshd: {', '.join(others)}")
        if not listening:
            raise NotApplicable("no ssh server listens on this host")
        return cls(host.inside)

    @cached_property
    def policies(self) -> tuple[Policy, ...]:
        """One policy for each connection that the collector made up: users, addresses, Match blocks."""
        specs = rows(self.document.fact("sshd-specs"), "the connections that sshd was asked about")
        found = []
        for row in specs:
            if row.get("problem"):
                raise Unmeasured(f"`{row.get('why')}` in sshd's configuration was not evaluated: {row['problem']}")
            settings: dict[str, tuple[str, ...]] = {}
            for line in self.document.lines(text(row.get("key"), "the key of a connection")):
                name, _, value = line.partition(" ")
                settings[name.lower()] = (*settings.get(name.lower(), ()), value)
            spec = mapping(row.get("spec"), "a connection")
            who = f"for {spec.get('user')} from {spec.get('addr')}"
            why = str(row.get("why", ""))
            found.append(Policy(f"{who} (`{why}`)" if why.lower().startswith("match") else who, settings))
        if not any("for root " in policy.who for policy in found):
            raise Unmeasured("sshd was not asked what it grants root")
        return tuple(found)

    def more_than_keys(self) -> list[str]:
        """Sentences about connections in which anything but a key opens the door, or root may come in."""
        return self._each(
            lambda policy: [
                f"sshd {trouble} {policy.who} ({name} {policy.one(name)})"
                for name, (good, trouble) in KEY_ONLY.items()
                if not (name in OPTIONAL and name not in policy.settings) and policy.one(name) != good
            ]
        )

    def unnamed_users(self, strangers: Collection[str]) -> list[str]:
        """Sentences about connections that do not need a name on a list, or where `strangers` are on it."""

        def check(policy: Policy) -> list[str]:
            users = [word for value in policy.settings.get("allowusers", ()) for word in value.split()]
            groups = [word for value in policy.settings.get("allowgroups", ()) for word in value.split()]
            if not users and not groups:
                return [f"sshd admits every account {policy.who}: neither AllowUsers nor AllowGroups is set"]
            wild = [word for word in [*users, *groups] if WILD.search(word.partition("@")[0])]
            named = [user for user in users if user.partition("@")[0] in strangers]
            return [f"sshd admits whoever matches {word} {policy.who}" for word in wild] + [
                f"sshd admits {user}, who is no administrator, {policy.who}" for user in named
            ]

        return self._each(check)

    def guessing_room(self) -> list[str]:
        """Sentences about connections that may try more than MAX_TRIES times, or again and again without a penalty."""

        def check(policy: Policy) -> list[str]:
            tries = number(policy.one("maxauthtries"))
            if tries is None:
                raise Unmeasured(f"`sshd -T` prints maxauthtries {policy.one('maxauthtries')!r}")
            found = []
            if tries > MAX_TRIES:
                found.append(f"sshd allows {tries} attempts {policy.who}")
            if policy.settings.get("persourcepenalties", ("no",))[0].lower() == "no":
                found.append(f"sshd does not throttle who fails to log in {policy.who} (PerSourcePenalties)")
            return found

        return self._each(check)

    def missing_factor(self) -> list[str]:
        """Sentences about connections for which a key alone suffices; for tiers that want a second factor."""

        def check(policy: Policy) -> list[str]:
            ways = [way for value in policy.settings.get("authenticationmethods", ()) for way in value.split()]
            if ways and all(len(way.split(",")) > 1 and "publickey" in way for way in ways):
                return []
            return [f"a key alone opens sshd {policy.who} (AuthenticationMethods)"]

        return self._each(check)

    def not_in_force(self) -> list[str]:
        """Sentences about the running daemon: files changed since it read them, methods that it still offers."""
        return self._stale() + self._offered()

    def _stale(self) -> list[str]:
        shown = units(self.document.lines("sshd-units"))
        active = [unit for unit in shown.values() if unit.get("ActiveState") == "active"]
        times = [number(unit.get("StateChangeTimestamp", "").removeprefix("@")) for unit in active]
        known = [time for time in times if time is not None]
        if not times or known != times:
            raise Unmeasured("systemd does not tell since when sshd runs as it does")
        read = max(known)
        with legible("sshd's files"):
            return [
                f"{text(row.get('path'), 'the path of a file')} changed after sshd last read its settings: reload it"
                for row in rows(self.document.fact("sshd-files"), "sshd's files")
                if float(row.get("changed") or 0) >= read + 1  # systemd tells whole seconds
            ]

    def _offered(self) -> list[str]:
        asked = [key for key in self.document.raw.get("commands", {}) if str(key).startswith("ssh-offers/")]
        if not asked:
            raise Unmeasured("the running sshd was not asked which methods it offers")
        found = []
        for key in sorted(asked):
            command = self.document.command(key, statuses=(0, 255))
            if command.status == 0:
                found.append(f"sshd admits {key.partition('/')[2]} without any credential")
                continue
            offer = re.search(r"Permission denied \(([^)]*)\)", command.stderr)
            if offer is None:
                raise Unmeasured(f"the running sshd did not name its methods: {command.stderr.strip()[-160:]!r}")
            extra = [method for method in offer.group(1).split(",") if method != "publickey"]
            found += [f"the running sshd offers {method} to {key.partition('/')[2]}" for method in extra]
        return found

    def _each(self, check: Callable[[Policy], list[str]]) -> list[str]:
        return list(dict.fromkeys(sentence for policy in self.policies for sentence in check(policy)))
