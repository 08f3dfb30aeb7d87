"""The lab's central log: the credentials of both sides, kept as long as the lab's disk, and what its inventory says."""

from __future__ import annotations

from pathlib import Path

from clawkeep.lab import topology as t
from clawkeep.lab.topology import Lab
from clawkeep.lab.world import pki, siem

STORE, HOST = "store", "host"


def credentials(lab: Lab) -> Path:
    """The folder of `ca.pem` and of `store` and `host`, each a .pem and a .key (0600); made at the first call.

    The lab's disk holds the host's, so they outlive the world, which is built anew around a snapshot.
    """
    folder = lab.state / "log"
    if not (folder / "ca.pem").exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        authority = pki.Authority("Clawkeep lab log authority")
        for who, name in ((STORE, t.LOG_STORE), (HOST, lab.scenario.log_name)):
            pair = authority.issue([name])
            (folder / f"{who}.pem").write_text(pair.certificate, encoding="ascii")
            pki.private(folder / f"{who}.key", pair.key)
        (folder / "ca.pem").write_text(authority.certificate, encoding="ascii")  # last: it tells that all are there
    return folder


def site(lab: Lab) -> dict[str, object]:
    """What the site's variables say of the store. The authority is public and so stands there as text."""
    return {
        "site_log_collector": f"{t.SIEM.addresses[0].ip}:{t.LOG_PORT}",
        "site_log_collector_name": t.LOG_STORE,
        "site_log_ca": (credentials(lab) / "ca.pem").read_text(encoding="ascii"),
    }


def vantage(lab: Lab) -> dict[str, str]:
    """Where the suite asks what has arrived."""
    return {"kind": "netns", "name": lab.netns(t.SIEM), "store": str(lab.state / "world" / t.SIEM.name / siem.STORE)}


def host(lab: Lab) -> dict[str, str]:
    """The host's own variables. They name files: no key stands in an inventory."""
    return {
        f"log_agent_{name}": f"{{{{ lookup('ansible.builtin.file', '{credentials(lab) / file}') }}}}"
        for name, file in (("certificate", f"{HOST}.pem"), ("private_key", f"{HOST}.key"))
    }
