"""WEB-07: Session cookies are Secure, HttpOnly, SameSite=Strict and host-bound."""

import pytest

from clawkeep.subjects.entry.web import Web

pytestmark = pytest.mark.control("WEB-07")


@pytest.mark.vantage("web")
def test_every_cookie_has_every_attribute(web: Web) -> None:
    assert web.loose_cookies() == []
