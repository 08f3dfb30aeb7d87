"""The probe of the browser entry, from a peer of the VPN: handshakes, requests with and without a session, attempts.

Reads {"addresses", "port", "name", "authority" (PEM, or empty for the system's), "sessions": {"fresh", "short",
"logout"}, "short_seconds"} from standard input and prints the facts as one JSON object. Tokens are test sessions of
the gate; none is printed, and neither is the value of any cookie.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

PATIENCE = 20.0  # seconds for one connection
BODY = 65536
SESSION_COOKIE = "__Host-clawkeep"
ATTEMPTS = 12
AT_ONCE = 4  # requests that wait for nothing of one another; the entry's own limits leave room for that
POLL_SECONDS = 2.0  # between two uses of a session that is seen to end
VERSIONS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}
# Everything that this OpenSSL can offer, good and bad; and the bad alone.
ALL_SUITES = "ALL:aNULL:eNULL:@SECLEVEL=0"
WEAK_SUITES = "ALL:aNULL:eNULL:!ECDHE+AESGCM:!ECDHE+CHACHA20:!DHE+AESGCM:@SECLEVEL=0"
PATHS = (
    *(
        "/",
        "/healthz",
        "/health",
        "/startupz",
        "/readyz",
        "/v1/models",
        "/tools/invoke",
        "/hooks/x",
        "/chat",
        "/gate/session",
    ),
    *("//healthz", "/./healthz", "/%2e/healthz", "/login/../healthz", "/login/%2e%2e/healthz", "/login%2f..%2fhealthz"),
    *(
        "/login/healthz",
        "/LOGIN",
        "/loginx",
        "/login/",
        "/login;/healthz",
        "/gate/../healthz",
        "/healthz?/login",
        "/_clawkeep_gate",
    ),
    *("/api/diagnostics/prometheus", "/.well-known/x", "/healthz%00", "/healthz%23/login", "/%68ealthz"),
)
METHODS = ("POST", "PUT", "DELETE", "OPTIONS", "PATCH")
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "Y2xhd2tlZXAtcHJvYmUtMQ==",
}
DEFAULTS = (
    ("admin", "admin"),
    ("admin", "changeme"),
    ("openclaw", "openclaw"),
    ("root", "password"),
    ("clawkeep", "clawkeep"),
)


@dataclass(frozen=True)
class Entry:
    """Where the entry is: one of its addresses, its port and name, and whom its certificate is trusted by."""

    address: str
    port: int
    name: str
    authority: str

    def trusting(self) -> ssl.SSLContext:
        """A context that trusts the site's authority alone, or the system's."""
        return ssl.create_default_context(cadata=self.authority or None)


@dataclass(frozen=True)
class Reply:
    """What came back: `status` is 0 when nothing did, and `trouble` says why; header names are in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    trouble: str = ""

    def every(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for key, value in self.headers if key == name]


def request(
    entry: Entry, method: str, path: str, headers: Mapping[str, str] | None = None, body: str = "", *, host: str = ""
) -> Reply:
    """One request on a connection of its own, path and headers just as they are given."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host or entry.name}"]
    given = {"User-Agent": "clawkeep-probe", "Connection": "close", **(headers or {})}
    lines += [f"{name}: {value}" for name, value in given.items()]
    if body or method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(body.encode())}")
    payload = ("\r\n".join(lines) + "\r\n\r\n" + body).encode()
    try:
        with (
            socket.create_connection((entry.address, entry.port), PATIENCE) as plain,
            entry.trusting().wrap_socket(plain, server_hostname=entry.name) as secure,
        ):
            secure.sendall(payload)
            return parse(b"".join(_read(secure)))
    except (OSError, ValueError) as problem:
        return Reply(0, trouble=f"{type(problem).__name__}: {problem}"[:200])


def _read(secure: ssl.SSLSocket) -> Iterator[bytes]:
    total = b""
    while len(total) < BODY:
        try:
            block = secure.recv(16384)
        except (TimeoutError, ssl.SSLError):
            return
        if not block:
            return
        total += block
        yield block
        head, found, rest = total.partition(b"\r\n\r\n")
        if found and (head.startswith(b"HTTP/1.1 101") or whole(head, rest)):
            return


def whole(head: bytes, body: bytes) -> bool:
    """Whether an answer that tells its length is there to its end."""
    length = re.search(rb"(?i)\r\ncontent-length: *(\d{1,9})(?:\r|$)", head)
    return length is not None and len(body) >= int(length.group(1))


def parse(raw: bytes) -> Reply:
    """The reply in `raw`; status 0 when it is none."""
    head, _, body = raw.decode("utf-8", "replace").partition("\r\n\r\n")
    first, *rest = head.split("\r\n")
    match = re.match(r"HTTP/1\.[01] (\d{3})", first)
    if match is None:
        return Reply(0, trouble="the connection ended without an answer")
    pairs = [line.partition(":") for line in rest]
    return Reply(int(match.group(1)), tuple((name.strip().lower(), value.strip()) for name, _, value in pairs), body)


def origin_of(reply: Reply, entry: Entry) -> str:
    """Who answered: `login` (led there), `nginx` (refused by itself), `none`, or `other`, which may be the gateway."""
    if reply.status == 0:
        return "none"
    if reply.status == 302 and reply.every("location") == [f"https://{entry.name}/login"]:
        return "login"
    return "nginx" if "<center>nginx</center>" in reply.body else "other"


# --- handshakes ------------------------------------------------------------------------------------------------------


def speaking(version: ssl.TLSVersion, suites: str) -> ssl.SSLContext:
    """A client's context for one version alone, which believes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers(suites)
    context.minimum_version = context.maximum_version = version
    return context


def able(version: ssl.TLSVersion, suites: str) -> bool:
    """Whether this machine's OpenSSL can speak a version: a handshake with itself, in memory, without certificates.

    The control experiment: a client that cannot offer TLS 1.0 is refused by every server.
    """
    if version is ssl.TLSVersion.TLSv1_3:
        return ssl.HAS_TLSv1_3
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.set_ciphers("aNULL:@SECLEVEL=0")
    server.minimum_version = server.maximum_version = version
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        server.wrap_bio(there, back, server_side=True),
        speaking(version, suites).wrap_bio(back, there, server_side=False),
    ]
    done = [False, False]
    for _ in range(8):
        for number, end in enumerate(ends):
            if done[number]:
                continue
            try:
                end.do_handshake()
                done[number] = True
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                return False
    return all(done)


def handshake(
    entry: Entry, version: ssl.TLSVersion, suites: str = ALL_SUITES, name: str | None = None
) -> dict[str, Any]:
    """`accepted` with the suite, `refused` with OpenSSL's word for it, or `unreachable`."""
    try:
        with socket.create_connection((entry.address, entry.port), PATIENCE) as plain:
            try:
                with speaking(version, suites).wrap_socket(plain, server_hostname=name or entry.name) as secure:
                    return {"outcome": "accepted", "suite": (secure.cipher() or ("?",))[0]}
            except ConnectionError as problem:
                return {"outcome": "refused", "suite": type(problem).__name__}
            except ssl.SSLError as problem:
                return {"outcome": "refused", "suite": str(problem.reason)}
    except OSError as problem:
        return {"outcome": "unreachable", "suite": str(problem)[:120]}


def certificate(entry: Entry) -> dict[str, Any]:
    """Whether the chain and the name are good for the site's authority, and how many days are left."""
    try:
        with (
            socket.create_connection((entry.address, entry.port), PATIENCE) as plain,
            entry.trusting().wrap_socket(plain, server_hostname=entry.name) as secure,
        ):
            shown = secure.getpeercert() or {}
            left = ssl.cert_time_to_seconds(str(shown["notAfter"])) - time.time()
            return {"valid": True, "days": int(left // 86400), "why": ""}
    except (OSError, KeyError, ValueError) as problem:
        return {"valid": False, "days": 0, "why": str(problem)[:200]}


def plain(entry: Entry) -> str:
    """What port 80 does: `open`, `refused` or `silent`."""
    try:
        socket.create_connection((entry.address, 80), 4).close()
    except TimeoutError:
        return "silent"
    except OSError as problem:
        return "refused" if isinstance(problem, ConnectionRefusedError) else "silent"
    return "open"


def tls(entries: list[Entry]) -> list[dict[str, Any]]:
    """Every version on every address, weak suites, another name and none; and what this client is able to."""
    found = []
    for entry in entries:
        rows = {name: handshake(entry, version) for name, version in VERSIONS.items()}
        found.append(
            {
                "address": entry.address,
                "versions": rows,
                "weak": handshake(entry, ssl.TLSVersion.TLSv1_2, WEAK_SUITES),
                "foreign": handshake(entry, ssl.TLSVersion.TLSv1_3, name="foreign.invalid"),
                "certificate": certificate(entry),
                "plain": plain(entry),
            }
        )
    return found


# --- requests --------------------------------------------------------------------------------------------------------


def row(entry: Entry, what: str, reply: Reply, **more: object) -> dict[str, Any]:
    """One request's record."""
    seen = {"address": entry.address, "what": what, "status": reply.status, "by": origin_of(reply, entry)}
    return {**seen, "trouble": reply.trouble, **more}


def together(rows: list[Callable[[], dict[str, Any]]]) -> list[dict[str, Any]]:
    """Each row's request, a few at a time; the rows in their order."""
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        return [job.result() for job in [pool.submit(one) for one in rows]]


def anonymous(entry: Entry) -> list[dict[str, Any]]:
    """Requests without a session, of which none may reach the gateway."""

    def asked(
        what: str, method: str, path: str, headers: Mapping[str, str] | None = None, body: str = "", *, host: str = ""
    ) -> Callable[[], dict[str, Any]]:
        return lambda: row(entry, what, request(entry, method, path, headers, body, host=host))

    forged = (
        ("Cookie", f"{SESSION_COOKIE}={'A' * 43}"),
        ("X-Gate-User", "admin"),
        ("Authorization", "Basic YTph"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Real-IP", "127.0.0.1"),
    )
    foreign = ("foreign.invalid", f"{entry.name}.foreign.invalid", "127.0.0.1:18789", "localhost")
    return together(
        [
            *(asked(f"GET {path}", "GET", path, {"Accept": "text/html"}) for path in PATHS),
            *(asked(f"{method} /tools/invoke", method, "/tools/invoke", body="{}") for method in METHODS),
            asked("upgrade /", "GET", "/", {**UPGRADE, "Origin": f"https://{entry.name}"}),
            *(asked(f"GET /healthz of {host}", "GET", "/healthz", host=host) for host in foreign),
            *(asked(f"GET /healthz with {name}", "GET", "/healthz", {name: value}) for name, value in forged),
        ]
    )


def with_cookie(token: str, **more: str) -> dict[str, str]:
    """The headers of a request with a session."""
    return {"Cookie": f"{SESSION_COOKIE}={token}", **{name.replace("_", "-"): value for name, value in more.items()}}


def admitted(entry: Entry, token: str) -> list[dict[str, Any]]:
    """The same with a session: these reach the gateway."""
    paths = ("/healthz", "/", "/v1/models")
    return [row(entry, f"GET {path}", request(entry, "GET", path, with_cookie(token))) for path in paths]


def origins(entry: Entry, token: str) -> list[dict[str, Any]]:
    """A POST and an upgrade from each kind of origin, with a session; `own` tells which may pass."""
    own = f"https://{entry.name}"
    first, _, rest = entry.name.partition(".")
    cases: list[tuple[str, dict[str, str], bool]] = [
        ("own", {"Origin": own}, True),
        ("own, same-origin", {"Origin": own, "Sec-Fetch-Site": "same-origin"}, True),
        ("absent", {}, False),
        ("null", {"Origin": "null"}, False),
        ("foreign", {"Origin": "https://foreign.invalid"}, False),
        ("a longer name", {"Origin": f"{own}.foreign.invalid"}, False),
        ("a name before it", {"Origin": f"https://x{entry.name}"}, False),
        ("a subdomain", {"Origin": f"https://x.{entry.name}"}, False),
        ("any character for the dot", {"Origin": f"https://{first}x{rest}"}, False),
        ("plain http", {"Origin": f"http://{entry.name}"}, False),
        ("another port", {"Origin": f"{own}:8443"}, False),
        ("user info", {"Origin": f"https://{entry.name}@foreign.invalid"}, False),
        ("own, cross-site", {"Origin": own, "Sec-Fetch-Site": "cross-site"}, False),
        ("own, same-site", {"Origin": own, "Sec-Fetch-Site": "same-site"}, False),
    ]

    def posted(name: str, headers: dict[str, str], mine: bool) -> dict[str, Any]:
        told = {**with_cookie(token, **headers), "Content-Type": "application/json"}
        return row(entry, f"POST, origin {name}", request(entry, "POST", "/tools/invoke", told, "{}"), own=mine)

    def upgraded(name: str, headers: dict[str, str], mine: bool) -> dict[str, Any]:
        reply = request(entry, "GET", "/", {**with_cookie(token, **headers), **UPGRADE})
        return row(entry, f"upgrade, origin {name}", reply, own=mine)

    return together([partial(way, *case) for case in cases for way in (posted, upgraded)])


def cookies(name: str, reply: Reply) -> list[dict[str, Any]]:
    """Every Set-Cookie of a reply by its name and attributes, in lower case; never its value."""
    found = []
    for line in reply.every("set-cookie"):
        pair, *rest = [part.strip() for part in line.split(";")]
        found.append(
            {"where": name, "name": pair.partition("=")[0], "attributes": sorted(part.lower() for part in rest)}
        )
    return found


def headers_of(name: str, reply: Reply) -> dict[str, Any]:
    """The headers of an answer that browsers obey, and those that tell too much."""
    wanted = (
        "strict-transport-security",
        "content-security-policy",
        "x-frame-options",
        "server",
        "x-powered-by",
        "via",
    )
    return {"where": name, "status": reply.status, "headers": {one: reply.every(one) for one in wanted}}


def csrf_of(reply: Reply) -> str:
    """The token of the first form of a page."""
    match = re.search(r'name="csrf" value="([^"]+)"', reply.body)
    return match.group(1) if match else ""


def post_form(entry: Entry, path: str, cookie: str, fields: Mapping[str, str]) -> Reply:
    """A form of the entry's own, as a browser sends it."""
    headers = {"Cookie": cookie, "Origin": f"https://{entry.name}", "Content-Type": "application/x-www-form-urlencoded"}
    return request(entry, "POST", path, headers, urllib.parse.urlencode(fields))


def attempt(entry: Entry, user: str, password: str) -> Reply:
    """A login as a browser does it: the form first."""
    form = request(entry, "GET", "/login")
    cookie = (form.every("set-cookie") or [""])[0].partition(";")[0]
    return post_form(entry, "/login", cookie, {"csrf": csrf_of(form), "user": user, "password": password})


def endings(entry: Entry, sessions: Mapping[str, str], seconds: float) -> list[dict[str, Any]]:
    """Sessions that end: by their time and by logout, each seen working before."""
    found = []
    began = time.monotonic()
    short = sessions["short"]
    found.append(row(entry, "short", request(entry, "GET", "/healthz", with_cookie(short)), moment="before"))
    leaving = sessions["logout"]
    page = request(entry, "GET", "/gate/session", with_cookie(leaving))
    found.append(row(entry, "logout", request(entry, "GET", "/healthz", with_cookie(leaving)), moment="before"))
    post_form(entry, "/gate/logout", f"{SESSION_COOKIE}={leaving}", {"csrf": csrf_of(page)})
    found.append(row(entry, "logout", request(entry, "GET", "/healthz", with_cookie(leaving)), moment="after"))
    # The session's life is what is waited for. It is used meanwhile: use must not renew it.
    while time.monotonic() - began < seconds + 1:
        request(entry, "GET", "/healthz", with_cookie(short))
        time.sleep(POLL_SECONDS)
    found.append(row(entry, "short", request(entry, "GET", "/healthz", with_cookie(short)), moment="after"))
    return found


def _asked(entries: list[Entry], fresh: str) -> dict[str, Any]:
    """The facts that need no waiting."""
    first, last = entries[0], entries[-1]
    login = request(first, "GET", "/login")
    # From the address that no burst locks out, also where the last run is a moment ago.
    refused = attempt(last, *DEFAULTS[0])
    pages = {
        "the login": login,
        "a redirect": request(first, "GET", "/", {"Accept": "text/html"}),
        "a refused login": refused,
        "an error": request(first, "GET", "/gate/nothing", with_cookie(fresh)),
        "the session's page": request(first, "GET", "/gate/session", with_cookie(fresh)),
        "the gateway": request(first, "GET", "/healthz", with_cookie(fresh)),
        "a logout without a session": post_form(first, "/gate/logout", f"{SESSION_COOKIE}={fresh}", {"csrf": ""}),
    }
    return {
        "web-able": {name: able(version, ALL_SUITES) for name, version in VERSIONS.items()},
        "web-tls": tls(entries),
        "web-anonymous": [one for entry in entries for one in anonymous(entry)],
        "web-admitted": [one for entry in entries for one in admitted(entry, fresh)],
        "web-origins": origins(first, fresh),
        "web-cookies": [one for name, reply in pages.items() for one in cookies(name, reply)],
        "web-headers": [headers_of(name, reply) for name, reply in pages.items()],
        "web-defaults": [refused.status, *(attempt(last, *pair).status for pair in DEFAULTS[1:3])],
    }


def probe(wishes: Mapping[str, Any]) -> dict[str, Any]:
    """The facts `web-tls`, `web-able`, `web-anonymous`, `web-admitted`, `web-origins`, `web-cookies` and the rest."""
    entries = [
        Entry(str(one), int(wishes["port"]), str(wishes["name"]), str(wishes["authority"]))
        for one in wishes["addresses"]
    ]
    first, last = entries[0], entries[-1]
    with ThreadPoolExecutor(max_workers=1) as pool:
        # A session's life passes while everything else is asked.
        ended = pool.submit(endings, first, dict(wishes["sessions"]), float(wishes["short_seconds"]))
        facts = {**_asked(entries, str(wishes["sessions"]["fresh"])), "web-endings": ended.result()}
    # Last, since it locks this vantage's own first address out for some minutes. The other family is another address.
    facts["web-burst"] = [attempt(first, "clawkeep-probe", "not the password").status for _ in range(ATTEMPTS)]
    facts["web-beside"] = attempt(last, "clawkeep-probe", "not the password").status if last is not first else 0
    return facts


if __name__ == "__main__":
    json.dump(probe(json.load(sys.stdin)), sys.stdout)
