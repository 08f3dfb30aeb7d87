"""The bundles that a merged bundle was made of: their manifests and signatures lie in it, and are proved with it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clawkeep.base.errors import ClawkeepError
from clawkeep.evidence.bundle import files, signature
from clawkeep.evidence.bundle.files import SOURCES, Tampered
from clawkeep.evidence.bundle.manifest import Entry, Manifest, parse
from clawkeep.evidence.bundle.signature import Allowed, Author, Unsigned

RECORDED = ("name", "sha256", "size", "tier", "addresses", "groups", "reached", "message")  # the file's name may differ


@dataclass(frozen=True)
class Recorded:
    """One bundle that was merged: its name in the merged one, its manifest with the bytes, its signature if any."""

    name: str
    manifest: Manifest
    data: bytes
    armour: bytes | None

    @property
    def path(self) -> str:
        """Where its manifest lies in the merged bundle."""
        return f"{SOURCES}/{self.name}.json"

    def author(self, allowed: Allowed | None = None) -> Author | None:
        """Who recorded it, as `signature.author`: any allowed signer will do, `identity` is asked of the merged one."""
        anybody = replace(allowed, identity=None) if allowed is not None else None
        try:
            return signature.author(self.manifest, self.data, self.armour, anybody)
        except Tampered as problem:
            raise Tampered(f"{self.path}: {problem}") from None
        except Unsigned:
            raise Unsigned(
                f"the bundle that was merged as {self.path} is not signed, and a signature of an allowed signer is "
                "asked for"
            ) from None


def names(manifest: Manifest) -> set[str]:
    """The files that lie in `sources`."""
    found = {f"{source.name}.json" for source in manifest.sources}
    return found | {f"{source.name}.json.sig" for source in manifest.sources if source.signature is not None}


def read(folder: Path, manifest: Manifest, breaks: list[str]) -> tuple[Recorded, ...]:
    """The bundles that were merged into the one in `folder`; what does not fit is added to `breaks` as sentences."""
    found = []
    for source in manifest.sources:
        path = folder / SOURCES / f"{source.name}.json"
        try:
            data, armour = files.read(path), None
            beside = path.with_name(path.name + ".sig")
            if source.signature is not None:
                armour = files.read(beside, signature.CAP)
            for file, held, named in ((path, data, source.sha256), (beside, armour, source.signature)):
                if held is not None and hashlib.sha256(held).hexdigest() != named:
                    raise Tampered(f"{file} was edited after the bundles were merged: its digest does not match")
            found.append(Recorded(source.name, parse(path, data), data, armour))
        except ClawkeepError as problem:
            breaks.append(str(problem))
    if manifest.merged is not None and len(found) == len(manifest.sources):
        breaks += _misfits(manifest, found)
    return tuple(found)


def _misfits(manifest: Manifest, sources: Sequence[Recorded]) -> Iterator[str]:
    """Where the merged manifest says something else than those that it was made of, or leaves something out."""
    known = {source.name: source for source in sources}
    held: dict[str, list[Recorded]] = {}
    entries: dict[tuple[str, str], Entry] = {}
    for source in sources:
        yield from source.manifest.breaks
        if source.manifest.site != manifest.site:
            yield f"{source.path} is of another site than the bundle that it was merged into"
        for entry in source.manifest.hosts:
            held.setdefault(entry.name, []).append(source)
            entries[source.name, entry.name] = entry
    for entry in manifest.hosts:
        yield from _entry(entry, known.get(entry.source or ""), held.pop(entry.name, []), entries)
    for name, where in held.items():
        yield f"the host {name}, recorded in {where[0].path}, was removed"


def _entry(
    entry: Entry, source: Recorded | None, held: Sequence[Recorded], entries: Mapping[tuple[str, str], Entry]
) -> Iterator[str]:
    if source is None:
        yield f"the host {entry.name} is of the source {entry.source}, which is not there"
        return
    recorded = entries.get((source.name, entry.name))
    if recorded is None:
        yield f"the host {entry.name} was added: {source.path} does not name it"
    elif any(getattr(entry, key) != getattr(recorded, key) for key in RECORDED):
        yield f"the entry of the host {entry.name} is not as {source.path} recorded it"
    for other in held:
        if other.manifest.started > source.manifest.started:
            yield f"the host {entry.name} is taken from {source.path}, and {other.path} has a newer one"
