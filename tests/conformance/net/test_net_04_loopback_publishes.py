"""NET-04: Every published container port binds a loopback address."""

import pytest

from clawkeep.subjects.network.published import Published

pytestmark = pytest.mark.control("NET-04")


def test_no_publish_binds_beyond_loopback(published: Published) -> None:
    assert published.beyond_loopback() == []


def test_every_view_of_the_publishes_agrees(published: Published) -> None:
    assert published.disagreements() == []
