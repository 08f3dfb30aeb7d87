"""What is wrong with an approval."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from clawkeep.site.approvals import objections
from clawkeep.site.inventory import EgressDomain

TODAY = datetime.date(2026, 11, 22)
GOOD = {"name": "api.model.example", "port": 443, "reason": "model", "owner": "ops", "review": "2026-11-22"}


def told(**changes: Any) -> list[str]:
    return objections([EgressDomain.model_validate(GOOD | changes)], TODAY)


def test_a_good_entry_stands_until_its_day() -> None:
    assert told() == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": ".com"}, ".com:443 names no single host in lower case"),
        ({"name": "com"}, "com:443 names no single host in lower case"),
        ({"name": "*.model.example"}, "*.model.example:443 names no single host in lower case"),
        ({"name": ".model.example"}, ".model.example:443 names no single host in lower case"),
        ({"name": "API.model.example"}, "API.model.example:443 names no single host in lower case"),
        ({"name": "api.model.example."}, "api.model.example.:443 names no single host in lower case"),
        ({"name": "192.0.2.1"}, "192.0.2.1:443 names no single host in lower case"),
        ({"name": "github.io"}, "github.io:443 is a name that anybody can rent a place below"),
        ({"name": "co.uk"}, "co.uk:443 is a name that anybody can rent a place below"),
        ({"port": 22}, "api.model.example:22 is for another port than 443"),
        ({"reason": " "}, "api.model.example:443 has no reason or no owner"),
        ({"owner": ""}, "api.model.example:443 has no reason or no owner"),
        (
            {"review": "2026-11-21"},
            "api.model.example:443 was to be looked at again by 2026-11-21; the host was measured on 2026-11-22",
        ),
    ],
    ids=str,
)
def test_others_are_told(changes: dict[str, Any], said: str) -> None:
    assert told(**changes) == [f"the approval of {said}"]
