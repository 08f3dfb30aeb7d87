"""A value of the expected shape passes; anything else, null above all, is not measured and says what was wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.parsing import boolean, get, integer, legible, mapping, number, rows, sequence, size, text, texts
from clawkeep.subjects.systemd import units

Reader = Callable[[object, str], object]


@pytest.mark.parametrize(
    ("read", "value", "found"),
    [
        (mapping, {"a": 1}, {"a": 1}),
        (sequence, [1, None], [1, None]),
        (rows, [{"a": 1}, {}], ({"a": 1}, {})),
        (texts, ["a", ""], ("a", "")),
        (texts, [], ()),
        (text, "", ""),
        (integer, -1, -1),
        (boolean, False, False),
        (size, "2g", 2 << 30),
        (size, "512m", 512 << 20),
        (size, "2GiB", 2 << 30),
        (size, "1024", 1024),
        (size, 7, 7),
    ],
)
def test_the_expected_shape_passes(read: Reader, value: object, found: object) -> None:
    assert read(value, "it") == found


@pytest.mark.parametrize(
    ("read", "value", "why"),
    [
        (mapping, [], "it cannot be read: [] is not a mapping"),
        (mapping, {1: 2}, "it cannot be read: {1: 2} is not a mapping"),
        (sequence, "ab", "it cannot be read: 'ab' is not a list"),
        (rows, {}, "it cannot be read: {} is not a list"),
        (rows, [{}, []], "an item of it cannot be read: [] is not a mapping"),
        (texts, "ab", "it cannot be read: 'ab' is not a list"),
        (texts, ["a", 1], "an item of it cannot be read: 1 is not text"),
        (text, 1, "it cannot be read: 1 is not text"),
        (integer, "1", "it cannot be read: '1' is not a whole number"),
        (integer, True, "it cannot be read: True is not a whole number"),
        (boolean, 1, "it cannot be read: 1 is not true or false"),
        (size, "2x", "it cannot be read: '2x' is not a size such as 2g"),
        (size, "²", "it cannot be read: '²' is not a size such as 2g"),
        (size, "٣", "it cannot be read: '٣' is not a size such as 2g"),
        (size, "9" * 5000, f"it cannot be read: '{'9' * 56}... is not a size such as 2g"),
        (size, "-1", "it cannot be read: '-1' is not a size such as 2g"),
        (size, "", "it cannot be read: '' is not a size such as 2g"),
        (size, "g", "it cannot be read: 'g' is not a size such as 2g"),
        (size, True, "it cannot be read: True is not text"),
        (integer, "a" * 99, f"it cannot be read: '{'a' * 56}... is not a whole number"),
    ],
)
def test_another_shape_is_not_measured(read: Reader, value: object, why: str) -> None:
    with pytest.raises(Unmeasured) as refused:
        read(value, "it")
    assert str(refused.value) == why


@pytest.mark.parametrize("read", [mapping, sequence, rows, texts, text, integer, boolean, size])
def test_null_is_no_value(read: Reader) -> None:
    with pytest.raises(Unmeasured, match=r"^it cannot be read: nothing is recorded$"):
        read(None, "it")


def test_a_key_that_has_to_be_there_may_hold_anything() -> None:
    assert get({"a": None}, "a", "it") is None
    with pytest.raises(Unmeasured, match=r"^it cannot be read: b is not recorded$"):
        get({"a": None}, "b", "it")


@pytest.mark.parametrize(
    ("written", "value"), [("0", 0), ("007", 7), ("18446744073709551615", (1 << 64) - 1), ("9" * 20, 10**20 - 1)]
)
def test_digits_are_a_number(written: str, value: int) -> None:
    assert number(written) == value


@pytest.mark.parametrize("written", ["", "-1", "+1", " 1", "1\n", "1_0", "1.0", "0x1", "²", "1²", "٣", "9" * 21])
def test_anything_else_is_no_number(written: str) -> None:
    """int() refuses some of these with ValueError, though `str.isdigit` takes them, and takes others."""
    assert number(written) is None


@pytest.mark.parametrize("problem", [AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError])
def test_what_a_parser_stumbles_over_is_not_measured(problem: type[Exception]) -> None:
    with pytest.raises(Unmeasured, match=f"^it cannot be read: {problem.__name__} "), legible("it"):
        raise problem("x")


def test_units_are_parted_by_empty_lines() -> None:
    lines = ["Id=a.socket", "Listen=/run/a (Stream)", "Listen=[::]:1 (Stream)", "", "", "ActiveState=active", "Id=b=c"]
    assert units(lines) == {
        "a.socket": {"Id": "a.socket", "Listen": "/run/a (Stream)\n[::]:1 (Stream)"},
        "b=c": {"Id": "b=c", "ActiveState": "active"},
    }
    assert units(["ActiveState=active"]) == {}
