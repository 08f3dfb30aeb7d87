"""The command line for the papers of a site: `clawkeep waivers check` and `clawkeep attest`. No host is contacted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from clawkeep.base import clock, repo, sshsig
from clawkeep.base.errors import ClawkeepError, sentence
from clawkeep.base.printable import clean
from clawkeep.register import register
from clawkeep.site import inventory
from clawkeep.site.dated_entries import Hosts
from clawkeep.verify import attestations, exceptions
from clawkeep.verify.attestations import Attestation
from clawkeep.verify.report import Exit

waivers = typer.Typer(help="The exceptions of a site.", no_args_is_help=True)

InventoryPath = Annotated[
    Path, typer.Option("--inventory", "-i", metavar="INVENTORY", help="Ansible inventory: a file or a folder.")
]


@waivers.command("check")
def check(
    inventory_path: InventoryPath,
    file: Annotated[
        Path | None, typer.Option("--waivers", metavar="FILE", help="Instead of waivers.yml beside the inventory.")
    ] = None,
) -> None:
    """Say what can be said without a host about waivers and attestations; ends with 4 when one is not in order.

    Whether a waiver is stale only `clawkeep verify` can tell.
    """
    checkout = repo.find()
    files = exceptions.read(inventory_path, file)
    known = inventory.load(inventory_path, checkout)
    found = files.review(register.load(checkout.controls), known.hosts, known.site, clock.day(clock.now()))
    for objection in found.objections:
        typer.echo(clean(objection, 1000))
    for waiver in found.waivers:
        days = waiver.days_left(found.today)
        line = f"{waiver.where}: {waiver.control} for {waiver.scope}, {days} days left: {waiver.reason}"
        typer.echo(clean(line, 1000))
    typer.echo(
        f"waivers {len(files.waivers)}   attestations {len(files.attestations)}   objections {len(found.objections)}"
    )
    raise typer.Exit(int(Exit.WAIVERS if found.objections else Exit.GREEN))


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


EMPTY = "-----BEGIN SSH SIGNATURE-----\nAA==\n-----END SSH SIGNATURE-----\n"


def _attestation(values: dict[str, object]) -> Attestation:
    try:
        return Attestation.model_validate(values)
    except ValidationError as problem:
        raise ClawkeepError(f"this cannot be attested: {sentence(problem)}") from None
