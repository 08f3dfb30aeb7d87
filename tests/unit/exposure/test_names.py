"""Answers of name servers, well-formed and not."""

from __future__ import annotations

import pytest

from clawkeep.collector.experiments.names import _addresses

QUESTION = b"\x08metadata\x07example\0\0\1\0\1"


def record(kind: int, data: bytes) -> bytes:
    return b"\xc0\x0c" + kind.to_bytes(2, "big") + b"\0\1\0\0\0\x3c" + len(data).to_bytes(2, "big") + data


def message(*records: bytes) -> bytes:
    return b"\0\5\x81\x80\0\1" + len(records).to_bytes(2, "big") + b"\0\0\0\0" + QUESTION + b"".join(records)


def test_both_families_are_read_and_other_records_passed_over() -> None:
    answer = message(record(5, b"\3api\0"), record(1, bytes((169, 254, 169, 254))), record(28, bytes(15) + b"\1"))
    assert _addresses(answer) == (5, ["169.254.169.254", "::1"])


@pytest.mark.parametrize("size", [0, 1, 5, 11, 20, 40])
def test_a_message_that_is_cut_short_gives_nothing(size: int) -> None:
    assert _addresses(message(record(1, bytes(4)))[:size])[1] == []
