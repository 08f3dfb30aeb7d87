"""The VPN as it runs, the clock, and emergency access. No key that is secret leaves the host, not even redacted.

Standard library only.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import time
from typing import Any, Dict, List, Optional

from clawkeep.collector import proc
from clawkeep.collector.recorder import Recorder

WIREGUARD = ("wg", "show", "all", "dump")
SECRET_FILES = ("/etc/clawkeep/vpn", "/etc/clawkeep/vpn/private.key", "/etc/clawkeep/vpn/psk", "/etc/wireguard")
SEEN = "/var/lib/clawkeep/vpn/seen.json"
NO_KEY = ("(none)", "", "off")
BREAKGLASS = "/etc/clawkeep/breakglass/"
OPEN = "/run/clawkeep/breakglass/"
EMERGENCY_SET = ("nft", "-j", "list", "set", "inet", "clawkeep", "emergency")
PREFERENCES = ("AdvertiseRoutes", "RunSSH", "ExitNodeID", "ExitNodeIP", "WantRunning", "ShieldsUp")
NODE = ("KeyExpiry", "AllowedIPs", "PrimaryRoutes", "Online", "ExitNodeOption")


def collect(rec: Recorder) -> None:
    """Record all of it."""
    rec.measure("wireguard", WIREGUARD, lambda: wireguard(rec))
    paths = [*SECRET_FILES, *glob.glob("/etc/clawkeep/vpn/psk/*"), *glob.glob("/etc/wireguard/*")]
    rec.note("vpn-files", [entry for entry in map(proc.entry, sorted(paths)) if entry is not None])
    rec.note("vpn-seen", _json(SEEN))
    rec.note("clock-now", time.time())
    tailscale(rec)
    clock(rec)
    emergency(rec)


def wireguard(rec: Recorder) -> Dict[str, Any]:
    """Every WireGuard interface and peer; of a secret key only whether there is one. Raises OSError when not listed."""
    if shutil.which("wg", path="/usr/bin:/usr/local/bin:/bin") is None:
        return {"present": False, "interfaces": [], "peers": []}
    said = rec.run("wireguard-dump", WIREGUARD, keep=False)
    if not said.ok:
        raise OSError(said.error or "wg ended with status %s" % said.status)
    return dict(parse(said.text), present=True)


def parse(text: str) -> Dict[str, Any]:
    """The lines of `wg show all dump` without their secrets: five words of an interface, nine of a peer."""
    interfaces: List[Dict[str, Any]] = []
    peers: List[Dict[str, Any]] = []
    for line in text.splitlines():
        words = line.split("\t")
        if len(words) == 5:
            interfaces.append(
                {"name": words[0], "has-key": words[1] not in NO_KEY, "public": words[2], "port": int(words[3])}
            )
        elif len(words) == 9:
            peers.append(
                {
                    "interface": words[0],
                    "public": words[1],
                    "preshared": words[2] not in NO_KEY,
                    "allowed": [] if words[4] == "(none)" else words[4].split(","),
                    "handshake": int(words[5]),
                }
            )
        else:
            raise ValueError("wg show all dump printed a line of %d words" % len(words))
    return {"interfaces": interfaces, "peers": peers}


def tailscale(rec: Recorder) -> None:
    """What Tailscale's node offers, if there is one: chosen fields, for its answers hold keys and names."""
    found = shutil.which("tailscale", path="/usr/bin:/usr/local/bin:/bin:/usr/sbin") is not None
    running = any(proc.status(pid).get("Name") == "tailscaled" for pid in proc.pids())
    rec.note("tailscale", {"present": found, "running": running})
    if not found:
        return

    def asked(key: str, *words: str) -> Any:
        said = rec.run(key, ["tailscale", *words], keep=False, parse="lines")
        if not said.ok:
            raise OSError(said.error or "it ended with status %s" % said.status)
        return json.loads(said.text or "null") or {}

    def status() -> Dict[str, Any]:
        answer = asked("tailscale-status", "status", "--json")
        own = answer.get("Self") or {}
        kept = {name: own.get(name) for name in NODE}
        return {"BackendState": answer.get("BackendState"), "Self": kept, "CapMap": sorted(own.get("CapMap") or {})}

    def preferences() -> Dict[str, Any]:
        answer = asked("tailscale-prefs", "debug", "prefs")
        return {name: answer.get(name) for name in PREFERENCES}

    rec.measure("tailscale-status", ("tailscale", "status", "--json"), status)
    rec.measure("tailscale-prefs", ("tailscale", "debug", "prefs"), preferences)
    rec.json("tailscale-serve", ["tailscale", "serve", "status", "--json"])


def clock(rec: Recorder) -> None:
    """What chrony says of the clock, and which other programs would set it."""
    rec.run("chrony-tracking", ["chronyc", "-c", "-n", "tracking"])
    rec.run("chrony-sources", ["chronyc", "-c", "-N", "sources"])
    units = ["chrony.service", "systemd-timesyncd.service", "ntpsec.service", "openntpd.service"]
    rec.run("clock-units", ["systemctl", "show", "--property=Id,ActiveState,UnitFileState", "--", *units])


def emergency(rec: Recorder) -> None:
    """The emergency account: sealed or open, by its own files, the account file, sshd's and the firewall's state."""
    settings = _json(BREAKGLASS + "settings.json")
    name = str(settings.get("user") or "") if isinstance(settings, dict) else ""
    shadow = [line.split(":") for line in (proc.read("/etc/shadow") or "").splitlines()]
    row = next((words for words in shadow if words[0] == name and len(words) > 7), None)
    uid = next((int(words[2]) for words in _passwd() if words[0] == name), None)
    rec.note(
        "emergency",
        {
            "user": name,
            "exists": uid is not None,
            "locked": None if row is None else row[1].startswith(("!", "*")),
            "expires": None if row is None else row[7],
            "today": int(time.time() // 86400),
            "keys": proc.read(BREAKGLASS + "authorized_keys"),
            "own-keys": None if uid is None else _own_keys(name),
            "opening": _json(OPEN + "open.json"),
            "sshd": proc.read(OPEN + "sshd.conf"),
            "processes": [] if uid is None else _processes(uid),
            "files": [e for e in map(proc.entry, (BREAKGLASS, BREAKGLASS + "authorized_keys", TOOL, SUDOERS)) if e],
        },
    )
    rec.run("emergency-sessions", ["loginctl", "list-sessions", "--no-legend"])
    rec.json("emergency-set", EMERGENCY_SET)
    rec.run("emergency-seal", ["systemctl", "show", "--property=Id,LoadState,UnitFileState", "--", SEAL])


TOOL = "/usr/local/sbin/clawkeep-breakglass"
SUDOERS = "/etc/sudoers.d/clawkeep-breakglass"
SEAL = "clawkeep-breakglass-seal.service"


def _passwd() -> List[List[str]]:
    rows = [line.split(":") for line in (proc.read("/etc/passwd") or "").splitlines()]
    return [words for words in rows if len(words) > 5 and words[2].isdigit()]


def _own_keys(name: str) -> List[str]:
    """Key files in the account's own home, which would open it past its seal."""
    home = next((words[5] for words in _passwd() if words[0] == name), "")
    return sorted(glob.glob(os.path.join(home, ".ssh", "authorized_keys*"))) if home else []


def _processes(uid: int) -> List[Dict[str, Any]]:
    found = []
    for pid in proc.pids():
        status = proc.status(pid)
        if str(uid) in status.get("Uid", "").split():
            found.append({"pid": pid, "name": status.get("Name", "")})
    return found


def _json(path: str) -> Optional[Any]:
    text = proc.read(path)
    try:
        return json.loads(text) if text is not None else None
    except ValueError:
        return "not JSON"
