"""What leaves a host is judged: every key that the collector records is read by a subject, or has a reason here.

A key that nobody reads is a promise that nobody keeps, and one more thing that leaves somebody's host.
"""

from __future__ import annotations

import ast
import functools
import importlib
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from clawkeep.base import repo
from clawkeep.evidence.document import HostEvidence
from clawkeep.register import register, tiers
from clawkeep.sabotage import collected
from clawkeep.sabotage.record import recorded
from clawkeep.sabotage.thread import Read, read_by_tests

CHECKOUT = repo.find(Path(__file__))
SOURCE = CHECKOUT.root / "src" / "clawkeep"
TIERS = sorted(path.name for path in CHECKOUT.recorded.iterdir() if path.name in tiers.load(CHECKOUT.tiers))

# Recorded on the good hosts when they were recorded, and by no collector since.
GONE = {"facts/web-units"}
# Read by nobody on the good hosts, and why it is collected all the same.
KEPT = {
    "facts/desktop-sharing": "CTR-10 reads it where the engine is Docker Desktop's",
}
# Properties of units that the collector itself needs.
OWN = {("egress-units", "MainPID"): "whose start is compared with its file's date"}
READERS = {"fact", "json", "lines", "command"}


@functools.cache
def read() -> frozenset[Read]:
    """What the whole suite reads of the recorded good hosts."""
    controls = register.load(CHECKOUT.controls)
    return read_by_tests(controls, [recorded(CHECKOUT, tier) for tier in TIERS], CHECKOUT.suite, CHECKOUT)


@functools.cache
def named() -> dict[str, set[Path]]:
    """By the key that a subject's source names: the modules that do; for worlds that no good host is."""
    found: dict[str, set[Path]] = {}
    for path in sorted((SOURCE / "subjects").rglob("*.py")):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        for text in texts | set(_of_the_collector(nodes)):
            found.setdefault(text, set()).add(path)
    return found


def _of_the_collector(nodes: list[ast.AST]) -> Iterator[str]:
    """The texts that a module imports from the collector, by their own name or by their module's."""
    imported: dict[str, object] = {}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("clawkeep.collector"):
            source = importlib.import_module(node.module or "")
            for one in node.names:
                found = getattr(source, one.name, None) or importlib.import_module(f"{node.module}.{one.name}")
                imported[one.asname or one.name] = found
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            value = getattr(imported.get(node.value.id), node.attr, None)
        else:
            value = imported.get(node.id) if isinstance(node, ast.Name) else None
        if isinstance(value, str):
            yield value


def documents(evidence: HostEvidence) -> Iterator[tuple[str, str]]:
    """Every vantage and path of a host's evidence."""
    for vantage, document in [("inside", evidence.raw["inside"]), *evidence.raw["vantages"].items()]:
        for section in ("commands", "facts"):
            yield from ((vantage, f"{section}/{key}") for key in document.get(section, {}))


@pytest.mark.parametrize("tier", TIERS)
def test_every_key_of_the_recorded_hosts_is_read(tier: str) -> None:
    evidence = recorded(CHECKOUT, tier).evidence
    assert evidence is not None
    unread = {path for vantage, path in documents(evidence) if (vantage, path) not in read()}
    assert unread - GONE - KEPT.keys() == set()


@pytest.mark.parametrize("tier", TIERS)
def test_every_key_of_the_recorded_hosts_is_one_that_the_collector_records(tier: str) -> None:
    """Else the collector's source is read wrongly here, and what it records may go unnoticed below."""
    evidence = recorded(CHECKOUT, tier).evidence
    assert evidence is not None
    known = collected.recorded(SOURCE / "collector")
    paths = [path for vantage, path in documents(evidence) if vantage == "inside"]
    lost = {path for path in paths if not any(one.fits(path.partition("/")[2]) for one in known)}
    assert lost == GONE


def test_every_key_in_the_collectors_source_is_read() -> None:
    keys = {path.partition("/")[2] for _, path in read()}
    unread = {
        f"{one.module.name}: {one.pattern}"
        for one in collected.recorded(SOURCE / "collector")
        if one.pattern not in named() and not any(fnmatchcase(key, one.pattern) for key in keys)
    }
    assert unread == set()


def test_the_list_of_reasons_names_what_is_collected_and_unread_and_nothing_else() -> None:
    hosts = [evidence for tier in TIERS if (evidence := recorded(CHECKOUT, tier).evidence) is not None]
    unread = {path for host in hosts for vantage, path in documents(host) if (vantage, path) not in read()}
    assert unread == KEPT.keys() | GONE
    assert all(KEPT.values())


def shown() -> Iterator[tuple[str, str]]:
    """Each property of units that the collector asks systemd for, with the key under which it is recorded."""
    for path in sorted((SOURCE / "collector").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants = {
            target.id: ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant | ast.JoinedStr)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            text = ast.unparse(call)
            asked = re.search(r"'--property=([\w,]*)'(?: \+ ([A-Z_]+))?", text)
            key = re.search(r"'([a-z]+(?:-[a-z]+)*-(?:units|seal|properties))'", text)
            if asked and key:
                names = f"{asked.group(1)},{constants.get(asked.group(2) or '', '')}"
                yield from ((key.group(1), name) for name in names.split(",") if name)


def test_every_property_that_systemd_is_asked_for_is_read_where_its_units_are() -> None:
    asked = set(shown())
    assert len({key for key, _ in asked}) == 8, "a call that asks for properties is not seen here"
    unread = {
        (key, name) for key, name in asked if name != "Id" and not named().get(name, set()) & named().get(key, set())
    }
    assert unread == OWN.keys()
