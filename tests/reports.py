"""Reports that nobody measured: one with everything in it, a hostile one, a large one. The same at every call."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping

from clawkeep.base.verdict import Status
from clawkeep.register.register import Control, Proof, Severity
from clawkeep.verify.report import Bundle, Change, Difference, Drift, Excerpt, HostRow, Report, Result, Waiver

STARTED, FINISHED = "2026-11-20T06:00:04Z", "2026-11-20T06:01:52Z"
MEASURED = "2026-11-19T23:58:07Z"
VERSION = "0.1.0"

# A terminal's escapes, NUL, bidi, zero width, line separators, a lone surrogate, an emoji and right-to-left letters,
# and what would be markup, a link, a mention, a formula or the end of a block somewhere.
HOSTILE = (
    "x\x1b[2J\x1b]0;owned\x07\u202egnp.exe\u200d\u2028\u2029\ud800\x00 😈 שלום <b>&amp;\"'`| \\| ]]> --> "
    "</script><script>window.owned=1</script><img src=x onerror=window.owned=1>{{7*7}}{0} "
    "[a](javascript:alert(1)) [b](http://evil.example) @everyone #1 %2e%2e/../ \r\n=cmd|'/C calc'!A0;=1+1"
)
FORMULAS = ("=1+1", "+1", "-1+1", "@SUM(A1)", "\t=1+1", "\r=1+1", " =1+1", "\uff1d1", "a;=1+1", 'a","=1+1')


def digest(text: str) -> str:
    """The digest that an excerpt of `text` carries."""
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def excerpt(source: str, text: str) -> Excerpt:
    """A piece of evidence."""
    return Excerpt(source, digest(source + text), text)


def waiver(days: int = 60, **changed: str) -> Waiver:
    """An exception with this many days left."""
    said = {
        "scope": "team-build",
        "reason": "The build agents keep a swap file until they are replaced.",
        "owner": "M. Okafor",
        "approved_by": "R. Lindqvist",
        "ticket": "SEC-412",
        "created": "2026-10-02",
        "expires": "2027-01-19",
        "compensating": "The swap is on an encrypted volume.",
    }
    return Waiver(**{**said, **changed}, days_left=days)


def control(name: str, *, severity: str = "high", proof: str = "automated", tier: int = 1, body: str = "") -> Control:
    """A control of a register that is not on disk."""
    return Control(
        id=name,
        title=f"The state of {name} is as promised",
        tier=tier,
        severity=Severity(severity),
        proof=Proof(proof),
        waivable=True,
        remedy=f"ansible-playbook playbooks/site.yml --tags {name}",
        maps={"cis_docker": ("5.14",), "owasp_asi": ("ASI05",)},
        body=body or "\n## Promise\n\nIt *holds*.\nAlways.\n\n## Why\n\nSee [0001](../decisions/0001.md): `a < b`.\n",
    )


REGISTER: Mapping[str, Control] = {
    one.id: one
    for one in (
        control("NET-01", severity="critical"),
        control("NET-02"),
        control("CTR-01", severity="medium"),
        control("BGL-02", severity="low", proof="manual"),
        control("AGT-07", proof="planned", tier=3),
    )
}


def result(status: Status, name: str = "NET-01", host: str = "alpha", **changed: object) -> Result:
    """One row; `changed` are fields of Result."""
    known = REGISTER.get(name, control(name))
    said = {
        "title": known.title,
        "severity": known.severity.value,
        "tier": "tier1_x",
        "message": f"{status.value} was found",
        "remedy": known.remedy,
        "evidence": (excerpt("inside: ss -Hltnup", "LISTEN 0 511 0.0.0.0:3000"),),
        "waiver": waiver() if status is Status.WAIVED else None,
    }
    return Result(control=name, host=host, status=status, **(said | changed))  # type: ignore[arg-type]


def of(*results: Result, hosts: tuple[HostRow, ...] | None = None, **changed: object) -> Report:
    """A report with these rows on the host alpha; `changed` are fields of Report."""
    rows = tuple(HostRow(name, "tier1_x", True) for name in dict.fromkeys(r.host for r in results))
    return Report(VERSION, STARTED, FINISHED, rows if hosts is None else hosts, results, **changed)  # type: ignore[arg-type]


def rich() -> Report:
    """Every status, a host that was not reached, waivers, drift, sentences, a planned and a left out control."""
    results = [result(status, f"NET-{number:02}") for number, status in enumerate(Status, start=1)]
    silent = result(Status.INCONCLUSIVE, host="beta", message="the host was not measured: no route to host")
    return of(
        *results,
        silent,
        hosts=(HostRow("alpha", "tier1_x", True, "", MEASURED), HostRow("beta", "tier2_y", False, "no route to host")),
        planned=("AGT-07",),
        left_out=("CTR-01",),
        warnings=("waivers.yml: the waiver of NET-03 on alpha ends in 9 days",),
        objections=("waivers.yml:14: the waiver of NET-09 matches no host",),
        drift=Drift(
            "2026-11-13T06:00:00Z",
            (
                Difference(Change.NEW_FAILING, "alpha", "NET-02", "pass", "fail"),
                Difference(Change.NEWLY_UNMEASURED, "beta", "NET-01", "pass", "inconclusive"),
                Difference(Change.HOST_GONE, "gamma"),
                Difference(Change.FIXED, "alpha", "NET-01", "fail", "pass"),
            ),
        ),
    )


def hostile(text: str = HOSTILE) -> tuple[Report, dict[str, Control]]:
    """`rich` with this text in every place that a host, an inventory or a waiver file fills."""
    bad = {
        "message": text,
        "tier": text,
        "evidence": (Excerpt(text, text, text), excerpt("cat", text * 30)),
    }
    people = ("scope", "reason", "owner", "approved_by", "ticket", "created", "expires", "compensating")
    results = [
        result(
            status,
            f"NET-{number:02}",
            text,
            **bad | {"waiver": waiver(3, **dict.fromkeys(people, text)) if status is Status.WAIVED else None},
        )
        for number, status in enumerate(Status, start=1)
    ]
    report = of(
        *results,
        *(result(Status.FAIL, "CTR-01", f"{formula} host", message=formula) for formula in FORMULAS),
        hosts=(
            HostRow(text, text, True, text, MEASURED),
            *(HostRow(f"{formula} host", "tier1_x", True) for formula in FORMULAS),
            HostRow(text + "2", "tier1_x", False, text),
        ),
        planned=("AGT-07",),
        warnings=(text,),
        objections=(text,),
        bundle=Bundle(text, text, text, text),
        drift=Drift(text, (Difference(Change.NEW_FAILING, text, "NET-02", text, text),)),
    )
    return report, dict(REGISTER)


def fleet(hosts: int, controls: int) -> tuple[Report, dict[str, Control]]:
    """A large report: some nine in ten promises hold, and each result has two pieces of evidence of its own host."""
    chance = random.Random(1)  # noqa: S311 - a demonstration
    severities = [severity.value for severity in Severity]
    areas = ("INV", "NET", "VPN", "WEB", "EGR", "IMD", "CTR", "MNT", "SEC", "SKL", "AGT", "DKR", "HST", "LOG", "BGL")
    register = {}
    for number in range(controls):
        name = f"{areas[number % len(areas)]}-{number // len(areas) + 1:02}"
        register[name] = control(name, severity=severities[chance.randrange(4)])
    register = dict(sorted(register.items()))
    rare = (Status.WAIVED, Status.MANUAL, Status.INCONCLUSIVE)
    statuses = (*[Status.PASS] * 90, *[Status.FAIL] * 4, *[Status.NOT_APPLICABLE] * 3, *rare)
    results = []
    rows = []
    for number in range(hosts):
        host = f"claw-{number:04}"
        tier = ("tier1_personal", "tier2_team", "tier3_enterprise")[number % 3]
        rows.append(HostRow(host, tier, True))
        for one in register.values():
            status = statuses[chance.randrange(len(statuses))]
            said = (
                ""
                if status is Status.PASS
                else f"198.51.100.{number % 250}: port {chance.randrange(1024, 65535)} is open"
            )
            evidence = (
                excerpt(f"inside: ss -Hltnup {one.id[:3]}", f"{host} LISTEN 0 511 203.0.113.{number % 250}:18789 " * 3),
                excerpt("inside: docker inspect openclaw", f'{host} {one.id} {{"Privileged": false}}'),
            )
            exception = waiver() if status is Status.WAIVED else None
            row = (one.id, one.title, one.severity.value, host, tier, status, said, one.remedy, evidence, exception)
            results.append(Result(*row))
    return Report(VERSION, STARTED, FINISHED, tuple(rows), tuple(results)), register
