"""DKR-02: The engine API is local only."""

import pytest

from clawkeep.evidence.engine import Engine

pytestmark = pytest.mark.control("DKR-02")


def test_no_daemon_of_the_engine_listens_on_the_network(engine: Engine) -> None:
    assert engine.network_listeners() == []


def test_nothing_relays_the_api(engine: Engine) -> None:
    assert engine.relayed_api() == []


def test_the_host_is_in_no_swarm(engine: Engine) -> None:
    assert engine.swarm() == "inactive", f"swarm mode is {engine.swarm()}"
