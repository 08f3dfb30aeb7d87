"""What one vantage point recorded about one host, and typed access to it.

A document is the collector's JSON (schema 1): `commands` maps a key to what one command printed, `facts` maps a key to
a JSON value that Python code gathered, `problems` maps a collector part to the sentence why it broke off. Access to
anything that is not there raises `Unmeasured`: absence is never an empty answer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from clawkeep.base.verdict import Unmeasured

SCHEMA = 1
CONTROLLER = "controller"  # the vantage of the machine that collects: what it knows itself, and no probe


@dataclass(frozen=True)
class Command:
    """One command's record: `status` is None when it did not end by itself, `error` then says why."""

    key: str
    argv: tuple[str, ...]
    status: int | None
    output: Any  # list[str] of lines, or the parsed JSON value
    stderr: str
    error: str | None
    truncated: bool

    @property
    def shown(self) -> str:
        """The command line as a person would type it."""
        return " ".join(self.argv)


@dataclass(frozen=True)
class Citation:
    """A pointer from a result into the evidence it rests on."""

    source: str
    digest: str
    excerpt: str


def digest(value: object) -> str:
    """`sha256:` and the digest of the canonical JSON of `value`."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass
class Document:
    """One vantage's record. Remembers what was read of it, so that every result can cite its evidence."""

    vantage: str
    raw: Mapping[str, Any]
    read: set[str] = field(default_factory=set)
    citations: dict[str, Citation] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Refuse what is not a document of a schema we know."""
        if not isinstance(self.raw, Mapping) or self.raw.get("schema") != SCHEMA:
            found = self.raw.get("schema") if isinstance(self.raw, Mapping) else type(self.raw).__name__
            raise Unmeasured(f"the {self.vantage} evidence has schema {found!r}, this Clawkeep reads schema {SCHEMA}")

    def _section(self, name: str) -> Mapping[str, Any]:
        section = self.raw.get(name)
        return section if isinstance(section, Mapping) else {}

    def command(self, key: str, *, statuses: Sequence[int] = (0,)) -> Command:
        """The command recorded under `key`; raises `Unmeasured` unless it ended with one of `statuses`, whole."""
        self.read.add(f"commands/{key}")
        record = self._section("commands").get(key)
        if not isinstance(record, Mapping):
            raise Unmeasured(self._absent(key, "command"))
        argv = tuple(str(word) for word in record.get("argv") or ())
        command = Command(
            key=key,
            argv=argv,
            status=record.get("status"),
            output=record["json"] if "json" in record else record.get("lines", []),
            stderr=str(record.get("stderr") or ""),
            error=record.get("error"),
            truncated=bool(record.get("truncated")),
        )
        if command.error:
            raise Unmeasured(f"`{command.shown}` was not measured: {command.error}")
        if command.truncated:
            raise Unmeasured(f"`{command.shown}` printed more than the collector keeps")
        if command.status not in statuses:
            said = command.stderr.strip().splitlines()
            raise Unmeasured(f"`{command.shown}` ended with status {command.status}{': ' + said[0] if said else ''}")
        return command

    def lines(self, key: str, *, statuses: Sequence[int] = (0,)) -> list[str]:
        """The lines that the command under `key` printed."""
        output = self.command(key, statuses=statuses).output
        if not isinstance(output, list) or not all(isinstance(line, str) for line in output):
            raise Unmeasured(f"the record of {key} is not text")
        return output

    def json(self, key: str, *, statuses: Sequence[int] = (0,)) -> Any:
        """The JSON value that the command under `key` printed."""
        command = self.command(key, statuses=statuses)
        record = self._section("commands")[key]
        if "json" not in record:
            raise Unmeasured(f"`{command.shown}` did not print the JSON that was asked for")
        return command.output

    def fact(self, key: str) -> Any:
        """The value that the collector noted under `key`."""
        self.read.add(f"facts/{key}")
        facts = self._section("facts")
        if key not in facts:
            raise Unmeasured(self._absent(key, "fact"))
        return facts[key]

    def _absent(self, key: str, kind: str) -> str:
        problems = self._section("problems")
        why = "; ".join(str(text) for text in problems.values()) if problems else "it was not collected"
        return f"no {kind} {key} in the {self.vantage} evidence: {why}"

    def has(self, path: str) -> bool:
        """Whether a path such as `commands/ss` is in the document: what is not there is evidence of nothing."""
        section, key = path.split("/", 1)
        return key in self._section(section)

    def cite(self, path: str) -> Citation:
        """The citation of a path such as `commands/ss` that was read; made once, for many tests read the same."""
        if path not in self.citations:
            self.citations[path] = self._citation(path)
        return self.citations[path]

    def _citation(self, path: str) -> Citation:
        section, key = path.split("/", 1)
        value = self._section(section).get(key)
        source = key
        shown: object = value
        if section == "commands" and isinstance(value, Mapping):
            source = " ".join(str(word) for word in value.get("argv") or [key])
            shown = value.get("json", value.get("lines", value.get("error")))
        excerpt = json.dumps(shown, ensure_ascii=False)
        return Citation(f"{self.vantage}: {source}", digest(value), excerpt[:400])


S = TypeVar("S")


class HostEvidence:
    """Everything measured about one host: the inside document and those of other vantages.

    `raw` is `{"schema": 1, "host": str, "inside": document | None, "vantages": {name: document}}`.
    """

    def __init__(self, name: str, raw: Mapping[str, Any]) -> None:
        """Wrap `raw`; documents are checked when they are first asked for."""
        self.name = name
        self.raw = raw
        self._documents: dict[str, Document] = {}
        self._subjects: dict[type, tuple[Any, frozenset[tuple[str, str]]]] = {}
        self.cited: set[tuple[str, str]] = set()
        self._reading: list[set[tuple[str, str]]] = []

    def vantage(self, name: str) -> Document:
        """The document of a vantage (`inside`, `outside`, `neighbour`); raises `Unmeasured` when there is none."""
        if name not in self._documents:
            others = self.raw.get("vantages")
            if name == "inside":
                raw = self.raw.get("inside")
            else:
                raw = others.get(name) if isinstance(others, Mapping) else None
            if raw is None:
                raise Unmeasured(f"{self.name} was not measured from the {name} vantage{self._alone()}")
            self._documents[name] = Document(name, raw)
        return self._documents[name]

    def _alone(self) -> str:
        """That nothing was probed at all, where that is so: it was collected by the play, or with --inside-only."""
        others = self.raw.get("vantages")
        probed = isinstance(others, Mapping) and set(others) - {CONTROLLER}
        if probed or self.raw.get("inside") is None:
            return ""
        return (
            ": this evidence was collected from inside alone; `clawkeep verify` probes, and --inside-only leaves it out"
        )

    @property
    def inside(self) -> Document:
        """What the host says of itself."""
        return self.vantage("inside")

    def subject(self, kind: type[S]) -> S:
        """The one `kind` of this host, parsed once; what it read, itself or through other subjects, counts as read by
        whoever asks.
        """
        if kind not in self._subjects:
            before = {name: set(doc.read) for name, doc in self._documents.items()}
            for doc in self._documents.values():
                doc.read.clear()
            through: set[tuple[str, str]] = set()
            self._reading.append(through)
            try:
                value = kind.read(self)  # type: ignore[attr-defined]
            finally:
                self._reading.pop()
                own = {(name, path) for name, doc in self._documents.items() for path in doc.read}
                touched = frozenset(own | through)
                for name, doc in self._documents.items():
                    doc.read |= before.get(name, set())
                self._cite(touched)
            self._subjects[kind] = (value, touched)
        value, touched = self._subjects[kind]
        self._cite(touched)
        return value  # type: ignore[no-any-return]

    def _cite(self, touched: frozenset[tuple[str, str]]) -> None:
        self.cited |= touched
        if self._reading:
            self._reading[-1] |= touched

    def take_citations(self) -> list[Citation]:
        """What was read since the last call and is there, as citations in a stable order; for the plugin."""
        for name, doc in self._documents.items():
            self.cited |= {(name, path) for path in doc.read}
            doc.read.clear()
        taken, self.cited = sorted(self.cited), set()
        return [self.vantage(name).cite(path) for name, path in taken if self.vantage(name).has(path)]
