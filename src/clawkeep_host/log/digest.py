"""Close each finished day of the log store: seal its files, and chain and sign a digest of them.

The store is STORE/HOST/YYYY-MM-DD.jsonl. `close` appends to CHAIN one JSON line for each file of a day that is over:

    {"n": number, "host", "day", "bytes", "lines", "sha256", "previous": sha256 of the line before, "signature": base64}

signed over the line without `signature` by the store's own ssh key (namespace clawkeep-log), and takes the last write
permission from the file (mode 0400, and immutable where the file system can). `verify` reads everything again.

    clawkeep-log-digest close  --store DIR --chain FILE --key FILE [--today YYYY-MM-DD]
    clawkeep-log-digest verify --store DIR --chain FILE --allowed FILE [--head SHA256]

`--head` is the sha256 that somebody kept elsewhere: without it a chain whose end is cut off together with its files
looks whole. Output is one JSON object; exit status 0 whole, 1 broken, 2 usage.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import re
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NoReturn

from clawkeep_host.command import Parser, Refusal, attempt, conclude

PROGRAM = "clawkeep-log-digest"
NAMESPACE = "clawkeep-log"
SIGNER = "log-store"
FIRST = "0" * 64
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_IMMUTABLE_FL = 0x80086601, 0x40086602, 0x10


def canonical(entry: dict[str, Any]) -> bytes:
    """What is signed of an entry."""
    kept = {key: value for key, value in entry.items() if key != "signature"}
    return json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()


def measured(path: Path) -> dict[str, Any]:
    """Size, lines and sha256 of a file."""
    digest, size, lines = hashlib.sha256(), 0, 0
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
            size += len(block)
            lines += block.count(b"\n")
    return {"bytes": size, "lines": lines, "sha256": digest.hexdigest()}


def days(store: Path) -> dict[tuple[str, str], Path]:
    """Every file of the store by host and day."""
    found = {}
    for path in sorted(store.glob("*/*.jsonl")):
        if DAY.fullmatch(path.stem) and not path.is_symlink():
            found[path.stem, path.parent.name] = path
    return {(host, day): path for (day, host), path in sorted(found.items())}


def lines_of(chain: Path) -> list[bytes]:
    """The chain's lines; a last line without its end is one too, and will not verify."""
    return chain.read_bytes().splitlines() if chain.exists() else []


def sign(data: bytes, key: Path) -> str:
    """The base64 of ssh-keygen's signature."""
    done = attempt("ssh-keygen", "-Y", "sign", "-n", NAMESPACE, "-f", str(key), stdin=data.decode())
    if not done.ok:
        raise Refusal(f"ssh-keygen does not sign with {key}: {done.stderr.strip()}")
    return base64.b64encode(done.stdout.encode()).decode()


def signed(data: bytes, signature: str, allowed: Path) -> bool:
    """Whether the signature is the store's."""
    try:
        raw = base64.b64decode(signature, validate=True)
    except ValueError:
        return False
    with tempfile.NamedTemporaryFile() as file:
        file.write(raw)
        file.flush()
        argv = ["ssh-keygen", "-Y", "verify", "-n", NAMESPACE, "-I", SIGNER, "-f", str(allowed), "-s", file.name]
        return attempt(*argv, stdin=data.decode()).ok


def seal(path: Path) -> None:
    """Take write permission from a file, and root's too where the file system has the flag."""
    path.chmod(0o400)
    handle = os.open(path, os.O_RDONLY)
    try:
        # Where there is no such flag, or it is not allowed, the chain tells of a change all the same.
        with contextlib.suppress(OSError):
            flags = int.from_bytes(fcntl.ioctl(handle, FS_IOC_GETFLAGS, bytes(8)), sys.byteorder)
            fcntl.ioctl(handle, FS_IOC_SETFLAGS, (flags | FS_IMMUTABLE_FL).to_bytes(8, sys.byteorder))
    finally:
        os.close(handle)


def close(store: Path, chain: Path, key: Path, today: str) -> dict[str, Any]:
    """Chain what is over and not chained yet."""
    known = lines_of(chain)
    entries = [json.loads(line) for line in known]
    have = {(entry["host"], entry["day"]) for entry in entries}
    previous = hashlib.sha256(known[-1]).hexdigest() if known else FIRST
    added = 0
    for (host, day), path in days(store).items():
        if day >= today or (host, day) in have:
            continue
        entry: dict[str, Any] = {"n": len(entries) + added + 1, "host": host, "day": day, **measured(path)}
        entry["previous"] = previous
        entry["signature"] = sign(canonical(entry), key)
        line = json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()
        handle = os.open(chain, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(handle, "ab") as file:
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())
        seal(path)
        previous = hashlib.sha256(line).hexdigest()
        added += 1
    return {"closed": added, "entries": len(entries) + added, "head": previous}


def verify(store: Path, chain: Path, allowed: Path, head: str | None, today: str) -> dict[str, Any]:
    """What is wrong with the chain and the files it speaks of, as sentences."""
    wrong: list[str] = []
    files, seen = days(store), set()
    previous, heads = FIRST, {FIRST}
    for number, line in enumerate(lines_of(chain), 1):
        try:
            entry = json.loads(line)
            host, day = str(entry["host"]), str(entry["day"])
            claims = {key: entry[key] for key in ("bytes", "lines", "sha256")}
            signature, linked, said = str(entry["signature"]), entry["previous"], entry["n"]
        except (ValueError, KeyError, TypeError):
            wrong.append(f"line {number} of the chain is no entry")
            previous = hashlib.sha256(line).hexdigest()
            continue
        if said != number or linked != previous:
            wrong.append(f"line {number} of the chain does not follow the one before")
        if not signed(canonical(entry), signature, allowed):
            wrong.append(f"the store did not sign line {number} of the chain ({host}, {day})")
        path = files.get((host, day))
        if path is None:
            wrong.append(f"the records of {host} of {day} are gone")
        elif measured(path) != claims:
            wrong.append(f"the records of {host} of {day} are not those that were chained")
        seen.add((host, day))
        previous = hashlib.sha256(line).hexdigest()
        heads.add(previous)
    overdue = sorted((host, day) for host, day in files if day < today and (host, day) not in seen)
    wrong += [f"the day {day} of {host} is over and not chained" for host, day in overdue]
    if head and head not in heads:
        wrong.append(
            "the chain does not hold the head that was kept elsewhere: its end is missing, or it is another chain"
        )
    return {"entries": len(lines_of(chain)), "head": previous, "wrong": wrong}


def main() -> NoReturn:
    """Parse the command line and print the result."""
    parser = Parser(PROGRAM, __doc__)
    parser.add_argument("what", choices=["close", "verify"])
    for name in ("--store", "--chain"):
        parser.add_argument(name, type=Path, required=True)
    for name in ("--key", "--allowed"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--head")
    parser.add_argument("--today", default=datetime.now(timezone.utc).strftime("%Y-%m-%d"))
    wish = parser.parse_args()
    if wish.what == "close" and not wish.key:
        parser.error("close needs --key")
    if wish.what == "verify" and not wish.allowed:
        parser.error("verify needs --allowed")

    def work() -> int:
        if wish.what == "close":
            found = close(wish.store, wish.chain, wish.key, wish.today)
        else:
            found = verify(wish.store, wish.chain, wish.allowed, wish.head, wish.today)
        print(json.dumps(found, sort_keys=True))
        return 1 if found.get("wrong") else 0

    conclude(PROGRAM, work)
