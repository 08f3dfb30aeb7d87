"""The packet filter in force, what would be loaded at boot, and the host's interfaces and Docker networks.

Standard library only.
"""

from __future__ import annotations

import functools
import hashlib
import os
import stat
import threading
from typing import Any, Callable, Dict, List, Optional

from clawkeep.collector import api
from clawkeep.collector.recorder import Recorder

SAVED = "/etc/clawkeep/firewall"
SAVED_FILES = ("clawkeep.nft", "docker-user.rules", "docker-user.rules6")
# Loaded into a network namespace of its own, nothing of this host is touched; `nft` lists what the kernel makes of it.
LIST_SAVED = 'nft -f "$0/clawkeep.nft" && exec nft -j list ruleset'
LIST_SAVED_LAYER = (
    'for name in iptables ip6tables; do file="$0/docker-user.rules"; [ $name = iptables ] || file="${file}6";'
    ' $name-restore <"$file" && $name-save || exit; done'
)
UNITS = (
    "clawkeep-firewall.service",
    "clawkeep-docker-user.service",
    "docker.service",
    "nftables.service",
    "ufw.service",
    "firewalld.service",
    "netfilter-persistent.service",
    "iptables.service",
    "ip6tables.service",
    "shorewall.service",
    "ferm.service",
)
LEGACY_SAVES = {"ip": "iptables-legacy-save", "ip6": "ip6tables-legacy-save"}
PROPERTIES = (
    "Id,LoadState,UnitFileState,ActiveState,Result,NeedDaemonReload,ConditionResult,ExecStart,"
    "Before,After,WantedBy,RequiredBy,PartOf,BindsTo,DropInPaths"
)
JOURNAL = (
    "journalctl",
    "--identifier=clawkeep-firewall",
    "--lines=200",
    "--no-pager",
    "--output=json",
    "--output-fields=MESSAGE,_BOOT_ID",
)


def collect(rec: Recorder) -> None:
    """Record all of it; commands run side by side, since each costs little but starting."""
    unshared = ("unshare", "--net", "sh", "-c")
    jobs: List[Callable[[], Any]] = [
        functools.partial(rec.json, "nft-ruleset", ("nft", "-j", "list", "ruleset")),
        functools.partial(rec.run, "iptables-save", ("iptables-save", "-c")),
        functools.partial(rec.run, "ip6tables-save", ("ip6tables-save", "-c")),
        functools.partial(rec.json, "ip-addr", ("ip", "-j", "-d", "addr")),
        functools.partial(api.networks, rec),
        functools.partial(rec.run, "firewall-units", ("systemctl", "show", "--property=" + PROPERTIES, "--", *UNITS)),
        functools.partial(rec.json, "firewall-saved", (*unshared, LIST_SAVED, SAVED)),
        functools.partial(rec.run, "docker-user-saved", (*unshared, LIST_SAVED_LAYER, SAVED)),
        functools.partial(
            rec.run,
            "firewall-journal",
            JOURNAL,
        ),
    ]
    threads = [threading.Thread(target=job, daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    rec.note("firewall-files", {name: entry(os.path.join(SAVED, name)) for name in SAVED_FILES})
    legacy_iptables(rec)
    for thread in threads:
        thread.join()


def legacy_iptables(rec: Recorder) -> None:
    """The tables of the kernel's old packet filter, which nft does not show, and where there are any their rules."""
    tables = {family: _read("/proc/net/%s_tables_names" % family) for family in LEGACY_SAVES}
    rec.note("legacy-iptables", tables)
    for family, tool in LEGACY_SAVES.items():
        if tables[family]:
            rec.run(tool, [tool])


def entry(path: str) -> Optional[Dict[str, Any]]:
    """Digest, mode and owner of a file; None when there is none."""
    try:
        with open(path, "rb") as file:
            content, found = file.read(), os.fstat(file.fileno())
    except OSError:
        return None
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "mode": "%04o" % stat.S_IMODE(found.st_mode),
        "uid": found.st_uid,
    }


def _read(path: str) -> List[str]:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().split()
    except OSError:
        return []
