"""Evidence on disk: a bundle that can be judged again with no host, and that refuses to have been edited by hand.

    manifest.json       {"schema": 1, "tool": version, "started": "...Z", "limited": bool, "site": {},
                        "hosts": {name: entry}, "sha256"}
    hosts/<file>.json   everything that was measured about one host (`HostEvidence.raw`)

An entry is `{"file", "sha256", "tier", "addresses", "groups", "reached", "message"}`, older ones without `groups`; file
and digest are null for a host that was not reached. A tier is named only: a replay judges by the tier file of the
checkout, for that is the promise. `limited`, which older bundles lack, says that the inventory has more hosts.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from clawkeep.errors import ClawkeepError
from clawkeep.evidence.document import HostEvidence, digest
from clawkeep.inventory import Host, Site, parse_site
from clawkeep.observation import Observation
from clawkeep.register import sentence
from clawkeep.tiers import Tier

SCHEMA = 1
MANIFEST = "manifest.json"
FILE_CAP = 64 * 1024 * 1024  # bytes read of one file
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}\.json")


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    file: Annotated[str, StringConstraints(pattern=f"^{SAFE_NAME.pattern}$")] | None
    sha256: str | None
    tier: str
    addresses: list[str]
    groups: list[str] = []
    reached: bool
    message: str


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    schema_: int
    tool: str
    started: str
    limited: bool = False
    site: dict[str, Any]
    hosts: dict[str, _Entry]


def save(folder: Path, observations: Sequence[Observation], started: str, *, limited: bool = False) -> None:
    """Write a bundle of what was observed into `folder`, which must be new or empty; readable by its owner alone.

    Raises ClawkeepError when the folder holds something already or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if any(folder.iterdir()):
            raise ClawkeepError(f"{folder} is not empty: save evidence into a new folder, so that runs do not mix")
        (folder / "hosts").mkdir(mode=0o700)
        entries: dict[str, Any] = {}
        taken: set[str] = set()
        for observation in observations:
            entries[observation.host.name] = _write_host(folder / "hosts", observation, taken)
        manifest = {
            "schema": SCHEMA,
            "tool": importlib.metadata.version("clawkeep"),
            "started": started,
            "limited": limited,
            "site": observations[0].site.model_dump(mode="json") if observations else {},
            "hosts": entries,
        }
        _write(folder / MANIFEST, {**manifest, "sha256": digest(manifest)})
    except OSError as problem:
        raise ClawkeepError(f"the evidence cannot be saved to {folder}: {problem.strerror}") from None


def _write_host(folder: Path, observation: Observation, taken: set[str]) -> dict[str, Any]:
    host, file, sha256 = observation.host, None, None
    if observation.evidence is not None:
        file = file_name(host.name, taken)
        sha256 = _write(folder / file, observation.evidence.raw)
    return {
        "file": file,
        "sha256": sha256,
        "tier": host.tier.name,
        "addresses": list(host.addresses),
        "groups": list(host.groups),
        "reached": observation.reached,
        "message": observation.message,
    }


def file_name(host: str, taken: set[str]) -> str:
    """A file name for a host's name, whatever it is made of; not one of `taken` (lower case), and added to it."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", host).lstrip("._-")[:60] or "host"
    name = f"{plain}.json"
    if plain != host or name.lower() in taken:
        name = f"{plain}-{hashlib.sha256(host.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}.json"
    taken.add(name.lower())
    return name


def _write(path: Path, value: object) -> str:
    """Write `value` as JSON, one element a line so that a diff shows what changed; return the file's SHA-256."""
    data = (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()
    path.touch(mode=0o600)
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def load(folder: Path, known: Mapping[str, Tier]) -> list[Observation]:
    """The observations of a bundle, to be judged by the tiers `known`.

    Raises ClawkeepError with one sentence for whatever makes the bundle unusable: absent, of a later schema, edited
    after it was recorded, incomplete, or pointing out of its folder.
    """
    manifest = _manifest(folder)
    site = parse_site(manifest.site, str(folder / MANIFEST))
    return [_observation(folder, name, entry, site, known) for name, entry in manifest.hosts.items()]


def limited(folder: Path) -> bool:
    """Whether a bundle holds some of its inventory's hosts only."""
    return _manifest(folder).limited


def _manifest(folder: Path) -> _Manifest:
    path = folder / MANIFEST
    if not path.is_file():
        raise ClawkeepError(
            f"{folder} is no evidence: it has no {MANIFEST}; `clawkeep verify --save-evidence` makes one"
        )
    raw = _json(path, _read(path))
    if not isinstance(raw, dict):
        raise ClawkeepError(f"{path} is no manifest")
    schema = raw.get("schema")
    if schema != SCHEMA:
        newer = isinstance(schema, int) and schema > SCHEMA
        how = "was written by a later Clawkeep: update this one" if newer else "is no bundle that this Clawkeep knows"
        raise ClawkeepError(f"{path} has schema {schema!r}; it {how}")
    recorded = raw.pop("sha256", None)
    if digest(raw) != recorded:
        raise ClawkeepError(f"{path} was edited after it was recorded: its digest does not match")
    raw["schema_"] = raw.pop("schema")
    try:
        return _Manifest.model_validate(raw)
    except ValidationError as problem:
        raise ClawkeepError(f"{path}: {sentence(problem)}") from None


def _observation(folder: Path, name: str, entry: _Entry, site: Site, known: Mapping[str, Tier]) -> Observation:
    if entry.tier not in known:
        raise ClawkeepError(f"{folder}: the host {name} has the tier {entry.tier}; the tiers are {', '.join(known)}")
    host = Host(name, known[entry.tier], tuple(entry.addresses), tuple(entry.groups))
    if not entry.reached:
        return Observation(host, site, None, entry.message or "it was not reached when the evidence was recorded")
    if entry.file is None or entry.sha256 is None:
        raise ClawkeepError(f"{folder / MANIFEST}: the host {name} was reached, but names no evidence")
    path = folder / "hosts" / entry.file
    if path.is_symlink() or not path.is_file():
        raise ClawkeepError(f"{path} is missing: the bundle is incomplete")
    data = _read(path)
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise ClawkeepError(f"{path} was edited after it was recorded: its digest does not match")
    raw = _json(path, data)
    if not isinstance(raw, dict):
        raise ClawkeepError(f"{path} is no host's evidence")
    return Observation(host, site, HostEvidence(name, raw), entry.message)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(FILE_CAP + 1)
    except OSError as problem:
        raise ClawkeepError(f"{path} cannot be read: {problem.strerror}") from None
    if len(data) > FILE_CAP:
        raise ClawkeepError(f"{path} is larger than {FILE_CAP // 1024 // 1024} MB: that is no evidence of one host")
    return data


def _json(path: Path, data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as problem:
        raise ClawkeepError(f"{path} is not JSON: {problem}") from None
