"""nginx's limits as they hold: what counts a request where, for whom, and what is told of each way around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.roles.conftest import render  # noqa: F401 - a fixture

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import HostEvidence
from clawkeep.subjects.entry.web import Web

OWN = ("10.78.0.1", "fd5e:c1a0:78::1")
RATE = {"attempts": 5, "per_seconds": 60, "lockout_seconds": 300}
ZONE, MAP, GEO = "limit_req_zone $client", "map $vpn_peer $client {", "geo $vpn_peer {"
PATTERN = "(?<net64>.{8}).{8}$"
ROOT = "location / {"
REQUESTS = "limit_req zone=requests burst=200 nodelay;"
COUNTED_LOGIN = f"            {REQUESTS}\n"
COUNTED_EVERYWHERE = f"\n    {REQUESTS}\n"
FRONT = "        location = /login {\n"


@pytest.fixture(scope="module")
def nginx(render: Callable[..., str]) -> str:  # noqa: F811
    """nginx's settings as the role renders them."""
    return render("reverse_proxy", "etc/nginx/nginx.conf.j2", reverse_proxy_server_name="agent.example")


def web(text: str) -> Web:
    lines = ["# configuration file /etc/nginx/nginx.conf:", *text.splitlines()]
    commands = {"nginx-T": {"argv": ["nginx", "-T"], "status": 0, "lines": lines}}
    raw: dict[str, Any] = {"schema": 1, "host": "alpha", "inside": {"schema": 1, "commands": commands, "facts": {}}}
    return Web({}, HostEvidence("alpha", raw))


def judged(text: str, own: tuple[str, ...] = OWN) -> list[str]:
    return web(text).unlimited(RATE, own)


def changed(text: str, old: str, new: str) -> str:
    assert old in text, old
    return text.replace(old, new)


def test_what_the_role_renders_limits_every_request(nginx: str) -> None:
    assert judged(nginx) == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        # The login page has a limit of its own, for POST alone, and inherits none.
        (
            COUNTED_LOGIN,
            "",
            "= /login does not limit every request: the zone logins does not count GET, HEAD, OTHER, PUT",
        ),
        # The same elsewhere, also deeper down; limits that only look on; and none at all.
        (ROOT, f"{ROOT} limit_req zone=logins;", "/ does not limit every request: the zone logins does not count GET"),
        (ROOT, "location /a/ { location /a/b { limit_req zone=logins; } } location / {", "/a/b does not limit every"),
        (ROOT, f"{ROOT} limit_req_dry_run on;", "location / does not limit every request: it has no limit"),
        (ROOT, f"{ROOT} limit_conn_dry_run on;", "location / does not limit connections: it has no limit"),
        ("limit_req_status 429;", "limit_req_dry_run on;", "= /login does not limit logins: it has no limit"),
        (COUNTED_EVERYWHERE, "\n", "the server _ does not limit every request: it has no limit"),
        ("    limit_conn connections 100;\n", "", "location /gate/ does not limit connections: it has no limit"),
    ],
)
def test_a_place_that_does_not_count_every_request_is_told(nginx: str, old: str, new: str, told: str) -> None:
    assert any(told in one for one in judged(changed(nginx, old, new)))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("rate=50r/s", "rate=51r/s", "every request: the zone requests lets 3060 requests a minute through, not 3000"),
        (
            "zone=requests burst=200",
            "zone=requests burst=201",
            "every request: the zone requests lets 201 more through",
        ),
        ("limit_conn connections 100", "limit_conn connections 101", "lets 101 connections through, not 100 at most"),
        ("rate=10r/m", "rate=11r/m", "logins: the zone logins lets 11 requests a minute through, not 10 at most"),
        ("rate=10r/m", "rate=1r/s", "logins: the zone logins lets 60 requests a minute through, not 10 at most"),
        (
            "zone=logins burst=10",
            "zone=logins burst=11",
            "logins: the zone logins lets 11 more through at once, not 10",
        ),
        (
            "limit_req zone=logins burst=10 nodelay;",
            "",
            "logins: the zone requests lets 3000 requests a minute through",
        ),
    ],
)
def test_a_limit_that_lets_more_through_is_told(nginx: str, old: str, new: str, told: str) -> None:
    assert any(told in one for one in judged(changed(nginx, old, new)))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        # What the client writes, or what has nothing to do with it.
        (ZONE, "limit_req_zone $http_x_key", "counts by $http_x_key, which is not the client's address"),
        (ZONE, "limit_req_zone $client$uri", "counts by $uri, which is not the client's address"),
        (MAP, "map $cookie_vip $client {", "counts by $cookie_vip, which is not the client's address"),
        (GEO, "geo $http_x_real_ip $vpn_peer {", "counts by $vpn_peer, which is not the client's address"),
        ("satisfy all;", "set $client $binary_remote_addr;", "counts by $client, which is set while a request is"),
        ("satisfy all;", "set_real_ip_from 0.0.0.0/0;", "counts by an address that is taken from a header (real_ip)"),
        # One key for several clients, or several for one.
        (ZONE, "limit_req_zone same", "counts 10.78.0.2 and 10.78.0.3 as one, so that one client locks out others"),
        (ZONE, "limit_req_zone $client_net", "counts fd5e:c1a0:78::2 and fd5e:c1a0:78::3 as one"),
        ("fd5e:c1a0:78::/64 1;", "", "counts fd5e:c1a0:78::2 and fd5e:c1a0:78::3 as one"),
        (ZONE, "limit_req_zone $binary_remote_addr", "counts 2001:db8:7::7 and 2001:db8:7::8 apart"),
        ("default 0;", "default 1;", "counts 2001:db8:7::7 and 2001:db8:7::8 apart"),
        ("fd5e:c1a0:78::/64 1;", "fd5e:c1a0:78::/64 1; 2a00::/12 1;", "counts 2a00::2 and 2a00::3 apart"),
        (PATTERN, "(?<net64>.{16})$", "counts 2001:db8:7::7 and 2001:db8:7::8 apart"),
        # No key for some.
        ("default $client_net; }", 'default $client_net; 0 ""; }', "does not count GET, HEAD, OTHER, POST, PUT"),
        ("default $binary_remote_addr;\n", 'default "";\n', "does not count GET, HEAD, OTHER, POST, PUT"),
        ("; POST $client", "; PUT $client", "does not limit logins: the zone logins does not count POST"),
        (ZONE, 'map $request_method $k { default $client; PURGE ""; } limit_req_zone $k', "does not count PURGE"),
        # What cannot be worked out.
        (MAP, f"{MAP} hostnames;", "counts by $client, a map with `hostnames`"),
        (GEO, f"{GEO} ranges;", "counts by $vpn_peer, a geo block with `ranges`"),
        (GEO, f"{GEO} proxy 10.78.0.0/24;", "counts by $vpn_peer, a geo block with `proxy 10.78.0.0/24`"),
        (PATTERN, "(?<net64>.{8})(.+)+$", "cannot be read here"),
        (PATTERN, "(?<net64>.{8}", "cannot be read here"),
        ("{ 1 $binary_remote_addr; default $client_net; }", "{ default $client; }", "maps that lead to each other"),
    ],
)
def test_a_key_that_counts_otherwise_is_told(nginx: str, old: str, new: str, told: str) -> None:
    assert any(told in one for one in judged(changed(nginx, old, new)))


@pytest.mark.parametrize(
    "place",
    [
        "location /in { proxy_pass http://gate/login; }",
        "location ~ ^/l { proxy_pass http://gate; }",
        "location ^~ /log { proxy_pass http://gate; }",
        "location /x { if ($arg_a) { proxy_pass http://gate/; } }",
        "location /x { proxy_pass http://unix:/run/clawkeep-gate/gate.sock; }",
    ],
)
def test_another_way_to_the_login_is_told(nginx: str, place: str) -> None:
    name = place.partition(" {")[0]
    assert any(f"the {name} does not limit logins" in one for one in judged(changed(nginx, FRONT, f"{place}\n{FRONT}")))


@pytest.mark.parametrize("place", ["location = /in { proxy_pass http://gate; }", "location /in/ { return 204; }"])
def test_a_place_that_does_not_lead_to_the_login_needs_no_limit_of_logins(nginx: str, place: str) -> None:
    assert judged(changed(nginx, FRONT, f"{place}\n{FRONT}")) == []


def test_another_name_of_the_gates_socket_is_known(nginx: str) -> None:
    socket = "    upstream two { server unix:/run/clawkeep-gate/gate.sock; }\n    upstream gateway {"
    text = changed(nginx, "    upstream gateway {", socket)
    text = changed(text, FRONT, "        location /x { proxy_pass http://two/login; }\n" + FRONT)
    assert any("the location /x does not limit logins" in one for one in judged(text))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("rate=50r/s", "rate=5r/s"),
        ("rate=10r/m", "rate=1r/m"),
        ("zone=logins burst=10 nodelay", "zone=logins burst=3 delay=1"),
        ("zone=logins burst=10 nodelay", "zone=logins"),
        ("limit_conn connections 100", "limit_conn connections 10"),
        ("limit_req_status 429;", "limit_req_dry_run off;"),
        # Each client has a smaller share: whole addresses and a /48 beside it.
        (
            "limit_req_zone $client zone",
            "limit_req_zone $server_zone zone=more:1m rate=1r/s; limit_req_zone $client zone",
        ),
        ("POST $client", "post $client"),
        (PATTERN, "(?<net64>.{6}).{10}$"),
        (
            "map $vpn_peer $client { 1 $binary_remote_addr;",
            "map $vpn_peer $client { volatile; 1 ${binary_remote_addr};",
        ),
        (f"{MAP} 1 $binary_remote_addr;", f"{MAP} 1 $remote_addr;"),
        (f"{MAP} 1 $binary_remote_addr;", f"{MAP} \\1 $binary_remote_addr;"),
        ("fd5e:c1a0:78::/64 1;", "fd00::/8 1;"),
        ("fd5e:c1a0:78::/64 1;", "fd5e:c1a0:78::/64 1; fd5e:c1a0:78::7 1;"),
        ("fd5e:c1a0:78::/64 1;", "fd5e:c1a0:78::/64 1; 203.0.113.0/24 1;"),
        # A place of its own that repeats the limit, and one inside it that inherits it.
        (ROOT, f"location /a/ {{ {REQUESTS} location /a/b {{ }} }} location / {{"),
        # Places that a client cannot ask for: what leads there has counted.
        (ROOT, "location = /x { internal; limit_req zone=logins; } location / {"),
        (ROOT, "location @x { limit_req zone=logins; } location / {"),
    ],
)
def test_what_limits_as_much_or_more_is_as_good(nginx: str, old: str, new: str) -> None:
    assert judged(changed(nginx, old, new)) == []


def test_the_limit_of_a_server_counts_where_the_whole_has_none(nginx: str) -> None:
    text = changed(nginx, COUNTED_EVERYWHERE, "\n")
    text = changed(text, "server_name _;", f"server_name _; {REQUESTS}")
    assert judged(changed(text, "satisfy all;", f"satisfy all; {REQUESTS}")) == []
    assert judged(text) != []


def test_the_rate_is_the_tiers(nginx: str) -> None:
    slower = {"attempts": 5, "per_seconds": 120, "lockout_seconds": 300}
    assert web(nginx).unlimited(slower, OWN) == [
        "the location = /login does not limit logins: the zone logins lets 10 requests a minute through, not 5 at most"
    ]
    # nginx knows no rate below one a minute.
    rare = {"attempts": 5, "per_seconds": 3600, "lockout_seconds": 3600}
    assert web(changed(nginx, "rate=10r/m", "rate=1r/m")).unlimited(rare, OWN) == []


def test_a_door_to_no_gate_is_not_measured(nginx: str) -> None:
    with pytest.raises(Unmeasured, match="no place that passes the login"):
        judged(changed(nginx, "proxy_pass http://gate;", "return 404;"))


@pytest.mark.parametrize("own", [("nonsense",), ("10.78.0.1/24",)])
def test_addresses_that_are_none_are_not_measured(nginx: str, own: tuple[str, ...]) -> None:
    with pytest.raises(Unmeasured):
        judged(nginx, own)


def test_a_pattern_that_takes_for_ever_is_not_tried(nginx: str) -> None:
    slow = changed(nginx, '"~(?s)^(?<net64>.{8}).{8}$" $net64;', '"~^(([0-9a-f:])+)+x$" $1;')
    slow = changed(slow, "map $binary_remote_addr $client_net", "map $remote_addr $client_net")
    assert any("cannot be read here" in one for one in judged(slow))
