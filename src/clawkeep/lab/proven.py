"""Proven machines kept under the digest of all that went into them, so that a converged tier is there in seconds.

A proof never starts from one: `scripts/lab-test` builds what it proves, and keeps it when it is green.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from clawkeep.base import repo
from clawkeep.lab import cache, machine, state, tools
from clawkeep.lab.errors import LabError
from clawkeep.lab.topology import Lab

SNAPSHOT = "green"
# What decides how a converged host looks, below the checkout; the host's image has a key of its own.
SOURCES = ("ansible.cfg", "inventories/lab", "playbooks", "roles", "src/clawkeep_host", "src/clawkeep/lab")
# What a machine needs beside its disk and memory: who it lets in, and whom it trusts. The world is built anew.
_BESIDE = ("id_ed25519*", "known_hosts", "emergency_ed25519*", "front", "log", "vpn", "tier")


def name(lab: Lab, tier: str, image: Path) -> str:
    """The product's name: kind, and a digest that changes with the image, the tier, the lab's folder and any source."""
    key = cache.key(image.name, tier, lab.id, *_sources(repo.find().root))
    return f"proven_{lab.scenario.name}_{tier}-{key}"


def keep(lab: Lab) -> Path:
    """Copy the running lab's snapshot `green` with all that belongs to it; of its kind only this one is kept."""
    record = state.load(lab)
    if record is None or SNAPSHOT not in machine.snapshots(lab):
        raise LabError(f"the lab {lab.scenario.name} has no snapshot {SNAPSHOT}: prove it and save one first")

    def build(into: Path) -> None:
        with machine.paused(lab):  # what QEMU holds of the disk is written out
            _copy(lab.state, into, (machine.Files(lab.state).disk.name, f"memories/{SNAPSHOT}", *_BESIDE))
        state.save(replace(lab, state=into), replace(record, processes=()))

    wanted = name(lab, state.tier(lab), Path(record.image))
    product = cache.product(wanted, build)
    for other in product.parent.glob(f"{wanted.rpartition('-')[0]}-*"):
        if other != product:
            shutil.rmtree(other)
    return product


def find(lab: Lab, tier: str, image: Path) -> Path:
    """Where a proven machine of that tier lies; raises LabError when none was kept of today's sources."""
    found = cache.home() / name(lab, tier, image)
    if not found.is_dir():
        raise LabError(
            f"no machine is kept that was proven as {tier} with these sources: "
            f"`scripts/lab-test representative {lab.scenario.name}` proves and keeps one"
        )
    return found


def bring(product: Path, lab: Lab) -> None:
    """Fill the lab's empty folder from a kept machine; `restore` starts it."""
    lab.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    _copy(product, lab.state, ("*",))


def _copy(source: Path, into: Path, patterns: tuple[str, ...]) -> None:
    for pattern in patterns:
        for path in sorted(source.glob(pattern)):
            target = into / path.relative_to(source)
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            tools.run(["cp", "--archive", "--reflink=auto", "--sparse=always", str(path), str(target)])


def _sources(root: Path) -> Iterator[str]:
    """Each source's path and digest, in the order of the paths; what Python makes beside them is left out."""
    for source in SOURCES:
        place = root / source
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file() and "__pycache__" not in path.parts:
                yield f"{path.relative_to(root)} {hashlib.sha256(path.read_bytes()).hexdigest()}"
