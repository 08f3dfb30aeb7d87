"""IMD-04: The cloud instance itself refuses metadata to containers."""

import pytest

from clawkeep.base.verdict import Manual, NotApplicable, Question
from clawkeep.register.tiers import Tier
from clawkeep.subjects.host.instance import Instance

pytestmark = pytest.mark.control("IMD-04")

RECORD_DAYS = 30


def test_the_providers_record_of_this_very_machine_is_attested(instance: Instance, tier: Tier) -> None:
    if instance.own_metal:
        raise NotApplicable("this is no guest and no provider's machine: no metadata service stands before it")
    days = min(RECORD_DAYS, tier["verify_attestation_days"])
    raise Manual(
        f"nobody attests within {days} days what the provider's record says of this machine; its page says how",
        Question(instance.digest, days),
    )
