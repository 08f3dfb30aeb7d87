"""`clawkeep_host.foreign_json` reads JSON that was written to harm its reader."""

from __future__ import annotations

import json

import pytest

from clawkeep_host import foreign_json


def test_json_is_read() -> None:
    text = '{"a": [1, -2.5, 1e3, true, null, "x"]}'
    assert foreign_json.loads(text) == json.loads(text)


@pytest.mark.parametrize("text", ["", "no", "[1", "[" * 100_000, '{"a":' * 100_000])
def test_what_is_no_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        foreign_json.loads(text)


def test_what_cannot_be_written_again_is_text() -> None:
    """Python would write NaN and Infinity, which no other reader takes; and reads a long number for minutes."""
    long = "9" * 2_000_000
    found = foreign_json.loads(f"[NaN, -Infinity, 1e999, {long}, {'8' * foreign_json.DIGITS}]")
    assert found == ["NaN", "-Infinity", "1e999", long, int("8" * foreign_json.DIGITS)]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
