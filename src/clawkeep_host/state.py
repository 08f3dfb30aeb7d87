"""Keep what belongs to the agent's service account private: its volumes, its configuration and its token.

    clawkeep-state volumes           make the two volumes, and take every foreign permission off what is in them
    clawkeep-state token             make the gateway's token unless there is one
    clawkeep-state token --rotate    replace it; sessions opened with the old one end at the next start

The token is 32 random bytes, hexadecimal. It is read from the kernel here and written here: it is on no command line,
in no output and on no other machine.

Output is one JSON object {"changed": bool, "what": [sentence, ...]}. Exit status: 0 done, 1 failed (one sentence on
stderr; what could be done is done), 2 bad usage.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from clawkeep_host import engine_api, files
from clawkeep_host.command import Parser, Refusal, conclude, printable

PROGRAM = "clawkeep-state"
ACCOUNT = 1000
ENVIRONMENT = Path("/etc/clawkeep/openclaw/gateway.env")
LOCK = Path("/run/clawkeep/state.lock")
LOCK_SECONDS = 10.0  # an emergency stop gives the rotation half a minute
TOKEN = re.compile(rb"^OPENCLAW_GATEWAY_TOKEN=(.*)\n?", re.M)
TOKEN_BYTES = 32
BLANK = b" \t\r\"'"  # a value of these alone is none for Compose
VOLUMES = ("openclaw-state", "openclaw-workspace")
FOREIGN = 0o077
ACLS = ("system.posix_acl_access", "system.posix_acl_default")
SENTENCES, COMPLAINTS = 100, 5  # of what was changed and of what stays; the agent decides how many there are


# --- volumes ----------------------------------------------------------------------------------------------------


def volumes(uid: int) -> list[str]:
    """Make missing volumes, give them to the account, and close everything in them. Returns what was changed.

    Raises Refusal when anything stays as it is, once everything else is done.
    """
    changed, more, stays = [], 0, []
    roots = []
    for name in VOLUMES:
        root, made = volume(name)
        roots.append(root)
        if made:
            changed.append(f"made volume {name}")
    for root in roots:
        try:
            for sentence in close(root, uid):
                if len(changed) < SENTENCES:
                    changed.append(sentence)
                else:
                    more += 1
        except Refusal as refusal:
            stays.append(str(refusal))
    if stays:
        raise Refusal("; ".join(stays))
    return [*changed, f"and {more} changes more"] if more else changed


def volume(name: str) -> tuple[Path, bool]:
    """Where a volume's files lie on this host, and whether it had to be made."""
    made = False
    try:
        found = engine_api.get(f"/volumes/{name}")
    except engine_api.Missing:
        wish = {"Name": name, "Labels": {"clawkeep.role": "agent"}}
        found = engine_api.decoded(engine_api.ask("POST", "/volumes/create", wish))
        made = True
    return mountpoint(name, found), made


def mountpoint(name: str, found: Any) -> Path:
    """A volume's folder; a driver that keeps it elsewhere names none, and nothing else may be taken for it."""
    path = Path(str(found.get("Mountpoint") or "")) if isinstance(found, dict) else Path()
    if not path.is_absolute() or path == path.parent:
        raise Refusal(f"the volume {name} has no folder on this host; remove it, so that it is made as a local one")
    return path


def close(root: Path, uid: int) -> Iterator[str]:
    """Give `root` and all below it to the account, without a bit or an access list for anyone else.

    Yields a sentence for each change. What has to stay open does not keep the rest from being closed: the Refusal that
    names it comes last.
    """
    walk = files.Walk(root)
    stays, count = [], 0
    try:
        for entry in walk:
            path = str(root) if entry.path == "." else f"{root}/{entry.path}"
            try:
                yield from close_one(entry, path, uid)
            except (Refusal, OSError) as trouble:
                count += 1
                if count <= COMPLAINTS:
                    why = trouble.strerror if isinstance(trouble, OSError) else trouble
                    stays.append(f"{printable(path)} cannot be closed: {why}")
    except OSError as trouble:
        raise Refusal(f"{root} cannot be closed: {trouble.strerror}") from None
    stays += [f"{printable(f'{root}/{path}')} cannot be read: {why}" for path, why in walk.left_out]
    more = count + walk.omitted - len(stays)
    if stays:
        raise Refusal("; ".join(stays) + (f"; and {more} more" if more else ""))


def close_one(entry: files.Entry, path: str, uid: int) -> Iterator[str]:
    """Close one file or folder; raises Refusal for what may not be the agent's alone to change, and OSError."""
    reason = entry.foreign(uid)
    if reason:
        raise Refusal(f"it {reason}")
    if (entry.status.st_uid, entry.status.st_gid) != (uid, uid):
        entry.give(uid, uid)
        yield f"gave {path} to the service account"
    if entry.is_link:
        return
    for acl in access_lists(entry):
        os.removexattr(entry.handle, acl)
        yield f"removed an access list from {path}"
    mode = stat.S_IMODE(os.fstat(entry.descriptor).st_mode)  # a new owner and a lost access list have changed it
    wanted = mode & ~FOREIGN & ~(stat.S_ISUID | stat.S_ISGID)
    if mode != wanted:
        entry.limit(wanted, uid)
        yield f"closed {path} ({mode:04o} is now {wanted:04o})"


def access_lists(entry: files.Entry) -> list[str]:
    """The names of an entry's access lists; none on a file system that knows none."""
    try:
        return sorted(set(os.listxattr(entry.handle)).intersection(ACLS))
    except OSError as trouble:
        if trouble.errno == errno.ENOTSUP:
            return []
        raise


# --- token ------------------------------------------------------------------------------------------------------


def token(rotate: bool) -> list[str]:
    """Make or replace the token's line; other lines of the file, such as a model's key, stay.

    Of two lines Docker takes the last and a reader perhaps the first, so there is one afterwards.
    """
    LOCK.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with files.lock(LOCK, PROGRAM, LOCK_SECONDS):
        text = ENVIRONMENT.read_bytes() if ENVIRONMENT.exists() else b""
        found = TOKEN.findall(text)
        if len(found) == 1 and found[0].strip(BLANK) and not rotate:
            return []
        others = TOKEN.sub(b"", text)
        if others and not others.endswith(b"\n"):
            others += b"\n"
        line = f"OPENCLAW_GATEWAY_TOKEN={secrets.token_hex(TOKEN_BYTES)}\n"
        files.write(ENVIRONMENT, others + line.encode("ascii"))
    return ["replaced the gateway's token" if found else "made the gateway's token"]


# --- command line -----------------------------------------------------------------------------------------------


def account(text: str) -> int:
    """A uid that files may be given to: root's would close nothing, and -1 would leave every owner as it is."""
    uid = int(text)
    if not 0 < uid < 2**32 - 1:
        raise argparse.ArgumentTypeError(f"{uid} is no uid of a service account")
    return uid


def command_line() -> Parser:
    """The parser."""
    parser = Parser(PROGRAM, __doc__)
    commands = parser.add_subparsers(dest="command", required=True, parser_class=argparse.ArgumentParser)
    keep = commands.add_parser("volumes", help="make the agent's volumes and close what is in them")
    keep.add_argument(
        "--uid", type=account, default=ACCOUNT, help="user and group of the service account (%(default)s)"
    )
    make = commands.add_parser("token", help="make the gateway's token unless there is one")
    make.add_argument("--rotate", action="store_true", help="replace the token")
    return parser


def main() -> NoReturn:
    """Read the command line; print what was changed, or one sentence."""
    options = command_line().parse_args()

    def act() -> None:
        what = token(options.rotate) if options.command == "token" else volumes(options.uid)
        print(json.dumps({"changed": bool(what), "what": what}))

    conclude(PROGRAM, act)
