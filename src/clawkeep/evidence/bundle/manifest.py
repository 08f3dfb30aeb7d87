"""The manifest of a bundle: what was measured when, the digest of every file, and a chain over the hosts.

    {"schema": 2, "tool": version, "started": "...Z", "limited": bool, "site": {}, "signed_by": "SHA256:..." | null,
     "start": digest of the six above,
     "hosts": [{"name", "after", "file", "sha256", "size", "tier", "addresses", "groups", "reached", "message",
                "chain"}],
     "last": name of the last host | null,
     "sha256": digest of all of the above}

`after` is the name of the host before, null for the first. `chain` is the digest of the entry without `chain`, with the
chain value of the host before it (`start` for the first) as `previous`: an entry vouches for all that come before it.
`sha256` and `size` (bytes) are of the host's file as it lies there; both and `file` are null for a host that was not
reached. `signed_by` is the fingerprint of the key that is to sign. "Digest" is that of the canonical JSON, see
`document.digest`. The digests show that nothing changed by itself or by an unwary hand; who wrote them, only a
signature shows. `limited` says that the inventory has more hosts.

Schema 3 is that of bundles that were merged of others (see `clawkeep.evidence.merge`). Besides it has `merged`, when
that was, and `sources`, one for each bundle that was merged: `{"name", "sha256", "signature"}`, the plain SHA-256 of
`sources/NAME.json`, which is its manifest, and of `sources/NAME.json.sig` (null where it was not signed). Both are
covered by `start`. Each host names its `source`, and `started` is that of the earliest.

Schema 1, which older bundles have, knows no chain: `hosts` maps names to entries; `limited` and `groups` may be absent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from clawkeep.base.errors import ClawkeepError
from clawkeep.evidence.bundle.files import MANIFEST, Tampered, decode, encode
from clawkeep.evidence.document import digest
from clawkeep.register.register import sentence

SCHEMA = 2
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}\.json")
MERGED = 3
HEAD = ("schema", "tool", "started", "limited", "site", "signed_by")
MERGED_HEAD = (*HEAD, "merged", "sources")

Started = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]


class Entry(BaseModel):
    """What the manifest says of one host."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: str
    file: Annotated[str, StringConstraints(pattern=f"^{SAFE_NAME.pattern}$")] | None
    sha256: str | None
    tier: str
    addresses: list[str]
    groups: list[str] = []
    reached: bool
    message: str
    size: int | None = None  # bytes
    source: str | None = None  # in a merged bundle


class _Chained(Entry):
    groups: list[str]
    size: int | None
    source: None = None
    after: str | None
    chain: str


class _Joined(_Chained):
    source: str  # type: ignore[assignment]


class Source(BaseModel):
    """A bundle that was merged: the digests of its manifest and of its signature."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: Annotated[str, StringConstraints(pattern=r"^[0-9]{3,6}$")]
    sha256: str
    signature: str | None


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    schema_: int = Field(alias="schema")
    tool: str
    started: Started
    limited: bool = False
    site: dict[str, Any]
    sha256: str


class _First(_Body):
    hosts: dict[str, dict[str, Any]]


class _Second(_Body):
    limited: bool
    signed_by: str | None
    start: str
    hosts: list[_Chained]
    last: str | None


class _Third(_Second):
    hosts: list[_Joined]  # type: ignore[assignment]
    merged: Started
    sources: list[Source]


@dataclass(frozen=True)
class Manifest:
    """A manifest that was read; `breaks` are sentences about what no longer fits in it."""

    schema: int
    tool: str
    started: str
    limited: bool
    site: Mapping[str, Any]
    signed_by: str | None
    hosts: tuple[Entry, ...]
    digest: str
    breaks: tuple[str, ...] = ()
    merged: str | None = None
    sources: tuple[Source, ...] = ()


def seal(head: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The manifest of `entries` (without `after` and `chain`) under `head`: HEAD or MERGED_HEAD without the schema."""
    opening = {"schema": MERGED if "sources" in head else SCHEMA, **head}
    before, value = None, digest(opening)
    hosts = []
    for entry in entries:
        linked = {**entry, "after": before}
        before, value = entry["name"], _link(value, linked)
        hosts.append({**linked, "chain": value})
    whole = {**opening, "start": digest(opening), "hosts": hosts, "last": before}
    return {**whole, "sha256": digest(whole)}


def _link(previous: str, entry: Mapping[str, Any]) -> str:
    return digest({**{key: value for key, value in entry.items() if key != "chain"}, "previous": previous})


def parse(path: Path, data: bytes) -> Manifest:
    """The manifest in `data`, which was read from `path`.

    Raises ClawkeepError when it is of no schema that is known here, Tampered when nothing can be made of it.
    """
    raw = decode(path, data)
    schema = raw.get("schema") if isinstance(raw, dict) else None
    if type(schema) is not int or schema < 1:
        raise ClawkeepError(f"{path} has schema {schema!r}: it is no manifest that this Clawkeep knows")
    if schema > MERGED:
        raise ClawkeepError(f"{path} has schema {schema}; it was written by a later Clawkeep: update this one")
    try:
        return _first(path, raw) if schema == 1 else _second(path, raw, data)
    except ValidationError as problem:
        raise Tampered(f"{path} is not as Clawkeep writes it: {sentence(problem)}") from None
    except RecursionError:
        raise Tampered(f"{path} is not as Clawkeep writes it: it is nested too deep") from None


def _first(path: Path, raw: dict[str, Any]) -> Manifest:
    body = _First.model_validate(raw)
    entries = tuple(Entry.model_validate({**entry, "name": name}) for name, entry in body.hosts.items())
    whole = {key: value for key, value in raw.items() if key != "sha256"}
    breaks = [] if digest(whole) == body.sha256 else [f"{path} {_EDITED}"]
    return Manifest(
        schema=1,
        tool=body.tool,
        started=body.started,
        limited=body.limited,
        site=body.site,
        signed_by=None,
        hosts=entries,
        digest=body.sha256,
        breaks=(*breaks, *_twice(entries)),
    )


def _second(path: Path, raw: dict[str, Any], data: bytes) -> Manifest:
    body = (_Third if raw["schema"] == MERGED else _Second).model_validate(raw)
    breaks = _twice(body.hosts) or [f"{path}: {said}" for said in _breaks(raw)] or _rest(path, raw, data)
    return Manifest(
        schema=body.schema_,
        tool=body.tool,
        started=body.started,
        limited=body.limited,
        site=body.site,
        signed_by=body.signed_by,
        hosts=tuple(body.hosts),
        digest=body.sha256,
        breaks=tuple(breaks),
        merged=body.merged if isinstance(body, _Third) else None,
        sources=tuple(body.sources) if isinstance(body, _Third) else (),
    )


_EDITED = "was edited after it was recorded: its digest does not match"


def _rest(path: Path, raw: Mapping[str, Any], data: bytes) -> list[str]:
    """What the chain cannot tell: the digest of the whole, and that the bytes are those that Clawkeep writes."""
    if digest({key: value for key, value in raw.items() if key != "sha256"}) != raw["sha256"]:
        return [f"{path} {_EDITED}"]
    try:
        same = encode(raw, len(data)) == data
    except ValueError:  # longer than what was read
        same = False
    return (
        [] if same else [f"{path} was edited after it was recorded: it has other spaces, another order or a key twice"]
    )


def _breaks(raw: Mapping[str, Any]) -> list[str]:
    """Where the chain breaks, each with the host that it breaks at."""
    said = []
    head = MERGED_HEAD if raw["schema"] == MERGED else HEAD
    if digest({key: raw[key] for key in head}) != raw["start"]:
        said.append(f"what it says of the run ({', '.join(head[1:])}) was edited after it was recorded")
    chains = {None: raw["start"], **{entry["name"]: entry["chain"] for entry in raw["hosts"]}}
    before = None
    for entry in raw["hosts"]:
        name, after = entry["name"], entry["after"]
        if after not in chains:
            said.append(f"the host {after}, recorded before {name}, was removed")
        elif after != before:
            said.append(
                f"the host {name} was recorded {_place(after)} and stands {_place(before)}: moved, or one added"
            )
        if after in chains and _link(chains[after], entry) != entry["chain"]:
            said.append(f"the entry of the host {name} was edited after it was recorded")
        before = name
    last = raw["last"]
    if last not in chains:
        said.append(f"the host {last}, recorded last, was removed")
    elif last != before:
        said.append(f"the host {before} stands last, where {last or 'none'} was recorded: moved, or one added")
    return said


def _place(after: str | None) -> str:
    return "first" if after is None else f"after {after}"


def _twice(entries: Sequence[Entry]) -> list[str]:
    """Hosts, and files (whatever their case), that more than one entry names."""
    said: list[str] = []
    names: set[str] = set()
    owners: dict[str, str] = {}
    for entry in entries:
        if entry.name in names:
            said.append(f"{MANIFEST} names the host {entry.name} twice")
        names.add(entry.name)
        if entry.file is not None:
            other = owners.setdefault(entry.file.lower(), entry.name)
            if other != entry.name:
                said.append(f"{MANIFEST} gives the file {entry.file} to two hosts, {other} and {entry.name}")
    return said
