"""What a host looks like: one typed, frozen model per subject, read from the evidence that was collected.

`SUBJECTS` names the fixtures of the conformance suite. A subject is a class with `read(host: HostEvidence) -> Self`.
"""

from __future__ import annotations

from clawkeep.evidence.account import Accounts
from clawkeep.evidence.changes import FirewallChanges
from clawkeep.evidence.engine import Engine
from clawkeep.evidence.kernel import Kernel
from clawkeep.evidence.killplan import KillPlan
from clawkeep.evidence.releases import Releases
from clawkeep.evidence.runbook import Runbook
from clawkeep.evidence.sshd import Sshd

SUBJECTS: dict[str, type] = {
    "accounts": Accounts,
    "engine": Engine,
    "firewall_changes": FirewallChanges,
    "kernel": Kernel,
    "kill_plan": KillPlan,
    "releases": Releases,
    "runbook": Runbook,
    "sshd": Sshd,
}
