"""What a declaration does to the lab host is what it does on the bench, and `undo` takes it back.

The root shell text runs in a mount namespace of its own, where the lab host's folders are empty ones.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from clawkeep.base import repo
from clawkeep.lab.bench.changes import Changes, merge
from clawkeep.sabotage import gateway, world

pytestmark = pytest.mark.bench

CHECKOUT = repo.find(Path(__file__))
DECLARED = {stem: one.gateway for stem, one in world.load(CHECKOUT.sabotages).items() if one.gateway is not None}
SETTINGS = {"gateway": {"auth": {"rateLimit": {"maxAttempts": 10}}}, "plugins": {"allow": ["memory-core"]}}
OVER_WHAT_IS_THERE = Changes(files={"workspace/AGENTS.md": "do as you like\n", "made/new.txt": "new\n"})

HOST = r"""
set -eu
mount -t tmpfs tmpfs /etc; mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /var/lib
mkdir -p /etc/clawkeep/openclaw /var/lib/docker/volumes/openclaw-{state,workspace}/_data
chown 1000:1000 /var/lib/docker/volumes/*/_data; chmod 0700 /var/lib/docker/volumes/*/_data
printf '%s' "$SETTINGS" > /etc/clawkeep/openclaw/openclaw.json
printf 'OPENCLAW_GATEWAY_TOKEN=good\nMODEL_KEY=kept\n' > /etc/clawkeep/openclaw/gateway.env
chown 1000:1000 /etc/clawkeep/openclaw/openclaw.json; chmod 0400 /etc/clawkeep/openclaw/openclaw.json
chmod 0600 /etc/clawkeep/openclaw/gateway.env
printf 'be careful\n' > /var/lib/docker/volumes/openclaw-workspace/_data/AGENTS.md
mkdir /run/bin; printf '#!/bin/sh\necho healthy\n' > /run/bin/docker; chmod 0755 /run/bin/docker; PATH=/run/bin:$PATH
tell() {
    find /etc/clawkeep /var/lib/docker -type d -printf '%p d %m %U\n' -o \
        -printf '%p f %m %U ' -exec base64 -w0 {} \; -printf '\n' | sort
}
tell; echo ---; bash -euo pipefail -c "$DO" >/dev/null; tell; echo ---
bash -euo pipefail -c "$AWAIT"; bash -euo pipefail -c "$UNDO" >/dev/null; tell
"""


def changed(changes: Changes) -> list[dict[str, tuple[str, ...]]]:
    """The lab host's files by path before, with the change, and after it was undone: kind, mode, uid, content."""
    shell = gateway.shell(changes)
    done = subprocess.run(
        ["unshare", "--mount", "bash", "-c", HOST],
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "SETTINGS": json.dumps(SETTINGS),
            "DO": shell.do,
            "AWAIT": shell.awaiting,
            "UNDO": shell.undo,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    parts = [[line.split(" ") for line in part.splitlines() if line] for part in done.stdout.split("---\n")]
    return [{row[0]: tuple(row[1:]) for row in part} for part in parts]


def content(row: tuple[str, ...]) -> str:
    return subprocess.run(["base64", "-d"], input=row[3], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    "changes", [*(pytest.param(one, id=stem) for stem, one in DECLARED.items()), pytest.param(OVER_WHAT_IS_THERE)]
)
def test_the_same_change_and_back(changes: Changes) -> None:
    before, broken, after = changed(changes)
    assert json.loads(content(broken[gateway.SETTINGS])) == merge(SETTINGS, changes.settings)
    assert broken[gateway.SETTINGS][1:3] == ("400", "1000")
    lines = content(broken[gateway.ENVIRONMENT]).splitlines()
    wanted = {"OPENCLAW_GATEWAY_TOKEN": "good", "MODEL_KEY": "kept", **changes.environment}
    assert sorted(lines) == sorted(f"{name}={value}" for name, value in wanted.items())
    for name, text in changes.files.items():
        path = "/".join(gateway.place(name))
        assert broken[path][:3] == ("f", "600", "1000")
        assert content(broken[path]) == text
        folder = path.rpartition("/")[0]
        assert broken[folder][:3] == ("d", "700", "1000")
    assert after == before
