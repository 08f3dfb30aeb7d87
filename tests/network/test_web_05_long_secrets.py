"""WEB-05: Passwords and tokens are long, random and slowly hashed."""

import pytest

from clawkeep.evidence.web import Gateways

pytestmark = pytest.mark.control("WEB-05")


def test_the_gateways_token_is_long_and_random(gateways: Gateways) -> None:
    assert gateways.weak_tokens() == []
