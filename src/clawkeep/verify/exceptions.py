"""The papers of a site: its waivers and attestations, read and held against the register and the hosts."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clawkeep.register.register import Control
from clawkeep.site.dated_entries import Hosts
from clawkeep.site.inventory import Host, Site
from clawkeep.verify import attestations as attesting
from clawkeep.verify import waivers as waiving
from clawkeep.verify.attestations import Attestation
from clawkeep.verify.waivers import Waiver


@dataclass(frozen=True)
class Papers:
    """Waivers and attestations that are in order on the day `today`, and sentences about those that are not."""

    today: datetime.date
    hosts: Hosts
    waivers: tuple[Waiver, ...] = ()
    attestations: Mapping[tuple[str, str], Sequence[Attestation]] = field(default_factory=dict)  # by control and host
    objections: tuple[str, ...] = ()

    def attested(self, control: str, host: str) -> Sequence[Attestation]:
        """The attestations of one control that concern one host, in the file's order."""
        return self.attestations.get((control, host), ())


@dataclass(frozen=True)
class Files:
    """What the files of a site say, before it is held against anything."""

    waivers: tuple[Waiver, ...] = ()
    attestations: tuple[Attestation, ...] = ()

    def review(
        self,
        register: Mapping[str, Control],
        hosts: Sequence[Host],
        site: Site,
        today: datetime.date,
        *,
        complete: bool = True,
    ) -> Papers:
        """What of it is in order; `complete` says that `hosts` are all of the inventory. Contacts no host."""
        known = Hosts(hosts, complete)
        waivers, against_waivers = waiving.review(self.waivers, register, known, today)
        attested, against_attestations = attesting.review(self.attestations, register, known, site, today)
        by_host: dict[tuple[str, str], list[Attestation]] = defaultdict(list)
        for attestation in attested:
            for host in known.of(attestation.scope):
                by_host[attestation.control, host].append(attestation)
        return Papers(today, known, waivers, by_host, (*against_waivers, *against_attestations))


def read(inventory: Path | None, waivers: Path | None = None, attestations: Path | None = None) -> Files:
    """The files that are named, else those beside the inventory, where a missing one says nothing.

    Raises NotInOrder when a named file is missing, or when one cannot be used.
    """
    waiver_file = waivers or _beside(inventory, waiving.FILE)
    attestation_file = attestations or _beside(inventory, attesting.FILE)
    return Files(
        waiving.load(waiver_file) if waiver_file else (),
        attesting.load(attestation_file) if attestation_file else (),
    )


def _beside(inventory: Path | None, name: str) -> Path | None:
    if inventory is None:
        return None
    path = (inventory if inventory.is_dir() else inventory.parent) / name
    return path if path.exists() or path.is_symlink() else None
