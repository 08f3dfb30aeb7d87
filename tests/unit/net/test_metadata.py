"""The host's own attempt on metadata: when it proves something, and when it does not."""

from __future__ import annotations

from typing import Any

import pytest

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import HostEvidence
from clawkeep.subjects.network.metadata import HostMetadata


def tries(outcome: str, sent: int = 3, public: str = "open") -> list[dict[str, Any]]:
    return [
        {"group": "metadata", "target": "169.254.169.254:80", "outcome": outcome, "sent": sent},
        {"group": "metadata", "target": "[fd00:ec2::254]:80", "outcome": "noroute", "sent": 0},
        {"group": "public", "target": "198.51.100.10:80", "outcome": public, "sent": 1},
    ]


def read(attempts: dict[str, list[dict[str, Any]]], before: int | None = 10, after: int | None = 16) -> HostMetadata:
    def counters(packets: int | None) -> dict[str, Any]:
        if packets is None:
            return {"argv": ["nft"], "status": 1, "json": None}
        counter = {"name": "metadata_output_drop", "packets": packets}
        return {"argv": ["nft"], "status": 0, "json": {"nftables": [{"metainfo": {}}, {"counter": counter}]}}

    commands = {"output-counters-before": counters(before), "output-counters-after": counters(after)}
    document = {"schema": 1, "commands": commands, "facts": {"metadata-output": attempts}}
    return HostMetadata.read(HostEvidence("alpha", {"schema": 1, "inside": document}))


def test_blocked_and_counted_holds() -> None:
    assert read({"0": tries("timeout"), "1000": tries("timeout")}).reached([]) == []


@pytest.mark.parametrize("outcome", ["open", "refused"])
def test_any_answer_is_a_breach(outcome: str) -> None:
    found = read({"0": tries("timeout"), "1000": tries(outcome)}).reached([])
    assert found == [f"uid 1000 reaches 169.254.169.254:80: {outcome}"]


def test_an_exempt_user_may_reach_it() -> None:
    assert read({"0": tries("open"), "1000": tries("timeout")}).reached([0]) == []


@pytest.mark.parametrize(
    ("attempts", "before", "after", "why"),
    [
        ({"0": tries("timeout")}, 10, 12, "3 packets were sent and metadata_output_drop grew by 2"),
        ({"0": tries("timeout")}, None, None, "no counter"),
        ({"0": tries("noroute")}, 10, 10, "no route"),
        ({"0": tries("timeout", public="timeout")}, 10, 13, "public endpoint"),
    ],
)
def test_blocked_by_something_else_proves_nothing(
    attempts: dict[str, list[dict[str, Any]]], before: int | None, after: int | None, why: str
) -> None:
    with pytest.raises(Unmeasured, match=why):
        read(attempts, before, after).reached([])


def test_no_attempt_is_no_answer() -> None:
    with pytest.raises(Unmeasured):
        read({})
