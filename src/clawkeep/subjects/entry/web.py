"""The browser entry as a peer of the VPN meets it, and as nginx and the session gate have it in force."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.parsing import boolean, integer, legible, mapping, rows, sequence, text, texts
from clawkeep.subjects.entry.limits import Limits, Place, is_peers
from clawkeep.subjects.entry.nginx import Block, tree

OLD = ("TLSv1", "TLSv1.1")
DAYS_LEAST = 14
LOGIN = "/login"
GATE_SOCKET = "gate.sock"
REFUSED = ("login", "nginx")
ATTRIBUTES = {"path=/", "secure", "httponly", "samesite=strict"}
SERVED = (200, 404)  # of the right token; 404: the gateway knows who asks, and the tool is not for this tier
ATTEMPTS_MOST = 10  # wrong tokens that the gateway judges before it refuses their address
REQUESTS_MOST, REQUESTS_AT_ONCE = 50 * 60, 200  # of one client, a minute and in a burst
CONNECTIONS_MOST = 100  # of one client, with a request in work
PROXY_TIMES = 2  # nginx counts right logins as well as wrong ones, so it lets twice the tier's attempts through
SCRYPT = (15, 8, 3)
MASTER = "nginx: master process"
# How nginx may be started: with the settings that `nginx -T` prints, and no others.
STARTED = ("/usr/sbin/nginx", "nginx", "/usr/sbin/nginx -g daemon on; master_process on;")


@dataclass(frozen=True)
class Web:
    """The probe's document `web`, `nginx -T` and the gate's own report."""

    facts: Mapping[str, Any]
    host: HostEvidence

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """From the vantage `vpn`; Unmeasured when nobody looked from there."""
        document = host.vantage("web")
        names = (
            "able",
            "tls",
            "anonymous",
            "admitted",
            "origins",
            "endings",
            "cookies",
            "headers",
            "defaults",
            "burst",
        )
        facts = {name: document.fact(f"web-{name}") for name in names}
        return cls({**facts, "beside": document.fact("web-beside")}, host)

    def _rows(self, name: str) -> tuple[Mapping[str, Any], ...]:
        found = rows(self.facts[name], f"what the probe met ({name})")
        if not found:
            raise Unmeasured(f"the probe met nothing ({name})")
        return found

    @cached_property
    def nginx(self) -> Block:
        """What nginx has in its files, in one tree."""
        return tree(self.host.inside.lines("nginx-T"))

    @cached_property
    def gate(self) -> Mapping[str, Any]:
        """What the gate says is in force."""
        return mapping(self.host.inside.json("gate-report"), "the gate's report")

    # WEB-01

    def handshakes(self, versions: Sequence[str]) -> list[str]:
        """Sentences about versions and suites that should not be spoken, and about those that should and are not."""
        able = mapping(self.facts["able"], "what the probe can speak")
        found = []
        for row in self._rows("tls"):
            where = text(row.get("address"), "an address")
            spoken = mapping(row.get("versions"), f"the handshakes with {where}")
            for version in (*OLD, "TLSv1.2", "TLSv1.3"):
                outcome = self._outcome(spoken.get(version), f"{version} with {where}")
                wanted = version in versions
                if outcome == "accepted" and not wanted:
                    found.append(f"{where} speaks {version}")
                elif outcome != "accepted" and wanted:
                    found.append(f"{where} does not speak {version}")
                elif not wanted and not boolean(able.get(version), f"whether the probe can speak {version}"):
                    raise Unmeasured(f"this probe cannot speak {version}, so {where} was not asked")
            if self._outcome(row.get("weak"), f"weak suites with {where}") == "accepted":
                found.append(f"{where} accepts the weak suite {mapping(row['weak'], 'a handshake').get('suite')}")
            if self._outcome(row.get("foreign"), f"another name with {where}") == "accepted":
                found.append(f"{where} answers to another name")
            plain = text(row.get("plain"), f"port 80 of {where}")
            if plain == "open":
                found.append(f"{where} answers plain HTTP on port 80")
        return found

    @staticmethod
    def _outcome(value: object, what: str) -> str:
        outcome = text(mapping(value, what).get("outcome"), what)
        if outcome not in ("accepted", "refused"):
            raise Unmeasured(f"{what} was not measured: {outcome}")
        return outcome

    def certificates(self) -> list[str]:
        """Sentences about certificates that are not trusted, do not match the name, or end within two weeks."""
        found = []
        for row in self._rows("tls"):
            where = text(row.get("address"), "an address")
            shown = mapping(row.get("certificate"), f"the certificate of {where}")
            if not boolean(shown.get("valid"), f"the certificate of {where}"):
                found.append(f"the certificate of {where} is not valid: {text(shown.get('why'), 'why')}")
            elif (days := integer(shown.get("days"), f"the days left of {where}")) < DAYS_LEAST:
                found.append(f"the certificate of {where} ends in {days} days")
        return found

    def manners(self) -> list[str]:
        """Sentences about answers without HSTS, or that tell what serves them."""
        found = []
        for row in self._rows("headers"):
            where = text(row.get("where"), "an answer")
            told = mapping(row.get("headers"), f"the headers of {where}")
            hsts = texts(told.get("strict-transport-security"), f"HSTS of {where}")
            if len(hsts) != 1 or not hsts[0].startswith("max-age=31536000"):
                found.append(f"{where} has no Strict-Transport-Security for a year: {list(hsts)}")
            for name in ("server", "x-powered-by"):
                values = texts(told.get(name), f"{name} of {where}")
                found += [f"{where} tells {name}: {value}" for value in values if value != "nginx"]
        return found

    def stray_listeners(self, addresses: Sequence[str]) -> list[str]:
        """Sentences about what nginx listens on beyond the entry's addresses and port 443."""
        good = {f"[{one}]:443" if ":" in one else f"{one}:443" for one in addresses}
        shown = [item for server in self.nginx.blocks("server") for item in server.all("listen") or [("80",)]]
        if not shown:
            raise Unmeasured("`nginx -T` shows no server")
        return [f"nginx listens on {one[0]}" for one in shown if one[0] not in good]

    def other_masters(self) -> list[str]:
        """Sentences about an nginx beside the one whose settings are judged, or that was started with others."""
        found = []
        masters = rows(self.host.inside.fact("nginx-masters"), "nginx's master processes")
        if not masters:
            raise Unmeasured("no nginx runs: what `nginx -T` prints is in force nowhere")
        if len(masters) > 1:
            pids = ", ".join(str(one.get("pid")) for one in masters)
            found.append(f"{len(masters)} nginx run ({pids}), and `nginx -T` tells the settings of one")
        for one in masters:
            started = text(one.get("title"), "the title of nginx's master").removeprefix(MASTER).strip()
            if started not in STARTED:
                found.append(f"nginx runs as `{started}`, with other settings than `nginx -T` prints")
        return found

    # WEB-02

    def passed_without_session(self) -> list[str]:
        """Sentences about requests without a session that were not refused by nginx; with one they must get through."""
        found = []
        for row in self._rows("anonymous"):
            what = f"{text(row.get('what'), 'a request')} at {text(row.get('address'), 'an address')}"
            by = text(row.get("by"), f"who answered {what}")
            status = integer(row.get("status"), f"the status of {what}")
            if by == "none":
                raise Unmeasured(f"{what} got no answer: {row.get('trouble')}")
            if by not in REFUSED or not 300 <= status < 500:
                found.append(f"{what} without a session is answered {status} by something behind the login")
        if not found:
            self.require_admission()
        return found

    def require_admission(self) -> None:
        """Raise Unmeasured unless requests with a session come through: the control experiment."""
        for row in self._rows("admitted"):
            if text(row.get("by"), "who answered") != "other" or integer(row.get("status"), "a status") >= 500:
                raise Unmeasured(
                    f"{row.get('what')} with a session is answered {row.get('status')} by {row.get('by')}: what is "
                    "refused without one proves nothing"
                )

    def unguarded(self) -> list[str]:
        """Sentences about places in nginx's settings where the gate is not asked, or may be got around."""
        found = []
        for server in self.nginx.blocks("server"):
            if server.all("ssl_reject_handshake") == [("on",)]:
                continue
            name = " ".join((server.all("server_name") or [("without a name",)])[-1])
            if server.last("auth_request") in (None, ("off",)):
                found.append(f"the server {name} does not ask the gate")
            for block in server.within("location"):
                place = " ".join(block.words)
                off = block.last("auth_request")
                exempt = place in (f"= {LOGIN}",) or block.last("internal") is not None
                if off is not None and not exempt:
                    found.append(f"the location {place} has auth_request {' '.join(off)}")
            for block in (self.nginx, *self.nginx.blocks("http"), server, *server.within("location")):
                if block.last("satisfy") == ("any",):
                    found.append(
                        f"`satisfy any` in {' '.join((block.name, *block.words)).strip()}: an address is enough"
                    )
                if block.last("allow"):
                    found.append(f"{' '.join((block.name, *block.words)).strip()} allows addresses by itself")
        return list(dict.fromkeys(found))

    def spoofed(self) -> list[str]:
        """Sentences about forwarding headers that nginx hands to the gateway with what the client wrote (WEB-03)."""
        found = []
        for server in self.nginx.blocks("server"):
            for block in server.within("location"):
                to = block.last("proxy_pass")
                if to is None or to[0] in ("http://gate", "http://gate/auth"):
                    continue
                set_here = {item[0].lower(): item[1] for item in block.all("proxy_set_header") if len(item) == 2}
                for name, good in (
                    ("x-forwarded-for", "$remote_addr"),
                    ("x-real-ip", "$remote_addr"),
                    ("forwarded", ""),
                    ("x-forwarded-user", ""),
                    ("x-remote-user", ""),
                    ("cookie", ""),
                ):
                    if set_here.get(name) != good:
                        given = set_here.get(name, "what the client sends")
                        found.append(f"the location {' '.join(block.words)} sends {name}: {given}")
        return found

    # WEB-04, WEB-05

    def unthrottled(self, attempts: int) -> list[str]:
        """Sentences about more than `attempts` wrong logins in a row that were judged; others must be asked still."""
        burst = [integer(one, "an attempt's status") for one in sequence(self.facts["burst"], "the burst")]
        beside = integer(self.facts["beside"], "the attempt from another address")
        if not burst or burst[0] not in (401, 429):
            raise Unmeasured(f"wrong logins are answered {burst[:1]}, so nothing was throttled")
        if len(burst) <= attempts:
            raise Unmeasured(f"only {len(burst)} attempts were made")
        if 429 not in burst[: attempts + 1]:
            return [f"more than {attempts} wrong logins in a row are judged ({burst})"]
        if beside != 401:
            raise Unmeasured(
                f"another address is answered {beside}: everybody is refused, or there was no other address"
            )
        return []

    def lenient_gate(self, rate: Mapping[str, int], own: Sequence[str]) -> list[str]:
        """Sentences about the gate's settings where it counts for less time, locks for less, or counts peers together.

        `rate` is the tier's, `own` the entry's addresses in the VPN.
        """
        settings = mapping(self.gate.get("settings"), "the gate's settings")
        found = []
        attempts = integer(settings.get("attempts"), "the gate's attempts")
        if attempts > rate["attempts"]:
            found.append(f"the gate judges {attempts} wrong logins, not {rate['attempts']} at most")
        for name, least in (("window", rate["per_seconds"]), ("lockout", rate["lockout_seconds"])):
            value = integer(settings.get(name), f"the gate's {name}")
            if value < least:
                found.append(f"the gate's {name} is {value} s, not {least} s at least")
        with legible("the networks of the gate's peers"):
            peers = [ipaddress.ip_network(one) for one in texts(settings.get("peer_networks"), "the gate's peers")]
            addresses = [ipaddress.ip_address(one) for one in own]
        found += [
            f"the gate counts {one} as a peer's network, in which anybody may have many addresses"
            for one in peers
            if not is_peers(one, addresses)
        ]
        found += [
            f"the gate counts the peers around {one} as one, so that one of them locks out the others"
            for one in addresses
            if one.version == 6 and not any(one in network for network in peers)
        ]
        return found

    def unlimited(self, rate: Mapping[str, int], own: Sequence[str]) -> list[str]:
        """Sentences about places where nginx does not limit every request, and POST of the login to twice `rate`.

        What is limited is each client: `own` are the entry's addresses in the VPN, whose peers count one by one.
        """
        with legible("the entry's addresses"):
            limits = Limits(self.nginx, tuple(ipaddress.ip_address(one) for one in own))
        logins = [place for place in limits.places if self._reaches_login(place)]
        if not logins:
            raise Unmeasured("`nginx -T` shows no place that passes the login to the gate")
        attempts = PROXY_TIMES * rate["attempts"]
        found = []
        for place in limits.places:
            requests = limits.loose(place.requests, most=REQUESTS_MOST, burst=REQUESTS_AT_ONCE)
            connections = limits.loose(place.connections, most=CONNECTIONS_MOST)
            found += [f"{place.name} does not limit every request: {why}" for why in requests]
            found += [f"{place.name} does not limit connections: {why}" for why in connections]
        for place in logins:
            most = max(1, attempts * 60 // rate["per_seconds"])
            posts = limits.loose(place.requests, most=most, burst=attempts, methods=("POST",))
            found += [f"{place.name} does not limit logins: {why}" for why in posts]
        return found

    def _reaches_login(self, place: Place) -> bool:
        """Whether a request for the login, by whatever path, may come to the gate through this place."""
        gates = {"gate"}
        for block in self.nginx.within("upstream"):
            if any(GATE_SOCKET in words[0] for words in block.all("server") if words):
                gates.update(block.words[:1])
        for to in place.passes_to:
            host, changes_path, _ = to.removeprefix("http://").partition("/")
            if GATE_SOCKET in to or (host in gates and changes_path):
                return True
            if host in gates:
                how, path = ("", *place.block.words)[-2:] if place.block.words else ("", "/")
                if path == LOGIN or how.startswith("~") or (how != "=" and LOGIN.startswith(path)):
                    return True
        return False

    def weak_accounts(self) -> list[str]:
        """Sentences about hashes that are not scrypt of today's cost, and default credentials that open."""
        tried = [integer(one, "a login's status") for one in sequence(self.facts["defaults"], "default credentials")]
        found = [f"default credentials are answered {one}" for one in tried if 200 <= one < 400]
        if not found and (not tried or set(tried) != {401}):
            raise Unmeasured(f"logins with default credentials are answered {tried}: they were not judged")
        schemes = texts(self.gate.get("schemes"), "the gate's hash schemes")
        if integer(self.gate.get("users"), "the count of the gate's users") and not schemes:
            raise Unmeasured("the gate has users and names no scheme of their hashes")
        for scheme in schemes:
            name, *numbers = scheme.split("$")
            cost = tuple(int(one) for one in numbers if one.isdecimal())
            if (
                name != "scrypt"
                or len(cost) != 3
                or any(have < least for have, least in zip(cost, SCRYPT, strict=True))
            ):
                found.append(f"a password is kept as {scheme}, not as scrypt of at least {SCRYPT}")
        if integer(self.gate.get("password_least"), "the least length of a password") < 14:
            found.append("the gate takes passwords of fewer than 14 characters")
        return found

    # WEB-06

    def long_sessions(self, idle_minutes: int, absolute_minutes: int) -> list[str]:
        """Sentences about limits in force, and live sessions, that are longer than these."""
        settings = mapping(self.gate.get("settings"), "the gate's settings")
        found = []
        for name, most in (("idle", idle_minutes * 60), ("absolute", absolute_minutes * 60)):
            value = integer(settings.get(name), f"the gate's {name} limit")
            if value > most:
                found.append(f"the gate's {name} limit is {value} s, not {most} s at most")
        for row in rows(self.gate.get("sessions"), "the gate's sessions"):
            for name, most, said in (("age", absolute_minutes * 60, "old"), ("unused", idle_minutes * 60, "unused")):
                seconds = row.get(name)
                if not isinstance(seconds, int | float) or isinstance(seconds, bool):
                    raise Unmeasured(f"how long a session is {said} is not recorded")
                if seconds > most:
                    found.append(f"a live session is {seconds:.0f} s {said}, {most} s are the most")
        return found

    def immortal_sessions(self) -> list[str]:
        """Sentences about test sessions that worked after their end; each must have worked before it."""
        seen: dict[tuple[str, str], str] = {}
        for row in self._rows("endings"):
            key = (text(row.get("what"), "a session"), text(row.get("moment"), "a moment"))
            seen[key] = text(row.get("by"), "who answered")
        found = []
        for what, how in (("short", "its time was over"), ("logout", "its logout")):
            if seen.get((what, "before")) != "other":
                raise Unmeasured(f"the session of the case {what} never worked")
            after = seen.get((what, "after"))
            if after == "other":
                found.append(f"a session is still served after {how}")
            elif after not in REFUSED:
                raise Unmeasured(f"the replay of the case {what} got no answer")
        return found

    # WEB-07

    def loose_cookies(self) -> list[str]:
        """Sentences about cookies without one of the attributes, or not bound to the host."""
        found = []
        for row in self._rows("cookies"):
            where, name = text(row.get("where"), "an answer"), text(row.get("name"), "a cookie")
            have = set(texts(row.get("attributes"), f"the attributes of {name}"))
            missing = sorted(ATTRIBUTES - have)
            if missing:
                found.append(f"the cookie {name} of {where} lacks {', '.join(missing)}")
            if not name.startswith("__Host-") or any(one.startswith("domain") for one in have):
                found.append(f"the cookie {name} of {where} is not bound to the host")
        return found

    # WEB-08

    def foreign_origins(self) -> list[str]:
        """Sentences about requests of other origins that were served; those of the entry's own must be."""
        found, own = [], 0
        for row in self._rows("origins"):
            what = text(row.get("what"), "a request")
            by, status = (
                text(row.get("by"), f"who answered {what}"),
                integer(row.get("status"), f"the status of {what}"),
            )
            if by == "none":
                raise Unmeasured(f"{what} got no answer")
            if boolean(row.get("own"), f"whether {what} is of the own origin"):
                own += by == "other"
                if by != "other":
                    raise Unmeasured(f"{what} is refused ({status}): what is refused to others proves nothing")
            elif by == "other" or status != 403:
                found.append(f"{what} is answered {status} with a session")
        if not own:
            raise Unmeasured("no request of the entry's own origin was made")
        return found

    def frameable(self) -> list[str]:
        """Sentences about pages that another site could frame."""
        found = []
        for row in self._rows("headers"):
            where = text(row.get("where"), "an answer")
            told = mapping(row.get("headers"), f"the headers of {where}")
            policies = texts(told.get("content-security-policy"), f"the policy of {where}")
            if not any("frame-ancestors 'none'" in one for one in policies):
                found.append(f"{where} may be framed: no frame-ancestors 'none'")
        return found


@dataclass(frozen=True)
class Gateways:
    """The gateways behind: their settings as their processes read them, and how they answer."""

    all: tuple[Mapping[str, Any], ...]

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """From the inside; Unmeasured when no gateway runs."""
        found = rows(host.inside.fact("gateways"), "the gateways")
        if not found:
            raise Unmeasured("no agent container with a published gateway runs")
        return cls(found)

    def _settings(self) -> list[tuple[str, Mapping[str, Any]]]:
        found = []
        for one in self.all:
            name = text(one.get("name"), "a gateway's name")
            settings = mapping(one.get("settings"), f"the settings of {name}")
            if "problem" in settings:
                raise Unmeasured(f"the settings of {name} were not read: {settings['problem']}")
            found.append((name, settings))
        return found

    def open_doors(self, proxies: Sequence[str]) -> list[str]:
        """Sentences about gateways that do not ask for their token, or believe more than `proxies`."""
        found = []
        for name, settings in self._settings():
            if settings.get("mode") != "token" or settings.get("by-reference") is not True:
                found.append(f"{name} authenticates by {settings.get('mode')}, not by a referenced token")
            if settings.get("real-ip-fallback") is not False:
                found.append(f"{name} takes X-Real-IP where X-Forwarded-For is missing")
            trusted = texts(settings.get("proxies"), f"the trusted proxies of {name}")
            if sorted(trusted) != sorted(proxies):
                found.append(f"{name} trusts {', '.join(trusted) or 'no proxy'}, not {', '.join(proxies) or 'none'}")
        for name, said in self._tried("answers"):
            for case in ("nothing", "wrong"):
                if said.get(case) not in (401, 429):
                    found.append(f"{name} answers {said.get(case)} to a call with {case} for a token")
            if said.get("right") in SERVED:
                if said.get("forged") != 403:
                    found.append(f"{name} answers {said.get('forged')} to a forged X-Forwarded-For")
            elif not found:
                raise Unmeasured(f"{name} answers {said.get('right')} to the right token: its refusals prove nothing")
        return found

    def _tried(self, what: str) -> list[tuple[str, Mapping[str, Any]]]:
        """What came of trying something at each gateway; Unmeasured where its network was out of reach."""
        found = []
        for one in self.all:
            name = text(one.get("name"), "a gateway's name")
            said = mapping(one.get(what), f"the {what} of {name}")
            if "problem" in said:
                raise Unmeasured(f"{name} could not be asked in its own network: {said['problem']}")
            found.append((name, said))
        return found

    def unlimited(self) -> list[str]:
        """Sentences about gateways without the limit of ten attempts a minute and five minutes' lock, loopback too."""
        found = []
        for name, settings in self._settings():
            rate = settings.get("rate")
            rate = rate if isinstance(rate, Mapping) else {}
            for key, good in (("maxAttempts", 10), ("windowMs", 60000), ("lockoutMs", 300000)):
                value = rate.get(key)
                right = isinstance(value, int) and (value <= good if key == "maxAttempts" else value >= good)
                if not right or value is True:
                    found.append(f"{name} has {key} {value}, not {good}")
            if rate.get("exemptLoopback") is not False:
                found.append(f"{name} exempts loopback from its limit, where every proxied attempt comes from")
        return found

    def untiring(self) -> list[str]:
        """Sentences about gateways that judge one wrong token after the other; another address must still be served."""
        found = []
        for name, said in self._tried("burst"):
            tried = list(sequence(said.get("attempts"), f"the wrong attempts at {name}"))
            if not tried or tried[0] != 401:
                raise Unmeasured(f"{name} answers {tried[:1]} to a first wrong token: a limit cannot be told from that")
            if len(tried) <= ATTEMPTS_MOST:
                raise Unmeasured(f"only {len(tried)} attempts were made at {name}")
            if 429 not in tried[: ATTEMPTS_MOST + 1]:
                judged = tried.index(429) if 429 in tried else len(tried)
                found.append(f"{name} judges {judged} wrong tokens in a row from one address")
            elif said.get("beside") not in SERVED:
                raise Unmeasured(f"{name} answers {said.get('beside')} to the right token from another address")
        return found

    def weak_tokens(self) -> list[str]:
        """Sentences about tokens that are short, repetitive or a filler."""
        found = []
        for one in self.all:
            name = text(one.get("name"), "a gateway's name")
            token = mapping(one.get("strength"), f"the token of {name}")
            length, bits = integer(token.get("length"), "its length"), integer(token.get("bits"), "its bits")
            if length < 32 or bits < 128:
                found.append(
                    f"the token of {name} has {length} characters and some {bits} bits: make it 32 random bytes"
                )
            if boolean(token.get("filler"), f"whether the token of {name} is a filler"):
                found.append(f"the token of {name} contains a word of example files")
            if dict(self._settings())[name].get("hooks-apart") is not True:
                found.append(f"the hook token of {name} is written in its settings")
        return found

    def loose_origins(self, names: Collection[str]) -> list[str]:
        """Sentences about browser interfaces that take another origin than one front door's, by these names."""
        found = []
        for name, settings in self._settings():
            if settings.get("ui") is not True:
                continue
            have = texts(settings.get("origins"), f"the allowed origins of {name}")
            if len(have) != 1 or have[0] not in {f"https://{one}" for one in names}:
                found.append(f"{name} allows the origins {list(have)}, not its front door's alone")
            if settings.get("host-header-fallback") is not False:
                found.append(f"{name} takes the Host header for an origin")
        return found

    def loose_logs(self, most: int = 100_000_000) -> list[str]:
        """Sentences about gateways that redact by a list of their own, or log where it is lost or without an end."""
        found = []
        for name, settings in self._settings():
            log = mapping(settings.get("log"), f"the log settings of {name}")
            if integer(log.get("patterns"), f"the count of redaction patterns of {name}"):
                found.append(
                    f"{name} redacts by a list of its own, which replaces OpenClaw's: leave redactPatterns out"
                )
            file, size = log.get("file"), log.get("bytes")
            if not isinstance(file, str) or file.startswith(("/tmp", "/var/tmp")):  # noqa: S108 - what is refused
                found.append(f"{name} logs below /tmp, which the container forgets: set logging.file")
            if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= most:
                found.append(f"the log of {name} has no limit: set logging.maxFileBytes")
        return found
