"""What a host looks like: one typed, frozen model per subject, read from the evidence that was collected.

`SUBJECTS` names the fixtures of the conformance suite. A subject is a class with `read(host: HostEvidence) -> Self`.
"""

from __future__ import annotations

from clawkeep.subjects.containers.agent_state import AgentState
from clawkeep.subjects.containers.confinement import Confinement
from clawkeep.subjects.containers.containers import Containers
from clawkeep.subjects.containers.desktop import Desktop
from clawkeep.subjects.containers.engine import Engine
from clawkeep.subjects.containers.engine_access import EngineAccess
from clawkeep.subjects.containers.mounts import Mounts
from clawkeep.subjects.containers.processes import Processes
from clawkeep.subjects.containers.project import Project
from clawkeep.subjects.containers.releases import Releases
from clawkeep.subjects.entry.colleague import Colleague
from clawkeep.subjects.entry.tailscale import Tailscale
from clawkeep.subjects.entry.web import Gateways, Web
from clawkeep.subjects.entry.wireguard import Wireguard
from clawkeep.subjects.governance.estate import Estate
from clawkeep.subjects.governance.schedule import Schedule
from clawkeep.subjects.host.account import Accounts
from clawkeep.subjects.host.audit import Audit
from clawkeep.subjects.host.clock import Clock
from clawkeep.subjects.host.emergency import Emergency
from clawkeep.subjects.host.host_egress import HostEgress
from clawkeep.subjects.host.host_programs import HostPrograms
from clawkeep.subjects.host.instance import Instance
from clawkeep.subjects.host.kernel import Kernel
from clawkeep.subjects.host.killplan import KillPlan
from clawkeep.subjects.host.runbook import Runbook
from clawkeep.subjects.host.sshd import Sshd
from clawkeep.subjects.logs.agent_records import AgentRecords
from clawkeep.subjects.logs.log_agent import LogAgent
from clawkeep.subjects.logs.log_store import LogStore
from clawkeep.subjects.logs.logs import Logs
from clawkeep.subjects.measurement import Measurement
from clawkeep.subjects.network.agent_paths import AgentPaths
from clawkeep.subjects.network.bypass import Bypass
from clawkeep.subjects.network.changes import FirewallChanges
from clawkeep.subjects.network.docker_user import DockerUser
from clawkeep.subjects.network.firewall import Firewall
from clawkeep.subjects.network.listeners import Listeners
from clawkeep.subjects.network.metadata import HostMetadata
from clawkeep.subjects.network.neighbour import Neighbour
from clawkeep.subjects.network.outside import Outside
from clawkeep.subjects.network.proxy import Proxy
from clawkeep.subjects.network.published import Published
from clawkeep.subjects.network.reach import Reach
from clawkeep.subjects.network.ruleset import Ruleset

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
    "host_programs": HostPrograms,
    "instance": Instance,
    "kernel": Kernel,
    "kill_plan": KillPlan,
    "listeners": Listeners,
    "log_agent": LogAgent,
    "log_store": LogStore,
    "logs": Logs,
    "measurement": Measurement,
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
