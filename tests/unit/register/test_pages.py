"""The prose of the register: every page has its sections, every title is a state, and the words are plain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from clawkeep.base import repo
from clawkeep.register import prose, register
from clawkeep.register.register import Control, Proof, Severity

BODY = "".join(f"\n## {name}\n\nIt says something.\n" for name in prose.SECTIONS)
PAGE = Control("NET-01", "Nothing listens", 1, Severity.HIGH, Proof.PLANNED, True, "by hand", page=Path("x"), body=BODY)


@pytest.fixture(scope="module")
def controls() -> dict[str, Control]:
    return register.load(repo.find(Path(__file__)).controls)


def test_the_register_is_well_written(controls: dict[str, Control]) -> None:
    wrong = prose.objections(controls)
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)


def test_a_good_page_has_no_objection() -> None:
    body = BODY + "\n```\n# a comment, no heading\n## nor this\nplease ensure /etc.\n```\n\n    simply a command\n"
    assert prose.objections({"NET-01": replace(PAGE, body=body)}) == []


@pytest.mark.parametrize(
    ("title", "sentence"),
    [
        ("x" * 91, "the title has 91 characters, 90 is the most"),
        ("nothing listens", "must begin with a capital"),
        ("Nothing listens.", "without a full stop"),
        ("Ensure nothing listens", "begins with Ensure"),
        ("Block metadata", "begins with Block"),
        ("Ports should be closed", "speaks of a duty"),
    ],
)
def test_a_title_is_a_state(title: str, sentence: str) -> None:
    (said, *_) = prose.objections({"NET-01": replace(PAGE, title=title)})
    assert said.startswith("x: ")
    assert sentence in said


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda body: body.replace("## Why\n", ""), "there is no section `## Why`"),
        (lambda body: body.replace("## Why\n\nIt says something.", "## Why"), "the section `## Why` is empty"),
        (lambda body: body + "\n## More\n\nText.\n", "the section `## More` is none of"),
        (lambda body: body + "\n## Why\n\nAgain.\n", "a section stands there twice"),
        (lambda body: body.replace("Why", "X").replace("Promise", "Why").replace("X", "Promise"), "in another order"),
        (lambda body: "# Title\n" + body, "no heading of the first level"),
        (lambda body: body + "\nIt is robust.\n", "the word 'robust' says nothing"),
        (lambda body: body + "\nCommands, tools etc. are off.\n", "the word 'etc.' says nothing"),
        (lambda body: body + "\nA dash \N{EM DASH} here.\n", "cannot be typed on every keyboard"),
        (lambda body: body + "\nSee NET-77.\n", "it speaks of NET-77, which has no page"),
    ],
)
def test_what_is_wrong_with_a_body_is_one_sentence(change: Callable[[str], str], sentence: str) -> None:
    (said,) = prose.objections({"NET-01": replace(PAGE, body=change(BODY))})
    assert said.startswith("x: ")
    assert sentence in said
