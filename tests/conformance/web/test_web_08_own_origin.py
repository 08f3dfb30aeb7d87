"""WEB-08: Cross-site requests and sockets are refused."""

import pytest

from clawkeep.subjects.entry.web import Web

pytestmark = pytest.mark.control("WEB-08")


@pytest.mark.vantage("web")
def test_requests_of_other_origins_are_refused(web: Web) -> None:
    assert web.foreign_origins() == []


@pytest.mark.vantage("web")
def test_nobody_may_frame_the_pages(web: Web) -> None:
    assert web.frameable() == []
