"""The pictures of docs/images: `python -m tests.browser.screenshots` writes them anew from the believable report.

The page takes the system's own fonts, so the pictures differ from machine to machine; they are for people to look at.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from clawkeep.base import repo
from clawkeep.register import register
from clawkeep.report import html
from tests.browser.chromium import Chromium
from tests.demo_report import demo

# name: width, height, dark, what is scrolled to the top
PICTURES = {
    "report-desktop": (1280, 1000, False, "summary"),
    "report-map": (1280, 1000, False, "map"),
    "report-dark": (1280, 1000, True, "fleet"),
    "report-phone": (390, 844, False, "summary"),
    "report-phone-dark": (390, 844, True, "results"),
}


def main() -> None:
    """Write every picture."""
    checkout = repo.find()
    controls = register.load(checkout.controls)
    folder = checkout.root / "docs" / "images"
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, Chromium() as browser:
        page = Path(scratch) / "report.html"
        page.write_bytes(html.as_html(demo(controls), controls))
        for name, (width, height, dark, section) in PICTURES.items():
            browser.look(width, height, dark=dark)
            browser.open(page)
            if section != "summary":
                browser.run(f"document.getElementById('{section}').scrollIntoView()")
            browser.settle()
            browser.picture(folder / f"{name}.png")


if __name__ == "__main__":
    main()
