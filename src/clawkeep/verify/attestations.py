"""Attestations: what a named person saw and signed, dated. `inventories/<site>/attestations.yml`.

Where a control asks a person (`Manual`), an attestation answers: in date, bound to the very bytes that were measured,
and signed by the person's ssh key, which the site names under `site_signers`.
"""

from __future__ import annotations

import datetime
import json
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import AfterValidator, StringConstraints

from clawkeep.base import sshsig
from clawkeep.base.verdict import Question, Status
from clawkeep.evidence.document import Citation, digest
from clawkeep.register.register import Control
from clawkeep.site.dated_entries import Day, Entry, Hosts, Text, read
from clawkeep.site.inventory import Site

FILE = "attestations.yml"
NAMESPACE = "clawkeep-attestation"
WIDTH = 110  # columns of an entry that is written
SOON = 14  # days before the end from which on a report warns


class Attestation(Entry):
    """One statement: `person` saw on `date` that the control holds, and `evidence` is the SHA-256 of what was seen."""

    statement: Text
    person: Text
    role: Text
    date: Day
    evidence: Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
    signature: Annotated[str, AfterValidator(sshsig.armoured)]

    def message(self, site: str) -> bytes:
        """What is signed: every word of it, and the site's name."""
        return message(self.model_dump(mode="json", exclude={"signature"}, exclude_none=True), site)

    def until(self, days: int) -> datetime.date:
        """The last day on which it stands, when such attestations stand for `days`."""
        return self.date + datetime.timedelta(days=days)


def message(values: Mapping[str, object], site: str) -> bytes:
    """The canonical text of an attestation's values (without its signature), made for one site."""
    whole = {**values, "site": site, "schema": 1}
    text = json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")


def load(path: Path) -> tuple[Attestation, ...]:
    """The attestations of a file, in its order; raises NotInOrder when it cannot be used."""
    return read(path, "attestations", Attestation)


def review(
    attestations: Iterable[Attestation], register: Mapping[str, Control], hosts: Hosts, site: Site, today: datetime.date
) -> tuple[tuple[Attestation, ...], tuple[str, ...]]:
    """The attestations that can count, and sentences about the others."""
    good, objections = [], []
    for attestation in attestations:
        found = [
            attestation.of_the_register(register),
            hosts.unmatched(attestation),
            _early(attestation, today),
            unsigned(attestation, site),
        ]
        if any(found):
            objections += [sentence for sentence in found if sentence]
        else:
            good.append(attestation)
    return tuple(good), tuple(objections)


def _early(attestation: Attestation, today: datetime.date) -> str:
    if attestation.date <= today:
        return ""
    return f"{attestation.where}: it is dated {attestation.date}, which is after today, {today} (UTC)"


def unsigned(attestation: Attestation, site: Site) -> str:
    """Why its signature does not count, as a sentence; empty when it does."""
    keys = [signer.key for signer in site.signers if signer.name == attestation.person]
    if not keys:
        return (
            f"{attestation.where}: {attestation.person} is none of the site's signers:"
            " add the name and an ssh public key to site_signers"
        )
    if not sshsig.verified(attestation.message(site.name), attestation.signature, keys, NAMESPACE):
        return (
            f"{attestation.where}: the signature is not {attestation.person}'s of these words for the site {site.name}:"
            " `clawkeep attest` makes one"
        )
    return ""


@dataclass(frozen=True)
class Answer:
    """What the attestations say to a question: a status, a sentence, and the attestation as evidence."""

    status: Status
    sentence: str
    citation: Citation
    warning: str = ""


def answer(
    question: Question, control: str, attestations: Sequence[Attestation], site: str, today: datetime.date
) -> Answer | None:
    """The answer of those attestations that concern a control on one host; None when there is none.

    One that is in date and bound to what was measured holds, the newest of them is told. When none is, the newest says
    what is wrong.
    """
    if not attestations:
        return None
    newest = sorted(attestations, key=lambda one: one.date, reverse=True)
    standing = [one for one in newest if one.evidence == question.digest and today <= one.until(question.days)]
    one = standing[0] if standing else newest[0]
    until = one.until(question.days)
    who = f"{one.person} ({one.role})"
    citation = Citation(
        f"attestation: {one.where}", digest(json.loads(one.message(site))), f"{one.date}, {who}: {one.statement}"
    )
    if standing:
        left = (until - today).days
        soon = f"{one.where}: the attestation of {control} for {one.scope} stands until {until} only: attest it again"
        return Answer(
            Status.PASS,
            f"{who} attested it on {one.date}, which stands until {until}: {one.statement}",
            citation,
            soon if left <= SOON else "",
        )
    if today > until:
        why = f"stood for {question.days} days, until {until}"
    else:
        why = f"is bound to {one.evidence[:19]}..., and {question.digest} was measured: what it attests has changed"
    return Answer(Status.FAIL, f"the attestation of {who} of {one.date} ({one.where}) {why}: attest it again", citation)


def promise(control: Control) -> str:
    """The digest of a control's promise (`## Promise` of its page, blanks counting as one): what a person attests where
    nothing is measured."""
    section = re.search(r"^## Promise\s*$(.*?)(?=^## |\Z)", control.body, re.M | re.S)
    return digest([control.id, control.title, " ".join(section.group(1).split()) if section else ""])


class _Literal(str):
    """A text whose lines are kept as they are."""


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(
    _Literal, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style="|")
)


def written(attestation: Attestation) -> str:
    """The entry as YAML, to be put below `attestations:`."""
    values = attestation.model_dump(mode="json", exclude_none=True)
    values["signature"] = _Literal(values["signature"])
    text = yaml.dump(
        [values], Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=WIDTH
    )
    return textwrap.indent(text, "  ")
