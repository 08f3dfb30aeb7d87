"""Who may read what the agent keeps on disk: modes, access lists, links, and reads tried as other accounts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Self

from clawkeep.base.verdict import Unmeasured
from clawkeep.collector.mounts import PROJECT
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.parsing import boolean, integer, mapping, sequence, text, texts
from clawkeep.subjects.containers.containers import Containers

SECRET = re.compile(
    r"(^|/)(credentials|agents|identity|devices|oauth)/|\.(sqlite|env|json5?|jsonl|key|pem)(\.|-|$)|(^|/)\.env|auth|token",
    re.I,
)
# OpenClaw's lock files have the suffix of a database and hold nothing; they lie below a directory of mode 0700.
LOCK = re.compile(r"\.lock\.sqlite(-journal|-shm|-wal)?$")
CONFIGURATION = "openclaw.json"
ENVIRONMENT = "gateway.env"


@dataclass(frozen=True)
class Entry:
    """One entry of a tree that is not plainly private. `kind` is `d`, `f`, `l`, `s` or `p`."""

    path: str
    kind: str
    mode: int
    uid: int
    acl: tuple[str, ...]
    target: str
    links: int

    @classmethod
    def parse(cls, value: object, tree: str) -> Self:
        """One entry as the collector recorded it."""
        raw = mapping(value, f"an entry of {tree}")
        path = text(raw.get("path"), f"a path in {tree}")
        what = f"{tree}/{path}"
        written = text(raw.get("mode"), f"the mode of {what}")
        if not re.fullmatch(r"[0-7]{3,5}", written):
            raise Unmeasured(f"the mode of {what} is {written!r}")
        return cls(
            path=path,
            kind=text(raw.get("kind"), f"the kind of {what}"),
            mode=int(written, 8),
            uid=integer(raw.get("uid"), f"the owner of {what}"),
            acl=texts(raw.get("acl") or [], f"the ACL of {what}"),
            target=text(raw.get("target", ""), f"the target of {what}"),
            links=integer(raw.get("links", 1), f"the links of {what}"),
        )


@dataclass(frozen=True)
class Tree:
    """A walked tree: its root's entry, the entries that are not plainly private, and whether the walk was whole."""

    root: str
    top: Entry
    entries: tuple[Entry, ...]
    complete: bool

    def whole(self) -> None:
        """Raise Unmeasured unless every entry was looked at."""
        if not self.complete:
            raise Unmeasured(f"{self.root} holds more than could be looked at")


@dataclass(frozen=True)
class Read:
    """One attempt to open a file: `by` is `service` or `stranger`, `got` `ok`, an errno's name or None (not tried)."""

    tree: str
    path: str
    by: str
    got: str | None


@dataclass(frozen=True)
class AgentState:
    """The agent's volumes and the rendered project on the host."""

    project: Tree
    volumes: tuple[Tree, ...]
    reads: tuple[Read, ...]

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """From a walk over the volumes of agent containers and over the project, and opens as other accounts."""
        trees = {tree.root: tree for tree in _trees(host.inside.fact("state-trees"))}
        roots = {
            item.source
            for one in host.subject(Containers).all
            if one.agent
            for item in one.attached
            if item.kind == "volume" and item.writable
        }
        for root in (*sorted(roots), PROJECT):
            if root not in trees:
                raise Unmeasured(f"{root} was not there to be looked at")
        if not roots:
            raise Unmeasured("no agent container has a volume, so there is no agent state to look at")
        reads = tuple(_read(item) for item in sequence(host.inside.fact("state-reads"), "the reads of agent state"))
        return cls(trees[PROJECT], tuple(trees[root] for root in sorted(roots)), reads)

    def _all(self) -> Iterator[tuple[Tree, Entry]]:
        for tree in (*self.volumes, self.project):
            for entry in (tree.top, *tree.entries):
                yield tree, entry

    def open_volumes(self, uid: int) -> list[str]:
        """Volumes of the agent whose root is not a directory of mode 0700 that belongs to `uid`."""
        return [
            f"{tree.root} has mode {tree.top.mode:04o} and owner {tree.top.uid}, not 0700 and {uid}"
            for tree in self.volumes
            if (tree.top.kind, tree.top.mode & 0o7777, tree.top.uid) != ("d", 0o700, uid)
        ]

    def open_secrets(self) -> list[str]:
        """Files that may hold a secret and that group or others could use, were they let in."""
        found, unfinished = [], None
        for tree in self.volumes:
            for entry in tree.entries:
                secret = SECRET.search(entry.path) and not LOCK.search(entry.path)
                if entry.kind == "f" and secret and entry.mode & 0o077:
                    found.append(f"{tree.root}/{entry.path} has mode {entry.mode:04o}, not 0600")
                elif entry.kind in ("d", "f") and entry.mode & 0o002:
                    found.append(f"{tree.root}/{entry.path} has mode {entry.mode:04o}: everybody may write to it")
            unfinished = unfinished or (None if tree.complete else tree)
        if unfinished and not found:
            unfinished.whole()
        return found

    def open_project(self, uid: int) -> list[str]:
        """The rendered configuration and environment file when they are not `uid`'s 0400 and root's 0600."""
        found = []
        for path, mode, owner in ((CONFIGURATION, 0o400, uid), (ENVIRONMENT, 0o600, 0)):
            entries = [entry for entry in self.project.entries if entry.path == path]
            if not entries:
                raise Unmeasured(f"{self.project.root}/{path} was not there to be looked at")
            for entry in entries:
                if entry.kind != "f":
                    found.append(f"{self.project.root}/{path} is not a plain file")
                elif entry.mode & ~mode & 0o7777 or entry.uid != owner:
                    found.append(
                        f"{self.project.root}/{path} has mode {entry.mode:04o} and owner {entry.uid}, "
                        f"not {mode:04o} and {owner}"
                    )
        return found

    def with_access_lists(self) -> list[str]:
        """Entries that an access control list opens to somebody their mode does not name."""
        return [
            f"{tree.root}/{entry.path} has the ACL entry {rule}"
            for tree, entry in self._all()
            for rule in entry.acl
            if re.fullmatch(r"(default:)?(user|group):\d+:.*", rule)
        ]

    def leading_out(self) -> list[str]:
        """Links in the agent's volumes that lead out of them, and files with a second name somewhere."""
        found = []
        for tree in self.volumes:
            for entry in tree.entries:
                if entry.kind == "l" and _leaves(entry):
                    found.append(f"{tree.root}/{entry.path} is a link to {entry.target}")
                elif entry.kind == "f" and entry.links > 1 and SECRET.search(entry.path):
                    found.append(f"{tree.root}/{entry.path} has {entry.links} names")
        return found

    def readable_by_strangers(self) -> list[str]:
        """Files that an account other than the service's could open; control: the service account opens its own."""
        found = [
            f"an account other than the agent's can read {read.tree}/{read.path}"
            for read in self.reads
            if read.by == "stranger" and read.got == "ok" and (read.tree != self.project.root or _guarded(read.path))
        ]
        for tree in self.volumes:
            mine = {read.by: read.got for read in self.reads if read.tree == tree.root and read.path == "."}
            if mine.get("service") != "ok" and not found:
                raise Unmeasured(f"the agent's own account cannot open {tree.root} either, so a refusal says nothing")
            if mine.get("stranger") is None:
                raise Unmeasured(f"it was not tried whether a stranger can open {tree.root}")
        return found


def _guarded(path: str) -> bool:
    return PurePosixPath(path).name in (CONFIGURATION, ENVIRONMENT)


def _leaves(entry: Entry) -> bool:
    """Whether a link's target is absolute outside of OpenClaw's own tree, or climbs above the volume's root."""
    if entry.target.startswith("/"):
        return not entry.target.startswith(("/home/node/.openclaw/", "/app/"))
    depth = len(PurePosixPath(entry.path).parts) - 1
    for part in PurePosixPath(entry.target).parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            return True
    return False


def _trees(value: object) -> Iterator[Tree]:
    for item in sequence(value, "the trees of agent state"):
        raw: Mapping[str, object] = mapping(item, "a tree of agent state")
        root = text(raw.get("root"), "the root of a tree")
        entries = [Entry.parse(entry, root) for entry in sequence(raw.get("entries"), f"the entries of {root}")]
        if entries:
            complete = boolean(raw.get("complete"), f"complete of {root}")
            yield Tree(root, entries[0], tuple(entries[1:]), complete)


def _read(value: object) -> Read:
    raw = mapping(value, "a read of agent state")
    got = raw.get("got")
    return Read(
        text(raw.get("tree"), "the tree of a read"),
        text(raw.get("path"), "the path of a read"),
        text(raw.get("as"), "the reader"),
        None if got is None else text(got, "what a read got"),
    )
