"""The report as one HTML file that needs nothing else: no network, no fonts, no scripts but its own.

Untrusted text meets the page in two places only: the template, which escapes everything, and a block of JSON, from
which the script makes text nodes. A content security policy names the one style and the one script by their digests,
and allows no request at all and no string to become markup.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from clawkeep.base.printable import clean
from clawkeep.register.register import Control
from clawkeep.report import words
from clawkeep.report.html import data, summary
from clawkeep.verify.report import Report

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("clawkeep.report", "html"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {
    "clean": clean,
    "plural": words.plural,
    "days_left": words.days_left,
    "rests_on": words.rests_on,
}

# What would end the block of JSON or be markup in it, and the two characters that JSON has and old scripts have not.
_INERT = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"})


def as_html(report: Report, register: Mapping[str, Control]) -> bytes:
    """The page as UTF-8; the same report gives the same bytes."""
    style, script = _asset("report.css"), _asset("report.js")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src {_digest(style)}",
            f"script-src {_digest(script)}",
            "img-src data:",  # the empty icon, so that none is asked for
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
        )
    )
    page = _ENVIRONMENT.get_template("report.html.j2").render(
        policy=policy,
        style=Markup(style),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        data=inert_json(data.encode(report, register)),
        view=summary.view(report, register),
    )
    return page.encode()


def inert_json(value: Any) -> Markup:
    """JSON that can stand in a script element: no `<`, `>` or `&` is left in it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.translate(_INERT))  # noqa: S704 - made inert on this very line


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
