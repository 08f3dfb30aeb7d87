"""Files of dated entries that people keep beside an inventory: YAML of plain text, every value with its line.

    schema: 1
    <section>:
      - control: NET-04
        scope: {host: alpha}
        ...

Every scalar is taken as the text that is written, so that a date never turns into something else on its way. A day is
`YYYY-MM-DD`, and begins and ends in UTC. Anchors, aliases and keys that occur twice are refused.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PrivateAttr,
    StringConstraints,
    ValidationError,
    model_validator,
)

from clawkeep.base.errors import NotInOrder
from clawkeep.register.register import Control, Proof
from clawkeep.site.inventory import Host

SCHEMA = 1
FILE_CAP = 4 * 1024 * 1024  # bytes
SHOWN = 80  # characters of a wrong value
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def _day(value: object) -> datetime.date:
    text = str(value)
    if not DATE.fullmatch(text):
        raise ValueError("a date is YYYY-MM-DD, without a time or a time zone: a day begins and ends in UTC")
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise ValueError("there is no such day in the calendar") from None


def _one_line(value: object) -> object:
    return " ".join(value.split()) if isinstance(value, str) else value


def _written(value: str) -> str:
    if not value:
        raise ValueError("it is empty")
    return value


Day = Annotated[datetime.date, BeforeValidator(_day)]
Text = Annotated[str, BeforeValidator(_one_line), StringConstraints(max_length=1000), AfterValidator(_written)]


class _Border(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Scope(_Border):
    """Whom an entry concerns: one host, one group of the inventory, or one tier."""

    host: Text | None = None
    group: Text | None = None
    tier: Text | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Scope:
        if len(self.model_fields_set) != 1:
            raise ValueError("name exactly one of host, group and tier")
        return self

    @property
    def kind(self) -> Literal["host", "group", "tier"]:
        """Which of the three it names."""
        return "host" if self.host else "group" if self.group else "tier"

    def __str__(self) -> str:
        """As a person would say it: `host alpha`."""
        return f"{self.kind} {getattr(self, self.kind)}"


class Located(_Border):
    """What all entries have: the place where they are written."""

    _where: str = PrivateAttr(default="")

    @property
    def where(self) -> str:
        """`FILE:LINE`."""
        return self._where


class Entry(Located):
    """An entry that names a control and whom it concerns."""

    control: Text
    scope: Scope

    def of_the_register(self, register: Mapping[str, Control]) -> str:
        """Why the register has nothing for it, as a sentence; empty when it has."""
        if self.control not in register:
            return f"{self.where}: there is no control {self.control}: `clawkeep controls list` names them all"
        if register[self.control].proof is Proof.PLANNED:
            return f"{self.where}: the control {self.control} is planned: nothing judges it yet"
        return ""


@dataclass(frozen=True)
class Hosts:
    """The hosts that entries are held against; `complete` when the inventory has no others (no --limit)."""

    every: Sequence[Host]
    complete: bool = True
    _index: dict[str, list[str]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Index the names of the hosts by what a scope can say."""
        for host in self.every:
            for said in (f"host {host.name}", f"tier {host.tier.name}", *(f"group {name}" for name in host.groups)):
                self._index.setdefault(said, []).append(host.name)

    def of(self, scope: Scope) -> Sequence[str]:
        """The names of the hosts that a scope covers."""
        return self._index.get(str(scope), ())

    def unmatched(self, entry: Entry) -> str:
        """That an entry concerns nobody, as a sentence; empty when it does, or when not all hosts are known."""
        if not self.complete or self.of(entry.scope):
            return ""
        return f"{entry.where}: {entry.control} for {entry.scope} matches no host of the inventory"


E = TypeVar("E", bound=Located)


def read(path: Path, section: str, model: type[E]) -> tuple[E, ...]:
    """The entries of `section`; raises NotInOrder with every sentence about what is wrong, each with its line."""
    root = _root(path)
    found: list[E] = []
    wrong: list[str] = []
    for node in _items(path, root, section):
        where = f"{path}:{node.start_mark.line + 1}"
        try:
            values, lines = _entry(path, node)
        except NotInOrder as problem:
            wrong += problem.sentences
            continue
        try:
            entry = model.model_validate(values)
        except ValidationError as problem:
            wrong += _sentences(problem, {key: f"{path}:{line}" for key, line in lines.items()}, where)
            continue
        entry._where = where
        found.append(entry)
    if wrong:
        raise NotInOrder(wrong)
    return tuple(found)


class _Loader(yaml.SafeLoader):
    """Composes nodes without aliases: a small file must not unfold into a large one."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "anchors and aliases are not read here", mark)
        return super().compose_node(parent, index)


def _root(path: Path) -> yaml.MappingNode:
    try:
        with path.open("rb") as file:
            data = file.read(FILE_CAP + 1)
        if len(data) > FILE_CAP:
            raise NotInOrder([f"{path} is larger than {FILE_CAP // 1024 // 1024} MB"])
        loader = _Loader(data.decode("utf-8"))
        try:
            root = loader.get_single_node()
        finally:
            loader.dispose()
    except FileNotFoundError:
        raise NotInOrder([f"there is no file {path}"]) from None
    except OSError as problem:
        raise NotInOrder([f"{path} cannot be read: {problem.strerror}"]) from None
    except UnicodeDecodeError as problem:
        line = data[: problem.start].count(b"\n") + 1
        raise NotInOrder([f"{path}:{line}: it is not UTF-8"]) from None
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        at = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise NotInOrder([f"{path}{at}: it is not YAML that can be read here: {problem.problem}"]) from None
    except (yaml.YAMLError, RecursionError) as problem:
        why = "it is nested too deeply" if isinstance(problem, RecursionError) else " ".join(str(problem).split())
        raise NotInOrder([f"{path}: it is not YAML that can be read here: {why}"]) from None
    if not isinstance(root, yaml.MappingNode):
        raise NotInOrder([f"{path}:1: it must begin with `schema: {SCHEMA}`"])
    return root


def _items(path: Path, root: yaml.MappingNode, section: str) -> list[yaml.Node]:
    """The nodes of the section's list, after a look at the schema and at what else is there."""
    top = {key: node for key, _, node in _pairs(path, root)}
    schema = top.pop("schema", None)
    said = schema.value if isinstance(schema, yaml.ScalarNode) else None
    if said != str(SCHEMA):
        line = (schema or root).start_mark.line + 1
        newer = isinstance(said, str) and re.fullmatch(r"[1-9][0-9]{0,8}", said) and int(said) > SCHEMA
        how = (
            f"schema {said} was written for a later Clawkeep: update this one"
            if newer
            else f"`schema: {SCHEMA}` is missing"
            if schema is None
            else f"this Clawkeep knows schema {SCHEMA} only"
        )
        raise NotInOrder([f"{path}:{line}: {how}"])
    items = top.pop(section, None)
    for key, node in top.items():
        line = node.start_mark.line + 1
        raise NotInOrder([f"{path}:{line}: the key {key[:SHOWN]!r} is unknown: the file holds schema and {section}"])
    if items is None or (isinstance(items, yaml.ScalarNode) and _text(items) == ""):
        return []
    if not isinstance(items, yaml.SequenceNode):
        raise NotInOrder([f"{path}:{items.start_mark.line + 1}: {section} must be a list"])
    return list(items.value)


def _entry(path: Path, node: yaml.Node) -> tuple[dict[str, Any], dict[str, int]]:
    """The values of one entry, and by key the line where each begins."""
    if not isinstance(node, yaml.MappingNode):
        raise NotInOrder([f"{path}:{node.start_mark.line + 1}: an entry is a mapping, with control, scope and so on"])
    values: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for key, line, value in _pairs(path, node):
        lines[key] = line
        if isinstance(value, yaml.ScalarNode):
            values[key] = _text(value)
        elif isinstance(value, yaml.MappingNode):
            inner = {name: item for name, _, item in _pairs(path, value)}
            values[key] = {n: _text(i) if isinstance(i, yaml.ScalarNode) else [] for n, i in inner.items()}
        else:
            values[key] = [_text(item) if isinstance(item, yaml.ScalarNode) else [] for item in value.value]
    return values, lines


def _pairs(path: Path, node: yaml.MappingNode) -> Iterator[tuple[str, int, yaml.Node]]:
    seen: set[str] = set()
    for key, value in node.value:
        line = key.start_mark.line + 1
        name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
        if not name or name in seen:
            how = f"the key {name[:SHOWN]!r} is there twice" if name else "a key must be a word"
            raise NotInOrder([f"{path}:{line}: {how}"])
        seen.add(name)
        yield name, line, value


def _text(node: yaml.ScalarNode) -> str:
    return "" if node.tag == "tag:yaml.org,2002:null" else str(node.value)


def _sentences(problem: ValidationError, places: Mapping[str, str], where: str) -> Iterator[str]:
    for error in problem.errors(include_url=False, include_context=False):
        loc = [str(step) for step in error["loc"]]
        what = error["msg"].removeprefix("Value error, ")
        what = {"missing": "it is missing", "extra_forbidden": "this key is unknown"}.get(error["type"], what)
        got = error["input"]
        shown = f" (it is {got[:SHOWN]!r})" if isinstance(got, str) and got and error["type"] != "missing" else ""
        place = places.get(loc[0], where) if loc else where
        yield f"{place}: {'.'.join(loc) or 'the entry'}: {what[:1].lower()}{what[1:]}{shown}"
