"""A control's thread on the command line: for people as tables, for machines as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from clawkeep.base.repo import Repo
from clawkeep.sabotage.thread import Thread
from clawkeep.sabotage.world import Kind

Row = tuple[Text | str, ...]
KIND_STYLES = {Kind.CRUDE: "red", Kind.SUBTLE: "magenta"}


def show(thread: Thread, checkout: Repo, out: Console) -> None:
    """Print each part of the thread that there is, and what is still missing."""
    out.print(Text("\nThread", style="bold"))
    for heading, rows in _parts(thread, checkout):
        if not rows:
            continue
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        for row in rows:
            table.add_row(*(part if isinstance(part, Text) else Text(part) for part in row))
        out.print(Text(f"\n{heading}", style="bold"))
        out.print(Padding(table, (0, 0, 0, 2), expand=False))


def _parts(thread: Thread, checkout: Repo) -> Iterator[tuple[str, list[Row]]]:
    def paths(some: Iterable[Path]) -> str:
        return " ".join(map(checkout.shown, some))

    yield "Tasks", [(f"{checkout.shown(task.path)}:{task.line}", task.name) for task in thread.tasks]
    yield "Test", [(checkout.shown(path),) for path in thread.tests]
    yield "Subjects", [(name, checkout.shown(path)) for name, path in thread.subjects.items()]
    yield (
        "Evidence that the tests read, and who records it",
        [(key.vantage, key.path, paths(key.modules)) for key in thread.keys],
    )
    yield "Experiments that act on the host for it", [(checkout.shown(path),) for path in thread.experiments]
    yield (
        "Sabotages",
        [
            (Text(one.kind.value, style=KIND_STYLES[one.kind]), checkout.shown(one.path), one.title)
            for one in thread.sabotages
        ],
    )
    yield "Missing", [(Text(sentence, style="yellow"),) for sentence in thread.missing]


def document(thread: Thread, checkout: Repo) -> dict[str, Any]:
    """The thread as plain data; paths are relative to the checkout."""
    control = thread.control
    return {
        "control": control.id,
        "title": control.title,
        "tier": control.tier,
        "severity": control.severity.value,
        "proof": control.proof.value,
        "page": checkout.shown(control.page),
        "tasks": [{"path": checkout.shown(task.path), "line": task.line, "name": task.name} for task in thread.tasks],
        "tests": [checkout.shown(path) for path in thread.tests],
        "subjects": {name: checkout.shown(path) for name, path in thread.subjects.items()},
        "evidence": [
            {
                "vantage": key.vantage,
                "path": key.path,
                "recorded_by": [checkout.shown(path) for path in key.modules],
                "experiments": [checkout.shown(path) for path in key.experiments],
            }
            for key in thread.keys
        ],
        "sabotages": [
            {
                "name": one.stem,
                "kind": one.kind.value,
                "title": one.title,
                "path": checkout.shown(one.path),
                "patch": checkout.shown(one.patch) if one.patch.exists() else None,
            }
            for one in thread.sabotages
        ],
        "missing": list(thread.missing),
    }
