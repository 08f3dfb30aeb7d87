"""The evidence of a host whose VPN, clock and emergency access are as they must be; tests break one thing at a time."""

from __future__ import annotations

import datetime
import json
from typing import Any, TypeVar

from clawkeep.base import clock
from clawkeep.evidence.document import HostEvidence
from clawkeep.site.inventory import Peer

World = dict[str, Any]
T = TypeVar("T")

NOW = 1_790_000_000  # 2026-09-21
ANNA_KEY = "A" * 42 + "A="
BOB_KEY = "B" * 42 + "A="
OFFLINE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGh1AI1vzYg3syJoNJrAi7LwSruIY87+sosFKfjYtzG8"
ANNA = Peer(
    name="anna",
    public_key=ANNA_KEY,
    address4="10.78.0.2",
    address6="fd5e:c1a0:78::2",
    owner="Anna",
    expires=datetime.date(2026, 12, 1),
)
TRACKING = "C6336401,198.51.100.123,2,1790000000.1,0.000012,0.000010,0.000020,-1.2,0.0,0.01,0.002,0.001,64.2,Normal"
SOURCE = "^,*,198.51.100.123,1,6,377,12,0.000010,0.000011,0.000200"


def command(value: Any, status: int = 0) -> World:
    kind = "lines" if isinstance(value, str) else "json"
    return {"argv": ["x"], "status": status, "truncated": False, kind: value.splitlines() if kind == "lines" else value}


def entry(path: str, mode: int = 0o600) -> World:
    return {"path": path, "kind": "file", "uid": 0, "gid": 0, "mode": mode, "acl": []}


def good() -> World:
    """The inside document, new at each call."""
    commands = {
        "wireguard": command(
            {
                "present": True,
                "interfaces": [{"name": "wg0", "has-key": True, "public": "H" * 42 + "A=", "port": 51820}],
                "peers": [
                    {
                        "interface": "wg0",
                        "public": ANNA_KEY,
                        "preshared": True,
                        "allowed": ["10.78.0.2/32", "fd5e:c1a0:78::2/128"],
                        "handshake": NOW - 60,
                    }
                ],
            }
        ),
        "chrony-tracking": command(TRACKING),
        "chrony-sources": command(SOURCE),
        "clock-units": command(
            "Id=chrony.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n\n"
            "Id=systemd-timesyncd.service\nLoadState=masked\nActiveState=inactive"
        ),
        "emergency-sessions": command("  4 2000 ops seat0 user -"),
        "emergency-set": command({"nftables": [{"metainfo": {}}, {"set": {"name": "emergency"}}]}),
        "emergency-seal": command("Id=clawkeep-breakglass-seal.service\nLoadState=loaded\nUnitFileState=enabled"),
        "tailscale-status": command(
            {"BackendState": "Running", "CapMap": [], "Self": {"KeyExpiry": "2027-01-01T00:00:00Z"}}
        ),
        "tailscale-prefs": command({"AdvertiseRoutes": None, "RunSSH": False, "ExitNodeID": ""}),
        "tailscale-serve": command({"TCP": {"443": {"HTTPS": True}}}),
    }
    facts = {
        "vpn-seen": {ANNA_KEY: NOW - 600},
        "clock-now": float(NOW),
        "vpn-files": [entry("/etc/clawkeep/vpn", 0o700), entry("/etc/clawkeep/vpn/private.key")],
        "tailscale": {"present": True, "running": True},
        "emergency": {
            "user": "clawkeep-emergency",
            "exists": True,
            "locked": True,
            "expires": "1",
            "today": NOW // 86400,
            "keys": f"# note\nrestrict,pty {OFFLINE} offline\n",
            "own-keys": [],
            "opening": None,
            "sshd": None,
            "processes": [],
            "files": [entry("/usr/local/sbin/clawkeep-breakglass", 0o755)],
        },
    }
    return {"schema": 1, "commands": commands, "facts": facts, "problems": {}}


def controller(began: float = NOW - 20, ended: float = NOW + 20) -> World:
    """What the machine that verifies notes of when it asked the host."""
    times = [datetime.datetime.fromtimestamp(at, datetime.UTC) for at in (began, ended)]
    facts = {"measured": dict(zip(("began", "ended"), map(clock.written, times), strict=True))}
    return {"schema": 1, "commands": {}, "facts": facts, "problems": {}}


def asked(kind: type[T], world: World | None = None, **vantages: World) -> T:
    """The subject `kind` of a host with that inside document, measured at `NOW` where no `controller` is given."""
    vantages = {"controller": controller(), **vantages}
    raw = {"schema": 1, "host": "alpha", "inside": world or good(), "vantages": vantages}
    return HostEvidence("alpha", json.loads(json.dumps(raw))).subject(kind)
