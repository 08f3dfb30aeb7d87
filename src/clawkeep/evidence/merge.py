"""Join bundles of many controllers into one, which still proves who recorded which host.

The merged bundle is a bundle like any other, with a chain of its own. Besides, `sources/` keeps the manifest and the
signature of each bundle that went into it, to the byte, and each host names its source: whoever signed a source has
signed the digest of its hosts' evidence. Hosts' files are copied one by one, so a fleet takes no more memory than its
manifests and one host.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clawkeep.base.errors import ClawkeepError
from clawkeep.evidence import store
from clawkeep.evidence.bundle import files
from clawkeep.evidence.bundle.bundle import Bundle, open_bundle
from clawkeep.evidence.bundle.files import HOSTS, SOURCES, Tampered
from clawkeep.evidence.bundle.manifest import Entry
from clawkeep.evidence.bundle.signature import Allowed, Key
from clawkeep.evidence.bundle.sources import RECORDED

SHOWN = 5  # hosts that are in two bundles


@dataclass(frozen=True)
class Merged:
    """A bundle that was made of others: how many hosts it has, and how many older entries were left out for newer."""

    saved: store.Saved
    hosts: int
    replaced: int


def merge(
    into: Path,
    folders: Sequence[Path],
    when: str,
    *,
    newest: bool = False,
    whole: bool = False,
    allowed: Allowed | None = None,
    key: Key | None = None,
) -> Merged:
    """Join the bundles in `folders` into a new one, which appears in one step; `when` is the time.

    Every source must be as it was recorded, and signed by one of `allowed` where that is given. A host in two of them
    is refused, or with `newest` taken from the one whose run began last. `whole` says that together they have every
    host of the inventory. Raises ClawkeepError (Tampered where a source was changed), and then nothing is written.
    """
    store.vacant(into)
    sources = [_opened(folder, allowed) for folder in folders]
    first = sources[0]
    for other in sources[1:]:
        if other.manifest.site != first.manifest.site:
            raise ClawkeepError(
                f"{first.folder} and {other.folder} have different facts of the site: merge bundles that were "
                "collected with the same group_vars/all.yml, images.lock.yml and vpn_peers.yml"
            )
    chosen, replaced = _chosen(sources, newest=newest)
    work = into.absolute().parent / f".{into.name}.merging"
    if files.present(work):
        raise ClawkeepError(
            f"{work} is of a merge that is on its way or was stopped: remove it when none runs any more"
        )
    head = {
        **store.heading(None, min(source.manifest.started for source in sources), limited=False),
        "site": first.manifest.site,
        "limited": not whole and any(source.manifest.limited for source in sources),
        "merged": when,
    }
    try:
        work.mkdir(mode=0o700, parents=True)
        for folder in (HOSTS, SOURCES):
            (work / folder).mkdir(mode=0o700)
        kept = [_keep(work / SOURCES, number, source) for number, source in enumerate(sources, 1)]
        entries = list(_copied(work / HOSTS, sources, chosen))
        saved = store.conclude(work, {**head, "sources": kept}, entries, key)
        work.rename(into.absolute())
    except OSError as failed:
        raise ClawkeepError(f"the merged evidence cannot be saved to {into}: {failed.strerror}") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Merged(saved, len(entries), replaced)


def _opened(folder: Path, allowed: Allowed | None) -> Bundle:
    bundle = open_bundle(folder)
    if bundle.breaks:
        more = f" (and {len(bundle.breaks) - 1} more)" if len(bundle.breaks) > 1 else ""
        raise Tampered(f"{bundle.breaks[0]}{more}")
    if bundle.sources:
        raise ClawkeepError(f"{folder} was merged of others itself: merge those that it was made of")
    if bundle.manifest.schema == 1:
        raise ClawkeepError(f"{folder} is of schema 1 and has no chain over its hosts: it cannot be merged")
    if not bundle.manifest.hosts:
        raise ClawkeepError(f"the bundle {folder} has no host")
    try:
        bundle.author(allowed)
    except ClawkeepError as problem:
        raise type(problem)(f"{folder}: {problem}") from None
    return bundle


def _chosen(sources: Sequence[Bundle], *, newest: bool) -> tuple[dict[str, tuple[int, Entry]], int]:
    """By host, in order of their names: the number of its source, and its entry there; and how many were older."""
    found: dict[str, tuple[int, Entry]] = {}
    twice: list[str] = []
    replaced = 0
    for number, source in enumerate(sources):
        for entry in source.manifest.hosts:
            other = sources[found[entry.name][0]] if entry.name in found else None
            if other is None:
                found[entry.name] = (number, entry)
            elif not newest:
                twice.append(f"the host {entry.name} is in {other.folder} and in {source.folder}")
            elif other.manifest.started == source.manifest.started:
                raise ClawkeepError(
                    f"the host {entry.name} is in {other.folder} and in {source.folder}, and both began at "
                    f"{source.manifest.started}: neither is the newer one"
                )
            else:
                replaced += 1
                if source.manifest.started > other.manifest.started:
                    found[entry.name] = (number, entry)
    if twice:
        more = f" (and {len(twice) - SHOWN} more)" if len(twice) > SHOWN else ""
        raise ClawkeepError(f"{'; '.join(twice[:SHOWN])}{more}: leave one of them out, or take the newest by --newest")
    return dict(sorted(found.items())), replaced


def _keep(folder: Path, number: int, source: Bundle) -> dict[str, Any]:
    name = _name(number)
    files.write(folder / f"{name}.json", source.data)
    if source.armour is not None:
        files.write(folder / f"{name}.json.sig", source.armour)
    return {
        "name": name,
        "sha256": hashlib.sha256(source.data).hexdigest(),
        "signature": hashlib.sha256(source.armour).hexdigest() if source.armour is not None else None,
    }


def _copied(folder: Path, sources: Sequence[Bundle], chosen: dict[str, tuple[int, Entry]]) -> Iterator[dict[str, Any]]:
    taken: set[str] = set()
    for name, (number, entry) in chosen.items():
        file = None
        source = sources[number]
        if source.evidence(entry) is not None and entry.file is not None:
            file = store.file_name(name, taken)
            files.write(folder / file, source.data_of(entry, source.folder / HOSTS / entry.file))
        recorded = {key: getattr(entry, key) for key in RECORDED}
        yield {**recorded, "file": file, "source": _name(number + 1)}


def _name(number: int) -> str:
    return f"{number:03}"
