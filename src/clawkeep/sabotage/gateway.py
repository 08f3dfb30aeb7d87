"""A changed gateway as root shell text for the lab host: change it, wait until it answers, put it back.

The same `Changes` are made to a gateway on the bench by `clawkeep.lab.bench.gateway`; JSON is merged by the same code.
"""

from __future__ import annotations

import inspect
import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from clawkeep.lab.bench.changes import Changes, merge

SETTINGS = "/etc/clawkeep/openclaw/openclaw.json"
ENVIRONMENT = "/etc/clawkeep/openclaw/gateway.env"
COMPOSE = "docker compose -p openclaw -f /etc/clawkeep/openclaw/compose.yml up --detach --timeout 5"
RESTART = "docker restart openclaw"
STATE, WORKSPACE = (f"/var/lib/docker/volumes/openclaw-{name}/_data" for name in ("state", "workspace"))
KEPT = "/run/clawkeep-sabotage"  # what was there before

HEALTHY = "docker inspect --format '{{.State.Health.Status}}' openclaw | grep -qx healthy"
SETTLED = f'timeout 420 bash -c "until {HEALTHY}; do sleep 5; done"'  # an emulated gateway starts in minutes

# The file is bound into the container: it is written in place, for another one would not be seen in there.
_MERGE = """\
import json
from pathlib import Path
from typing import Any

{merge}
place = Path({place!r})
place.write_text(json.dumps(merge(json.loads(place.read_text()), json.loads({patch!r})), indent=2))
"""


@dataclass(frozen=True)
class Shell:
    """Root shell text for the lab host."""

    do: str
    awaiting: str
    undo: str


def shell(changes: Changes) -> Shell:
    """The changes as root shell text, for a running gateway that starts anew with them and without them."""
    restart = COMPOSE if changes.environment else RESTART
    return Shell(
        do="\n".join([*_kept(changes), *_settings(changes), *_environment(changes), *_files(changes), restart]),
        awaiting=HEALTHY,
        undo="\n".join([*_restored(changes), *_removed(changes), restart, SETTLED]),
    )


def _copies(changes: Changes) -> Iterator[str]:
    """The files of the role that are changed."""
    if changes.settings:
        yield SETTINGS
    if changes.environment:
        yield ENVIRONMENT


def _kept(changes: Changes) -> Iterator[str]:
    yield f"install --directory --mode 0700 {KEPT}"
    for path in _copies(changes):
        yield f"cp --preserve {path} {KEPT}/"


def _restored(changes: Changes) -> Iterator[str]:
    for path in _copies(changes):
        yield f"cat {KEPT}/{path.rpartition('/')[2]} > {path}"


def _settings(changes: Changes) -> Iterator[str]:
    if changes.settings:
        source, patch = inspect.getsource(merge), json.dumps(changes.settings)
        program = _MERGE.format(merge=f"\n{source}\n", place=SETTINGS, patch=patch)
        yield f"python3 -c {shlex.quote(program)}"


def _environment(changes: Changes) -> Iterator[str]:
    """The last line of a variable counts, so the former ones go."""
    for name, value in changes.environment.items():
        yield f"sed --in-place '/^{name}=/d' {ENVIRONMENT}"
        yield f"printf '%s\\n' {shlex.quote(f'{name}={value}')} >> {ENVIRONMENT}"


def place(name: str) -> tuple[str, str]:
    """The volume of the lab host that a file below the state folder lies in, and its path in there."""
    first, _, rest = name.partition("/")
    return (WORKSPACE, rest) if first == "workspace" and rest else (STATE, name)


def _files(changes: Changes) -> Iterator[str]:
    for name, text in changes.files.items():
        volume, path = place(name)
        kept = shlex.quote(f"{KEPT}/{name.replace('/', '%')}")
        yield f"cd {volume}"
        yield f"[ ! -e {path} ] || cp --preserve {path} {kept}"
        parts = path.split("/")
        for folder in ("/".join(parts[:end]) for end in range(1, len(parts))):
            yield f"[ -d {folder} ] || {{ mkdir --mode 0700 {folder} && chown --reference={volume} {folder}; }}"
        yield f"printf '%s' {shlex.quote(text)} > {path}"
        yield f"chown --reference={volume} {path} && chmod 0600 {path}"


def _removed(changes: Changes) -> Iterator[str]:
    """What was there comes back; what was not goes, with the folders that are empty then."""
    for name in changes.files:
        volume, path = place(name)
        kept = shlex.quote(f"{KEPT}/{name.replace('/', '%')}")
        yield f"cd {volume}"
        yield f"rm --force {path}"
        yield f"[ ! -e {kept} ] || cp --preserve {kept} {path}"
        folder = path.rpartition("/")[0]
        if folder:
            yield f"[ ! -d {folder} ] || rmdir --ignore-fail-on-non-empty --parents {folder}"
