"""`evidence compare`: what two hosts do not have in common is masked, and how they are set up is not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.unit.conftest import CommandLine

from clawkeep.base import repo
from clawkeep.evidence import store
from clawkeep.evidence.compare import Statement, compare, masked
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.observation import Observation
from clawkeep.register import tiers

from .conftest import STARTED

CHECKOUT = repo.find(Path(__file__))
TIER1, TIER2 = CHECKOUT.recorded / "tier1_personal", CHECKOUT.recorded / "tier2_team"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("pid 12 of /run/x", "pid 40961 of /run/x"),
        ("2026-12-01T07:22:01Z up", "2025-01-31T23:59:59.5+00:00 up"),
        ("id 9f0c2b1d-0000-4000-8000-0a1b2c3d4e5f", "id 00000000-1111-4222-8333-444444444444"),
        ("sha256:" + "ab" * 32, "sha256:" + "0c" * 32),
        ("inet6 fd00:1:2:3:4:5:6:7 on veth0a1b2c3", "inet6 fe80:0:0:0:a:b:c:d on vethfffffff"),
        ("After=a.service b.service", "After=b.service a.service"),
        ("key AbC1" + "dEf2" * 8, "key zYx9" + "wVu8" * 8),
    ],
)
def test_what_differs_from_run_to_run_is_masked(one: str, other: str) -> None:
    assert masked(one) == masked(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("PermitRootLogin no", "PermitRootLogin yes"),
        (
            "type filter hook forward priority filter; policy drop;",
            "type filter hook forward priority filter; policy accept;",
        ),
        ("/usr/sbin/squid -f /etc/clawkeep/proxy/squid.conf", "/usr/sbin/squid -f /etc/squid/squid.conf"),
        ("ReadonlyRootfs true", "ReadonlyRootfs false"),
        ("User=proxy", "User=root"),
    ],
)
def test_how_a_host_is_set_up_is_not_masked(one: str, other: str) -> None:
    assert masked(one) != masked(other)


def test_a_hosts_own_name_is_masked() -> None:
    texts = ({"host": name, "facts": f"User openclaw may run on {name}"} for name in ("web1", "db-2.example"))
    assert compare(*texts) == ([], [])


def test_a_statement_has_its_place_and_json_in_a_text_is_taken_apart() -> None:
    first = {"inside": {"commands": {"nft": {"stdout": json.dumps([{"chain": {"policy": "drop"}}])}}}}
    second = {"inside": {"commands": {"nft": {"stdout": json.dumps([{"chain": {"policy": "accept"}}])}}}}
    place = "inside/commands/nft/stdout/chain/policy"
    assert compare(first, second) == ([Statement(place, "drop")], [Statement(place, "accept")])


@pytest.mark.parametrize("text", ["{", "[" * 50_000, '{"a": 1', "\x1b[31m{}"])
def test_a_text_that_only_begins_like_json_is_a_text(text: str) -> None:
    assert compare({"a": text}, {"a": text}) == ([], [])


def test_a_host_says_of_itself_what_it_says(clawkeep: CommandLine) -> None:
    ended, out, err = clawkeep("evidence", "compare", TIER1, TIER1)
    assert (ended, err) == (0, "")
    assert "say the same of themselves" in out


def test_another_tier_is_another_setup(clawkeep: CommandLine) -> None:
    ended, out, _ = clawkeep("evidence", "compare", TIER1, TIER2)
    assert ended == 1
    assert "+ inside/commands/egress-units/" in out
    assert "statements of lab-tier1 alone" in out


def test_one_changed_setting_is_what_is_printed(clawkeep: CommandLine, tmp_path: Path) -> None:
    def changed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: changed(one) for key, one in value.items()}
        if isinstance(value, list):
            return [changed(one) for one in value]
        return value.replace("permitrootlogin no", "permitrootlogin yes") if isinstance(value, str) else value

    (seen,) = store.load(TIER1, tiers.load(CHECKOUT.tiers))
    assert seen.evidence is not None
    other = Observation(seen.host, seen.site, HostEvidence(seen.host.name, changed(seen.evidence.raw)))
    store.save(tmp_path / "other", [other], STARTED)
    ended, out, _ = clawkeep("evidence", "compare", TIER1, tmp_path / "other")
    assert ended == 1
    lines = [line for line in out.splitlines() if line[:2] in ("- ", "+ ")]
    assert {line.split(" = ")[1] for line in lines} == {"no permitrootlogin", "permitrootlogin yes"}


def test_bundles_that_cannot_be_compared_are_said_to_be(clawkeep: CommandLine, bundle: Path, tmp_path: Path) -> None:
    ended, _, err = clawkeep("evidence", "compare", bundle, TIER1)
    assert ended == 2
    assert "hosts: name one with --hosts" in err
    ended, _, err = clawkeep("evidence", "compare", TIER1, TIER1, "--hosts", "lab-tier1", "nobody")
    assert ended == 2
    assert "no evidence of a host 'nobody'; it has: lab-tier1" in err
    broken = tmp_path / "broken"
    shutil.copytree(TIER1, broken)
    (document,) = (broken / "hosts").iterdir()
    document.write_text(document.read_text().replace("ALL", "all", 1))
    ended, _, err = clawkeep("evidence", "compare", broken, TIER1)
    assert ended == 2
    assert "was edited after it was recorded" in err
