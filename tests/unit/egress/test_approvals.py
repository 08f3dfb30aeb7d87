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
    "changes",
    [
        {"name": ".com"},
        {"name": "com"},
        {"name": "*.model.example"},
        {"name": ".model.example"},
        {"name": "API.model.example"},
        {"name": "api.model.example."},
        {"name": "192.0.2.1"},
        {"name": "github.io"},
        {"name": "co.uk"},
        {"port": 22},
        {"reason": " "},
        {"owner": ""},
        {"review": "2026-11-21"},
    ],
    ids=str,
)
def test_others_are_told(changes: dict[str, Any]) -> None:
    assert told(**changes)
