"""nginx's settings as `nginx -T` prints them, as one tree of directives.

Words are told apart as nginx does it (ngx_conf_read_token, checked against nginx 1.22.1): where a reader and nginx
differ, a setting hides in what the reader takes for a word or a comment. Why no library does this:
docs/decisions/0022-libraries-and-our-own.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from posixpath import dirname, join

from clawkeep.base.verdict import Unmeasured

FILE = re.compile(r"# configuration file (/.+):")
BLANK = " \t\r\n"  # and no other white space: to nginx a vertical tab or a no-break space is a letter
TOKEN = re.compile(
    r"""
    (?P<skip> [ \t\r\n]+ | \#[^\n]* )
    | (?P<mark> [;{}] )
    | (?P<quoted> "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' )
    | (?P<word> (?: \\. | \$\{* | [^ \t\r\n;{}\#"'\\$] )    # the first character
                (?: \\. | \$\{* | [^ \t\r\n;{\\$] )* )      # only behind a dollar is a brace a letter
    """,
    re.S | re.X,
)
ESCAPE = re.compile(r"""\\(["'\\trn])""")
MEANT = {"t": "\t", "r": "\r", "n": "\n"}
LUA = "_by_lua_block"
DEPTH_MOST = 100  # blocks and included files inside one another
FILES_MOST = 1000
STATEMENTS_MOST = 50_000  # files that include each other twice double what there is to read


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

    Raises Unmeasured when the text is not nginx's, or more than nginx itself would be given. Source: `nginx -T`, whose
    first file is the main one.
    """
    files: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in lines:
        match = FILE.fullmatch(line)
        if match:
            current = files.setdefault(match.group(1), [])
        elif current is not None:
            current.append(line)
    if not files:
        raise Unmeasured("`nginx -T` printed no settings")
    if len(files) > FILES_MOST:
        raise Unmeasured(f"`nginx -T` printed {len(files)} files: more than {FILES_MOST} are not read")
    main, *_ = files
    reader = _Reader({name: "\n".join(text) for name, text in files.items()}, dirname(main))
    root = Block()
    reader.read(main, root, 0)
    unread = [name for name in files if name not in reader.seen]
    if unread:
        raise Unmeasured(
            f"`nginx -T` printed {unread[0]}, which nothing includes: perhaps a comment looks like a file's beginning"
        )
    return root


@dataclass
class _Reader:
    """The files of one `nginx -T`, on the way to a tree."""

    files: dict[str, str]
    folder: str  # of the main file: what relative names start from
    seen: set[str] = field(default_factory=set)
    named: dict[str, list[str]] = field(default_factory=dict)  # the files that each include's pattern names
    statements: int = 0

    def read(self, name: str, block: Block, depth: int) -> None:
        """Put what a file says into `block`; `depth` is how far inside others it stands."""
        self.seen.add(name)
        stack = [block]
        for words, end in _statements(name, self.files[name]):
            self.statements += 1
            if self.statements > STATEMENTS_MOST or depth + len(stack) > DEPTH_MOST:
                raise Unmeasured(f"nginx's settings are too many or too deep to be read, in the file {name}")
            if end == "}":
                if len(stack) == 1:
                    raise _unread(name, "a brace closes nothing")
                stack.pop()
            elif end == "{":
                if words[0].endswith(LUA):
                    raise Unmeasured(f"nginx runs Lua ({words[0]} in {name}), which may do anything: it is not judged")
                inner = Block(words[0], words[1:])
                stack[-1].children.append(inner)
                stack.append(inner)
            elif words[0] == "include" and len(words) == 2:
                for other in self._named(words[1]):
                    self.read(other, stack[-1], depth + len(stack))
            else:
                stack[-1].directives.append(words)
        if len(stack) != 1:
            raise _unread(name, "it ends inside a block")

    def _named(self, pattern: str) -> list[str]:
        """The files that an `include` names, in glob(3)'s order: no asterisk stands for a slash or a leading dot."""
        if pattern not in self.named:
            parts = join(self.folder, pattern).split("/")
            self.named[pattern] = sorted(name for name in self.files if _fits(name.split("/"), parts))
        return self.named[pattern]


def _fits(names: Sequence[str], patterns: Sequence[str]) -> bool:
    return len(names) == len(patterns) and all(
        fnmatchcase(name, pattern) and name.startswith(".") <= pattern.startswith(".")
        for name, pattern in zip(names, patterns, strict=True)
    )


def _statements(name: str, text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Each directive's words with what ends it: `;`, or `{` before a block; a block's end is `}` without words."""
    words: list[str] = []
    at = 0
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            raise _unread(name, "a quotation mark or a backslash stands alone")
        at = match.end()
        if match["mark"]:
            if bool(words) is (match["mark"] == "}"):
                raise _unread(name, f"{match['mark']} is in the wrong place")
            yield tuple(words), match["mark"]
            words = []
        elif match["quoted"]:
            if text[at : at + 1] not in (*BLANK, ";", "{", ")"):
                raise _unread(name, "a quotation mark ends in a word")
            words.append(_plain(match["quoted"][1:-1]))
        elif match["word"]:
            words.append(_plain(match["word"]))
    if words:
        raise _unread(name, "it ends in a directive")


def _plain(word: str) -> str:
    return ESCAPE.sub(lambda match: MEANT.get(match[1], match[1]), word)


def _unread(name: str, why: str) -> Unmeasured:
    return Unmeasured(f"nginx's file {name} cannot be read: {why}")
