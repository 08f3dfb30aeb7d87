"""Gateways on the bench: good ones are green and confined, broken ones turn their controls red, none is left."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import pytest

from clawkeep.base import repo
from clawkeep.lab.bench.gateway import Agent, gateway
from clawkeep.register import register, tiers
from clawkeep.sabotage import world
from clawkeep.sabotage.bench import Bench
from clawkeep.sabotage.world import Sabotage

pytestmark = pytest.mark.bench

CHECKOUT = repo.find(Path(__file__))
TIERS = tiers.load(CHECKOUT.tiers)
RECORDED = [name for name in TIERS if (CHECKOUT.recorded / name).is_dir()]
CONTROLS = register.load(CHECKOUT.controls)
SABOTAGES = {stem: one for stem, one in world.load(CHECKOUT.sabotages).items() if one.gateway is not None}
READY_SECONDS = 60.0  # on a busy machine; eight on a free one, minutes in the emulated one
JUDGED_HERE = ("LOG-01", "LOG-02", "WEB-03", "WEB-04", "WEB-05", "WEB-08")
HELD = """
import sys, time
from clawkeep.lab.bench.gateway import gateway
with gateway(sys.argv[1]) as agent:
    print(agent.pid, agent.folder, flush=True)
    time.sleep(600)
"""


@cache
def bench(tier: str) -> Bench:
    return Bench.of(CHECKOUT, tier)


def tier_of(sabotage: Sabotage) -> str:
    return next(tier.name for tier in TIERS.values() if tier.rank == sabotage.rank(CONTROLS))


def status(agent: Agent) -> dict[str, str]:
    lines = Path(f"/proc/{agent.pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@pytest.mark.parametrize("tier", RECORDED)
def test_the_good_gateway_is_green(tier: str, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        report = bench(tier).green()
    judged = {result.control for result in report.results if result.status == "pass"}
    wanted = {name for name in JUDGED_HERE if CONTROLS[name].tier <= TIERS[tier].rank}
    assert wanted <= judged


@pytest.mark.parametrize("tier", RECORDED)
def test_bench_and_machine_give_the_same_facts(tier: str) -> None:
    assert bench(tier).differences() == []


@pytest.mark.parametrize("sabotage", [pytest.param(one, id=stem) for stem, one in SABOTAGES.items()])
def test_a_broken_gateway_turns_exactly_its_controls_red(
    sabotage: Sabotage, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        outcome = bench(tier_of(sabotage)).run(sabotage)
        print(f"bench: {sabotage.stem}: {outcome.seconds:.0f} s")
    assert outcome.complaints == ()
    assert outcome.red == sabotage.red


def test_the_gateway_is_confined_and_goes_with_the_block() -> None:
    with gateway("tier1_personal") as agent:
        seen = status(agent)
        assert agent.seconds < READY_SECONDS
        assert {seen["Uid"], seen["Gid"]} == {"1000\t1000\t1000\t1000"}
        assert {seen[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
        assert (seen["NoNewPrivs"], seen["Groups"], seen["Umask"]) == ("1", "", "0077")
        own = {name: Path(f"/proc/self/ns/{name}").readlink() for name in ("mnt", "net", "pid", "ipc", "uts")}
        assert all(Path(f"/proc/{agent.pid}/ns/{name}").readlink() != link for name, link in own.items())
        assert interfaces(agent) == ["lo"]
        assert flags(agent, "/") >= {"ro"}
        assert flags(agent, "/etc/openclaw/openclaw.json") >= {"ro", "nosuid", "nodev"}
        assert flags(agent, "/home/node/.openclaw") >= {"rw", "nosuid", "nodev"}
        assert flags(agent, "/tmp") >= {"rw", "nosuid", "nodev", "noexec"}  # noqa: S108 - the container's
        folder, pid = agent.folder, agent.pid
    assert not folder.exists()
    assert not Path(f"/proc/{pid}").exists()
    assert str(folder) not in Path("/proc/self/mounts").read_text()


def test_the_gateway_dies_with_whoever_started_it() -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HELD, "tier1_personal"], stdout=subprocess.PIPE, text=True, cwd=CHECKOUT.root
    )
    assert holder.stdout is not None
    pid, folder = holder.stdout.readline().split()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()
    subprocess.run(["rm", "--recursive", folder], check=True)


def interfaces(agent: Agent) -> list[str]:
    lines = Path(f"/proc/{agent.pid}/net/dev").read_text().splitlines()[2:]
    return [line.partition(":")[0].strip() for line in lines]


def flags(agent: Agent, target: str) -> set[str]:
    """The flags of the mount at `target`, as the gateway has it."""
    rows = [line.split() for line in Path(f"/proc/{agent.pid}/mountinfo").read_text().splitlines()]
    return next(set(row[5].split(",")) for row in reversed(rows) if row[4] == target)
