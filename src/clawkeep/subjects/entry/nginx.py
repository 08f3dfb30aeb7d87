"""nginx's settings as `nginx -T` prints them, as one tree of directives."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from clawkeep.base.verdict import Unmeasured

FILE = re.compile(r"^# configuration file (\S+):$")
WORD = re.compile(r"""\s+|\#[^\n]*|("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[;{}]|(?:\\.|\$\{[^}]*\}|[^\s;{}\\])+)""", re.S)


@dataclass
class Block:
    """A block directive: its words, the simple directives in it as tuples of words, and the blocks in it."""

    name: str = ""
    words: tuple[str, ...] = ()
    directives: list[tuple[str, ...]] = field(default_factory=list)
    children: list[Block] = field(default_factory=list)

    def all(self, name: str) -> list[tuple[str, ...]]:
        """The arguments of each directive of that name, right here."""
        return [one[1:] for one in self.directives if one[0] == name]

    def last(self, name: str) -> tuple[str, ...] | None:
        """The arguments of the last one."""
        found = self.all(name)
        return found[-1] if found else None

    def within(self, name: str) -> Iterator[Block]:
        """Every block of that name below this one, however deep."""
        for child in self.children:
            if child.name == name:
                yield child
            yield from child.within(name)

    def blocks(self, name: str) -> list[Block]:
        """The same as a list."""
        return list(self.within(name))


def tree(lines: Sequence[str]) -> Block:
    """The tree of everything that nginx reads; an `include` stands where its files' content belongs.

    Raises Unmeasured when the text is not nginx's. Source: `nginx -T`, whose first file is the main one.
    """
    files: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in lines:
        match = FILE.match(line)
        if match:
            current = files.setdefault(match.group(1), [])
        elif current is not None:
            current.append(line)
    if not files:
        raise Unmeasured("`nginx -T` printed no settings")
    main, *_ = files
    return _file(main, {name: "\n".join(text) for name, text in files.items()}, ())


def _file(name: str, files: dict[str, str], above: tuple[str, ...]) -> Block:
    if name in above:
        raise Unmeasured(f"nginx's file {name} includes itself")
    stack = [Block()]
    words: list[str] = []
    for match in WORD.finditer(files[name]):
        word = match.group(1)
        if word is None:
            continue
        if word == "{":
            block = Block(words[0] if words else "", tuple(words[1:]))
            stack[-1].children.append(block)
            stack.append(block)
            words = []
        elif word == "}":
            if len(stack) == 1 or words:
                raise Unmeasured(f"nginx's file {name} cannot be read: a brace is in the wrong place")
            stack.pop()
        elif word == ";":
            if words:
                _directive(stack[-1], words, files, (*above, name))
            words = []
        else:
            words.append(word[1:-1] if word[:1] in "\"'" and len(word) > 1 else word)
    if len(stack) != 1 or words:
        raise Unmeasured(f"nginx's file {name} cannot be read: it ends in the middle")
    return stack[0]


def _directive(block: Block, words: list[str], files: dict[str, str], above: tuple[str, ...]) -> None:
    if words[0] != "include" or len(words) != 2:
        block.directives.append(tuple(words))
        return
    pattern = words[1] if words[1].startswith("/") else f"/etc/nginx/{words[1]}"
    for other in files:
        if fnmatch.fnmatch(other, pattern):
            inner = _file(other, files, above)
            block.directives += inner.directives
            block.children += inner.children
