"""`clawkeep lab bench`: a tier's gateway on this machine, without the lab's virtual one."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from clawkeep.base import repo
from clawkeep.base.errors import ClawkeepError
from clawkeep.base.printable import clean
from clawkeep.lab.bench.changes import NONE, Changes
from clawkeep.lab.bench.gateway import Agent, gateway
from clawkeep.register import tiers
from clawkeep.sabotage import world
from clawkeep.sabotage.bench import Bench
from clawkeep.verify.report import Exit

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Run a tier's gateway on this machine: the lab's image and the tier's configuration, isolated, in seconds.",
)

Tier = Annotated[str, typer.Argument(metavar="TIER", help="A tier file of playbooks/group_vars, without `.yml`.")]


@app.command()
def up(
    tier: Tier,
    sabotage: Annotated[
        str | None, typer.Option(metavar="STEM", help="Changed as this sabotage of the gateway says.")
    ] = None,
) -> None:
    """Run the gateway until Ctrl-C, and say how to talk to it.

    It has a network of its own with nothing but loopback in it. Its token is a dummy, its state is thrown away.
    """
    checkout = repo.find()
    _known(tier)
    changes = _changes(sabotage) if sabotage else NONE
    with gateway(tier, changes, checkout) as agent:
        typer.echo(_manual(tier, agent))
        _until_it_ends(agent)


@app.command()
def compare(tier: Tier) -> None:
    """Tell how a good gateway on the bench differs from the recorded machine's; ends with 1 when it does.

    Both were measured by the collector. Process numbers, times, random words and the token are left out.
    """
    _known(tier)
    found = Bench.of(repo.find(), tier).differences()
    console = Console(highlight=False)
    for one in found:
        console.print(clean(f"{one['op']:>8}  {one['path']}  {one.get('value', '')}"), markup=False)
    console.print(f"{tier}: {len(found) or 'no'} difference{'' if len(found) == 1 else 's'} between bench and machine")
    if found:
        raise typer.Exit(int(Exit.RED))


def _known(tier: str) -> None:
    known = tiers.load(repo.find().tiers)
    if tier not in known:
        raise ClawkeepError(f"there is no tier {tier}: {', '.join(known)}")


def _changes(stem: str) -> Changes:
    path = world.place(repo.find().sabotages, stem)
    sabotage = world.read(path)
    if sabotage.gateway is None:
        raise ClawkeepError(f"{stem} changes more than the gateway: the bench cannot commit it")
    return sabotage.gateway


def _manual(tier: str, agent: Agent) -> str:
    network = f"nsenter --target {agent.pid} --net"
    inside = f"nsenter --target {agent.pid} --mount --net --pid --ipc --uts --root --wd"
    uid = agent.container["Config"]["User"].partition(":")[0]
    rights = f"setpriv --reuid {uid} --regid {uid} --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs"
    address = f"http://127.0.0.1:{agent.port}"
    return f"""\
The gateway of {tier} was ready in {agent.seconds:.1f} s. Ctrl-C ends it.

  process    {agent.pid}
  settings   {agent.settings}
  token      {agent.token_file}
  output     {agent.log}

Ask it:
  {network} curl -sS {address}/healthz
  . {agent.token_file}; {network} curl -sS -X POST \\
      -H "Authorization: Bearer $OPENCLAW_GATEWAY_TOKEN" -H "Content-Type: application/json" \\
      -d '{{"tool": "session_status", "args": {{}}}}' {address}/tools/invoke

Run its command line beside it, with its environment and its rights:
  xargs --null --arg-file=/proc/{agent.pid}/environ sh -c '{inside} \\
      {rights} \\
      env -i "$@" openclaw config validate --json' sh
"""


def _until_it_ends(agent: Agent) -> None:
    """Wait for Ctrl-C; a gateway that ends by itself is an error."""
    process = Path(f"/proc/{agent.pid}")
    waiting = threading.Event()
    try:
        while process.exists():
            waiting.wait(0.5)
    except KeyboardInterrupt:
        return
    raise ClawkeepError(f"the gateway ended by itself; the end of {agent.log} says why")
