"""Drills on a tier-2 lab: what its suite measures is really there, and its tier can be left and entered in place."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clawkeep.base import repo
from clawkeep.collector.experiments.bypass_cases import DIRECT
from clawkeep.evidence import store
from clawkeep.lab import lab as labs
from clawkeep.lab import records, state
from clawkeep.lab import topology as t
from clawkeep.register import tiers
from clawkeep.sabotage import world
from clawkeep.subjects.network.bypass import ANSWERED, Attempt, Bypass

from .conftest import HOST4, HOST6, Lab, await_true

pytestmark = pytest.mark.lab

LINES = 10_000
AWAY = 60  # seconds without the log store
DELIVERY_SECONDS = 900  # for 10,000 lines under software emulation; about a minute where there is KVM
PLAY_SECONDS = 1800
# What a host of tier 1 must not have: units, accounts' keys, interfaces and listeners of the tier above.
LEFT_BEHIND = (
    "systemctl list-units --all --plain --no-legend 'clawkeep-vpn*' 'clawkeep-proxy*' 'clawkeep-resolver*'"
    " 'clawkeep-gate*' 'clawkeep-log*' 'nginx*' | awk '$2 == \"loaded\" && $3 == \"active\"'",
    "ip -br link show type wireguard",
    "cd /etc/clawkeep && ls -d vpn proxy resolver log web /var/spool/clawkeep-log 2>/dev/null",
    "ss -Hltnu | awk '{print $5}' | grep -E ':(443|51820|3128|3129)$'",
)


def attempts(lab: Lab, into: Path) -> dict[str, Attempt]:
    """Verify EGR-01 and return what came of each case past the proxy."""
    lab.verify("--inside-only", "--control=EGR-01", "--save-evidence", str(into))
    (seen,) = store.load(into, tiers.load(repo.find().tiers))
    assert seen.evidence is not None
    (agent,) = (agent for agent in Bypass.read(seen.evidence).agents if agent.name == "openclaw")
    return {one.case.id: one for one in agent.attempts if one.case.control == "EGR-01" and one.case.way in DIRECT}


def test_without_the_egress_rules_every_direct_way_is_open(lab: Lab, tmp_path: Path) -> None:
    """EGR-01: the suite measures the firewall, and not a world in which nobody would have answered."""
    closed = attempts(lab, tmp_path / "closed")
    lab.root(world.read(world.place(repo.find().sabotages, "EGR-01-accepted")).do)
    opened = attempts(lab, tmp_path / "opened")
    width = max(map(len, closed))
    for case, attempt in closed.items():
        print(f"{case:{width}}  {attempt.target:40}  {attempt.outcome:9}  {opened[case].outcome}")
    assert {case for case, one in closed.items() if one.outcome in ANSWERED} == set()
    # The agents' bridge is IPv4 alone below Docker 27: there is no way to open in the other family.
    silent = {case for case, one in opened.items() if one.outcome not in ANSWERED and one.outcome != "noroute"}
    assert silent == set()
    assert any(one.outcome in ANSWERED for one in opened.values())


@contextmanager
def without_store(lab: Lab) -> Iterator[None]:
    """The log store is gone, for at least `AWAY` seconds."""
    topology = state.lab(lab.scenario)
    began = time.monotonic()
    labs.stop_service(topology, t.SIEM.name)
    try:
        yield
        time.sleep(max(0.0, began + AWAY - time.monotonic()))  # the outage itself: there is nothing to await
    finally:
        labs.start_service(topology, t.SIEM.name)


def test_an_outage_of_the_log_store_and_a_restart_lose_no_line(lab: Lab) -> None:
    """LOG-05: 10,000 lines while the store is away for a minute and the agent is restarted: all arrive, in order."""
    word = f"drill{time.time_ns():x}"
    kept = Path(records.vantage(state.lab(lab.scenario))["store"])

    def say(first: int, last: int) -> None:
        lab.root(f"seq --format='{word} %05.0f' {first} {last} | logger --tag clawkeep-drill", timeout=300)

    def arrived() -> list[int]:
        found = (re.findall(rf"{word} (\d{{5}})", path.read_text(errors="replace")) for path in kept.glob("*/*.jsonl"))
        return [int(number) for numbers in found for number in numbers]

    with without_store(lab):
        say(0, LINES // 2 - 1)
        last = f"{word} {LINES // 2 - 1:05}"
        lab.until(f"grep -rqs '{last}' /var/spool/clawkeep-log", "the agent has read what there is", 300)
        lab.root("systemctl restart clawkeep-log.service")
        say(LINES // 2, LINES - 1)
        assert arrived() == []
    took = await_true(lambda: len(set(arrived())) == LINES, DELIVERY_SECONDS, f"all {LINES} lines arrive")
    numbers = arrived()
    firsts = list(dict.fromkeys(numbers))
    moved = sum(1 for place, number in enumerate(firsts) if place != number)
    print(f"{LINES} lines arrived {took:.0f} s after the store, {len(numbers) - LINES} twice, {moved} out of order")
    # The batch under way at the restart may come behind the one after it: decision 0016.
    assert max(abs(place - number) for place, number in enumerate(firsts)) <= 256


def test_nmap_finds_no_weak_cipher_at_the_front_door(lab: Lab) -> None:
    """WEB-01: a second opinion by somebody else's scanner, from a device on the VPN, which the last verify let in."""
    assert lab.connects("vpn", str(t.VPN_HOST[0]), 443)
    script = ("--script", "ssl-enum-ciphers", "--script-args", f"tls.servername={t.FRONT_DOOR}")
    scan = lab.at("vpn", "nmap", "-Pn", "-n", "-p", "443", *script, str(t.VPN_HOST[0]), seconds=300)
    print(scan.stdout)
    assert scan.returncode == 0, scan.stderr
    versions = re.findall(r"^\|   (\S+): *$", scan.stdout, re.MULTILINE)
    assert set(versions) == {"TLSv1.2", "TLSv1.3"}
    grades = re.findall(r"^\|       TLS_\S+ .*- ([A-F])$", scan.stdout, re.MULTILINE)
    assert grades
    assert set(grades) == {"A"}


def test_a_lowered_host_leaves_nothing_open_and_a_raised_one_is_green(lab: Lab) -> None:
    """Tier 2 to tier 1 in place and back again: each converges, and each verifies as what it is now."""
    lab.become("tier1_personal")
    play = lab.play("playbooks/site.yml", timeout=PLAY_SECONDS)
    assert play.returncode == 0, play.stdout[-3000:]
    assert [found for look in LEFT_BEHIND if (found := lab.ssh(look).stdout.strip())] == []
    for port in (443, 51820, 3128, 3129, 18789):
        assert not lab.connects("outsider", HOST4, port)
        assert not lab.connects("outsider", HOST6, port)
    lab.expect_green()
    lab.become("tier2_team")
    play = lab.play("playbooks/site.yml", timeout=PLAY_SECONDS)
    assert play.returncode == 0, play.stdout[-3000:]
    took = lab.caught_up()
    print(f"the raised host had told its earlier days {took:.0f} s after the play")
    lab.expect_green()
