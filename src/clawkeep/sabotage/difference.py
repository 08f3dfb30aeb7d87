"""The difference of two JSON documents as JSON Patch operations any of which may be left out.

jsonpatch's own `make_patch` numbers the operations on a list one after another, so that leaving one out moves the
others. Here each list is edited from its end towards its beginning: every index is one of the first document.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Any

Operation = dict[str, Any]


def difference(before: Any, after: Any, path: str = "") -> list[Operation]:
    """Operations that turn `before` into `after`; lists are aligned by equal elements, objects by their keys."""
    return list(_changes(before, after, path))


def _changes(before: Any, after: Any, path: str) -> Iterator[Operation]:
    if _canonical(before) == _canonical(after):
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            where = f"{path}/{_escape(key)}"
            if key not in after:
                yield {"op": "remove", "path": where}
            elif key not in before:
                yield {"op": "add", "path": where, "value": after[key]}
            else:
                yield from _changes(before[key], after[key], where)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _list_changes(before, after, path)
    else:
        yield {"op": "replace", "path": path, "value": after}


def _list_changes(before: list[Any], after: list[Any], path: str) -> Iterator[Operation]:
    matcher = SequenceMatcher(None, [_canonical(e) for e in before], [_canonical(e) for e in after], autojunk=False)
    for kind, start, end, other_start, other_end in reversed(matcher.get_opcodes()):
        if kind == "equal":
            continue
        paired = min(end - start, other_end - other_start)
        for element in reversed(after[other_start + paired : other_end]):
            yield {"op": "add", "path": f"{path}/{start + paired}", "value": element}
        for index in reversed(range(start + paired, end)):
            yield {"op": "remove", "path": f"{path}/{index}"}
        for offset in reversed(range(paired)):
            yield from _changes(before[start + offset], after[other_start + offset], f"{path}/{start + offset}")


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
