"""Evidence on disk: observations kept as a bundle, and given back to be judged again with no host.

    manifest.json       what was measured when, and the digest of every file: see `clawkeep.evidence.bundle.manifest`
    manifest.json.sig   its signature, where one was asked for
    hosts/<file>.json   everything that was measured about one host (`HostEvidence.raw`)

A tier is named only: a replay judges by the tier file of the checkout, for that is the promise.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clawkeep.base.errors import ClawkeepError
from clawkeep.evidence.bundle import files
from clawkeep.evidence.bundle.bundle import Bundle, open_bundle
from clawkeep.evidence.bundle.files import HOSTS, MANIFEST, SIGNATURE, Tampered
from clawkeep.evidence.bundle.manifest import Entry, seal
from clawkeep.evidence.bundle.signature import Key
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.observation import Observation
from clawkeep.register.tiers import Tier
from clawkeep.site.inventory import Host, Site, parse_site


@dataclass(frozen=True)
class Saved:
    """A bundle that was written: its digest, the fingerprint of the key that signed it or else None.

    `problem` says why it is not signed although a key was given.
    """

    digest: str
    signed_by: str | None = None
    problem: str = ""


# Folders of the machine that verified: no judgement needs them, and who reads the evidence has other ones.
_OWN_PATHS: dict[str, Any] = {"vpn_secrets": True, "vantages": {"__all__": {"store"}}}


def vacant(folder: Path) -> None:
    """Raise ClawkeepError unless `folder` is new or empty, so that a run learns it before it has measured anything."""
    try:
        if folder.exists() and any(folder.iterdir()):
            raise ClawkeepError(f"{folder} is not empty: save evidence into a new folder, so that runs do not mix")
    except OSError as problem:
        raise ClawkeepError(f"the evidence cannot be saved to {folder}: {problem.strerror}") from None


def save(
    folder: Path,
    observations: Sequence[Observation],
    started: str,
    key: Key | None = None,
    *,
    limited: bool = False,
) -> Saved:
    """Write a bundle of what was observed into `folder`, which must be new or empty; readable by its owner alone.

    `limited` says that the inventory has more hosts. With `key` it is signed; should the key fail now, the bundle is
    kept unsigned and says so. Raises ClawkeepError when the folder holds something already or cannot be written, or
    when a host's evidence is no size to be kept.
    """
    vacant(folder)
    head = heading(observations[0].site if observations else None, started, limited=limited)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / HOSTS).mkdir(mode=0o700)
        taken: set[str] = set()
        entries = [_write_host(folder / HOSTS, observation, taken) for observation in observations]
        return conclude(folder, head, entries, key)
    except OSError as failed:
        raise ClawkeepError(f"the evidence cannot be saved to {folder}: {failed.strerror}") from None


def heading(site: Site | None, started: str, *, limited: bool) -> dict[str, Any]:
    """What a manifest says of a run as a whole, `signed_by` apart."""
    return {
        "tool": importlib.metadata.version("clawkeep"),
        "started": started,
        "limited": limited,
        "site": site.model_dump(mode="json", exclude=_OWN_PATHS) if site is not None else {},
    }


def conclude(
    folder: Path, head: Mapping[str, Any], entries: Sequence[Mapping[str, Any]], key: Key | None = None
) -> Saved:
    """Write the manifest of a bundle whose host files lie in `folder`, signed with `key`; raises OSError."""
    armour, problem = None, ""
    manifest = seal({**head, "signed_by": key.fingerprint if key is not None else None}, entries)
    if key is not None:
        try:
            armour = key.sign(files.encode(manifest))
        except ClawkeepError as refused:
            problem = str(refused)
            manifest = seal({**head, "signed_by": None}, entries)
    files.write(folder / MANIFEST, files.encode(manifest))
    if armour is not None:
        files.write(folder / SIGNATURE, armour)
    return Saved(manifest["sha256"], manifest["signed_by"], problem)


def encoded(name: str, raw: Mapping[str, Any]) -> bytes:
    """A host's evidence as a bundle keeps it; raises ClawkeepError when it is no size to be kept."""
    try:
        return files.encode(raw)
    except (ValueError, RecursionError) as problem:
        why = "it is nested too deep" if isinstance(problem, RecursionError) else str(problem)
        raise ClawkeepError(f"the evidence of {name} cannot be kept: {why}; look for what fills it") from None


def entry(host: Host, message: str = "") -> dict[str, Any]:
    """What the manifest says of a host that was not reached, chain apart."""
    return {
        "name": host.name,
        "file": None,
        "sha256": None,
        "size": None,
        "tier": host.tier.name,
        "addresses": list(host.addresses),
        "groups": list(host.groups),
        "reached": False,
        "message": message,
    }


def reached(entry: Mapping[str, Any], file: str, data: bytes) -> dict[str, Any]:
    """The entry of the same host when it was reached, and its evidence is `data` in `file`."""
    return {**entry, "file": file, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "reached": True}


def _write_host(folder: Path, observation: Observation, taken: set[str]) -> dict[str, Any]:
    host, found = observation.host, entry(observation.host, observation.message)
    if observation.evidence is None:
        return found
    data, file = encoded(host.name, observation.evidence.raw), file_name(host.name, taken)
    files.write(folder / file, data)
    return reached(found, file, data)


def file_name(host: str, taken: set[str]) -> str:
    """A file name for a host's name, whatever it is made of; not one of `taken` (lower case), and added to it."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", host).lstrip("._-")[:60] or "host"
    name = f"{plain}.json"
    if plain != host or name.lower() in taken:
        name = f"{plain}-{hashlib.sha256(host.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}.json"
    taken.add(name.lower())
    return name


def load(folder: Path, known: Mapping[str, Tier]) -> list[Observation]:
    """The observations of the bundle in `folder`, to be judged by the tiers `known`.

    Raises ClawkeepError with one sentence for whatever makes the bundle unusable: absent, of a later schema, not as it
    was recorded (Tampered), or of an unknown tier. Its signature is not asked for.
    """
    return observations(open_bundle(folder), known)


def observations(bundle: Bundle, known: Mapping[str, Tier]) -> list[Observation]:
    """As `load`, of a bundle that is open."""
    if bundle.breaks:
        more = f" (and {len(bundle.breaks) - 1} more)" if len(bundle.breaks) > 1 else ""
        raise Tampered(f"{bundle.breaks[0]}{more}")
    manifest = bundle.manifest
    site = parse_site(manifest.site, str(bundle.folder / MANIFEST))
    return [_observation(bundle, entry, site, known) for entry in manifest.hosts]


def _observation(bundle: Bundle, entry: Entry, site: Site, known: Mapping[str, Tier]) -> Observation:
    if entry.tier not in known:
        raise ClawkeepError(
            f"{bundle.folder}: the host {entry.name} has the tier {entry.tier}; the tiers are {', '.join(known)}"
        )
    host = Host(entry.name, known[entry.tier], tuple(entry.addresses), tuple(entry.groups))
    raw = bundle.evidence(entry)
    if raw is None:
        return Observation(host, site, None, entry.message or "it was not reached when the evidence was recorded")
    return Observation(host, site, HostEvidence(entry.name, raw), entry.message)
