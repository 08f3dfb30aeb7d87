"""Evidence of any shape is read, or not measured; it never crashes a subject and never passes for an answer."""

from __future__ import annotations

from typing import Any

import pytest

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import HostEvidence
from clawkeep.subjects.network.docker_user import DockerUser
from clawkeep.subjects.network.firewall import Firewall
from clawkeep.subjects.network.metadata import HostMetadata
from clawkeep.subjects.network.ruleset import Ruleset
from clawkeep.subjects.network.topology import Topology

COMMANDS = (
    *("nft-ruleset", "ip-addr", "docker-networks", "docker-containers", "docker-info", "firewall-saved"),
    *("output-counters-before", "output-counters-after"),
)
TEXTS = ("iptables-save", "ip6tables-save", "docker-user-saved", "firewall-units")
JUNK: tuple[Any, ...] = (
    None,
    7,
    "text",
    [],
    {},
    [[]],
    [None],
    {"nftables": 3},
    {"nftables": [[]]},
    [{"ifname": "eth0"}],
)


def evidence(junk: Any) -> HostEvidence:
    commands: dict[str, Any] = {key: {"argv": [key], "status": 0, "json": junk} for key in COMMANDS}
    commands |= {key: {"argv": [key], "status": 0, "lines": ["*filter", "nonsense 'quoted", "COMMIT"]} for key in TEXTS}
    inside = {"schema": 1, "commands": commands, "facts": {"firewall-files": junk, "metadata-output": junk}}
    return HostEvidence("alpha", {"schema": 1, "inside": inside})


@pytest.mark.parametrize("junk", JUNK, ids=str)
@pytest.mark.parametrize("subject", [Topology, Ruleset, DockerUser, Firewall, HostMetadata])
def test_junk_is_not_measured(subject: type, junk: Any) -> None:
    if subject is Topology and junk == [{"ifname": "eth0"}]:
        pytest.skip("that is a list of interfaces")
    with pytest.raises(Unmeasured):
        evidence(junk).subject(subject)


def test_a_rule_of_no_known_form_is_not_measured() -> None:
    rule = {"family": "inet", "table": "t", "chain": "c", "handle": 1, "expr": [{"match": {"op": "=="}}]}
    objects = [
        {"table": {"family": "inet", "name": "t"}},
        {"chain": {"family": "inet", "table": "t", "name": "c", "hook": "input", "prio": 0, "type": "filter"}},
        {"rule": rule},
    ]
    with pytest.raises(Unmeasured, match="the ruleset cannot be read"):
        evidence({"nftables": objects}).subject(Ruleset)
