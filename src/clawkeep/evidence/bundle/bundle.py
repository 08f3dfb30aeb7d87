"""A bundle as a whole: opened once, every file proved against the manifest before anything in it is believed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clawkeep.base.errors import ClawkeepError
from clawkeep.evidence.bundle import files, signature, sources
from clawkeep.evidence.bundle.files import HOSTS, MANIFEST, SIGNATURE, Tampered
from clawkeep.evidence.bundle.manifest import Entry, Manifest, parse
from clawkeep.evidence.bundle.signature import Allowed, Author
from clawkeep.evidence.bundle.sources import Recorded


@dataclass(frozen=True)
class Bundle:
    """A folder with a manifest. `data` are the manifest's bytes, `armour` its signature where it has one.

    `breaks` are sentences about what does not fit, hosts' files apart: those are read one by one. `sources` are the
    bundles that it was merged of.
    """

    folder: Path
    manifest: Manifest
    data: bytes
    armour: bytes | None
    breaks: tuple[str, ...]
    sources: tuple[Recorded, ...] = ()

    def author(self, allowed: Allowed | None = None) -> Author | None:
        """Who signed it, see `signature.author`; each bundle that was merged must be signed as well as is asked."""
        for source in self.sources:
            source.author(allowed)
        return signature.author(self.manifest, self.data, self.armour, allowed)

    def evidence(self, entry: Entry) -> Mapping[str, Any] | None:
        """What was measured about a host, None when it was not reached; raises Tampered naming the file."""
        if not entry.reached:
            if entry.file is not None or entry.sha256 is not None:
                raise Tampered(f"{MANIFEST}: the host {entry.name} was not reached, yet names evidence")
            return None
        if entry.file is None or entry.sha256 is None:
            raise Tampered(f"{MANIFEST}: the host {entry.name} was reached, but names no evidence")
        path = self.folder / HOSTS / entry.file
        raw = files.decode(path, self.data_of(entry, path))
        if not isinstance(raw, dict):
            raise Tampered(f"{path} is no host's evidence")
        if raw.get("host") != entry.name:
            raise Tampered(f"{path} is the evidence of {raw.get('host')!r}, not of the host {entry.name}")
        return raw

    def data_of(self, entry: Entry, path: Path) -> bytes:
        """The bytes of a host's file, which are those that were recorded; raises Tampered naming the file."""
        data = files.read(path)
        found = hashlib.sha256(data).hexdigest()
        if found != entry.sha256:
            raise Tampered(f"{path} {self._difference(entry, found, len(data))}")
        return data

    def _difference(self, entry: Entry, found: str, size: int) -> str:
        owner = next((other.name for other in self.manifest.hosts if other.sha256 == found), None)
        if owner is not None:
            return f"holds what was recorded of the host {owner}: the evidence of two hosts was exchanged"
        if entry.size is not None and size < entry.size:
            return f"was cut: {size} of the {entry.size} bytes that were recorded are there"
        return "was edited after it was recorded: its digest does not match"

    def findings(self) -> Iterator[str]:
        """Everything that shows that the bundle is not as it was recorded, each as a sentence; who signed it apart."""
        yield from self.breaks
        for entry in self.manifest.hosts:
            try:
                self.evidence(entry)
            except Tampered as problem:
                yield str(problem)


def open_bundle(folder: Path) -> Bundle:
    """The bundle in `folder`.

    Raises ClawkeepError when there is none that can be read, Tampered when its manifest is not one at all.
    """
    path = folder / MANIFEST
    if not files.present(path):
        raise ClawkeepError(
            f"{folder} is no evidence: it has no {MANIFEST}; `clawkeep verify --save-evidence` makes one"
        )
    data = files.read(path)
    manifest = parse(path, data)
    beside = folder / SIGNATURE
    armour = files.read(beside, signature.CAP) if files.present(beside) else None
    known = {entry.file for entry in manifest.hosts if entry.file is not None}
    breaks = [*manifest.breaks, *files.foreign(folder, known, sources.names(manifest))]
    merged = sources.read(folder, manifest, breaks)
    return Bundle(folder, manifest, data, armour, tuple(breaks), merged)
