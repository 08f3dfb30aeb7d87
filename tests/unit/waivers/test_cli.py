"""The command line: the life of a waiver and of an attestation, drift, and what is found before a host is contacted."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.conftest import CommandLine

from clawkeep.cli import verify as cli_verify
from clawkeep.evidence import store
from clawkeep.evidence.observation import Observation
from clawkeep.site.inventory import Inventory

from .conftest import NOW, Keys, MakeHost, waivers


@pytest.fixture
def bundle(tmp_path: Path, host: MakeHost) -> Callable[..., Path]:
    """A recorded bundle of alpha, where NET-01 fails unless said otherwise."""

    def make(name: str = "bundle", *, limited: bool = False, **state: str) -> Path:
        folder = tmp_path / name
        store.save(folder, [host(**{"red": "NET-01", **state})], NOW, limited=limited)
        return folder

    return make


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    def write(*entries: dict[str, str]) -> Path:
        path = tmp_path / "waivers.yml"
        path.write_text(waivers(*entries))
        return path

    return write


def test_the_life_of_a_waiver(
    clawkeep: CommandLine, bundle: Callable[..., Path], file: Callable[..., Path], tmp_path: Path
) -> None:
    broken, mended = bundle(), bundle("mended", red="")
    ended, out, _ = clawkeep("verify", "--evidence", broken)
    assert (ended, "fail 1" in out) == (1, True)

    valid = file({})
    ended, out, err = clawkeep("verify", "--evidence", broken, "--waivers", valid, "--report", tmp_path / "r")
    assert (ended, err) == (0, "")
    assert "waived 1" in out
    said = " ".join(out.split())
    assert "waived for host alpha until 2027-01-10 (49 days left): the vendor's fix comes in spring" in said
    assert "(Anna Example, approved by Ben Example, OPS-1)" in said
    told = json.loads((tmp_path / "r" / "report.json").read_text())
    assert [r["waiver"]["days_left"] for r in told["results"] if r["waiver"]] == [49]

    ended, out, _ = clawkeep("verify", "--evidence", broken, "--waivers", file({"expires": "2026-11-21"}))
    assert ended == 4
    assert "fail 1" in out, "the counts are printed"
    assert re.search(r"not in order: \S+waivers.yml:3: the waiver of NET-01 for host alpha expired", out)
    assert "the waivers or attestations are not in order (exit status 4)" in out

    ended, out, _ = clawkeep("verify", "--evidence", mended, "--waivers", file({}))
    assert (ended, "is stale" in out, "pass 3" in out) == (4, True, True)

    refused = file({"control": "NET-03"})
    ended, out, _ = clawkeep("verify", "--evidence", bundle("third", red="NET-03"), "--waivers", refused)
    assert (ended, "NET-03 accepts no waiver" in out, "fail 1" in out) == (4, True, True)


def test_a_warning_changes_no_status(
    clawkeep: CommandLine, bundle: Callable[..., Path], file: Callable[..., Path]
) -> None:
    ended, out, _ = clawkeep("verify", "--evidence", bundle(), "--waivers", file({"expires": "2026-11-25"}))
    assert ended == 0
    assert re.search(
        r"warning: \S+waivers.yml:3: the waiver of NET-01 for host alpha ends on 2026-11-25, in 3 days", out
    )


def test_what_was_not_measured_outlasts_no_bad_waiver(
    clawkeep: CommandLine, bundle: Callable[..., Path], file: Callable[..., Path]
) -> None:
    dark = bundle(dark="NET-02")
    assert clawkeep("verify", "--evidence", dark, "--waivers", file({}))[0] == 2
    assert clawkeep("verify", "--evidence", dark, "--waivers", file({"expires": "2026-11-01"}))[0] == 4


def test_a_bundle_of_some_hosts_is_a_limited_run(
    clawkeep: CommandLine, bundle: Callable[..., Path], file: Callable[..., Path]
) -> None:
    path = file({}, {"scope": "{host: beta}"})
    assert clawkeep("verify", "--evidence", bundle(limited=True), "--waivers", path)[0] == 0
    ended, out, _ = clawkeep("verify", "--evidence", bundle("whole"), "--waivers", path)
    assert (ended, "matches no host" in out) == (4, True)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """An inventory of one host that is this machine."""
    folder = tmp_path / "site"
    (folder / "group_vars").mkdir(parents=True)
    (folder / "group_vars" / "all.yml").write_text("site_name: a site\n")
    (folder / "hosts.yml").write_text("tier1_x: {children: {edge: {hosts: {alpha: {ansible_connection: local}}}}}\n")
    return folder


@pytest.fixture
def contacted(monkeypatch: pytest.MonkeyPatch, host: MakeHost) -> list[str]:
    """What was observed in place of real hosts; empty as long as none was contacted."""
    seen: list[str] = []

    def observe(hosts: Inventory, *_: object, **__: object) -> list[Observation]:
        found = [host(one.name, red="NET-01") for one in hosts.hosts]
        seen.extend(one.name for one in hosts.hosts)
        return found

    monkeypatch.setattr(cli_verify, "observe", observe)
    return seen


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("schema: 1\nwaivers: [\n", "waivers.yml:3:1: it is not YAML"),
        ("schema: 2\n", "waivers.yml:1: schema 2 was written for a later Clawkeep"),
        (waivers({"expires": "2026-02-30"}), "waivers.yml:10: expires: there is no such day in the calendar"),
        (waivers({"expires": ""}), "waivers.yml:3: expires: it is missing"),
    ],
)
def test_a_file_that_cannot_be_used_ends_before_a_host_is_contacted(
    clawkeep: CommandLine, site: Path, contacted: list[str], content: str, sentence: str
) -> None:
    (site / "waivers.yml").write_text(content)
    ended, out, err = clawkeep("verify", "-i", site / "hosts.yml")
    assert (ended, out, contacted) == (4, "", [])
    assert sentence in err
    assert err.count("\n") == 1


def test_every_mistake_has_its_line(clawkeep: CommandLine, site: Path, contacted: list[str]) -> None:
    (site / "waivers.yml").write_text(waivers({"expires": "", "owner": "null"}, {"scope": "\x22<b>\\e[2J\x22"}))
    ended, _, err = clawkeep("verify", "-i", site)
    assert (ended, contacted, err.count("\n"), "\x1b" in err) == (4, [], 3, False)


def test_a_named_file_must_be_there(clawkeep: CommandLine, site: Path, contacted: list[str]) -> None:
    for option in ("--waivers", "--attestations"):
        ended, _, err = clawkeep("verify", "-i", site, option, site / "none.yml")
        assert (ended, contacted) == (4, [])
        assert "there is no file" in err
    assert clawkeep("verify", "-i", site)[0] == 1


def test_what_is_wrong_without_a_host_is_said_first_and_measured_all_the_same(
    clawkeep: CommandLine, site: Path, contacted: list[str]
) -> None:
    (site / "waivers.yml").write_text(waivers({"scope": "{group: edge}", "expires": "2026-11-21"}))
    ended, out, err = clawkeep("verify", "-i", site)
    assert (ended, contacted) == (4, ["alpha"])
    assert err.startswith(f"clawkeep: {site}/waivers.yml:3: the waiver of NET-01 for group edge expired")
    assert "fail 1" in out


def test_groups_are_those_of_the_inventory(clawkeep: CommandLine, site: Path, contacted: list[str]) -> None:
    (site / "waivers.yml").write_text(waivers({"scope": "{group: edge}"}))
    ended, out, _ = clawkeep("verify", "-i", site)
    assert (ended, "waived 1" in out, contacted) == (0, True, ["alpha"])


def test_waivers_are_checked_without_a_host(clawkeep: CommandLine, site: Path, contacted: list[str]) -> None:
    ended, out, _ = clawkeep("waivers", "check", "-i", site)
    assert (ended, out) == (0, "waivers 0   attestations 0   objections 0\n")
    (site / "waivers.yml").write_text(waivers({}))
    ended, out, _ = clawkeep("waivers", "check", "-i", site)
    assert ended == 0
    assert "waivers.yml:3: NET-01 for host alpha, 49 days left: the vendor's fix comes in spring" in out
    (site / "waivers.yml").write_text(waivers({"control": "NET-03"}))
    ended, out, _ = clawkeep("waivers", "check", "-i", site)
    assert (ended, "NET-03 accepts no waiver" in out, "objections 1" in out) == (4, True, True)
    assert clawkeep("waivers", "check", "-i", site, "--waivers", site / "none.yml")[0] == 4
    assert contacted == []


# --- attestations ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("manual", "contacted")
def test_the_life_of_an_attestation(clawkeep: CommandLine, site: Path, keys: Keys) -> None:
    args = ("verify", "-i", site, "--control", "BGL-02")
    ended, out, _ = clawkeep(*args)
    assert (ended, "manual 1" in out) == (0, True)
    (digest,) = set(re.findall(r"--evidence (sha256:[0-9a-f]{64})", " ".join(out.split())))

    words = ("--evidence", digest, "--statement", "Drilled: it works", "--person", "Anna", "--role", "owner")
    sign = ("attest", "BGL-02", "-i", site, "--host", "alpha", *words, "--key", keys("Anna"))
    ended, out, err = clawkeep(*sign)
    assert (ended, out) == (2, "")
    assert "Anna is none of the site's signers" in err

    key = Path(f"{keys('Anna')}.pub").read_text().strip()
    (site / "group_vars" / "all.yml").write_text(f"site_name: a site\nsite_signers: [{{name: Anna, key: '{key}'}}]\n")
    ended, out, _ = clawkeep(*sign)
    assert ended == 0
    (site / "attestations.yml").write_text(f"schema: 1\nattestations:\n{out}")
    assert clawkeep("waivers", "check", "-i", site)[1] == "waivers 0   attestations 1   objections 0\n"


@pytest.mark.usefixtures("manual")
def test_an_attested_host_is_green_and_a_lapsed_one_red(
    clawkeep: CommandLine,
    site: Path,
    keys: Keys,
    monkeypatch: pytest.MonkeyPatch,
    host: MakeHost,
    signed: MakeHost,
) -> None:
    monkeypatch.setattr(cli_verify, "observe", lambda *_, **__: [signed(host())])
    key = Path(f"{keys('Anna')}.pub").read_text().strip()
    (site / "group_vars" / "all.yml").write_text(f"site_name: a site\nsite_signers: [{{name: Anna, key: '{key}'}}]\n")
    for date, ended, count in (("2026-11-01", 0, "pass 1"), ("2026-08-01", 1, "fail 1")):
        words = ("--evidence", "sha256:" + "a" * 64, "--statement", "it works", "--person", "Anna", "--role", "owner")
        where = ("--group", "edge", "--date", date, "--key", keys("Anna"))
        _, out, _ = clawkeep("attest", "BGL-02", "-i", site, *words, *where)
        (site / "attestations.yml").write_text(f"schema: 1\nattestations:\n{out}")
        got, out, _ = clawkeep("verify", "-i", site, "--control", "BGL-02")
        assert (got, count in out) == (ended, True)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"--evidence": "abc"}, "this cannot be attested: evidence: "),
        ({"--date": "tomorrow"}, "this cannot be attested: date: "),
        ({"--date": "2026-11-23"}, "it is dated 2026-11-23, which is after today"),
        ({"--host": "delta"}, "matches no host of the inventory"),
        ({"--tier": "tier1_x"}, "name exactly one of host, group and tier"),
        ({"--key": "/nowhere/key"}, "there is no key /nowhere/key: make one with `ssh-keygen"),
    ],
)
@pytest.mark.usefixtures("manual")
def test_what_cannot_be_attested_is_one_sentence(
    clawkeep: CommandLine, site: Path, keys: Keys, changes: dict[str, str], sentence: str
) -> None:
    key = Path(f"{keys('Anna')}.pub").read_text().strip()
    (site / "group_vars" / "all.yml").write_text(f"site_name: a site\nsite_signers: [{{name: Anna, key: '{key}'}}]\n")
    options = {"--evidence": "sha256:" + "a" * 64, "--statement": "it works", "--person": "Anna", "--role": "owner"}
    options |= {"--host": "alpha", "--key": str(keys("Anna")), **changes}
    ended, out, err = clawkeep("attest", "BGL-02", "-i", site, *(w for pair in options.items() for w in pair))
    assert (ended, out) == (2, "")
    assert sentence in err


# --- drift ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def baseline(clawkeep: CommandLine, bundle: Callable[..., Path], tmp_path: Path) -> Path:
    """report.json of a green run of alpha."""
    clawkeep("verify", "--evidence", bundle("green", red=""), "--report", tmp_path / "green-report")
    return tmp_path / "green-report" / "report.json"


def test_a_green_run_that_is_worse_than_its_baseline(
    clawkeep: CommandLine, bundle: Callable[..., Path], baseline: Path, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    data = json.loads(baseline.read_text())  # it was taken before `manual` added its controls
    row = {**data["results"][0], "control": "BGL-02", "status": "pass"}
    baseline.write_text(json.dumps({**data, "results": [*data["results"], row]}))
    request.getfixturevalue("manual")
    report = tmp_path / "r"
    run = ("verify", "--evidence", bundle("now", red=""), "--baseline", baseline)
    ended, out, _ = clawkeep(*run, "--report", report)
    assert ended == 3
    assert "worse than the baseline (exit status 3)" in out
    assert "newly unmeasured 1" in out
    assert json.loads((report / "report.json").read_text())["drift"]["worse"] is True
    assert clawkeep(*run, "--control", "NET-01")[0] == 0, "what was not asked for is not compared"
    ended, out, _ = clawkeep("diff", baseline, report / "report.json")
    assert (ended, "newly unmeasured 1" in out, "pass → manual" in out) == (3, True, True)
    ended, out, _ = clawkeep("diff", report / "report.json", baseline)
    assert ended == 0


def test_a_fail_is_worse_than_drift(clawkeep: CommandLine, bundle: Callable[..., Path], baseline: Path) -> None:
    ended, out, _ = clawkeep("verify", "--evidence", bundle("now"), "--baseline", baseline)
    assert (ended, "newly failing 1" in out) == (1, True)


def test_a_waived_fail_is_no_drift(
    clawkeep: CommandLine, bundle: Callable[..., Path], baseline: Path, file: Callable[..., Path]
) -> None:
    run = ("verify", "--evidence", bundle("now"), "--baseline", baseline, "--waivers", file({}))
    ended, out, _ = clawkeep(*run)
    assert (ended, "newly failing 0" in out, "waived 1" in out) == (0, True, True)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be read"),
        ("{", "is no report.json"),
        ('{"schema": 2}', "was written by a later Clawkeep"),
    ],
)
def test_a_baseline_that_cannot_be_used_ends_before_a_host_is_contacted(
    clawkeep: CommandLine, site: Path, contacted: list[str], tmp_path: Path, content: str | None, sentence: str
) -> None:
    path = tmp_path / "earlier.json"
    if content is not None:
        path.write_text(content)
    for command in (("verify", "-i", site, "--baseline", path), ("diff", path, path)):
        ended, out, err = clawkeep(*command)
        assert (ended, out, contacted) == (2, "", [])
        assert sentence in err
        assert err.count("\n") == 1


@pytest.mark.parametrize(("old", "new"), [("alpha", "omega"), ("tier1_x", "tier2_x")])
def test_a_baseline_of_other_hosts_ends_before_a_host_is_contacted(
    clawkeep: CommandLine, site: Path, contacted: list[str], baseline: Path, old: str, new: str
) -> None:
    baseline.write_text(baseline.read_text().replace(old, new))
    ended, out, err = clawkeep("verify", "-i", site, "--baseline", baseline)
    assert (ended, out, contacted) == (2, "", [])
    assert new in err


def test_a_limited_run_misses_no_host_that_it_left_out(
    clawkeep: CommandLine, site: Path, contacted: list[str], baseline: Path
) -> None:
    data = json.loads(baseline.read_text())
    more = {**data["hosts"][0], "name": "beta"}
    data["results"] = [{**row, "status": "fail" if row["control"] == "NET-01" else "pass"} for row in data["results"]]
    baseline.write_text(json.dumps({**data, "hosts": [*data["hosts"], more]}))
    _, out, _ = clawkeep("verify", "-i", site, "--baseline", baseline)
    assert "host gone 1" in out
    _, out, _ = clawkeep("verify", "-i", site, "--baseline", baseline, "--limit", "alpha")
    assert "host gone 0" in out
    assert contacted == ["alpha", "alpha"]


def test_the_help_tells_exit_3_and_4(clawkeep: CommandLine) -> None:
    said = " ".join(clawkeep("verify", "--help")[1].replace("│", " ").split())
    assert "3 drift: green, but worse than the baseline" in said
    assert "4 a waiver or an attestation is not in order" in said
