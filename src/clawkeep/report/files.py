"""The files of a written report: one model, many writers, all of them listed here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from clawkeep.base.errors import ClawkeepError
from clawkeep.register.register import Control
from clawkeep.report import html, machine, markdown, oscal, sarif, sheet
from clawkeep.verify.report import Report

Writer = Callable[[Report, Mapping[str, Control]], bytes]


def _json(report: Report, _: Mapping[str, Control]) -> bytes:
    return (json.dumps(machine.as_json(report), indent=2, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def _junit(report: Report, _: Mapping[str, Control]) -> bytes:
    return machine.as_junit(report)


WRITERS: Mapping[str, Writer] = {
    "report.json": _json,
    "junit.xml": _junit,
    "report.sarif": sarif.as_sarif,
    "report.oscal.json": oscal.as_oscal,
    "report.csv": sheet.as_csv,
    "report.md": markdown.as_markdown,
    "report.html": html.as_html,
}


def write(report: Report, register: Mapping[str, Control], folder: Path) -> None:
    """Write every file of the report into `folder`; raises ClawkeepError when that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, writer in WRITERS.items():
            (folder / name).write_bytes(writer(report, register))
    except OSError as problem:
        raise ClawkeepError(f"the report cannot be written to {folder}: {problem.strerror}") from None
