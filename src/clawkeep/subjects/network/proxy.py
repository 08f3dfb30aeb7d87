"""The proxy and the name server of the agents as they are configured and run: what they approve, what they refuse."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Any, Self

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.parsing import boolean, integer, legible, mapping, texts
from clawkeep.subjects.systemd import units
from clawkeep_host.addresses import PLATFORM, metadata_networks

# The decision of the proxy, in its order: an allow that comes earlier decides first. An address list may have any name.
DECISION = (
    "deny door !agents",
    "deny look !agents !itself",
    "allow asks_itself",
    "deny !tunnel",
    "deny !tls_port",
    "deny !approved",
    "deny refused",
    "deny !resolved",
    "allow tunnel tls_port approved",
    "deny all",
)
FIXED = {
    "tunnel": "method CONNECT",
    "tls_port": "port 443",
    "itself": "src 127.0.0.1/32",
    "look": "myportname look",
    # After its start the proxy asks itself, and nobody else may, whether its second hop answers.
    "own_question": "url_regex ^http://clawkeep-proxy(:[0-9]+)?/squid-internal-mgr/server_list$",
    "asks_itself": "all-of look itself own_question",
}
# What no approved name may lead to: private, shared, link-local and metadata, IPv4 inside IPv6.
NEVER = tuple(
    ip_network(text)
    for text in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "127.0.0.0/8"),
        *("0.0.0.0/8", "::1/128", "fc00::/7", "fe80::/10", "64:ff9b::/96"),
        *metadata_networks(),
        *PLATFORM,
    )
)
WRITABLE_BY_MORE_THAN_ROOT = 0o022
STARTED = {
    "proxy": "/usr/sbin/squid -N -f /etc/clawkeep/proxy/squid.conf",
    "resolver": "/usr/sbin/dnsmasq --keep-in-foreground --conf-file=/etc/clawkeep/resolver/dnsmasq.conf --pid-file=",
}


@dataclass(frozen=True)
class File:
    """One configuration: its lines without comments, and whether the running daemon is older than it."""

    lines: tuple[str, ...]
    uid: int
    mode: int
    running: bool
    newer: bool

    def having(self, word: str) -> list[str]:
        """What follows `word` in the lines that begin with it."""
        return [" ".join(line.split()[1:]) for line in self.lines if line.split()[:1] == [word]]


@dataclass(frozen=True)
class Proxy:
    """Both daemons. Sources: their files, when their processes began, `systemctl show`."""

    proxy: File | None
    resolver: File | None
    units: Mapping[str, Mapping[str, str]]

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """Read the inside evidence; raises `Unmeasured` when the files or units were not looked at."""
        files = mapping(host.inside.fact("egress-files"), "the proxy's files")
        return cls(_file(files, "proxy"), _file(files, "resolver"), units(host.inside.lines("egress-units")))

    def not_in_force(self) -> list[str]:
        """Why the files do not tell what runs."""
        found = []
        for name, file in (("proxy", self.proxy), ("resolver", self.resolver)):
            unit = f"clawkeep-{name}.service"
            state = self.units.get(unit, {})
            if file is None:
                found.append(f"{unit} has no configuration")
                continue
            if state.get("ActiveState") != "active":
                found.append(f"{unit} is {state.get('ActiveState') or 'not there'}")
            elif not file.running:
                found.append(f"{unit} is active, and the process that it started is gone")
            if file.newer:
                found.append(f"the configuration of {unit} was changed after it had started")
            if file.uid != 0 or file.mode & WRITABLE_BY_MORE_THAN_ROOT:
                found.append(f"the configuration of {unit} can be rewritten by others than root")
            if state.get("NeedDaemonReload") == "yes":
                found.append(f"{unit} was changed on disk after systemd read it")
            commands = state.get("ExecStart", "").split("\n")
            if not all(f"argv[]={STARTED[name]} ;" in command for command in commands):
                found.append(f"{unit} is not started with the configuration that is judged: {STARTED[name]}")
            if state.get("DropInPaths"):
                found.append(f"{unit} is changed by {state['DropInPaths']}")
        others = [
            n for n in ("squid.service", "dnsmasq.service") if self.units.get(n, {}).get("ActiveState") == "active"
        ]
        return found + [f"{name} runs beside it" for name in others]

    def list_differs(self, names: Iterable[str]) -> list[str]:
        """How the names that proxy and name server approve differ from `names`."""
        wanted = set(names)
        if self.proxy is None or self.resolver is None:
            raise Unmeasured("the proxy's list cannot be compared: its configuration is missing")
        with legible("the proxy's list of names"):
            approved = [one.split()[1:] for one in self.proxy.having("acl") if one.split()[0] == "approved"]
            passed = {word for one in approved for word in one if word not in ("dstdomain", "-n", "none.invalid")}
            asked = {line.split("/")[1] for line in self.resolver.lines if line.startswith("server=/")}
        found = [f"the proxy passes {name}, which nobody declared" for name in sorted(passed - wanted)]
        found += [f"the proxy does not know the approved {name}" for name in sorted(wanted - passed)]
        found += [f"the name server asks on for {name}, which nobody declared" for name in sorted(asked - wanted)]
        return found

    def weak_decision(self) -> list[str]:
        """How the proxy's rules differ from those that were proved, in content or order."""
        if self.proxy is None:
            raise Unmeasured("the proxy's rules cannot be judged: its configuration is missing")
        found = []
        rules = self.proxy.having("http_access")
        if tuple(rules) != DECISION:
            odd = next((rule for rule, wanted in zip(rules, DECISION, strict=False) if rule != wanted), "")
            found.append(f"the proxy decides in another way: `http_access {odd or 'a rule is missing'}`")
        lists: dict[str, list[str]] = {}
        for one in self.proxy.having("acl"):
            name, _, rest = one.partition(" ")
            lists.setdefault(name, []).append(rest)
        found += [
            f"the proxy's list {name} is {lists.get(name)}, not `{wanted}`"
            for name, wanted in FIXED.items()
            if lists.get(name) != [wanted]
        ]
        found += [
            f"the proxy compares names by `{one}`"
            for one in lists.get("approved", [""])
            if one.split()[:2] != ["dstdomain", "-n"] or any(word.startswith(".") for word in one.split())
        ]
        return found + self._inspection(lists) + self._refused(lists)

    def _inspection(self, lists: Mapping[str, Sequence[str]]) -> list[str]:
        assert self.proxy is not None  # noqa: S101
        bumps = self.proxy.having("ssl_bump")
        found = [f"the proxy handles TLS by `ssl_bump {one}`" for one in bumps if not _careful(one, lists)]
        if bumps[:1] != ["peek hello"] or bumps[-1:] != ["terminate all"]:
            found.append("the proxy does not begin by reading the TLS client's words and end what it does not know")
        return found

    def _refused(self, lists: Mapping[str, Sequence[str]]) -> list[str]:
        with legible("the proxy's refused networks"):
            words = [word for one in lists.get("refused", ()) for word in one.split() if word != "dst"]
            networks = [ip_network(word) for word in words]
        four = list(collapse_addresses(one for one in networks if isinstance(one, IPv4Network)))
        six = list(collapse_addresses(one for one in networks if isinstance(one, IPv6Network)))
        return [
            f"the proxy does not refuse names that lead to {never}"
            for never in NEVER
            if not any(
                never.subnet_of(one)  # type: ignore[arg-type]
                for one in (four if never.version == 4 else six)
            )
        ]


def _careful(rule: str, lists: Mapping[str, Sequence[str]]) -> bool:
    """Whether a TLS rule reads, ends, or passes on one name that was both asked for and said."""
    words = rule.split()
    if words in (["peek", "hello"], ["terminate", "all"]):
        return True
    if len(words) != 4 or words[:2] != ["splice", "named"]:
        return False
    asked, said = lists.get(words[2], ()), lists.get(words[3], ())
    if len(asked) != 1 or len(said) != 1:
        return False
    name = asked[0].removeprefix("dstdomain -n ")
    return said[0] == f"ssl::server_name --client-requested {name}" and " " not in name and not name.startswith(".")


def _file(files: Mapping[str, Any], name: str) -> File | None:
    if files.get(name) is None:
        return None
    one = mapping(files[name], f"the configuration of the {name}")
    return File(
        texts(one.get("lines"), f"the configuration of the {name}"),
        integer(one.get("uid"), "the owner of a configuration"),
        integer(one.get("mode"), "the mode of a configuration"),
        boolean(one.get("running"), "whether a daemon runs"),
        boolean(one.get("newer"), "whether a configuration is newer"),
    )
