"""Passwords: hashed by scrypt at a fixed cost, never matched by anything weaker, and refused when easy to guess."""

from __future__ import annotations

import hashlib
import re

import pytest

from clawkeep_host.gate import passwords
from clawkeep_host.gate.passwords import DUMMY, hashed, matches, scrypt, weakness

from .bench import GOOD

Costs = list[tuple[int, int, int]]


def test_the_hash_is_scrypt() -> None:
    # RFC 7914, section 12: the first 32 of its 64 bytes, which are the same for a shorter output.
    expected = "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
    assert scrypt("pleaseletmein", b"SodiumChloride", 14, 8, 1).hex() == expected


def test_a_kept_hash_tells_its_cost_and_matches_its_password_alone() -> None:
    stored = hashed(GOOD)
    scheme, log_n, r, p, salt, digest = stored.split("$")
    assert (scheme, log_n, r, p) == ("scrypt", "15", "8", "3")
    assert re.fullmatch("[0-9a-f]{32}", salt)
    assert re.fullmatch("[0-9a-f]{64}", digest)
    assert bytes.fromhex(digest) == scrypt(GOOD, bytes.fromhex(salt), 15, 8, 3)
    assert matches(GOOD, stored)
    assert not matches(GOOD + " ", stored)


@pytest.mark.usefixtures("cheap")
def test_two_hashes_of_a_password_have_nothing_in_common() -> None:
    one, other = hashed(GOOD), hashed(GOOD)
    assert one.split("$")[4] != other.split("$")[4]
    assert one.split("$")[5] != other.split("$")[5]


def test_a_password_may_hold_any_character() -> None:
    for password in ("мост идёт через реку", "\udcff" * 3):
        assert matches(password, kept(password, 15, 8, 3))


def test_the_dummy_costs_as_much_as_a_hash_and_matches_nothing(cheap: Costs) -> None:
    stored = hashed(GOOD)
    cheap.clear()
    assert matches(GOOD, stored)
    assert not matches(GOOD, DUMMY)
    assert cheap == [(15, 8, 3)] * 2
    assert [len(part) for part in DUMMY.split("$")] == [len(part) for part in stored.split("$")]


def kept(password: str, log_n: int, r: int, p: int) -> str:
    """A hash of any cost, as it would be kept."""
    salt = b"0123456789abcdef"
    return f"scrypt${log_n}${r}${p}${salt.hex()}${passwords.scrypt(password, salt, log_n, r, p).hex()}"


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("cost", [(15, 8, 3), (16, 8, 3), (15, 8, 8), (16, 8, 8)])
def test_a_hash_of_at_least_todays_cost_matches(cost: tuple[int, int, int]) -> None:
    assert matches(GOOD, kept(GOOD, *cost))


@pytest.mark.parametrize("cost", [(14, 8, 3), (17, 8, 3), (15, 7, 3), (15, 9, 3), (15, 8, 2), (15, 8, 9), (-1, 8, 3)])
def test_a_hash_of_another_cost_matches_nothing_and_is_not_worked_out(cheap: Costs, cost: tuple[int, int, int]) -> None:
    stored = kept(GOOD, *cost)
    cheap.clear()
    assert not matches(GOOD, stored)
    assert cheap == []


def test_the_greatest_cost_that_is_taken_can_be_worked_out() -> None:
    assert matches(GOOD, kept(GOOD, 16, 8, 3))


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize(
    "stored",
    [
        "",
        "x",
        "$apr1$a$b",
        "scrypt$15$8$3$00",
        "scrypt$15$8$3$00$00",
        "scrypt$15$8$3$00$00$00",
        "scrypt$15$8$3$zz$zz",
        "scrypt$15$8$3$$",
        "scrypt$x$8$3$00$00",
        "md5$15$8$3$00$00",
    ],
)
def test_a_hash_of_another_kind_matches_nothing(stored: str) -> None:
    assert not matches("anything", stored)


@pytest.mark.usefixtures("cheap")
def test_the_scheme_counts_and_not_the_digest_alone() -> None:
    assert not matches(GOOD, kept(GOOD, 15, 8, 3).replace("scrypt", "Scrypt"))
    assert not matches(GOOD, hashlib.sha256(GOOD.encode()).hexdigest())


COMMON = "it is made of common words, names or runs of keys"
FEW = "it repeats a few characters"


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("", "it has 0 characters, and 14 are the least"),
        ("Tr7-ovK!pe2#L", "it has 13 characters, and 14 are the least"),
        ("Tr7-ovK!pe2#Lm" * 74, "it is longer than 1024 bytes"),
        ("бвгджзклмнпрст" * 37, "it is longer than 1024 bytes"),
        ("a" * 40, FEW),
        ("abcde" * 3, FEW),
        ("password1234567", COMMON),
        ("P@ssw0rdP@ssw0rd", COMMON),
        ("correcthorsebatterystaple", COMMON),
        ("CorrectHorseBatteryStaple", COMMON),
        ("abcdefghijklmnop", COMMON),
        ("ponmlkjihgfedcba", COMMON),
        ("123456789012345", COMMON),
        ("qwertyuiopasdf", COMMON),
        ("lkjhgfdsapoiuz", COMMON),
        ("anna-anna-anna-anna", FEW),
        ("changeme-changeme", COMMON),
        ("Summer2026Summer!", COMMON),
        # Less is left than differs: the words and the runs go, and five characters remain.
        ("dragon-football:7xqk", ""),
        ("dragon-football:7x", COMMON),
        ("ab1cdefg-hijk-lmno", COMMON),
        ("$3cr3t-4dm!n-dr4g0n-7", COMMON),
        # Five characters differ in what is left of these: `-45q%`; six in `-xyz` and the like, whose runs are short.
        ("wxyz-0123-uiop-45Q%", COMMON),
        ("zyxw-3210-poiu-45Q%", COMMON),
        ("7890-mnop-45Q%-----", COMMON),
        ("password-xyz-Q%9", ""),
        ("password-zyx-Q%9", ""),
        ("password-890-Q%x", ""),
        ("xq7!zkxq7!zkxq", ""),
        ("wxy-012-uio-456-zt", ""),
    ],
)
def test_a_password_that_is_easy_to_guess_is_not_taken(password: str, why: str) -> None:
    assert weakness(password, "anna") == why


@pytest.mark.parametrize(
    "password",
    [
        GOOD,
        "Tr7-ovK!pe2#Lm",
        "мост идёт через реку",
        "Tr7-ovK!pe2#Lm" * 73,
        "бвгджзклмнпрстуф" * 32,
        "abcdefabcdefg!?%&/=",
        "\udcff" * 3 + "Tr7-ovK!pe2#Lm",
    ],
)
def test_a_good_password_is_taken(password: str) -> None:
    assert weakness(password, "anna") == ""


def test_ones_own_name_counts_for_nothing_in_a_password() -> None:
    given = "zoe_kowalski+zoekowalski=4%"
    assert weakness(given, "zoe_kowalski") == COMMON
    assert weakness(given, "bert") == ""


@pytest.mark.parametrize("word", sorted(passwords.WORDS))
def test_each_common_word_counts_for_nothing(word: str) -> None:
    assert weakness(f"{word}={word}={word}={word}=Q%x", "anna") in (COMMON, FEW)
