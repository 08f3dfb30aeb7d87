"""`clawkeep evidence`: prove a saved bundle, show what is in it, join several; needs no host, inventory or checkout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from clawkeep.base import clock
from clawkeep.base.errors import ClawkeepError
from clawkeep.base.printable import clean
from clawkeep.cli.console import stdout
from clawkeep.evidence import merge as merging
from clawkeep.evidence import store
from clawkeep.evidence.bundle import cited, signature
from clawkeep.evidence.bundle.bundle import Bundle, open_bundle
from clawkeep.evidence.bundle.files import Tampered
from clawkeep.evidence.bundle.signature import Allowed, Author, Key
from clawkeep.evidence.bundle.sources import Recorded
from clawkeep.evidence.compare import compare
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.observation import Observation
from clawkeep.register.tiers import Tier
from clawkeep.verify import report as model

app = typer.Typer(help="Saved evidence: prove that it is as it was recorded, and by whom.", no_args_is_help=True)

SHOWN = 50  # findings that are printed
TAMPERED = DIFFERENT = 1  # exit statuses

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="What `clawkeep verify --save-evidence` wrote.")]
AllowedSigners = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Recorded evidence must be signed by one of these (an allowed signers file)."),
]
Identity = Annotated[
    str | None, typer.Option(metavar="WHO", help="It must be signed by this one of the allowed signers.")
]

VERIFY_HELP = """
Prove offline that saved evidence is as it was recorded, and who recorded it.

Every file is compared with the manifest, the manifest with its chain of digests, and the signature, where there is
one, with the manifest. Without [bold]--allowed-signers[/bold] unsigned evidence is accepted, and said to be unsigned.

[bold]Exit status[/bold]

  0  it is as it was recorded, and signed as was asked for

  1  it was changed, or the signature is not a good one of an allowed signer

  2  it cannot be told: no evidence, not readable, or no signature where one is asked for

Of a merged bundle, the manifest and signature of each bundle that it was made of are proved too, and with \
[bold]--allowed-signers[/bold] each of them must be signed by one of these; [bold]--identity[/bold] is asked of the \
merged one alone.
"""

MERGE_HELP = """
Join the bundles of several controllers into one new bundle, each host once.

Every bundle is proved first. Its manifest and signature are kept inside, so that the merged bundle still shows who \
recorded which host. `clawkeep evidence verify`, `show` and `clawkeep verify --evidence` read it like any other.

[bold]Examples[/bold]

  clawkeep evidence merge evidence/fleet evidence/slice1 evidence/slice2 --whole

  clawkeep evidence merge evidence/fleet evidence/slice* --allowed-signers signers --sign-key ~/.ssh/evidence

  clawkeep evidence merge evidence/now evidence/morning evidence/second-try --newest

[bold]Exit status[/bold]

  0  merged

  1  a bundle is not as it was recorded, or not signed as was asked for

  2  it cannot be done: a host is in two bundles, the site's facts differ, a folder holds something, a key does not sign
"""


COMPARE_HELP = """
Say how two hosts are set up differently, by the evidence of each.

Numbers, times, digests, random names, addresses and the order of lines and words are let go: what is printed are
values and lines of output that only one of the two has, with the place in the evidence at which they stand. A host
that was raised to a tier in place should print nothing against one that was built so.

[bold]Examples[/bold]

  clawkeep evidence compare evidence/today tests/recorded/tier2_team

  clawkeep evidence compare evidence/monday evidence/friday --hosts web1 web1

[bold]Exit status[/bold]: 0 nothing differs, 1 something does, 2 it cannot be told
"""


def allowed(file: Path | None, identity: str | None) -> Allowed | None:
    """Whose signatures count, by the two options; raises ClawkeepError when they do not go together."""
    if file is None:
        if identity is not None:
            raise ClawkeepError("--identity names one of the --allowed-signers: give both")
        return None
    found = Allowed(file, identity)
    found.check()
    return found


def kept(
    folder: Path, observations: Sequence[Observation], started: str, key: Key | None, *, limited: bool
) -> model.Bundle:
    """Save what was observed; what went wrong is told by the bundle, for the hosts are still to be judged."""
    try:
        saved = store.save(folder, observations, started, key, limited=limited)
    except ClawkeepError as problem:
        return model.Bundle("", problem=str(problem))
    return model.Bundle(saved.digest, saved.signed_by, problem=saved.problem)


def replayed(
    bundle: Bundle, known: Mapping[str, Tier], whose: Allowed | None
) -> tuple[list[Observation], model.Bundle]:
    """The observations of a bundle, which is as it was recorded and signed as was asked for; else ClawkeepError."""
    observations = store.observations(bundle, known)
    author = bundle.author(whose)
    key, signer = (author.key, author.signer) if author is not None else (None, None)
    return observations, model.Bundle(bundle.manifest.digest, key, signer)


@app.command("verify", help=VERIFY_HELP)
def verify(
    folder: Folder,
    allowed_signers: AllowedSigners = None,
    identity: Identity = None,
    report: Annotated[
        Path | None, typer.Option(metavar="REPORT.json", help="Prove too that this report rests on the evidence.")
    ] = None,
) -> None:
    """Prove integrity and authorship of a bundle; ends the program with 0, 1 or 2."""
    whose = allowed(allowed_signers, identity)
    author: Author | None = None
    recorded: list[str] = []
    unusable: ClawkeepError | None = None
    findings: list[str] = []
    try:
        bundle = open_bundle(folder)
        _head(bundle)
        findings += bundle.findings()
        if report is not None and not findings:
            findings += cited.unfounded(report, bundle)
        author = bundle.author(whose)
        recorded = [f"{_source(source)}, {_by(source.author(whose))}" for source in bundle.sources]
    except Tampered as problem:
        findings.append(str(problem))
    except ClawkeepError as problem:
        unusable = problem
    for finding in findings[:SHOWN]:
        _say(finding, "bold red")
    if len(findings) > SHOWN:
        _say(f"and {len(findings) - SHOWN} more", "bold red")
    if findings:
        _say(f"the evidence is not as it was recorded (exit status {TAMPERED})", "bold red")
        raise typer.Exit(TAMPERED)
    if unusable is not None:
        raise unusable
    for line in recorded:
        _say(line)
    what = "the merged evidence" if recorded else "the evidence"
    _say(f"every file is as the manifest says; {what} is {_by(author)} (exit status 0)", "bold green")


@app.command("merge", help=MERGE_HELP)
def merge(
    into: Annotated[Path, typer.Argument(metavar="INTO", help="The new bundle: a folder that is new or empty.")],
    bundles: Annotated[list[Path], typer.Argument(metavar="BUNDLE...", help="The bundles to join.")],
    newest: Annotated[
        bool,
        typer.Option("--newest", metavar="", help="Take a host that is in two bundles from the run that began last."),
    ] = False,
    whole: Annotated[
        bool, typer.Option("--whole", metavar="", help="Together they have every host of the inventory.")
    ] = False,
    allowed_signers: AllowedSigners = None,
    sign_key: Annotated[
        Path | None,
        typer.Option(metavar="KEYFILE", help="Sign the merged bundle with this ssh key (its file, or in ssh-agent)."),
    ] = None,
) -> None:
    """Join bundles; ends the program with 0, 1 or 2."""
    whose = allowed(allowed_signers, None)
    key = signature.ready(sign_key) if sign_key is not None else None
    try:
        merged = merging.merge(into, bundles, clock.now(), newest=newest, whole=whole, allowed=whose, key=key)
    except Tampered as problem:
        _say(str(problem), "bold red")
        _say(f"nothing was merged (exit status {TAMPERED})", "bold red")
        raise typer.Exit(TAMPERED) from None
    saved = merged.saved
    older = f"; {merged.replaced} older entries left out" if merged.replaced else ""
    _say(f"{into}: {merged.hosts} hosts of {len(bundles)} bundles{older}")
    _say(f"bundle: {saved.digest}, {_by(Author(saved.signed_by) if saved.signed_by else None)}")
    if saved.problem:
        raise ClawkeepError(f"the merged bundle could not be signed: {saved.problem}")


@app.command("show")
def show(folder: Folder) -> None:
    """List what a bundle says it holds: hosts, tiers, when, by whom and how much; it proves nothing."""
    bundle = open_bundle(folder)
    _head(bundle)
    signer = bundle.manifest.signed_by
    _say(f"signature: {signer or ('by a key that the manifest does not name' if bundle.armour else 'none')}")
    for source in bundle.sources:
        key = source.manifest.signed_by
        _say(f"{_source(source)}, signature: {key or ('by a key that it does not name' if source.armour else 'none')}")
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("host", "tier", "measured", "size", "file", *(["source"] if bundle.sources else [])):
        table.add_column(heading, overflow="fold", justify="right" if heading == "size" else "left")
    for entry in bundle.manifest.hosts:
        why = "yes" if entry.reached else f"no: {entry.message}"
        cells = [entry.name, entry.tier, why, _size(entry.size), entry.file or ""]
        cells += [entry.source or ""] if bundle.sources else []
        table.add_row(*(Text(clean(cell)) for cell in cells))
    stdout().print(table)
    if bundle.breaks:
        _say(f"this is not as it was recorded: `clawkeep evidence verify {folder}` says why", "bold red")
    else:
        _say(f"nothing is proved by this list: `clawkeep evidence verify {folder}` does that", "dim")


@app.command("compare", help=COMPARE_HELP)
def compare_hosts(
    first: Annotated[Path, typer.Argument(metavar="FIRST", help="A bundle of evidence.")],
    second: Annotated[Path, typer.Argument(metavar="SECOND", help="Another one.")],
    hosts: Annotated[
        tuple[str, str] | None,
        typer.Option("--hosts", metavar="ONE OTHER", help="Which host of the first, and which of the second."),
    ] = None,
) -> None:
    """Say how two hosts are set up differently; ends the program with 0 when they are not, else with 1."""
    names = hosts or (None, None)
    one, other = _evidence(first, names[0]), _evidence(second, names[1])
    only_first, only_second = compare(one.raw, other.raw)
    for statement, sign, style in sorted(
        [*((found, "-", "red") for found in only_first), *((found, "+", "green") for found in only_second)]
    ):
        _say(f"{sign} {statement.place} = {statement.text}", style)
    if only_first or only_second:
        _say(f"{len(only_first)} statements of {one.name} alone, {len(only_second)} of {other.name} alone", "bold")
        raise typer.Exit(DIFFERENT)
    _say(f"{one.name} and {other.name} say the same of themselves", "bold green")


def _evidence(folder: Path, name: str | None) -> HostEvidence:
    """The evidence of the named host of a bundle, or of its only one."""
    bundle = open_bundle(folder)
    if bundle.breaks:
        raise Tampered(f"{folder} is not as it was recorded: {bundle.breaks[0]}")
    measured = {entry.name: entry for entry in bundle.manifest.hosts if entry.file}
    if name is None and len(measured) != 1:
        raise ClawkeepError(f"{folder} has evidence of {len(measured)} hosts: name one with --hosts ONE OTHER")
    name = name or next(iter(measured))
    if name not in measured:
        raise ClawkeepError(f"{folder} has no evidence of a host {name!r}; it has: {', '.join(measured) or 'none'}")
    raw = bundle.evidence(measured[name])
    if raw is None:
        raise ClawkeepError(f"{folder} holds no document of {name}")
    return HostEvidence(name, raw)


def _head(bundle: Bundle) -> None:
    manifest = bundle.manifest
    hosts = "1 host" if len(manifest.hosts) == 1 else f"{len(manifest.hosts)} hosts"
    where = f"{bundle.folder}: {hosts} of the site {manifest.site.get('name')}"
    done = f"merged from {len(manifest.sources)} bundles at {manifest.merged} " if manifest.merged else ""
    _say(f"{where}, measured from {manifest.started} on, {done}by clawkeep {manifest.tool}")
    _say(f"bundle: {manifest.digest}{'' if manifest.schema > 1 else ' (schema 1, without a chain over the hosts)'}")


def _source(source: Recorded) -> str:
    made, count = source.manifest, len(source.manifest.hosts)
    hosts = "1 host" if count == 1 else f"{count} hosts"
    return f"source {source.name}: {hosts}, measured from {made.started} on, by clawkeep {made.tool}, {made.digest}"


def _by(author: Author | None) -> str:
    if author is None:
        return model.Bundle("").signature
    return model.Bundle("", author.key, author.signer).signature


def _size(size: int | None) -> str:
    if size is None:
        return ""
    return f"{size / 1024:.1f} kB" if size < 1024 * 1024 else f"{size / 1024 / 1024:.1f} MB"


def _say(text: str, style: str = "") -> None:
    stdout().print(Text(clean(text, 1000), style=style), soft_wrap=True)
