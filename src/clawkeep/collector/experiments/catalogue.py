"""What measuring a host does there beyond reading: the one table that the command line, the guide and a run print from.

Standard library only, and no import of the experiments: it is read where none of them can run.
"""

from __future__ import annotations

from typing import NamedTuple, Tuple


class Experiment(NamedTuple):
    """What the module of that name does, where it acts, and what is left when it is over."""

    module: str
    where: str
    does: str
    leaves: str


_LOGGED = "lines in the logs of firewall, proxy and name server"
EXPERIMENTS: Tuple[Experiment, ...] = (
    Experiment(
        "account",
        "host, as the agent's account",
        "opens nameless files where it must not write, connects to the engine's socket, attaches to a process of ours",
        "nothing",
    ),
    Experiment(
        "audit_canary",
        "the agent's workspace, as the agent and as root",
        "makes, changes, renames and removes a file",
        "records of that in the audit log",
    ),
    Experiment(
        "bypass",
        "the agents' networks",
        "tries every way around the proxy: connects, datagrams, questions for names, to what the site declares",
        _LOGGED,
    ),
    Experiment(
        "canaries",
        "folders with secrets and workspaces of the host",
        "lays an empty file with a random name while a process in the container looks for it",
        "nothing",
    ),
    Experiment(
        "egress",
        "the agents' networks and the host's",
        "connects to the host, other containers, metadata and the site's endpoints",
        _LOGGED,
    ),
    Experiment(
        "gateways",
        "loopback of each agent's container",
        "asks the gateway with no, a wrong and the right token, then a row of wrong ones from an address of its own",
        "refused attempts in the gateway's log; that loopback address is locked out for minutes",
    ),
    Experiment(
        "inside",
        "each agent's container, as the agent",
        "one process that walks its files, tries to write, mount, open raw sockets and reach an engine",
        "nothing",
    ),
    Experiment(
        "log_marks",
        "host and log store, where the tier sends records to one",
        "says a random word through each source of records, a dummy secret among them, and tries the store",
        "these records, here and at the store",
    ),
    Experiment(
        "metadata",
        "host, as root, nobody, the proxy and the agent's account",
        "connects to cloud metadata and to the site's public endpoint",
        "lines in the firewall's log",
    ),
    Experiment(
        "turns",
        "each agent's gateway",
        "a turn with a model that the collector plays, refused calls, two approvals (left out by --no-turns)",
        "records of it; the sessions are deleted",
    ),
)
# What looks from another vantage (left out by --inside-only); each has a module in clawkeep/measure/probes.
PROBES: Tuple[Experiment, ...] = (
    Experiment("outside", "another machine or network", "scans every TCP port and some UDP ports", "counted packets"),
    Experiment(
        "neighbour",
        "a machine on the host's segment",
        "scans the guarded ports, and sends packets for loopback and containers to the host",
        "counted packets",
    ),
    Experiment("vpn", "a device on the VPN", "a handshake with and without keys; connects in the tunnel", "nothing"),
    Experiment(
        "web",
        "a device on the VPN",
        "asks the browser entry with test sessions and without; wrong logins until its address is locked out",
        "refused logins in the gate's log; the device's address is locked out for minutes",
    ),
    Experiment("siem", "the log store", "looks for what the host has sent", "nothing"),
)
