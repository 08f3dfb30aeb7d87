"""DKR-02: The engine API is local only."""

import pytest

from clawkeep.subjects.containers.engine import Engine
from clawkeep.subjects.network.outside import Outside

pytestmark = pytest.mark.control("DKR-02")

# The API without and with TLS, swarm's management and gossip.
ENGINE_PORTS = (2375, 2376, 2377, 7946)


def test_no_daemon_of_the_engine_listens_on_the_network(engine: Engine) -> None:
    assert engine.network_listeners() == []


def test_nothing_relays_the_api(engine: Engine) -> None:
    assert engine.relayed_api() == []


def test_the_host_is_in_no_swarm(engine: Engine) -> None:
    assert engine.swarm() == "inactive", f"swarm mode is {engine.swarm()}"


@pytest.mark.vantage("outside")
def test_no_engine_port_answers_an_outsider(outside: Outside, engine: Engine) -> None:
    engine.require_ping()
    assert outside.answering(ENGINE_PORTS) == []
