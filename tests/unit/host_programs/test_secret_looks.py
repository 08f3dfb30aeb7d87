"""How one look of a secret is made: options of programs, prefixes, what is encoded."""

from __future__ import annotations

import re

import pytest

from clawkeep_host.secret_looks import OPTIONS, RULES, Option, Rule, _is_login, _prefixed, _shaped, unencoded

PLAIN = Option("tool(?:-x)?", "-p", ("tool", "other"))


def blanked(rule: Rule, text: str) -> str:
    return rule.redact(text, text.lower())


def test_an_option_is_a_rule_of_logins_that_is_tried_where_its_program_is_named() -> None:
    rule = PLAIN.rule()
    assert (rule.kind, rule.what, rule.hints) == ("login", "password behind -p of tool", ("tool", "other"))
    assert [one.rule() for one in OPTIONS] == [rule for rule in RULES if rule.what.startswith("password behind")]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("tool -p word", "tool -p [redacted]"),
        ("tool -p=word", "tool -p=[redacted]"),
        ("tool\0-p\0word\0rest", "tool\0-p\0[redacted]\0rest"),
        ("tool-x --quiet -p 'word' rest", "tool-x --quiet -p '[redacted]' rest"),
        (r'"tool -p \"word\" rest"', r'"tool -p \"[redacted]\" rest"'),
        ("tool -pword", "tool -pword"),  # not this program's way
        ("tool -p --quiet", "tool -p --quiet"),  # another option
        ("tool x-p word", "tool x-p word"),
        ("mytool -p word", "mytool -p word"),
        ("tool rest; run -p word", "tool rest; run -p word"),  # of another command
        (f"tool {'x' * 300} -p word", f"tool {'x' * 300} -p word"),
    ],
)
def test_what_follows_an_option_is_blanked(text: str, left: str) -> None:
    assert blanked(PLAIN.rule(), text) == left


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("tool -pword", "tool -p[redacted]"),
        ("tool -p word", "tool -p [redacted]"),
        ("tool -p=word", "tool -p[redacted]"),
    ],
)
def test_a_password_may_follow_without_a_blank(text: str, left: str) -> None:
    assert blanked(Option("tool", "-p", ("tool",), joined=True).rule(), text) == left


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("tool -u me:word rest", "tool -u me:[redacted] rest"),
        ("tool -u me rest", "tool -u me rest"),
        (f"tool -u {'m' * 101}:word", f"tool -u {'m' * 101}:word"),
    ],
)
def test_of_a_user_and_a_password_the_user_stays(text: str, left: str) -> None:
    assert blanked(Option("tool", "-u", ("tool",), user=True).rule(), text) == left


def test_a_rule_is_tried_only_where_a_hint_is() -> None:
    rule = Rule("login", "a word", ("hint",), re.compile("word"))
    assert blanked(rule, "a word") == "a word"
    assert blanked(rule, "a HINT and a word") == "a HINT and a [redacted]"


def test_only_that_is_blanked_which_the_rule_applies_to() -> None:
    rule = _shaped("login", "a number", "n m", r"(?P<keep>n)\w+", lambda found: found != "nx")
    assert (rule.kind, rule.what, rule.hints) == ("login", "a number", ("n", "m"))
    assert blanked(rule, "n1 nx n2") == "n[redacted] nx n[redacted]"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("is AB-wxyz here", "is [redacted] here"),
        ("is C+wxyz here", "is [redacted] here"),
        (r"is\nAB-wxyz", r"is\n[redacted]"),
        (r"is\u0022AB-wxyz", r"is\u0022[redacted]"),
        ("is%3DC+wxyz", "is%3D[redacted]"),
        ("isAB-wxyz", "isAB-wxyz"),
        ("9C+wxyz", "9C+wxyz"),
        ("CCwxyz", "CCwxyz"),  # the plus is no pattern
        ("AB-wx", "AB-wx"),
    ],
)
def test_a_prefix_counts_where_a_word_begins(text: str, left: str) -> None:
    rule = _prefixed("git", "a token", "[a-z]{4}", "AB-", "C+")
    assert (rule.kind, rule.what, rule.hints) == ("git", "a token", ("ab-", "c+"))
    assert blanked(rule, text) == left


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"readable", "readable"),
        ("readable".encode("utf-16-le"), "readable"),
        ("\ufeffreadable".encode("utf-16-le"), "\ufffd\ufffdreadable"),  # the mark is in front
        (b"a\0bcdefghi", "abcdefghi"),
        (b"abc\0defghi", "abcdefghi"),
        (b"abcde\0fghijklm", "abcde\0fghijklm"),
        (b"\xff\xfe\x01", None),
        (b"short", None),
        ("gelöst und lesbar".encode(), "gelöst und lesbar"),
    ],
)
def test_what_encoded_bytes_say(raw: bytes, text: str | None) -> None:
    assert unencoded(raw) == text


@pytest.mark.parametrize(
    ("header", "login"),
    [
        ("Basic dXM6eA==", True),
        ("Basic dXM6eA", True),
        ("Basic dXM6eHk", True),  # seven letters
        ("Basic dXM6eHk=", True),
        ("Basic dXM6eA====", True),
        ("basic%20dXM6eA==", True),
        ("BASIC+dXM6eA==", True),
        ("Basic dXNlcg==", False),  # `user` alone
        ("Basic dXM6!eA==", False),
        ("Basic dXM6e", False),
        ("Basic authentication", False),
    ],
)
def test_the_value_of_a_basic_header_is_a_login_when_it_holds_a_colon(header: str, login: bool) -> None:
    assert _is_login(header) is login
