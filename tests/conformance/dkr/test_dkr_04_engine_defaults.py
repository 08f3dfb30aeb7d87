"""DKR-04: Engine defaults are restrictive."""

import pytest

from clawkeep.evidence.document import HostEvidence
from clawkeep.subjects.containers.engine import Engine

pytestmark = pytest.mark.control("DKR-04")


def test_the_running_daemon_has_restrictive_defaults(engine: Engine, evidence: HostEvidence) -> None:
    assert engine.loose_defaults(evidence.inside.json("docker-networks")) == []


def test_the_running_daemon_read_the_settings_on_disk(engine: Engine) -> None:
    assert engine.stale_settings() == []
