"""The browser entry's subject: a good entry passes, each breach is named, and what was not seen is not measured."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import HostEvidence
from clawkeep.subjects.entry.nginx import tree
from clawkeep.subjects.entry.web import Gateways, Web

World = dict[str, Any]
ADDRESSES = ("10.78.0.1", "fd5e:c1a0:78::1")
VERSIONS = ("TLSv1.2", "TLSv1.3")
RATE = {"attempts": 5, "per_seconds": 60, "lockout_seconds": 300}
NGINX = """\
# configuration file /etc/nginx/nginx.conf:
user www-data;
http {
    geo $peer { default 0; fd5e:c1a0:78::/64 1; }
    map $binary_remote_addr $net { "~(?s)^(?<net64>.{8}).{8}$" $net64; default $binary_remote_addr; }
    map $peer $client { 1 $binary_remote_addr; default $net; }
    map $request_method $posted { default ""; POST $client; }
    limit_req_zone $client zone=requests:10m rate=50r/s;
    limit_req_zone $posted zone=logins:10m rate=10r/m;
    limit_conn_zone $client zone=connections:10m;
    limit_req zone=requests burst=200 nodelay;
    limit_conn connections 100;
    include /etc/nginx/conf.d/*.conf;
    server { listen 10.78.0.1:443 ssl default_server; listen [fd5e:c1a0:78::1]:443 ssl; ssl_reject_handshake on; }
    server {
        listen 10.78.0.1:443 ssl; # a comment with a { brace
        server_name agent.example;
        auth_request /_gate;
        satisfy all;
        add_header X "a; b { c";
        location = /_gate { internal; auth_request off; proxy_pass http://gate/auth; }
        location = /login {
            auth_request off;
            limit_req zone=requests burst=200 nodelay;
            limit_req zone=logins burst=10 nodelay;
            proxy_pass http://gate;
        }
        location / {
            proxy_pass http://gateway;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header Forwarded "";
            proxy_set_header X-Forwarded-User "";
            proxy_set_header X-Remote-User "";
            proxy_set_header Cookie "";
        }
    }
}
"""


def seen(what: str, by: str = "login", status: int = 302, **more: Any) -> dict[str, Any]:
    return {"address": ADDRESSES[0], "what": what, "by": by, "status": status, "trouble": "", **more}


def good() -> World:
    """The document of a good entry, new at each call."""
    accepted, refused = {"outcome": "accepted", "suite": "S"}, {"outcome": "refused", "suite": "alert"}
    spoken = {"TLSv1": refused, "TLSv1.1": refused, "TLSv1.2": accepted, "TLSv1.3": accepted}
    headers = {
        "strict-transport-security": ["max-age=31536000"],
        "content-security-policy": ["frame-ancestors 'none'"],
        "x-frame-options": ["DENY"],
        "server": ["nginx"],
        "x-powered-by": [],
    }
    facts: World = {
        "web-able": dict.fromkeys(spoken, True),
        "web-tls": [
            {
                "address": one,
                "versions": dict(spoken),
                "weak": refused,
                "foreign": refused,
                "certificate": {"valid": True, "days": 29, "why": ""},
                "plain": "refused",
            }
            for one in ADDRESSES
        ],
        "web-anonymous": [seen("GET /"), seen("POST /tools/invoke", "nginx", 401), seen("GET / of x", "nginx", 421)],
        "web-admitted": [seen("GET /healthz", "other", 200)],
        "web-origins": [
            seen("POST, own", "other", 200, own=True),
            seen("POST, null", "nginx", 403, own=False),
            seen("upgrade, null", "nginx", 403, own=False),
        ],
        "web-endings": [
            seen("short", "other", 200, moment="before"),
            seen("logout", "other", 200, moment="before"),
            seen("logout", moment="after"),
            seen("short", moment="after"),
        ],
        "web-cookies": [
            {
                "where": "the login",
                "name": "__Host-a",
                "attributes": ["httponly", "path=/", "samesite=strict", "secure"],
            }
        ],
        "web-headers": [{"where": "the login", "status": 200, "headers": headers}],
        "web-defaults": [401, 401],
        "web-burst": [401] * 5 + [429] * 7,
        "web-beside": 401,
    }
    return facts


def report() -> World:
    return {
        "settings": {
            "idle": 1800,
            "absolute": 28800,
            "attempts": 5,
            "window": 60,
            "lockout": 300,
            "peer_networks": ["10.78.0.0/24", "fd5e:c1a0:78::/64"],
        },
        "schemes": ["scrypt$15$8$3"],
        "password_least": 14,
        "sessions": [{"age": 28800.0, "unused": 1800.0}],
        "users": 1,
    }


RATE_OF_TEN: World = {"maxAttempts": 10, "windowMs": 60000, "lockoutMs": 300000, "exemptLoopback": False}


def gateway() -> World:
    return {
        "name": "openclaw",
        "settings": {
            "mode": "token",
            "by-reference": True,
            "rate": dict(RATE_OF_TEN),
            "proxies": [],
            "real-ip-fallback": False,
            "ui": True,
            "origins": ["https://agent.example"],
            "host-header-fallback": False,
            "hooks-apart": True,
        },
        "strength": {"length": 64, "different": 16, "bits": 250, "filler": False},
        "answers": {"nothing": 401, "wrong": 401, "right": 404, "forged": 403},
        "burst": {"attempts": [401] * 10 + [429] * 2, "beside": 404},
    }


DEBIAN = "/usr/sbin/nginx -g daemon on; master_process on;"  # how Debian's unit starts nginx


def evidence(
    facts: World, *, nginx: str = NGINX, gate: Any = None, gateways: Any = None, masters: Any = None
) -> HostEvidence:
    commands = {
        "nginx-T": {"argv": ["nginx", "-T"], "status": 0, "lines": nginx.splitlines()},
        "gate-report": {"argv": ["clawkeep-gate", "report"], "status": 0, "json": report() if gate is None else gate},
    }
    found = [gateway()] if gateways is None else gateways
    if masters is None:
        masters = [{"pid": 3026, "title": f"nginx: master process {DEBIAN}"}]
    inside = {"schema": 1, "commands": commands, "facts": {"gateways": found, "nginx-masters": masters}, "problems": {}}
    web = {"schema": 1, "commands": {}, "facts": facts, "problems": {}}
    return HostEvidence("alpha", {"schema": 1, "host": "alpha", "inside": inside, "vantages": {"web": web}})


CHECKS: dict[str, Callable[[Web], list[str]]] = {
    "handshakes": lambda web: web.handshakes(VERSIONS),
    "certificates": Web.certificates,
    "manners": Web.manners,
    "listeners": lambda web: web.stray_listeners(ADDRESSES),
    "masters": Web.other_masters,
    "anonymous": Web.passed_without_session,
    "unguarded": Web.unguarded,
    "spoofed": Web.spoofed,
    "throttle": lambda web: web.unthrottled(5),
    "gate": lambda web: web.lenient_gate(RATE, ADDRESSES),
    "requests": lambda web: web.unlimited(RATE, ADDRESSES),
    "accounts": Web.weak_accounts,
    "limits": lambda web: web.long_sessions(30, 480),
    "endings": Web.immortal_sessions,
    "cookies": Web.loose_cookies,
    "origins": Web.foreign_origins,
    "frames": Web.frameable,
}


def changed(path: str, value: Any) -> World:
    """The good facts with one place replaced; a path is `web-tls/0/plain`."""
    facts = copy.deepcopy(good())
    *way, last = path.split("/")
    node: Any = facts
    for step in way:
        node = node[int(step)] if isinstance(node, list) else node[step]
    node[int(last) if isinstance(node, list) else last] = value
    return facts


@pytest.mark.parametrize("check", CHECKS)
def test_a_good_entry_passes(check: str) -> None:
    assert CHECKS[check](evidence(good()).subject(Web)) == []


LONELY = "another address is answered {}: everybody is refused, or there was no other address"
ACCEPTED = {"outcome": "accepted", "suite": "AES128-SHA"}


@pytest.mark.parametrize(
    ("check", "path", "value", "said"),
    [
        ("handshakes", "web-tls/1/versions/TLSv1.1", ACCEPTED, "fd5e:c1a0:78::1 speaks TLSv1.1"),
        (
            "handshakes",
            "web-tls/0/versions/TLSv1.3",
            {"outcome": "refused", "suite": "x"},
            "10.78.0.1 does not speak TLSv1.3",
        ),
        ("handshakes", "web-tls/0/weak", ACCEPTED, "10.78.0.1 accepts the weak suite AES128-SHA"),
        ("handshakes", "web-tls/0/foreign", ACCEPTED, "10.78.0.1 answers to another name"),
        ("handshakes", "web-tls/0/plain", "open", "10.78.0.1 answers plain HTTP on port 80"),
        (
            "certificates",
            "web-tls/0/certificate",
            {"valid": False, "days": 0, "why": "expired"},
            "the certificate of 10.78.0.1 is not valid: expired",
        ),
        (
            "certificates",
            "web-tls/0/certificate",
            {"valid": True, "days": 13, "why": ""},
            "the certificate of 10.78.0.1 ends in 13 days",
        ),
        ("manners", "web-headers/0/headers/server", ["nginx/1.26.3"], "the login tells server: nginx/1.26.3"),
        (
            "manners",
            "web-headers/0/headers/strict-transport-security",
            [],
            "the login has no Strict-Transport-Security for a year: []",
        ),
        (
            "anonymous",
            "web-anonymous/0",
            seen("GET /healthz", "other", 200),
            "GET /healthz at 10.78.0.1 without a session is answered 200 by something behind the login",
        ),
        (
            "anonymous",
            "web-anonymous/0",
            seen("GET /v1/models", "other", 401),
            "GET /v1/models at 10.78.0.1 without a session is answered 401 by something behind the login",
        ),
        (
            "endings",
            "web-endings/2",
            seen("logout", "other", 200, moment="after"),
            "a session is still served after its logout",
        ),
        (
            "endings",
            "web-endings/3",
            seen("short", "other", 200, moment="after"),
            "a session is still served after its time was over",
        ),
        (
            "cookies",
            "web-cookies/0/attributes",
            ["httponly", "path=/", "secure"],
            "the cookie __Host-a of the login lacks samesite=strict",
        ),
        (
            "cookies",
            "web-cookies/0/attributes",
            ["domain=x", "httponly", "path=/", "samesite=strict", "secure"],
            "the cookie __Host-a of the login is not bound to the host",
        ),
        ("cookies", "web-cookies/0/name", "session", "the cookie session of the login is not bound to the host"),
        (
            "origins",
            "web-origins/1",
            seen("POST, null", "other", 200, own=False),
            "POST, null is answered 200 with a session",
        ),
        (
            "origins",
            "web-origins/2",
            seen("upgrade, null", "other", 101, own=False),
            "upgrade, null is answered 101 with a session",
        ),
        (
            "frames",
            "web-headers/0/headers/content-security-policy",
            ["default-src 'self'"],
            "the login may be framed: no frame-ancestors 'none'",
        ),
        (
            "throttle",
            "web-burst",
            [401] * 12,
            f"more than 5 wrong logins in a row are judged ({[401] * 12})",
        ),
        (
            "throttle",
            "web-burst",
            [401] * 6 + [429] * 6,
            f"more than 5 wrong logins in a row are judged ({[401] * 6 + [429] * 6})",
        ),
        ("accounts", "web-defaults", [303], "default credentials are answered 303"),
    ],
)
def test_a_breach_is_told(check: str, path: str, value: Any, said: str) -> None:
    assert CHECKS[check](evidence(changed(path, value)).subject(Web)) == [said]


@pytest.mark.parametrize(
    ("check", "path", "value", "said"),
    [
        ("handshakes", "web-able/TLSv1", False, "this probe cannot speak TLSv1, so 10.78.0.1 was not asked"),
        (
            "handshakes",
            "web-tls/0/versions/TLSv1",
            {"outcome": "unreachable", "suite": ""},
            "TLSv1 with 10.78.0.1 was not measured: unreachable",
        ),
        ("handshakes", "web-tls", [], "the probe met nothing (tls)"),
        ("anonymous", "web-anonymous/0", seen("GET /", "none", 0), "GET / at 10.78.0.1 got no answer: "),
        (
            "anonymous",
            "web-admitted/0",
            seen("GET /healthz", "nginx", 502),
            "GET /healthz with a session is answered 502 by nginx: what is refused without one proves nothing",
        ),
        (
            "anonymous",
            "web-admitted/0",
            seen("GET /healthz", "login", 302),
            "GET /healthz with a session is answered 302 by login: what is refused without one proves nothing",
        ),
        (
            "endings",
            "web-endings/0",
            seen("short", "login", 302, moment="before"),
            "the session of the case short never worked",
        ),
        (
            "endings",
            "web-endings/3",
            seen("short", "none", 0, moment="after"),
            "the replay of the case short got no answer",
        ),
        ("cookies", "web-cookies", [], "the probe met nothing (cookies)"),
        (
            "origins",
            "web-origins/0",
            seen("POST, own", "nginx", 403, own=True),
            "POST, own is refused (403): what is refused to others proves nothing",
        ),
        (
            "accounts",
            "web-defaults",
            [429, 429],
            "logins with default credentials are answered [429, 429]: they were not judged",
        ),
        (
            "accounts",
            "web-defaults",
            [401, 502],
            "logins with default credentials are answered [401, 502]: they were not judged",
        ),
        ("accounts", "web-defaults", [], "logins with default credentials are answered []: they were not judged"),
        (
            "throttle",
            "web-beside",
            429,
            LONELY.format(429),
        ),
        (
            "throttle",
            "web-beside",
            0,
            LONELY.format(0),
        ),
        ("throttle", "web-burst", [502] * 12, "wrong logins are answered [502], so nothing was throttled"),
        ("throttle", "web-burst", [401] * 4 + [429], "only 5 attempts were made"),
    ],
)
def test_what_proves_nothing_is_not_measured(check: str, path: str, value: Any, said: str) -> None:
    with pytest.raises(Unmeasured) as raised:
        CHECKS[check](evidence(changed(path, value)).subject(Web))
    assert str(raised.value) == said


JUNK: list[Any] = [None, 7, "text", [], {}, [[]], [{}], {"a": None}]


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("check", CHECKS)
def test_junk_is_nobodys_pass(check: str, junk: Any) -> None:
    masters = "none" if junk is None else junk
    host = evidence(dict.fromkeys(good(), junk), gate={} if junk is None else junk, nginx=str(junk), masters=masters)
    with pytest.raises(Unmeasured):
        CHECKS[check](host.subject(Web))


READS = {  # what each check rests on, beside nginx's files and the gate's report
    "handshakes": ["web-able", "web-tls"],
    "certificates": ["web-tls"],
    "manners": ["web-headers"],
    "anonymous": ["web-anonymous", "web-admitted"],
    "throttle": ["web-burst", "web-beside"],
    "accounts": ["web-defaults"],
    "endings": ["web-endings"],
    "cookies": ["web-cookies"],
    "origins": ["web-origins"],
    "frames": ["web-headers"],
}


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize(("check", "name"), [(check, name) for check, names in READS.items() for name in names])
def test_junk_in_one_place_alone_is_nobodys_pass(check: str, name: str, junk: Any) -> None:
    with pytest.raises(Unmeasured):
        CHECKS[check](evidence(changed(name, junk)).subject(Web))


@pytest.mark.parametrize(
    ("check", "old", "new", "said"),
    [
        ("unguarded", "auth_request /_gate;", "", ["the server agent.example does not ask the gate"]),
        (
            "unguarded",
            "location / {",
            "location /healthz { auth_request off; proxy_pass http://gateway; } location / {",
            ["the location /healthz has auth_request off"],
        ),
        (
            "unguarded",
            "satisfy all;",
            "satisfy any; allow 10.78.0.0/24; deny all;",
            ["`satisfy any` in server: an address is enough", "server allows addresses by itself"],
        ),
        (
            "spoofed",
            "X-Forwarded-For $remote_addr",
            "X-Forwarded-For $proxy_add_x_forwarded_for",
            ["the location / sends x-forwarded-for: $proxy_add_x_forwarded_for"],
        ),
        (
            "spoofed",
            'proxy_set_header X-Remote-User "";',
            "",
            ["the location / sends x-remote-user: what the client sends"],
        ),
        ("spoofed", 'proxy_set_header Cookie "";', "", ["the location / sends cookie: what the client sends"]),
        ("listeners", "listen 10.78.0.1:443 ssl;", "listen [::]:443 ssl;", ["nginx listens on [::]:443"]),
    ],
)
def test_a_hole_in_nginxs_settings_is_told(check: str, old: str, new: str, said: list[str]) -> None:
    assert old in NGINX
    assert CHECKS[check](evidence(good(), nginx=NGINX.replace(old, new)).subject(Web)) == said


def test_an_included_file_counts_where_it_is_included() -> None:
    more = NGINX + "# configuration file /etc/nginx/conf.d/office.conf:\nserver { listen 80; server_name old; }\n"
    web = evidence(good(), nginx=more).subject(Web)
    assert web.stray_listeners(ADDRESSES) == ["nginx listens on 80"]
    assert web.unguarded() == ["the server old does not ask the gate"]


@pytest.mark.parametrize(
    ("titles", "count"),
    [
        (["/usr/sbin/nginx"], 0),
        (["nginx"], 0),
        (["nginx -c /srv/share/nginx.conf"], 1),
        (["/usr/sbin/nginx -p /srv/share"], 1),
        ([f"{DEBIAN} include /tmp/more;"], 1),
        (["/opt/nginx/sbin/nginx"], 1),
        (["/usr/sbin/nginx", DEBIAN], 1),
        ([DEBIAN, "nginx -c /srv/share/nginx.conf"], 2),
    ],
)
def test_an_nginx_with_other_settings_than_the_judged_ones_is_told(titles: list[str], count: int) -> None:
    masters = [{"pid": 7 + number, "title": f"nginx: master process {title}"} for number, title in enumerate(titles)]
    assert len(evidence(good(), masters=masters).subject(Web).other_masters()) == count


def test_settings_that_no_nginx_has_in_force_prove_nothing() -> None:
    with pytest.raises(Unmeasured, match="no nginx runs"):
        evidence(good(), masters=[]).subject(Web).other_masters()


NONSENSE = ("", "nonsense", *(f"# configuration file /a:\n{text}" for text in ("http {", "}", "x")))


@pytest.mark.parametrize("text", NONSENSE)
def test_settings_that_are_none_are_not_measured(text: str) -> None:
    with pytest.raises(Unmeasured):
        tree(text.splitlines())


@pytest.mark.parametrize(
    ("check", "gate", "said"),
    [
        (
            "limits",
            {"settings": {"idle": 1800, "absolute": 28801}},
            "the gate's absolute limit is 28801 s, not 28800 s at most",
        ),
        (
            "limits",
            {"settings": {"idle": 1801, "absolute": 28800}},
            "the gate's idle limit is 1801 s, not 1800 s at most",
        ),
        (
            "limits",
            {"sessions": [{"age": 28801, "unused": 0.0}]},
            "a live session is 28801 s old, 28800 s are the most",
        ),
        (
            "limits",
            {"sessions": [{"age": 27000.0, "unused": 1800.1}]},
            "a live session is 1800 s unused, 1800 s are the most",
        ),
        (
            "accounts",
            {"schemes": ["scrypt$15$8$3", "other"]},
            "a password is kept as other, not as scrypt of at least (15, 8, 3)",
        ),
        (
            "accounts",
            {"schemes": ["scrypt$10$8$1"]},
            "a password is kept as scrypt$10$8$1, not as scrypt of at least (15, 8, 3)",
        ),
        ("accounts", {"password_least": 8}, "the gate takes passwords of fewer than 14 characters"),
    ],
)
def test_a_lax_gate_is_told(check: str, gate: World, said: str) -> None:
    assert CHECKS[check](evidence(good(), gate=report() | gate).subject(Web)) == [said]


@pytest.mark.parametrize(
    ("check", "gate"),
    [
        ("limits", {"sessions": [{"age": 60.0}]}),
        ("limits", {"sessions": [{"unused": 60.0}]}),
        ("limits", {"sessions": [{"age": True, "unused": 0.0}]}),
        ("accounts", {"users": 3, "schemes": []}),
        ("accounts", {"users": None}),
    ],
)
def test_what_the_gate_does_not_say_is_not_measured(check: str, gate: World) -> None:
    with pytest.raises(Unmeasured):
        CHECKS[check](evidence(good(), gate=report() | gate).subject(Web))


def test_a_gate_without_users_has_no_hashes() -> None:
    assert CHECKS["accounts"](evidence(good(), gate=report() | {"users": 0, "schemes": []}).subject(Web)) == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("attempts", 6, "judges 6 wrong logins, not 5 at most"),
        ("window", 59, "window is 59 s, not 60 s at least"),
        ("lockout", 299, "lockout is 299 s, not 300 s at least"),
        ("lockout", 1, "lockout is 1 s, not 300 s at least"),
        ("peer_networks", [], "counts the peers around fd5e:c1a0:78::1 as one"),
        ("peer_networks", ["10.78.0.0/24", "fd5e:c1a0:79::/64"], "counts the peers around fd5e:c1a0:78::1 as one"),
        ("peer_networks", ["fd5e:c1a0:78::/64", "2000::/3"], "counts 2000::/3 as a peer's network"),
        ("peer_networks", ["::/0"], "counts ::/0 as a peer's network"),
    ],
)
def test_a_gate_that_forgives_or_takes_peers_for_one_is_told(name: str, value: Any, said: str) -> None:
    lax = report()
    lax["settings"][name] = value
    (found,) = evidence(good(), gate=lax).subject(Web).lenient_gate(RATE, ADDRESSES)
    assert said in found


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("attempts", 1),
        ("window", 3600),
        ("lockout", 86400),
        ("peer_networks", ["fd00::/8"]),
        ("peer_networks", ["0.0.0.0/0", "fd5e:c1a0:78::/64"]),
    ],
)
def test_a_stricter_gate_is_as_good(name: str, value: Any) -> None:
    strict = report()
    strict["settings"][name] = value
    assert evidence(good(), gate=strict).subject(Web).lenient_gate(RATE, ADDRESSES) == []


@pytest.mark.parametrize(
    ("name", "value"), [("attempts", None), ("lockout", "300"), ("peer_networks", None), ("peer_networks", ["vpn"])]
)
def test_a_gate_that_does_not_say_how_it_counts_is_not_measured(name: str, value: Any) -> None:
    silent = report()
    silent["settings"][name] = value
    with pytest.raises(Unmeasured):
        evidence(good(), gate=silent).subject(Web).lenient_gate(RATE, ADDRESSES)


def test_a_peers_network_may_have_global_addresses_where_it_is_the_entrys_own() -> None:
    own = report()
    own["settings"]["peer_networks"] = ["2001:db8:78::/64"]
    web = evidence(good(), gate=own).subject(Web)
    assert web.lenient_gate(RATE, ["2001:db8:78::1"]) == []
    assert len(web.lenient_gate(RATE, ["2001:db8:79::1"])) == 2


@pytest.mark.parametrize(("attempts", "said"), [(10, 0), (9, 1), (11, 0)])
def test_the_burst_is_judged_by_the_attempts_that_are_allowed(attempts: int, said: int) -> None:
    web = evidence(changed("web-burst", [401] * 10 + [429] * 2)).subject(Web)
    assert len(web.unthrottled(attempts)) == said


def test_a_lock_that_is_there_from_the_last_run_is_one() -> None:
    assert evidence(changed("web-burst", [429] * 12)).subject(Web).unthrottled(5) == []


@pytest.mark.parametrize(
    ("section", "change", "check", "said"),
    [
        (
            "answers",
            {"nothing": 200},
            lambda one: one.open_doors([]),
            ["openclaw answers 200 to a call with nothing for a token"],
        ),
        (
            "answers",
            {"wrong": 200},
            lambda one: one.open_doors([]),
            ["openclaw answers 200 to a call with wrong for a token"],
        ),
        (
            "answers",
            {"forged": 200},
            lambda one: one.open_doors([]),
            ["openclaw answers 200 to a forged X-Forwarded-For"],
        ),
        (
            "settings",
            {"mode": "none"},
            lambda one: one.open_doors([]),
            ["openclaw authenticates by none, not by a referenced token"],
        ),
        (
            "settings",
            {"by-reference": False},
            lambda one: one.open_doors([]),
            ["openclaw authenticates by token, not by a referenced token"],
        ),
        (
            "settings",
            {"proxies": ["172.30.0.0/16"]},
            lambda one: one.open_doors([]),
            ["openclaw trusts 172.30.0.0/16, not none"],
        ),
        (
            "settings",
            {"real-ip-fallback": None},
            lambda one: one.open_doors([]),
            ["openclaw takes X-Real-IP where X-Forwarded-For is missing"],
        ),
        (
            "settings",
            {"rate": None},
            Gateways.unlimited,
            [
                "openclaw has maxAttempts None, not 10",
                "openclaw has windowMs None, not 60000",
                "openclaw has lockoutMs None, not 300000",
                "openclaw exempts loopback from its limit, where every proxied attempt comes from",
            ],
        ),
        (
            "settings",
            {"rate": {"maxAttempts": 10, "windowMs": 60000, "lockoutMs": 300000}},
            Gateways.unlimited,
            ["openclaw exempts loopback from its limit, where every proxied attempt comes from"],
        ),
        (
            "burst",
            {"attempts": [401] * 12},
            Gateways.untiring,
            ["openclaw judges 12 wrong tokens in a row from one address"],
        ),
        (
            "burst",
            {"attempts": [401] * 11 + [429]},
            Gateways.untiring,
            ["openclaw judges 11 wrong tokens in a row from one address"],
        ),
        (
            "settings",
            {"rate": RATE_OF_TEN | {"maxAttempts": 11}},
            Gateways.unlimited,
            ["openclaw has maxAttempts 11, not 10"],
        ),
        (
            "settings",
            {"rate": RATE_OF_TEN | {"windowMs": 59999}},
            Gateways.unlimited,
            ["openclaw has windowMs 59999, not 60000"],
        ),
        (
            "settings",
            {"rate": RATE_OF_TEN | {"lockoutMs": 299999}},
            Gateways.unlimited,
            ["openclaw has lockoutMs 299999, not 300000"],
        ),
        (
            "strength",
            {"length": 8, "bits": 24},
            Gateways.weak_tokens,
            ["the token of openclaw has 8 characters and some 24 bits: make it 32 random bytes"],
        ),
        (
            "strength",
            {"length": 40, "bits": 0},
            Gateways.weak_tokens,
            ["the token of openclaw has 40 characters and some 0 bits: make it 32 random bytes"],
        ),
        (
            "strength",
            {"filler": True},
            Gateways.weak_tokens,
            ["the token of openclaw contains a word of example files"],
        ),
        *(
            (
                "settings",
                {"origins": origins},
                lambda one: one.loose_origins(["agent.example", "other.example"]),
                [f"openclaw allows the origins {origins}, not its front door's alone"],
            )
            for origins in (
                ["*"],
                [],
                ["https://agent.example", "https://other.example"],
                ["http://agent.example"],
                ["https://agent.example.evil"],
            )
        ),
        (
            "settings",
            {"host-header-fallback": True},
            lambda one: one.loose_origins(["agent.example"]),
            ["openclaw takes the Host header for an origin"],
        ),
    ],
)
def test_a_lax_gateway_is_told(
    section: str, change: World, check: Callable[[Gateways], list[str]], said: list[str]
) -> None:
    assert check(evidence(good()).subject(Gateways)) == []
    lax = gateway()
    lax[section] |= change
    assert check(evidence(good(), gateways=[lax]).subject(Gateways)) == said


def test_a_gateway_that_refuses_everybody_proves_nothing() -> None:
    deaf = gateway()
    deaf["answers"]["right"] = 401
    with pytest.raises(Unmeasured, match="401"):
        evidence(good(), gateways=[deaf]).subject(Gateways).open_doors([])
    with pytest.raises(Unmeasured, match="no agent container with a published gateway runs"):
        evidence(good(), gateways=[]).subject(Gateways)


def test_a_gateway_that_asks_nobody_is_told_although_it_knows_no_token() -> None:
    lax = gateway()
    lax["settings"]["mode"] = "none"
    lax["answers"] = {"nothing": 404, "wrong": 404}
    assert len(evidence(good(), gateways=[lax]).subject(Gateways).open_doors([])) == 3


@pytest.mark.parametrize(
    ("section", "said", "check", "why"),
    [
        (
            "answers",
            {"problem": "no such process"},
            lambda one: one.open_doors([]),
            "openclaw could not be asked in its own network: no such process",
        ),
        (
            "burst",
            {"problem": "no such process"},
            Gateways.untiring,
            "openclaw could not be asked in its own network: no such process",
        ),
        (
            "burst",
            {"attempts": [429] * 12, "beside": 404},
            Gateways.untiring,
            "openclaw answers [429] to a first wrong token: a limit cannot be told from that",
        ),
        (
            "burst",
            {"attempts": ["timeout"] * 12, "beside": 404},
            Gateways.untiring,
            "openclaw answers ['timeout'] to a first wrong token: a limit cannot be told from that",
        ),
        ("burst", {"attempts": [401] * 10, "beside": 404}, Gateways.untiring, "only 10 attempts were made at openclaw"),
        (
            "burst",
            {"attempts": [401] * 10 + [429] * 2, "beside": 429},
            Gateways.untiring,
            "openclaw answers 429 to the right token from another address",
        ),
    ],
)
def test_a_gateway_that_was_not_tried_or_locks_everybody_out_is_unmeasured(
    section: str, said: World, check: Callable[[Gateways], list[str]], why: str
) -> None:
    odd = gateway()
    odd[section] = said
    with pytest.raises(Unmeasured) as raised:
        check(evidence(good(), gateways=[odd]).subject(Gateways))
    assert str(raised.value) == why
