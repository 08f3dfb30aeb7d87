"""What a report cites of a bundle: every digest in it must be that of a piece of the host's evidence."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from clawkeep.base.errors import ClawkeepError
from clawkeep.base.printable import clean
from clawkeep.evidence.bundle.bundle import Bundle
from clawkeep.evidence.document import digest
from clawkeep.register.register import sentence


class _Excerpt(BaseModel):
    source: str
    digest: str


class _Result(BaseModel):
    control: str
    host: str
    status: str
    evidence: list[_Excerpt]


class _Bundle(BaseModel):
    digest: str


class _Report(BaseModel):
    results: list[_Result]
    bundle: _Bundle | None = None


def pieces(raw: Mapping[str, Any]) -> dict[str, str]:
    """By its digest, where each piece of a host's evidence lies, such as `inside/commands/ss`."""
    vantages = raw.get("vantages")
    documents = {"inside": raw.get("inside"), **(vantages if isinstance(vantages, Mapping) else {})}
    found = {}
    for vantage, document in documents.items():
        for section in ("commands", "facts"):
            held = document.get(section) if isinstance(document, Mapping) else None
            for key, value in held.items() if isinstance(held, Mapping) else ():
                found[digest(value)] = f"{vantage}/{section}/{key}"
    return found


def unfounded(path: Path, bundle: Bundle) -> Iterator[str]:
    """A sentence for everything in the report.json at `path` that does not rest on `bundle`, which must be intact.

    Raises ClawkeepError when there is no such report. That the statuses follow from the evidence is not shown by
    this, but by judging the evidence again.
    """
    report = _read(path)
    if report.bundle is None:
        yield f"{path} names no bundle: the evidence of that run was not kept"
        return
    if report.bundle.digest != bundle.manifest.digest:
        yield f"{path} rests on the bundle {report.bundle.digest}, this one is {bundle.manifest.digest}"
        return
    held: dict[str, tuple[set[str], dict[str, str]]] = {}
    for entry in bundle.manifest.hosts:
        raw = bundle.evidence(entry) or {}
        vantages = raw.get("vantages")
        names = {"inside", *(vantages if isinstance(vantages, Mapping) else ())}
        held[clean(entry.name)] = (names, pieces(raw))  # a report shows names cleaned
    for result in report.results:
        yield from _result(path, result, *held.get(result.host, (set(), {})))


def _result(path: Path, result: _Result, vantages: set[str], known: Mapping[str, str]) -> Iterator[str]:
    if result.status == "pass" and all(cited.source.startswith("test: ") for cited in result.evidence):
        yield f"{path}: {result.control} passes on {result.host} without evidence"
    for cited in result.evidence:
        if cited.source.partition(": ")[0] in vantages and cited.digest not in known:
            yield f"{path}: {result.control} on {result.host} cites {cited.source}, of which the bundle holds another"


def _read(path: Path) -> _Report:
    try:
        return _Report.model_validate(json.loads(path.read_bytes()))
    except OSError as problem:
        raise ClawkeepError(f"{path} cannot be read: {problem.strerror}") from None
    except ValidationError as problem:
        raise ClawkeepError(f"{path} is no report.json of Clawkeep: {sentence(problem)}") from None
    except (ValueError, RecursionError) as problem:
        raise ClawkeepError(f"{path} is no report.json of Clawkeep: {problem}") from None
