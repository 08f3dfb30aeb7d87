"""What `systemctl show` prints."""

from __future__ import annotations

from collections.abc import Iterable


def units(lines: Iterable[str]) -> dict[str, dict[str, str]]:
    """The properties of several units, by their Id; a property that is printed several times has a line for each."""
    blocks: list[dict[str, str]] = [{}]
    for line in lines:
        if not line.strip():
            blocks.append({})
            continue
        key, _, value = line.partition("=")
        blocks[-1][key] = f"{blocks[-1][key]}\n{value}" if key in blocks[-1] else value
    return {block["Id"]: block for block in blocks if "Id" in block}
