"""What the host itself holds for its tier: the record that the last converge left."""

from __future__ import annotations

from clawkeep.collector import proc
from clawkeep.collector.recorder import Recorder

RECORD = "/etc/clawkeep/tier"


def collect(rec: Recorder) -> None:
    """Read the record; its text is null when there is none."""
    rec.note("recorded-tier", dict(proc.entry(RECORD) or {}, text=proc.read(RECORD, 4096)))
