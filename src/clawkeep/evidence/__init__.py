"""What a host looks like: one typed, frozen model per subject, read from the evidence that was collected.

`SUBJECTS` names the fixtures of the conformance suite. A subject is a class with `read(host: HostEvidence) -> Self`.
"""

from __future__ import annotations

from clawkeep.evidence.account import Accounts
from clawkeep.evidence.agent_paths import AgentPaths
from clawkeep.evidence.agent_records import AgentRecords
from clawkeep.evidence.agent_state import AgentState
from clawkeep.evidence.audit import Audit
from clawkeep.evidence.bypass import Bypass
from clawkeep.evidence.changes import FirewallChanges
from clawkeep.evidence.clock import Clock
from clawkeep.evidence.colleague import Colleague
from clawkeep.evidence.confinement import Confinement
from clawkeep.evidence.containers import Containers
from clawkeep.evidence.desktop import Desktop
from clawkeep.evidence.docker_user import DockerUser
from clawkeep.evidence.emergency import Emergency
from clawkeep.evidence.engine import Engine
from clawkeep.evidence.engine_access import EngineAccess
from clawkeep.evidence.estate import Estate
from clawkeep.evidence.firewall import Firewall
from clawkeep.evidence.host_egress import HostEgress
from clawkeep.evidence.instance import Instance
from clawkeep.evidence.kernel import Kernel
from clawkeep.evidence.killplan import KillPlan
from clawkeep.evidence.listeners import Listeners
from clawkeep.evidence.log_agent import LogAgent
from clawkeep.evidence.log_store import LogStore
from clawkeep.evidence.logs import Logs
from clawkeep.evidence.metadata import HostMetadata
from clawkeep.evidence.mounts import Mounts
from clawkeep.evidence.neighbour import Neighbour
from clawkeep.evidence.outside import Outside
from clawkeep.evidence.processes import Processes
from clawkeep.evidence.project import Project
from clawkeep.evidence.proxy import Proxy
from clawkeep.evidence.published import Published
from clawkeep.evidence.reach import Reach
from clawkeep.evidence.releases import Releases
from clawkeep.evidence.ruleset import Ruleset
from clawkeep.evidence.runbook import Runbook
from clawkeep.evidence.schedule import Schedule
from clawkeep.evidence.sshd import Sshd
from clawkeep.evidence.tailscale import Tailscale
from clawkeep.evidence.web import Gateways, Web
from clawkeep.evidence.wireguard import Wireguard

SUBJECTS: dict[str, type] = {
    "accounts": Accounts,
    "agent_paths": AgentPaths,
    "agent_records": AgentRecords,
    "agent_state": AgentState,
    "audit": Audit,
    "bypass": Bypass,
    "clock": Clock,
    "colleague": Colleague,
    "confinement": Confinement,
    "containers": Containers,
    "desktop": Desktop,
    "docker_user": DockerUser,
    "emergency": Emergency,
    "engine": Engine,
    "engine_access": EngineAccess,
    "estate": Estate,
    "firewall": Firewall,
    "firewall_changes": FirewallChanges,
    "gateways": Gateways,
    "host_egress": HostEgress,
    "host_metadata": HostMetadata,
    "instance": Instance,
    "kernel": Kernel,
    "kill_plan": KillPlan,
    "listeners": Listeners,
    "log_agent": LogAgent,
    "log_store": LogStore,
    "logs": Logs,
    "mounts": Mounts,
    "neighbour": Neighbour,
    "outside": Outside,
    "processes": Processes,
    "project": Project,
    "proxy": Proxy,
    "published": Published,
    "reach": Reach,
    "releases": Releases,
    "ruleset": Ruleset,
    "runbook": Runbook,
    "schedule": Schedule,
    "sshd": Sshd,
    "tailscale": Tailscale,
    "web": Web,
    "wireguard": Wireguard,
}
