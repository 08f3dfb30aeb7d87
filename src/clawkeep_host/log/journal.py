"""Write the journal's records as lines of JSON into files that the log agent follows.

    clawkeep-log-journal SPOOL MIB

SPOOL/journal/NUMBER.jsonl are pieces of the journal, a record a line: {"cursor", "at" (microseconds since the epoch),
"cut" (its length, where it was too long), and the journal's fields}. The last whole line tells where to go on, so
nothing else is remembered. A piece goes when a newer one is there and rsyslog's state in SPOOL says that it was read to
its end; from MIB on nothing is taken until it was. rsyslog's own imjournal forgets the rest of a journal file at some
rotations.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import subprocess
import time
from pathlib import Path
from typing import Any, NoReturn

from clawkeep_host import foreign_json
from clawkeep_host.command import Parser, conclude
from clawkeep_host.redaction import redact_text

PROGRAM = "clawkeep-log-journal"
JOURNALCTL = "/usr/bin/journalctl"
PIECE = 8 << 20  # bytes
LIMIT = 40_000  # bytes of a message: what the log agent reads is no longer than 64 KiB a line
FIELD_LIMIT = 1000  # characters of any other field
RECORD = 4 << 20  # bytes of a record beyond which only its place and time are taken: any account may write such a one
SWEEP_SECONDS = 30.0
# Within a value a quote is escaped, so that no message can be taken for these.
CURSOR = re.compile(rb'"__CURSOR" ?: ?"([^"]{1,400})"')
AT = re.compile(rb'"__REALTIME_TIMESTAMP" ?: ?"(\d{1,18})"')
FIELDS = (
    *("MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "SYSLOG_FACILITY"),
    *("_COMM", "_EXE", "_PID", "_SYSTEMD_UNIT", "_TRANSPORT", "_UID"),
)


def text(value: Any) -> str:
    """A field's value: journalctl writes text as such, other bytes as numbers, and a repeated field as a list."""
    if isinstance(value, list):
        if all(isinstance(one, int) for one in value):
            return bytes(one & 0xFF for one in value).decode("utf-8", "replace")
        return " ".join(text(one) for one in value)
    return "" if value is None else str(value)


def line_of(entry: dict[str, Any]) -> bytes:
    """A record of journalctl's as a line of a piece. What has to be cut is redacted before, or half a secret stays."""
    kept = {name: text(entry[name]) for name in FIELDS if name in entry}
    line: dict[str, Any] = {"cursor": str(entry["__CURSOR"]), "at": int(entry["__REALTIME_TIMESTAMP"])}
    for name, value in kept.items():
        line[name] = value if name == "MESSAGE" or len(value) <= FIELD_LIMIT else redact_text(value)[:FIELD_LIMIT]
    message = kept.get("MESSAGE", "")
    if len(json.dumps(message)) > LIMIT:
        short = redact_text(message)
        while len(json.dumps(short)) > LIMIT:
            short = short[: len(short) // 2]
        line |= {"MESSAGE": short, "cut": len(message)}
    return json.dumps(line, separators=(",", ":")).encode("ascii") + b"\n"


def piece_of(record: bytes) -> bytes:
    """A line of journalctl's output as a line of a piece; of one that cannot be read, where and when it stands."""
    if len(record) <= RECORD:
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
            return line_of(foreign_json.loads(record.decode("utf-8", "replace")))
    cursor, at = CURSOR.search(record), AT.search(record)
    line: dict[str, Any] = {"cursor": cursor[1].decode("ascii", "replace")} if cursor else {}
    line["at"] = int(at[1]) if at else time.time_ns() // 1000
    why = f"longer than {RECORD} bytes" if len(record) > RECORD else "illegible"
    line |= {"SYSLOG_IDENTIFIER": PROGRAM, "PRIORITY": "4", "MESSAGE": f"[withheld: a record of the journal is {why}]"}
    return json.dumps(line, separators=(",", ":")).encode("ascii") + b"\n"


class Records:
    """Cuts journalctl's output at its line ends; of a record that is too long the beginning alone is kept."""

    def __init__(self) -> None:
        """Begin with a record."""
        self.rest = bytearray()

    def feed(self, chunk: bytes) -> bytes:
        """The lines for the pieces of what ends within `chunk`."""
        made = []
        *ends, begun = chunk.split(b"\n")
        for end in ends:
            self._keep(end)
            if self.rest:
                made.append(piece_of(bytes(self.rest)))
            self.rest.clear()
        self._keep(begun)
        return b"".join(made)

    def _keep(self, part: bytes) -> None:
        self.rest += part[: RECORD + 1 - len(self.rest)]


class Pieces:
    """The files that the log agent follows."""

    def __init__(self, spool: Path, most: int) -> None:
        """Go on in `spool`, with `most` bytes at most."""
        self.spool, self.folder, self.most = spool, spool / "journal", most
        self.folder.mkdir(mode=0o700, exist_ok=True)

    def all(self) -> list[Path]:
        """Every piece, the oldest first."""
        return sorted(self.folder.glob("*.jsonl"))

    def cursor(self) -> str:
        """The place in the journal behind the last whole record; "" when there is none.

        What was being written when the last reader ended is closed as a line, and read again as a record.
        """
        for path in reversed(self.all()):
            data = path.read_bytes()
            if data and not data.endswith(b"\n"):
                with path.open("ab") as file:
                    file.write(b"\n")
            for line in reversed(data.splitlines()):
                try:
                    return str(json.loads(line)["cursor"])
                except (ValueError, TypeError, KeyError):
                    continue
        return ""

    def add(self, lines: bytes) -> None:
        """Write whole lines behind the others."""
        known = self.all()
        last = known[-1] if known else self.folder / f"{1:012}.jsonl"
        if known and last.stat().st_size >= PIECE:
            last = self.folder / f"{int(last.stem) + 1:012}.jsonl"
        with last.open("ab") as file:
            file.write(lines)

    def read_to(self, path: Path) -> int:
        """How far rsyslog has read a piece; 0 when its state does not tell."""
        for state in self.spool.glob(f"imfile-state:{path.stat().st_ino}*"):
            try:
                return int(json.loads(state.read_bytes())["curr_offs"])
            except (OSError, ValueError, TypeError, KeyError):
                continue
        return 0

    def sweep(self) -> None:
        """Remove the pieces that were read to their end; the last one tells the place, and stays."""
        for path in self.all()[:-1]:
            if self.read_to(path) >= path.stat().st_size:
                path.unlink()

    def full(self) -> bool:
        """Whether the pieces take all the room that there is for them."""
        return sum(path.stat().st_size for path in self.all()) >= self.most


def follow(pieces: Pieces) -> int:
    """Add what the journal has, until journalctl ends; its exit status."""
    cursor = pieces.cursor()
    where = [f"--after-cursor={cursor}"] if cursor else []
    told = f"--output-fields={','.join(FIELDS)}"
    command = [JOURNALCTL, "--follow", "--no-tail", "--all", "--quiet", "--output=json", told, *where]
    reader = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert reader.stdout is not None  # noqa: S101 - so it was asked for
    source, records, swept = reader.stdout.fileno(), Records(), 0.0
    while True:
        if time.monotonic() - swept > SWEEP_SECONDS:
            pieces.sweep()
            swept = time.monotonic()
        if pieces.full():
            time.sleep(1)
            pieces.sweep()
            continue
        if not select.select([source], [], [], SWEEP_SECONDS)[0]:
            continue
        chunk = os.read(source, 1 << 18)
        if not chunk:
            return reader.wait()
        lines = records.feed(chunk)
        if lines:
            pieces.add(lines)


def main() -> NoReturn:
    """Follow the journal; ends with journalctl, as a failure."""
    parser = Parser(PROGRAM, __doc__)
    parser.add_argument("spool", metavar="SPOOL", type=Path)
    parser.add_argument("mib", metavar="MIB", type=int)
    wish = parser.parse_args()
    os.umask(0o077)
    conclude(PROGRAM, lambda: follow(Pieces(wish.spool, wish.mib << 20)) or 1)
