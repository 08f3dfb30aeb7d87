"""A control's page as reports show it: its promise in one paragraph, its reason, its prose as safe HTML."""

from __future__ import annotations

import re

from markdown_it import MarkdownIt
from markupsafe import Markup

from clawkeep.register import prose
from clawkeep.register.register import Control

_RELATIVE_LINK = re.compile(r"\[([^\]]*)\]\((?![a-z]+:)[^)\s]*\)")


def paragraph(control: Control, section: str) -> str:
    """The first paragraph of a section of the page on one line; the control's title where there is none."""
    first = prose.sections(control.body).get(section, "").partition("\n\n")[0]
    return " ".join(first.split()) or control.title


def without_relative_links(text: str) -> str:
    """Markdown whose links to neighbouring files are plain words: elsewhere they would lead nowhere."""
    return _RELATIVE_LINK.sub(r"\1", text)


def as_html(text: str) -> Markup:
    """Markdown as HTML, its headings two levels down; HTML and images in it are shown as text."""
    renderer = MarkdownIt("commonmark", {"html": False}).disable(["image", "autolink"])
    tokens = renderer.parse(without_relative_links(text))
    for token in tokens:
        if token.type in {"heading_open", "heading_close"}:
            token.tag = f"h{min(6, int(token.tag[1]) + 2)}"
    # The renderer escapes all of it, since `html` is off.
    return Markup(renderer.renderer.render(tokens, renderer.options, {}))  # noqa: S704
