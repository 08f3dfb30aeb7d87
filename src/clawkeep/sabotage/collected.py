"""Which of the collector's modules records which key, told from their source.

A key is what a recording call of the `Recorder`'s names (`note`, `run`, `json`, `measure`), or one that passes it on.
Parts that are known on the host alone are an asterisk: `sshd-T/*/*`.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

from clawkeep.base.errors import ClawkeepError

# By the last name of what is called, where among its arguments the key stands.
RECORDING = {"note": 0, "run": 0, "json": 0, "measure": 0, "record": 1, "_once": 1}
FIELD = re.compile(r"%[-#0-9.]*[a-z]")
DEEPEST = 4  # names that stand for names
ANY = "*"


EXPERIMENTS = "experiments"  # the folder of what acts on a host


@dataclass(frozen=True)
class Recorded:
    """A pattern of keys, the module that records them, and the experiments that it carries out for that.

    An experiment that records keys of its own is told there alone.
    """

    pattern: str
    module: Path
    experiments: frozenset[Path]

    def fits(self, key: str) -> bool:
        """Whether it is a key of this pattern."""
        return fnmatchcase(key, self.pattern)


def recorded(collector: Path) -> tuple[Recorded, ...]:
    """What each module at and below the folder `collector` records; raises ClawkeepError for one that is not Python."""
    trees = {}
    for path in sorted(collector.rglob("*.py")):
        try:
            trees[path] = ast.parse(path.read_text(encoding="utf-8"), str(path))
        except (OSError, SyntaxError) as problem:
            raise ClawkeepError(f"{path} cannot be read as Python: {problem}") from None
    constants = [named for tree in trees.values() for named in _assignments(tree.body) if named[0].isupper()]
    found = [one for path, tree in trees.items() for one in _module(path, tree, constants, collector)]
    own = {one.module for one in found}
    return tuple(
        replace(one, experiments=frozenset(path for path in one.experiments if path == one.module or path not in own))
        for one in found
    )


Named = tuple[str, ast.expr]


def _assignments(nodes: list[ast.stmt]) -> Iterator[Named]:
    """What is assigned to a plain name."""
    for node in nodes:
        if isinstance(node, ast.Assign):
            yield from ((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))


def _module(path: Path, tree: ast.Module, constants: list[Named], collector: Path) -> Iterator[Recorded]:
    """What one module records; `constants` are those of all modules."""
    nodes = list(ast.walk(tree))
    names = _Names()
    for name, value in (*constants, *_assignments([node for node in nodes if isinstance(node, ast.stmt)])):
        names.assigned[name].append(value)
    for node in nodes:
        if isinstance(node, ast.For | ast.comprehension):
            names.loop(node.target, node.iter)
    acting = _imported(nodes, collector / EXPERIMENTS)
    itself = {path} if path.parent == collector / EXPERIMENTS else set()
    for statement in tree.body:
        inner = list(ast.walk(statement))
        used = {acting[name] for name in map(_last, (n for n in inner if isinstance(n, ast.Name))) if name in acting}
        for key in _keys(inner, names):
            yield Recorded(key, path, frozenset(itself | used))


def _imported(nodes: list[ast.AST], folder: Path) -> dict[str, Path]:
    """The names that a module has of experiments, with the experiment's module."""
    found = {}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and EXPERIMENTS in (node.module or "").split("."):
            whole = (node.module or "").endswith(EXPERIMENTS)
            for one in node.names:
                stem = one.name if whole else (node.module or "").rpartition(".")[2]
                found[one.asname or one.name] = folder / f"{stem}.py"
    return found


def _keys(nodes: list[ast.AST], names: _Names) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Call):
            for called, arguments in _calls(node):
                place = RECORDING.get(called)
                if place is not None and len(arguments) > place:
                    yield from (key for key in names.patterns(arguments[place]) if key.strip(ANY))


def _calls(node: ast.Call) -> Iterator[tuple[str, list[ast.expr]]]:
    """What a call calls, by its last name, with its arguments; also what `partial` or a thread will call.

    A run that is not kept is none.
    """
    given = {word.arg: word.value for word in node.keywords}
    kept = given.get("keep")
    if isinstance(kept, ast.Constant) and kept.value is False:
        return
    name = _last(node.func)
    yield name, node.args
    if name == "partial" and node.args:
        yield _last(node.args[0]), node.args[1:]
    target, arguments = given.get("target"), given.get("args")
    if name == "Thread" and target is not None and isinstance(arguments, ast.Tuple):
        yield _last(target), arguments.elts


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


@dataclass
class _Names:
    """What a module's names may stand for, in whatever function."""

    assigned: defaultdict[str, list[ast.expr]] = field(default_factory=lambda: defaultdict(list))
    looped: defaultdict[str, list[tuple[ast.expr, int | None]]] = field(default_factory=lambda: defaultdict(list))

    def loop(self, target: ast.expr, source: ast.expr) -> None:
        """Remember what a loop takes names from, and which part of each member is theirs."""
        if isinstance(target, ast.Tuple):
            for number, part in enumerate(target.elts):
                self.looped[_last(part)].append((source, number))
        else:
            self.looped[_last(target)].append((source, None))

    def patterns(self, node: ast.expr, deep: int = 0) -> Iterator[str]:
        """The texts that an expression may be; nothing where the source does not tell."""
        if isinstance(node, ast.Constant):
            yield from [node.value] if isinstance(node.value, str) else ()
        elif isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else ANY for part in node.values)
        elif isinstance(node, ast.IfExp):
            yield from (*self.patterns(node.body, deep), *self.patterns(node.orelse, deep))
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
            yield from (FIELD.sub(ANY, text) for text in self.patterns(node.left, deep))
        elif isinstance(node, ast.BinOp):
            yield self._part(node.left) + self._part(node.right)
        elif deep < DEEPEST:
            for value in self.assigned.get(_last(node), ()):
                yield from self.patterns(value, deep + 1)
            for source, number in self.looped.get(_last(node), ()):
                yield from self._members(source, number, deep + 1)

    def _part(self, node: ast.expr) -> str:
        """A part of a sum: what a name stands for differs from call to call, unless it is a constant's."""
        found = list(self.patterns(node)) if isinstance(node, ast.Constant | ast.BinOp) or _last(node).isupper() else []
        return found[0] if len(found) == 1 else ANY

    def _members(self, node: ast.expr, number: int | None, deep: int) -> Iterator[str]:
        """The texts that a loop meets: of a table's rows, or of a dictionary's items, the part with that number."""
        if isinstance(node, ast.Call) and _last(node.func) == "items" and isinstance(node.func, ast.Attribute):
            node = node.func.value
        for value in self.assigned.get(_last(node), [node]):
            rows: list[ast.expr | None] = []
            if isinstance(value, ast.Dict):
                rows = list(value.values) if number == 1 else list(value.keys)
            elif isinstance(value, ast.Tuple | ast.List):
                parts = [one.elts if isinstance(one, ast.Tuple) else [one] for one in value.elts]
                rows = [one[number or 0] for one in parts if len(one) > (number or 0)]
            for row in rows:
                yield from self.patterns(row, deep) if row is not None else ()
