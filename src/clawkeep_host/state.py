#!/usr/bin/python3
"""Keep what belongs to the agent's service account private: its volumes, its configuration and its token.

    clawkeep-state volumes           make the two volumes, and take every foreign permission off what is in them
    clawkeep-state token             make the gateway's token unless there is one
    clawkeep-state token --rotate    replace it; sessions opened with the old one end at the next start

The token is 32 random bytes, hexadecimal. It is read from the kernel here and written here: it is on no command line,
in no output and on no other machine.

Output is one JSON object {"changed": bool, "what": [sentence, ...]}. Exit status: 0 done, 1 failed (one sentence on
stderr).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ACCOUNT = 1000
ENVIRONMENT = Path("/etc/clawkeep/openclaw/gateway.env")
TOKEN = re.compile(r"^OPENCLAW_GATEWAY_TOKEN=(.*)$", re.M)
TOKEN_BYTES = 32
VOLUMES = ("openclaw-state", "openclaw-workspace")
FOREIGN = 0o077
ACLS = ("system.posix_acl_access", "system.posix_acl_default")


class Refusal(Exception):
    """A sentence for the operator; the command stops with exit status 1."""


def run(*argv: str) -> str:
    """Return the output of a command; raise Refusal with its last words when it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        words = done.stderr.strip().splitlines() or ["no message"]
        raise Refusal(f"`{' '.join(argv)}` failed: {words[-1]}")
    return done.stdout


# --- volumes ----------------------------------------------------------------------------------------------------


def volumes(uid: int) -> list[str]:
    """Make missing volumes, give them to the account, and close everything in them. Returns what was changed."""
    present = set(run("docker", "volume", "ls", "--format", "{{.Name}}").split())
    changed = []
    for name in VOLUMES:
        if name not in present:
            run("docker", "volume", "create", "--label", "clawkeep.role=agent", name)
            changed.append(f"made volume {name}")
    roots = [Path(run("docker", "volume", "inspect", "--format", "{{.Mountpoint}}", name).strip()) for name in VOLUMES]
    return changed + [sentence for root in roots for sentence in close(root, uid)]


def close(root: Path, uid: int) -> Iterator[str]:
    """Give `root` and all below it to the account, without a bit or an access list for anyone else."""
    yield from close_one(str(root), uid)
    for folder, folders, files in os.walk(root):  # never follows a link
        for name in folders + files:
            yield from close_one(os.path.join(folder, name), uid)


def close_one(path: str, uid: int) -> Iterator[str]:
    """Close one file or folder; one that the agent removes meanwhile is left out."""
    try:
        found = os.lstat(path)
        if (found.st_uid, found.st_gid) != (uid, uid):
            os.chown(path, uid, uid, follow_symlinks=False)
            yield f"gave {path} to the service account"
        if stat.S_ISLNK(found.st_mode):
            return
        for acl in set(os.listxattr(path, follow_symlinks=False)).intersection(ACLS):
            os.removexattr(path, acl, follow_symlinks=False)
            yield f"removed an access list from {path}"
        mode = stat.S_IMODE(os.lstat(path).st_mode)
        wanted = mode & ~FOREIGN & ~(stat.S_ISUID | stat.S_ISGID)
        if mode != wanted:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                os.fchmod(descriptor, wanted)  # through the descriptor: the agent may have put a link in its place
            finally:
                os.close(descriptor)
            yield f"closed {path} ({mode:04o} is now {wanted:04o})"
    except FileNotFoundError:
        return
    except OSError as trouble:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise Refusal(f"{path} cannot be closed: {trouble.strerror}") from trouble


# --- token ------------------------------------------------------------------------------------------------------


def token(rotate: bool) -> list[str]:
    """Make or replace the token's line; other lines of the file, such as a model's key, stay."""
    text = ENVIRONMENT.read_text(encoding="utf-8") if ENVIRONMENT.exists() else ""
    found = TOKEN.search(text)
    if found and found.group(1) and not rotate:
        return []
    line = f"OPENCLAW_GATEWAY_TOKEN={secrets.token_hex(TOKEN_BYTES)}"
    text = TOKEN.sub(line, text) if found else f"{text}{line}\n"
    fresh = ENVIRONMENT.with_name(f".{ENVIRONMENT.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(ENVIRONMENT)
    return ["replaced the gateway's token" if found else "made the gateway's token"]


# --- command line -----------------------------------------------------------------------------------------------


def main() -> int:
    """Read the command line; print what was changed, or one sentence."""
    parser = argparse.ArgumentParser(prog="clawkeep-state", description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    keep = commands.add_parser("volumes", help="make the agent's volumes and close what is in them")
    keep.add_argument("--uid", type=int, default=ACCOUNT, help="user and group of the service account (%(default)s)")
    make = commands.add_parser("token", help="make the gateway's token unless there is one")
    make.add_argument("--rotate", action="store_true", help="replace the token")
    options = parser.parse_args()
    try:
        what = token(options.rotate) if options.command == "token" else volumes(options.uid)
    except (Refusal, OSError, subprocess.TimeoutExpired) as refusal:
        print(f"clawkeep-state: {refusal}", file=sys.stderr)
        return 1
    print(json.dumps({"changed": bool(what), "what": what}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
