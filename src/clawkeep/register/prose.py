"""The prose of the register: what a page must have, and the words it does without."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from clawkeep.register.register import ID, Control

SECTIONS = ("Promise", "Why", "How it is set", "How it is proved", "How it is broken", "By hand")
TITLE = 90  # characters: a row of a report on one line

# A title says what is true of a host. One that begins with a verb of command says what somebody ought to do.
_COMMANDS = frozenset(
    (
        *("apply", "avoid", "block", "check", "configure", "confirm", "create", "define", "deny", "disable", "enable"),
        *("enforce", "ensure", "establish", "harden", "implement", "keep", "limit", "make", "monitor", "prevent"),
        *("protect", "remove", "require", "restrict", "run", "set", "test", "turn", "use", "validate", "verify"),
    )
)
_DUTY = re.compile(r"\b(?:should|must|shall|needs? to|ought)\b", re.I)
# Words that promise more than they say, or nothing at all.
_FILLER = re.compile(
    r"\b(?:and/or|best[- ]in[- ]class|best practices?|comprehensive|cutting[- ]edge|easily|ensur\w+|going forward"
    r"|holistic|in order to|it is important to|leverag\w+|obviously|of course|please|powerful|robust|seamless\w*|simply"
    r"|state[- ]of[- ]the[- ]art|utili[sz]\w+|world[- ]class)\b|(?<![/\w])etc\.",
    re.I,
)
_CODE = re.compile(r"^```.*?^```$|^(?: {4}|\t)[^\n]*$|`[^`\n]*`", re.M | re.S)
_HEADING = re.compile(r"^(#+) (.*)$", re.M)


def objections(controls: Mapping[str, Control]) -> list[str]:
    """A sentence for everything that is wrong with the prose of a register; an empty list is a good register."""
    return [
        f"{control.page}: {sentence}"
        for control in controls.values()
        for sentence in (*_title(control.title), *_sections(control.body), *_words(control.body, controls))
    ]


def sections(body: str) -> dict[str, str]:
    """The text below each second-level heading of a page, in the page's order."""
    parts = re.split(r"^## (.*)$", _without_blocks(body), flags=re.M)
    return {name.strip(): text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def _without_blocks(body: str) -> str:
    """A page with the lines of fenced blocks kept, and `#` in them no heading any more."""
    return re.sub(r"^```.*?^```$", lambda block: re.sub(r"^#", " #", block[0], flags=re.M), body, flags=re.M | re.S)


def _title(title: str) -> Iterator[str]:
    if len(title) > TITLE:
        yield f"the title has {len(title)} characters, {TITLE} is the most"
    if not title[0].isupper() or title.endswith("."):
        yield f"the title {title!r} must begin with a capital and end without a full stop"
    first = re.split(r"\W", title, maxsplit=1)[0]
    if first.lower() in _COMMANDS:
        yield f"the title begins with {first}: say what is true of a host, not what to do"
    if _DUTY.search(title):
        yield f"the title {title!r} speaks of a duty: say what is true of a host"


def _sections(body: str) -> Iterator[str]:
    found = sections(body)
    headings = [(len(marks), name.strip()) for marks, name in _HEADING.findall(_without_blocks(body))]
    second = [name for level, name in headings if level == 2]
    for name in SECTIONS:
        if name not in found:
            yield f"there is no section `## {name}`"
        elif not found[name]:
            yield f"the section `## {name}` is empty"
    for name in second:
        if name not in SECTIONS:
            yield f"the section `## {name}` is none of {', '.join(SECTIONS)}"
    known = [name for name in second if name in SECTIONS]
    if len(set(known)) < len(known):
        yield "a section stands there twice"
    elif known != sorted(known, key=SECTIONS.index):
        yield f"the sections stand in another order than {', '.join(SECTIONS)}"
    if any(level == 1 for level, _ in headings):
        yield "a page has no heading of the first level: its title stands in the front matter"


def _words(body: str, controls: Mapping[str, Control]) -> Iterator[str]:
    strange = sorted({character for character in body if not character.isascii()})
    if strange:
        yield f"{' '.join(strange)} cannot be typed on every keyboard: write it in ASCII"
    prose = _CODE.sub("", body)
    for word in sorted({found.lower() for found in _FILLER.findall(prose)}):
        yield f"the word {word!r} says nothing here: leave it out, or say what is meant"
    for name in sorted(set(re.findall(rf"\b{ID.pattern}\b(?!-)", prose)) - controls.keys()):
        yield f"it speaks of {name}, which has no page"
