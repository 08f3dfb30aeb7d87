"""`clawkeep attest`: sign what a person saw, as an entry for attestations.yml. No host is contacted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from clawkeep.base import clock, repo, sshsig
from clawkeep.base.errors import ClawkeepError, sentence
from clawkeep.cli.options import InventoryPath
from clawkeep.register import register
from clawkeep.site import inventory
from clawkeep.site.dated_entries import Hosts
from clawkeep.verify import attestations
from clawkeep.verify.attestations import Attestation

app = typer.Typer()

EMPTY = "-----BEGIN SSH SIGNATURE-----\nAA==\n-----END SSH SIGNATURE-----\n"


@app.command()
def attest(
    control: Annotated[str, typer.Argument(metavar="ID", help="The control that you attest, such as BGL-02.")],
    inventory_path: InventoryPath,
    evidence: Annotated[
        str, typer.Option(metavar="SHA256", help="What you saw: the digest that `clawkeep verify` names.")
    ],
    statement: Annotated[str, typer.Option(metavar="TEXT", help="What you did and saw, and what came of it.")],
    person: Annotated[str, typer.Option(metavar="NAME", help="You, as site_signers names you.")],
    role: Annotated[str, typer.Option(metavar="ROLE", help="As what you attest it, such as owner.")],
    key: Annotated[Path, typer.Option(metavar="FILE", help="Your ssh private key, or the agent's public one.")],
    host: Annotated[str | None, typer.Option(metavar="NAME", help="The host that it is about.")] = None,
    group: Annotated[str | None, typer.Option(metavar="NAME", help="Or a group.")] = None,
    tier: Annotated[str | None, typer.Option(metavar="NAME", help="Or a tier.")] = None,
    date: Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help="When you saw it; today (UTC).")] = None,
) -> None:
    """Sign an attestation and print it as an entry for attestations.yml; nothing is written and no host contacted."""
    checkout = repo.find()
    known = inventory.load(inventory_path, checkout)
    scope = {kind: name for kind, name in (("host", host), ("group", group), ("tier", tier)) if name is not None}
    values = {
        "control": control,
        "scope": scope,
        "statement": statement,
        "person": person,
        "role": role,
        "date": date or clock.now()[:10],
        "evidence": evidence,
    }
    # The words as a reader of the file will have them are what is signed: the empty signature is replaced at once.
    draft = _attestation({**values, "signature": EMPTY})
    signature = sshsig.sign(draft.message(known.site.name), key, attestations.NAMESPACE)
    signed = _attestation({**values, "signature": signature})
    _, objections = attestations.review(
        [signed], register.load(checkout.controls), Hosts(known.hosts), known.site, clock.day(clock.now())
    )
    if objections:
        raise ClawkeepError("; ".join(sentence.removeprefix(": ") for sentence in objections))
    typer.echo(attestations.written(signed), nl=False)


def _attestation(values: dict[str, object]) -> Attestation:
    try:
        return Attestation.model_validate(values)
    except ValidationError as problem:
        raise ClawkeepError(f"this cannot be attested: {sentence(problem)}") from None
