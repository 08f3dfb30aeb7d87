"""The log store's own view: which marks of a host arrived and when, what became of attempts, which alerts were raised.

Reads {"store": FOLDER, "marks": {source: {"mark", "at", "holds"?}}, "attempts": {"mark"}, "alerted": [words],
"seconds": S} from standard input and prints `arrived` {source: {"file", "line"} or null}, `attempt` [lines in the order
of the store], `alerts` [objects], `modes` {name: octal}, and `watch`: what the watch for silence left, with `now`.
Waits for what is missing, at most S seconds and some after it was sent. Only lines that hold a mark are looked at.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PATIENCE = 15.0  # seconds beyond the tier's, so that a late arrival is told from none
LINE_LIMIT = 16_000  # characters; a line that is cut cannot be read as JSON


def holding(store: Path, words: set[str]) -> dict[str, list[dict[str, str]]]:
    """Every line of the store that holds one of the words, with the file it lies in, in the order of the files."""
    found: dict[str, list[dict[str, str]]] = {word: [] for word in words}
    for path in sorted(store.glob("*/*.jsonl")):
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                for word in words:
                    if word in line:
                        found[word].append({"file": path.name, "line": line.rstrip("\n")[:LINE_LIMIT]})
    return found


def arrived(
    found: Mapping[str, list[dict[str, str]]], sent: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, str] | None]:
    """The first line of each mark that also holds what it should, null where there is none."""
    return {
        name: next((row for row in found[str(one["mark"])] if str(one.get("holds", "")) in row["line"]), None)
        for name, one in sent.items()
    }


def alerts(store: Path) -> list[Any]:
    """The last alerts that were raised."""
    path = store / "alerts.jsonl"
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-500:] if path.is_file() else []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            found.append({"illegible": line[:200]})
    return found


def watch(store: Path) -> dict[str, Any]:
    """What the watch for silence has left, null where there is none, and the time by the same clock."""
    try:
        seen = json.loads((store / "silence.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        seen = None
    return {"seen": seen, "now": time.time()}


def probe(wishes: Mapping[str, Any]) -> dict[str, Any]:
    """The facts, once every mark has arrived or its time is up; raises ValueError when there is no store."""
    store = Path(str(wishes["store"]))
    if not wishes["store"] or not store.is_dir():
        raise ValueError(f"there is no log store at {wishes['store']!r}: set `store` of the vantage siem")
    sent = {name: one for name, one in wishes["marks"].items() if not one.get("tried")}
    words = {str(one["mark"]) for one in sent.values()}
    tried = str(wishes["attempts"].get("mark", ""))
    limit = max((float(one["at"]) for one in sent.values()), default=0) + float(wishes["seconds"]) + PATIENCE
    while True:
        found = holding(store, words | ({tried} if tried else set()))
        raised = json.dumps(alerts(store))
        if time.time() > limit or (
            all(arrived(found, sent).values()) and all(str(word) in raised for word in wishes.get("alerted", ()))
        ):
            break
        time.sleep(1.0)
    return {
        "arrived": arrived(found, sent),
        "attempt": found.get(tried, []),
        "alerts": alerts(store),
        "watch": watch(store),
        "modes": {path.name: oct(path.stat().st_mode & 0o7777) for path in sorted(store.glob("*"))[:50]},
    }


if __name__ == "__main__":
    json.dump(probe(json.load(sys.stdin)), sys.stdout)
