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
NGINX = """\
# configuration file /etc/nginx/nginx.conf:
user www-data;
http {
    include /etc/nginx/conf.d/*.conf;
    server { listen 10.78.0.1:443 ssl default_server; listen [fd5e:c1a0:78::1]:443 ssl; ssl_reject_handshake on; }
    server {
        listen 10.78.0.1:443 ssl; # a comment with a { brace
        server_name agent.example;
        auth_request /_gate;
        satisfy all;
        add_header X "a; b { c";
        location = /_gate { internal; auth_request off; proxy_pass http://gate/auth; }
        location = /login { auth_request off; proxy_pass http://gate; }
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
        "settings": {"idle": 1800, "absolute": 28800, "attempts": 5, "window": 60, "lockout": 300},
        "schemes": ["scrypt$15$8$3"],
        "password_least": 14,
        "sessions": [{"age": 60.0}],
    }


def gateway() -> World:
    return {
        "name": "openclaw",
        "settings": {
            "mode": "token",
            "by-reference": True,
            "rate": {"maxAttempts": 10, "windowMs": 60000, "lockoutMs": 300000, "exemptLoopback": False},
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
    "throttle": Web.unthrottled,
    "accounts": Web.weak_accounts,
    "limits": lambda web: web.long_sessions(30, 480),
    "patience": lambda web: web.patient_gate(5, 60, 300),
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


ACCEPTED = {"outcome": "accepted", "suite": "AES128-SHA"}


@pytest.mark.parametrize(
    ("check", "path", "value"),
    [
        ("handshakes", "web-tls/1/versions/TLSv1.1", ACCEPTED),
        ("handshakes", "web-tls/0/versions/TLSv1.3", {"outcome": "refused", "suite": "x"}),
        ("handshakes", "web-tls/0/weak", ACCEPTED),
        ("handshakes", "web-tls/0/foreign", ACCEPTED),
        ("handshakes", "web-tls/0/plain", "open"),
        ("certificates", "web-tls/0/certificate", {"valid": False, "days": 0, "why": "expired"}),
        ("certificates", "web-tls/0/certificate", {"valid": True, "days": 13, "why": ""}),
        ("manners", "web-headers/0/headers/server", ["nginx/1.26.3"]),
        ("manners", "web-headers/0/headers/strict-transport-security", []),
        ("anonymous", "web-anonymous/0", seen("GET /healthz", "other", 200)),
        ("anonymous", "web-anonymous/0", seen("GET /v1/models", "other", 401)),
        ("endings", "web-endings/2", seen("logout", "other", 200, moment="after")),
        ("endings", "web-endings/3", seen("short", "other", 200, moment="after")),
        ("cookies", "web-cookies/0/attributes", ["httponly", "path=/", "secure"]),
        ("cookies", "web-cookies/0/attributes", ["domain=x", "httponly", "path=/", "samesite=strict", "secure"]),
        ("cookies", "web-cookies/0/name", "session"),
        ("origins", "web-origins/1", seen("POST, null", "other", 200, own=False)),
        ("origins", "web-origins/2", seen("upgrade, null", "other", 101, own=False)),
        ("frames", "web-headers/0/headers/content-security-policy", ["default-src 'self'"]),
        ("throttle", "web-burst", [401] * 12),
        ("accounts", "web-defaults", [303]),
    ],
)
def test_a_breach_is_told(check: str, path: str, value: Any) -> None:
    assert len(CHECKS[check](evidence(changed(path, value)).subject(Web))) == 1


@pytest.mark.parametrize(
    ("check", "path", "value"),
    [
        ("handshakes", "web-able/TLSv1", False),
        ("handshakes", "web-tls/0/versions/TLSv1", {"outcome": "unreachable", "suite": ""}),
        ("handshakes", "web-tls", []),
        ("anonymous", "web-anonymous/0", seen("GET /", "none", 0)),
        ("anonymous", "web-admitted/0", seen("GET /healthz", "nginx", 502)),
        ("anonymous", "web-admitted/0", seen("GET /healthz", "login", 302)),
        ("endings", "web-endings/0", seen("short", "login", 302, moment="before")),
        ("endings", "web-endings/3", seen("short", "none", 0, moment="after")),
        ("cookies", "web-cookies", []),
        ("origins", "web-origins/0", seen("POST, own", "nginx", 403, own=True)),
        ("accounts", "web-defaults", [429, 429]),
        ("accounts", "web-defaults", [401, 502]),
        ("accounts", "web-defaults", []),
        ("throttle", "web-beside", 429),
        ("throttle", "web-beside", 0),
        ("throttle", "web-burst", [502] * 12),
    ],
)
def test_what_proves_nothing_is_not_measured(check: str, path: str, value: Any) -> None:
    with pytest.raises(Unmeasured):
        CHECKS[check](evidence(changed(path, value)).subject(Web))


@pytest.mark.parametrize("junk", [None, 7, "text", [], {}, [[]], [{}], {"a": None}])
@pytest.mark.parametrize("check", CHECKS)
def test_junk_is_nobodys_pass(check: str, junk: Any) -> None:
    masters = "none" if junk is None else junk
    host = evidence(dict.fromkeys(good(), junk), gate={} if junk is None else junk, nginx=str(junk), masters=masters)
    with pytest.raises(Unmeasured):
        CHECKS[check](host.subject(Web))


@pytest.mark.parametrize(
    ("check", "old", "new"),
    [
        ("unguarded", "auth_request /_gate;", ""),
        (
            "unguarded",
            "location / {",
            "location /healthz { auth_request off; proxy_pass http://gateway; } location / {",
        ),
        ("unguarded", "satisfy all;", "satisfy any; allow 10.78.0.0/24; deny all;"),
        ("spoofed", "X-Forwarded-For $remote_addr", "X-Forwarded-For $proxy_add_x_forwarded_for"),
        ("spoofed", 'proxy_set_header X-Remote-User "";', ""),
        ("spoofed", 'proxy_set_header Cookie "";', ""),
        ("listeners", "listen 10.78.0.1:443 ssl;", "listen [::]:443 ssl;"),
    ],
)
def test_a_hole_in_nginxs_settings_is_told(check: str, old: str, new: str) -> None:
    assert old in NGINX
    assert CHECKS[check](evidence(good(), nginx=NGINX.replace(old, new)).subject(Web))


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
    ("check", "gate"),
    [
        ("patience", {"settings": {"attempts": 100, "window": 60, "lockout": 300}}),
        ("patience", {"settings": {"attempts": 6, "window": 60, "lockout": 300}}),
        ("patience", {"settings": {"attempts": 5, "window": 59, "lockout": 300}}),
        ("patience", {"settings": {"attempts": 5, "window": 60, "lockout": 1}}),
        ("limits", {"settings": {"idle": 1800, "absolute": 2592000}}),
        ("limits", {"settings": {"idle": 7200, "absolute": 28800}}),
        ("limits", {"sessions": [{"age": 30000.0}]}),
        ("accounts", {"schemes": ["scrypt$15$8$3", "other"]}),
        ("accounts", {"schemes": ["scrypt$10$8$1"]}),
        ("accounts", {"password_least": 8}),
    ],
)
def test_a_lax_gate_is_told(check: str, gate: World) -> None:
    assert len(CHECKS[check](evidence(good(), gate=report() | gate).subject(Web))) == 1


@pytest.mark.parametrize(
    ("section", "change", "check"),
    [
        ("answers", {"nothing": 200}, lambda one: one.open_doors([])),
        ("answers", {"wrong": 200}, lambda one: one.open_doors([])),
        ("answers", {"forged": 200}, lambda one: one.open_doors([])),
        ("settings", {"mode": "none"}, lambda one: one.open_doors([])),
        ("settings", {"by-reference": False}, lambda one: one.open_doors([])),
        ("settings", {"proxies": ["172.30.0.0/16"]}, lambda one: one.open_doors([])),
        ("settings", {"real-ip-fallback": None}, lambda one: one.open_doors([])),
        ("settings", {"rate": None}, Gateways.unlimited),
        ("settings", {"rate": {"maxAttempts": 10, "windowMs": 60000, "lockoutMs": 300000}}, Gateways.unlimited),
        ("burst", {"attempts": [401] * 12}, Gateways.untiring),
        ("strength", {"length": 8, "bits": 24}, Gateways.weak_tokens),
        ("strength", {"length": 40, "bits": 0}, Gateways.weak_tokens),
        ("strength", {"filler": True}, Gateways.weak_tokens),
        *(
            ("settings", change, lambda one: one.loose_origins(["agent.example", "other.example"]))
            for change in (
                {"origins": ["*"]},
                {"origins": []},
                {"origins": ["https://agent.example", "https://other.example"]},
                {"origins": ["http://agent.example"]},
                {"origins": ["https://agent.example.evil"]},
                {"host-header-fallback": True},
            )
        ),
    ],
)
def test_a_lax_gateway_is_told(section: str, change: World, check: Callable[[Gateways], list[str]]) -> None:
    assert check(evidence(good()).subject(Gateways)) == []
    lax = gateway()
    lax[section] |= change
    assert check(evidence(good(), gateways=[lax]).subject(Gateways))


def test_a_gateway_that_refuses_everybody_proves_nothing() -> None:
    deaf = gateway()
    deaf["answers"]["right"] = 401
    with pytest.raises(Unmeasured):
        evidence(good(), gateways=[deaf]).subject(Gateways).open_doors([])
    with pytest.raises(Unmeasured):
        evidence(good(), gateways=[]).subject(Gateways)


def test_a_gateway_that_asks_nobody_is_told_although_it_knows_no_token() -> None:
    lax = gateway()
    lax["settings"]["mode"] = "none"
    lax["answers"] = {"nothing": 404, "wrong": 404}
    assert len(evidence(good(), gateways=[lax]).subject(Gateways).open_doors([])) == 3


@pytest.mark.parametrize(
    ("section", "said", "check"),
    [
        ("answers", {"problem": "no such process"}, lambda one: one.open_doors([])),
        ("burst", {"problem": "no such process"}, Gateways.untiring),
        ("burst", {"attempts": [429] * 12, "beside": 404}, Gateways.untiring),
        ("burst", {"attempts": ["timeout"] * 12, "beside": 404}, Gateways.untiring),
        ("burst", {"attempts": [401] * 10, "beside": 404}, Gateways.untiring),
        ("burst", {"attempts": [401] * 10 + [429] * 2, "beside": 429}, Gateways.untiring),
    ],
)
def test_a_gateway_that_was_not_tried_or_locks_everybody_out_is_unmeasured(
    section: str, said: World, check: Callable[[Gateways], list[str]]
) -> None:
    odd = gateway()
    odd[section] = said
    with pytest.raises(Unmeasured):
        check(evidence(good(), gateways=[odd]).subject(Gateways))
