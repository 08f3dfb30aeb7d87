"""A believable report for screenshots: thirteen hosts on documentation addresses, judged by the real register.

`python -m tests.demo_report FOLDER` writes all of its files.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clawkeep.base import repo
from clawkeep.base.verdict import Status
from clawkeep.register import register
from clawkeep.register.register import Control, Proof
from clawkeep.report import files
from clawkeep.verify.report import Bundle, Change, Difference, Drift, Excerpt, HostRow, Report, Result, Waiver
from tests.reports import FINISHED, STARTED, VERSION, digest, excerpt, waiver

HOSTS = {
    "tier1_personal": ("claw-anna", "claw-bo", "claw-chen", "claw-dana"),
    "tier2_team": ("build-01", "build-02", "build-03", "build-04", "build-05", "docs-01"),
    "tier3_enterprise": ("research-01", "research-02", "finance-01"),
}
SILENT = HostRow("docs-01", "tier2_team", False, "ssh: connect to host 203.0.113.61 port 22: Connection timed out")


@dataclass(frozen=True)
class Finding:
    """What is told of one control on one host, with the evidence for it."""

    status: Status
    message: str
    source: str
    excerpt: str


PASSWORDS = Finding(
    Status.FAIL,
    "sshd accepts passwords: passwordauthentication is yes",
    "inside: sshd -T",
    "passwordauthentication yes permitrootlogin no kbdinteractiveauthentication yes",
)
FINDINGS = {
    ("NET-04", "build-02"): Finding(
        Status.FAIL,
        "203.0.113.42:9229 is published by the container debug-shim; the tier allows 18789 on loopback only",
        "inside: docker inspect debug-shim",
        '"HostConfig": {"PortBindings": {"9229/tcp": [{"HostIp": "", "HostPort": "9229"}]}}',
    ),
    ("NET-04", "build-05"): Finding(
        Status.FAIL,
        "[2001:db8:113::45]:9229 answers from outside; 203.0.113.45:9229 does too",
        "outside: nmap -6 -p- 2001:db8:113::45",
        "9229/tcp open 18789/tcp filtered",
    ),
    ("CTR-02", "claw-bo"): Finding(
        Status.FAIL,
        "the container openclaw holds the capability NET_RAW; none may remain",
        "inside: /proc/4117/status",
        "CapEff: 0000000000002000 CapBnd: 0000000000002000",
    ),
    ("IMD-01", "research-01"): Finding(
        Status.FAIL,
        "169.254.169.254:80 answered the agent container with 200 after 3 ms",
        "container: metadata probe",
        '{"address": "169.254.169.254", "port": 80, "status": 200}',
    ),
    ("HST-01", "claw-anna"): PASSWORDS,
    ("HST-01", "claw-dana"): PASSWORDS,
    ("DKR-03", "build-02"): Finding(
        Status.INCONCLUSIVE,
        "`docker info` gave no answer within 20 s",
        "inside: docker info",
        "no output, ended after 20 s",
    ),
    ("NET-08", "claw-chen"): Finding(
        Status.INCONCLUSIVE,
        "the neighbour's probe had no control experiment: the permitted sibling did not answer",
        "neighbour: probe",
        "198.51.100.7:22 timed out",
    ),
    ("MNT-02", "research-01"): Finding(
        Status.ERROR,
        "the test module test_mnt_02_host_paths.py broke: KeyError 'Mounts'",
        "test: test_mnt_02_host_paths",
        "KeyError: 'Mounts'",
    ),
}
ROUTER = waiver(
    9,
    scope="claw-chen",
    reason="The campus segment's IPv6 router is replaced in November.",
    owner="C. Liu",
    ticket="NETOPS-77",
    created="2026-09-01",
    expires="2026-11-29",
    compensating="The switch drops router advertisements.",
)
WAIVED: Mapping[tuple[str, str], tuple[str, Waiver]] = {
    ("CTR-07", "build-03"): ("memory swap is 512 MiB, the tier allows none", waiver(60)),
    ("CTR-07", "build-04"): ("memory swap is 512 MiB, the tier allows none", waiver(60)),
    ("NET-06", "claw-chen"): ("router advertisements are accepted on enp1s0", ROUTER),
}
DRIFT = Drift(
    "2026-11-13T06:00:03Z",
    (
        Difference(Change.NEW_FAILING, "build-05", "NET-04", "pass", "fail"),
        Difference(Change.NEW_FAILING, "claw-dana", "HST-01", "pass", "fail"),
        Difference(Change.NEWLY_UNMEASURED, "research-01", "MNT-02", "pass", "error"),
        Difference(Change.FIXED, "finance-01", "NET-04", "fail", "pass"),
        Difference(Change.FIXED, "build-01", "CTR-05", "fail", "pass"),
    ),
)


def demo(controls: Mapping[str, Control]) -> Report:
    """The site's report by this register; findings on controls that it does not have are left out."""
    judged = [one for one in controls.values() if one.proof is not Proof.PLANNED]
    hosts = [(host, tier) for tier, names in HOSTS.items() for host in names]
    return Report(
        version=VERSION,
        started=STARTED,
        finished=FINISHED,
        hosts=tuple(
            SILENT if host == SILENT.name else HostRow(host, tier, True, measured=STARTED) for host, tier in hosts
        ),
        results=tuple(_result(one, host, tier) for host, tier in hosts for one in judged),
        planned=tuple(name for name, one in controls.items() if one.proof is Proof.PLANNED),
        warnings=("waivers.yml:21: the waiver of NET-06 on claw-chen ends on 2026-11-29, in 9 days",),
        drift=DRIFT,
        bundle=Bundle(digest("the evidence"), f"SHA256:{43 * 'A'}", "verifier@control.example"),
    )


def _result(control: Control, host: str, tier: str) -> Result:
    status, message, exception = Status.PASS, "", None
    evidence: tuple[Excerpt, ...] = (excerpt(f"inside: evidence of {control.id}", f"{host} is as promised"),)
    found = FINDINGS.get((control.id, host))
    if host == SILENT.name:
        status, message, evidence = Status.INCONCLUSIVE, f"the host was not measured: {SILENT.message}", ()
    elif (control.id, host) in WAIVED:
        status = Status.WAIVED
        message, exception = WAIVED[control.id, host]
    elif found:
        status, message, evidence = found.status, found.message, (excerpt(found.source, found.excerpt),)
    elif control.proof is Proof.MANUAL:
        status, message = Status.MANUAL, "a person attests the recovery drill within 365 days"
    elif control.id in {"CTR-10", "IMD-03"} and tier != "tier1_personal":
        status, message, evidence = Status.NOT_APPLICABLE, "the host has nothing of the kind", ()
    return Result(
        control=control.id,
        title=control.title,
        severity=control.severity.value,
        host=host,
        tier=tier,
        status=status,
        message=message,
        remedy=control.remedy,
        evidence=evidence,
        waiver=exception,
    )


if __name__ == "__main__":
    known = register.load(repo.find().controls)
    files.write(demo(known), known, Path(sys.argv[1]))
