"""VPN, clock and emergency access as the evidence has them: good, broken in one place, and misshapen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from clawkeep.base import clock
from clawkeep.base.verdict import NotApplicable, Unmeasured, Verdict
from clawkeep.collector import vpn as collected
from clawkeep.evidence.document import HostEvidence
from clawkeep.subjects.entry.colleague import Colleague
from clawkeep.subjects.entry.tailscale import Tailscale
from clawkeep.subjects.entry.wireguard import Wireguard
from clawkeep.subjects.host.clock import Clock
from clawkeep.subjects.host.emergency import Emergency
from clawkeep.subjects.measurement import Measurement

from .worlds import ANNA, ANNA_KEY, BOB_KEY, NOW, OFFLINE, asked, command, controller, entry, good

DAY = 86400

Change = Callable[[dict[str, Any]], object]


def wireguard_says(found: Wireguard) -> list[str]:
    return [
        *found.missing("wg0", 51820),
        *found.other_peers([ANNA]),
        *found.other_networks([ANNA]),
        *found.without_preshared_key(),
        *found.expired([ANNA]),
        *found.idle([ANNA], 90),
        *found.readable_keys(),
    ]


def clock_says(found: Clock) -> list[str]:
    return [*found.not_followed(1.0), *found.disagrees(60.0), *found.other_sources(["198.51.100.123"]), *found.rivals()]


def emergency_says(found: Emergency) -> list[str]:
    return [*found.missing(OFFLINE), *found.unsealed()]


def tailscale_says(found: Tailscale) -> list[str]:
    return [*found.offers({22, 443}), *found.lasting_keys()]


SAYS: dict[type, Callable[[Any], list[str]]] = {
    Wireguard: wireguard_says,
    Clock: clock_says,
    Emergency: emergency_says,
    Tailscale: tailscale_says,
}
KINDS = pytest.mark.parametrize("kind", SAYS)


def peers(world: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = world["commands"]["wireguard"]["json"]["peers"]
    return found


def peer(**changes: Any) -> Change:
    return lambda world: peers(world)[0].update(changes)


def fact(name: str, **changes: Any) -> Change:
    return lambda world: world["facts"][name].update(changes)


def says(name: str, value: Any) -> Change:
    return lambda world: world["commands"].update({name: command(value)})


def served(**handler: str) -> dict[str, Any]:
    """What Tailscale tells of a site on its port 443, with one handler."""
    return {"TCP": {"443": {"HTTPS": True}}, "Web": {"host.ts.net:443": {"Handlers": {"/": handler}}}}


TRACKING = "C6336401,198.51.100.123,{stratum},1790000000.1,{offset},0,0,-1.2,0.0,0.01,0.002,0.001,64.2,{leap}"

BROKEN: list[tuple[type, str, Change]] = [
    (Wireguard, "runs and is not declared", lambda w: peers(w).append(peers(w)[0] | {"public": BOB_KEY})),
    (Wireguard, "does not run", lambda w: peers(w).clear()),
    (Wireguard, "may speak for all of 10.0.0.0/8", peer(allowed=["10.0.0.0/8", "fd5e:c1a0:78::2/128"])),
    (Wireguard, "not with the two addresses", peer(allowed=["10.78.0.3/32", "fd5e:c1a0:78::2/128"])),
    (Wireguard, "not with the two addresses", peer(allowed=[])),
    (Wireguard, "both have 10.78.0.2/32", lambda w: peers(w).append(peers(w)[0] | {"public": BOB_KEY})),
    (Wireguard, "has no preshared key", peer(preshared=False)),
    (Wireguard, "runs on two interfaces", lambda w: peers(w).append(peers(w)[0] | {"interface": "wg1"})),
    (Wireguard, "was last heard of", lambda w: (peer(handshake=0)(w), fact("vpn-seen", **{ANNA_KEY: 1})(w))),
    (
        Wireguard,
        "listens on UDP 51821",
        lambda w: w["commands"]["wireguard"]["json"]["interfaces"][0].update(port=51821),
    ),
    (Wireguard, "nobody declared", lambda w: w["commands"]["wireguard"]["json"]["interfaces"][0].update(name="wg7")),
    (
        Wireguard,
        "has no private key",
        lambda w: w["commands"]["wireguard"]["json"]["interfaces"][0].update({"has-key": False}),
    ),
    (
        Wireguard,
        "can be read by others",
        lambda w: w["facts"]["vpn-files"].append(entry("/etc/wireguard/wg0.conf", 0o640)),
    ),
    (Clock, "nothing keeps the clock right", says("clock-units", "Id=chrony.service\nActiveState=inactive")),
    (
        Clock,
        "follows nobody",
        says("chrony-tracking", TRACKING.format(stratum=0, offset="0.0", leap="Not synchronised")),
    ),
    (Clock, "off by -1.5 s", says("chrony-tracking", TRACKING.format(stratum=2, offset="-1.5", leap="Normal"))),
    (Clock, "off by nan s", says("chrony-tracking", TRACKING.format(stratum=2, offset="nan", leap="Normal"))),
    (Clock, "clock is 1 h ahead of", lambda w: w["facts"].update({"clock-now": NOW + 3621})),
    (Clock, "clock is 365 d behind", lambda w: w["facts"].update({"clock-now": NOW - 20 - 86400 * 365})),
    (Clock, "answered none", says("chrony-sources", "^,*,198.51.100.123,1,6,0,12,0.0,0.0,0.0")),
    (Clock, "selected none", says("chrony-sources", "^,?,198.51.100.123,0,6,0,12,0.0,0.0,0.0")),
    (Clock, "does not list", says("chrony-sources", "^,*,pool.ntp.org,1,6,377,12,0.0,0.0,0.0")),
    (
        Clock,
        "sets the clock, too",
        says(
            "clock-units",
            "Id=chrony.service\nActiveState=active\nUnitFileState=enabled\n\nId=ntpsec.service\nActiveState=active",
        ),
    ),
    (Emergency, "there is no emergency account", fact("emergency", exists=False)),
    (Emergency, "has a password", fact("emergency", locked=False)),
    (Emergency, "has not expired", fact("emergency", expires="")),
    (Emergency, "has not expired", fact("emergency", expires=str(NOW // 86400 + 1))),
    (Emergency, "other keys", fact("emergency", keys="ssh-ed25519 AAAA other\n")),
    (Emergency, "other keys", fact("emergency", keys=f"{OFFLINE}\nssh-ed25519 AAAA other\n")),
    (
        Emergency,
        "opens the account past its seal",
        fact("emergency", **{"own-keys": ["/var/lib/x/.ssh/authorized_keys"]}),
    ),
    (Emergency, "is past its end", fact("emergency", opening={"until": NOW - 5})),
    (Emergency, "is still open", fact("emergency", opening={"until": NOW + 500})),
    (Emergency, "is past its end", fact("emergency", opening="not JSON")),
    (Emergency, "sshd admits", fact("emergency", sshd="AllowUsers clawkeep-emergency\n")),
    (Emergency, "a process of", fact("emergency", processes=[{"pid": 9, "name": "bash"}])),
    (Emergency, "a session of", says("emergency-sessions", "7 990 clawkeep-emergency - user -")),
    (
        Emergency,
        "lets port 22 in",
        says("emergency-set", {"nftables": [{"set": {"elem": [{"elem": {"val": 22, "timeout": 1800}}]}}]}),
    ),
    (Emergency, "outlive a reboot", says("emergency-seal", "Id=clawkeep-breakglass-seal.service\nLoadState=loaded")),
    (Emergency, "rewritten by others", fact("emergency", files=[entry("/usr/local/sbin/clawkeep-breakglass", 0o777)])),
    (Tailscale, "by a funnel", says("tailscale-serve", {"AllowFunnel": {"host.ts.net:443": True}})),
    (
        Tailscale,
        "straight to 127.0.0.1:18789",
        says("tailscale-serve", {"TCP": {"443": {"TCPForward": "127.0.0.1:18789"}}}),
    ),
    (Tailscale, "port 8443, which is not declared", says("tailscale-serve", {"TCP": {"8443": {"HTTPS": True}}})),
    (
        Tailscale,
        "by a funnel",
        says("tailscale-serve", {"Foreground": {"session": {"AllowFunnel": {"host.ts.net:443": True}}}}),
    ),
    (
        Tailscale,
        "port 80, which is not declared",
        says("tailscale-serve", {"Services": {"svc:agent": {"TCP": {"80": {"HTTP": True}}}}}),
    ),
    *(
        (Tailscale, "past the front door", says("tailscale-serve", served(Proxy=target)))
        for target in ("http://127.0.0.1:18789", "localhost:18789/", "18789", "http://localhost", "unix:/run/gate.sock")
    ),
    (Tailscale, "the files of /root", says("tailscale-serve", served(Path="/root"))),
    (Tailscale, "the route 10.0.0.0/8", says("tailscale-prefs", {"AdvertiseRoutes": ["10.0.0.0/8"], "RunSSH": False})),
    (Tailscale, "own ssh is on", says("tailscale-prefs", {"RunSSH": True})),
    (Tailscale, "never expires", says("tailscale-status", {"BackendState": "Running", "Self": {"KeyExpiry": None}})),
]


@KINDS
def test_the_good_host_has_nothing_to_say(kind: type) -> None:
    assert SAYS[kind](asked(kind)) == []


@pytest.mark.parametrize(("kind", "sentence", "change"), BROKEN, ids=[f"{k.__name__}: {s}" for k, s, _ in BROKEN])
def test_what_is_broken_is_told(kind: type, sentence: str, change: Change) -> None:
    world = good()
    change(world)
    assert any(sentence in said for said in SAYS[kind](asked(kind, world)))


def test_the_front_door_may_be_served_under_the_tailnets_name() -> None:
    world = good()
    for target in ("https+insecure://127.0.0.1:443", "https://gate.example/"):
        world["commands"]["tailscale-serve"] = command(served(Proxy=target))
        assert tailscale_says(asked(Tailscale, world)) == []


@KINDS
@pytest.mark.parametrize("junk", [None, 7, "text", [], [[]], {"a": None}, {"peers": 3}])
def test_junk_is_not_measured(kind: type, junk: object) -> None:
    world = good()
    world["facts"] = dict.fromkeys(world["facts"], junk)
    for key in world["commands"]:
        world["commands"][key] = {"argv": ["x"], "status": 0, "json": junk, "truncated": False}
    with pytest.raises(Verdict):
        SAYS[kind](asked(kind, world))


def read_by(kind: type) -> list[str]:
    """What a subject reads of the host's own document, as `facts/vpn-seen`."""
    raw = {"schema": 1, "host": "alpha", "inside": good(), "vantages": {"controller": controller()}}
    host = HostEvidence("alpha", raw)
    SAYS[kind](host.subject(kind))
    return sorted({path for name, path in host.cited if name == "inside"})


PLACES = [pytest.param(kind, path, id=f"{kind.__name__} {path}") for kind in SAYS for path in read_by(kind)]
OPTIONAL = {  # what may be missing, because it is nothing then
    "facts/vpn-seen": [None],  # no memory yet: the handshakes alone count
    "commands/tailscale-serve": [None],  # nothing is served
    "commands/emergency-set": [None],  # no such set: ssh is open to administrators anyway
}


@pytest.mark.parametrize(("kind", "path"), PLACES)
@pytest.mark.parametrize("junk", [None, 7, "text", [[]], {"a": None}], ids=repr)
def test_junk_in_one_place_alone_is_nobodys_pass(kind: type, path: str, junk: object) -> None:
    world = good()
    section, key = path.split("/")
    world[section][key] = (
        {"argv": ["x"], "status": 0, "json": junk, "truncated": False} if section == "commands" else junk
    )
    if junk in OPTIONAL.get(path, []):
        return
    try:
        said = SAYS[kind](asked(kind, world))
    except Unmeasured:
        return
    assert said != []


@KINDS
def test_nothing_collected_is_not_measured(kind: type) -> None:
    with pytest.raises(Unmeasured):
        asked(kind, {"schema": 1, "commands": {}, "facts": {}, "problems": {}})


def test_a_peer_of_whom_nobody_kept_count_is_not_measured() -> None:
    world = good()
    peer(handshake=0)(world)
    world["facts"]["vpn-seen"] = None
    with pytest.raises(Unmeasured, match="nobody noted since when"):
        asked(Wireguard, world).idle([ANNA], 90)


def test_a_peer_expires_by_the_clock_of_the_machine_that_verifies() -> None:
    world = good()
    later = controller(NOW + 80 * DAY, NOW + 80 * DAY + 9)
    assert "expired on 2026-12-01" in asked(Wireguard, world, controller=later).expired([ANNA])[0]
    world["facts"]["clock-now"] = NOW + 80 * DAY  # the host's own clock is ahead: nothing has expired
    assert asked(Wireguard, world).expired([ANNA]) == []


@pytest.mark.parametrize("off", [-400 * DAY, -3600, 3600, 400 * DAY])
def test_a_host_with_a_wrong_clock_dates_no_handshake(off: int) -> None:
    world = good()
    world["facts"]["clock-now"] = NOW + off
    world["facts"]["vpn-seen"] = {ANNA_KEY: NOW + off - 600}
    with pytest.raises(Unmeasured, match="clock is or was wrong"):
        asked(Wireguard, world).idle([ANNA], 90)


def test_a_handshake_of_tomorrow_is_not_measured_although_the_clock_is_right_again() -> None:
    world = good()
    peer(handshake=NOW + DAY)(world)
    with pytest.raises(Unmeasured, match="clock is or was wrong"):
        asked(Wireguard, world).idle([ANNA], 90)


def test_the_emergency_account_has_expired_by_both_clocks_or_not_at_all() -> None:
    today = NOW // DAY
    world = good()
    fact("emergency", expires=str(today + 10), today=today + 20)(world)  # put right, the clock would open it again
    assert "has not expired" in asked(Emergency, world).unsealed()[0]
    fact("emergency", expires=str(today - 10), today=today - 20)(world)  # open by the clock that lets people in
    assert "has not expired" in asked(Emergency, world).unsealed()[0]
    fact("emergency", expires=str(today), today=today)(world)
    assert asked(Emergency, world).unsealed() == []


def dated(read: object) -> object:
    """A subject whose time was asked for: a VPN's interfaces are known before it."""
    return read.measurement if isinstance(read, Wireguard) else read


@pytest.mark.parametrize("kind", [Wireguard, Clock, Emergency])
@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"asked": "yesterday"},
        {"asked": 7},
        {"measured": None},
        {"measured": {"began": "2026-09-21T00:00:00Z"}},
        {"measured": {"began": "2026-09-21T00:00:00Z", "ended": "2026-09-20T23:59:59Z"}},
    ],
)
def test_without_the_time_of_the_measurement_nothing_is_dated(kind: type, facts: dict[str, Any]) -> None:
    document = {"schema": 1, "commands": {}, "facts": facts, "problems": {}}
    with pytest.raises(Unmeasured):
        dated(asked(kind, controller=document))


def test_evidence_of_an_older_clawkeep_is_dated_by_its_run_and_its_probes() -> None:
    old = {"schema": 1, "finished": "2026-09-21T14:13:20Z", "facts": {"asked": "2026-09-21T14:13:20Z"}}
    found = asked(Measurement, controller=old, outside={"schema": 1, "finished": "2026-09-21T14:20:00Z"})
    assert (clock.written(found.began), clock.written(found.ended)) == ("2026-09-21T14:13:20Z", "2026-09-21T14:20:00Z")
    assert found.ahead(NOW) == 0.0
    assert asked(Measurement, controller=old).ahead(NOW + 31) == 30.0


def test_a_host_without_a_key_file_is_not_measured() -> None:
    world = good()
    world["facts"]["vpn-files"] = []
    with pytest.raises(Unmeasured, match=r"private\.key"):
        asked(Wireguard, world).readable_keys()


def test_a_site_without_time_servers_or_offline_key_is_told() -> None:
    assert "site_time_servers" in asked(Clock).other_sources([])[0]
    assert "site_emergency_key" in asked(Emergency).missing(None)[0]


def test_a_host_without_tailscale_has_nothing_to_prove_and_a_mute_daemon_proves_nothing() -> None:
    world = good()
    world["facts"]["tailscale"] = {"present": False, "running": False}
    with pytest.raises(NotApplicable):
        asked(Tailscale, world)
    world["facts"]["tailscale"] = {"present": False, "running": True}
    with pytest.raises(Unmeasured, match="not there to be asked"):
        asked(Tailscale, world)


def test_secret_keys_stay_on_the_host() -> None:
    private, preshared = "c2VjcmV0" + "x" * 35 + "=", "cHNr" + "y" * 39 + "="
    dump = f"wg0\t{private}\tPUB=\t51820\toff\nwg0\tPEER=\t{preshared}\t203.0.113.60:4000\t10.78.0.2/32\t5\t1\t2\toff\n"
    kept = str(collected.parse(dump))
    assert private not in kept
    assert preshared not in kept
    assert "203.0.113.60" not in kept
    assert collected.parse(dump)["peers"][0]["preshared"] is True
    with pytest.raises(ValueError, match="3 words"):
        collected.parse("a\tb\tc\n")


# --- a colleague's device --------------------------------------------------------------------------------------------


def seen(stranger: str = "silent", declared: str = "answered", outcome: str = "open", **facts: Any) -> Colleague:
    inside = ["10.78.0.1", "fd5e:c1a0:78::1"]
    connects = {f"10.78.0.1:{port}": outcome for port in (22, 443)} | {
        f"[fd5e:c1a0:78::1]:{port}": "open" for port in (22, 443)
    }
    shakes = {"203.0.113.10": {"stranger": stranger, "declared": declared}}
    document = {"schema": 1, "facts": {"inside": inside, "connects": connects, "handshakes": shakes} | facts}
    return asked(Colleague, None, vpn=document)


def test_a_colleague_comes_in_and_a_stranger_hears_nothing() -> None:
    assert seen().closed((22, 443)) == seen().strangers_answered() == []


def test_a_door_that_is_closed_to_colleagues_is_told() -> None:
    assert len(seen(outcome="timeout").closed((22, 443))) == 2


@pytest.mark.parametrize("heard", ["answered", "refused", "64 bytes of something else"])
def test_an_answer_to_a_stranger_is_told(heard: str) -> None:
    assert len(seen(stranger=heard).strangers_answered()) == 1


@pytest.mark.parametrize("declared", ["silent", "not tried", "refused"])
def test_silence_without_its_control_is_not_measured(declared: str) -> None:
    with pytest.raises(Unmeasured, match="silence proves nothing"):
        seen(declared=declared).strangers_answered()


@pytest.mark.parametrize("change", [{"handshakes": {}}, {"handshakes": None}, {"handshakes": {"a": 3}}])
def test_no_handshake_is_not_measured(change: dict[str, Any]) -> None:
    with pytest.raises(Unmeasured):
        seen(**change).strangers_answered()


def test_one_family_alone_is_not_measured() -> None:
    with pytest.raises(Unmeasured, match="each family"):
        seen(inside=["10.78.0.1"]).closed((22,))
    with pytest.raises(Unmeasured, match="nobody tried"):
        seen().closed((80,))
