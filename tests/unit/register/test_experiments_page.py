"""Every experiment is in the table that the command line, the guide and the run print from, and acts nowhere else."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.unit.conftest import CommandLine

from clawkeep.base import repo
from clawkeep.cli.verify import VERIFY_HELP
from clawkeep.collector.experiments.catalogue import EXPERIMENTS, PROBES
from clawkeep.report import experiments_page

CHECKOUT = repo.find(Path(__file__))
COLLECTOR = CHECKOUT.root / "src/clawkeep/collector"
# What experiments are made of, and so are none themselves.
PARTS = {"__init__", "catalogue", "bypass_cases", "connects", "names", "probe_script"}
# Calls by which a program acts on its surroundings: only experiments make them, and the ways to read named below.
ACTS = {
    "connect",
    "connect_all",
    "create_connection",
    "sendto",
    "sendall",
    "mkdir",
    "mkstemp",
    "rename",
    "unlink",
    "chown",
    "chmod",
    "kill",
}
READS_BY_ACTING = {
    "breakglass.py": {"connect"},  # a datagram socket that sends nothing: the kernel only chooses a route
    "docker.py": {"connect", "sendall"},  # the engine's own socket is asked
    "engine.py": {"create_connection", "sendall"},  # what listens on this host is asked whether it is an engine
    "kernel.py": {"create_connection"},  # whether the port that an agent publishes takes connections on this host
}


def called(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {node.func.attr for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)}


def test_every_experiment_is_in_the_table() -> None:
    modules = {path.stem for path in (COLLECTOR / "experiments").glob("*.py")} - PARTS
    assert {one.module for one in EXPERIMENTS} == modules
    probes = {path.stem for path in (CHECKOUT.root / "src/clawkeep/measure/probes").glob("*.py")}
    assert {one.module for one in PROBES} <= probes


def test_what_only_reads_does_not_act() -> None:
    found = {path.name: called(path) & ACTS for path in COLLECTOR.glob("*.py")}
    assert {name: acts for name, acts in found.items() if acts} == READS_BY_ACTING


def test_the_guide_and_the_help_are_the_table(clawkeep: CommandLine) -> None:
    ended, out, _ = clawkeep("controls", "experiments")
    assert ended == 0
    page = CHECKOUT.root / "docs/guides/experiments.md"
    assert page.read_text(encoding="utf-8") == out == experiments_page.render(), f"`{experiments_page.COMMAND}`"
    assert all(line in VERIFY_HELP for line in experiments_page.lines())
