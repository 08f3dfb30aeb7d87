"""What the collector's own code says of a gateway on the bench."""

from __future__ import annotations

from typing import Any

from clawkeep.collector.experiments import gateways
from clawkeep.collector.experiments import turns as experiment
from clawkeep.collector.recorder import Recorder
from clawkeep.lab.bench.gateway import Agent
from clawkeep.register.tiers import Tier

KEYS = GATEWAYS, TURNS = "gateways", "turns"  # the collector's keys that are about the gateway alone


def facts(agent: Agent, tier: Tier, *, turns: bool) -> dict[str, Any]:
    """By the collector's key what was measured; agents take a turn where `turns` says so.

    The words that a log store would be asked for (`turn-marks`) are left out: the bench has no log store.
    """
    recorder = Recorder({"tier": dict(tier.settings), "turns": turns})
    container = dict(agent.container)
    recorder.note(GATEWAYS, [gateways.gateway(container, agent.port)])
    if turns:
        told, _ = experiment.gateway(recorder, container, agent.port)
        recorder.note(TURNS, [told])
    return recorder.facts
