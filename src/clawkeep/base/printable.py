"""Make untrusted text fit to be shown: what a host says must not move a cursor, turn a line or fill a screen."""

from __future__ import annotations

import unicodedata

MESSAGE = 400  # characters of a message
EXCERPT = 2000  # characters of an excerpt

# control, format (bidi overrides, zero width), surrogate, private use, unassigned, line and paragraph separators
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def clean(text: str, limit: int = MESSAGE) -> str:
    """`text` on one line, with every character that a reader would not see as itself written as `\\u001b`."""
    if len(text) <= limit and text.isprintable():  # what almost all text is: nothing in it is in `_HIDDEN`
        return text
    shown = "".join(_visible(character) for character in text[: limit * 4])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _visible(character: str) -> str:
    if character in "\t\n\r":
        return " "
    if unicodedata.category(character) in _HIDDEN:
        point = ord(character)
        return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"
    return character
