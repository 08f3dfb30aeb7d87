"""The host programs as they are installed, against those that this Clawkeep would install."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from clawkeep.base.verdict import Unmeasured
from clawkeep.collector.programs import KEY
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.parsing import integer, mapping, rows, sequence, text
from clawkeep_host import package
from clawkeep_host.version import version

FORMERLY = "break-glass-files"
PART = "programs"  # of the collector
BY_GROUP, BY_ALL = 0o020, 0o002
# /usr/local may belong to Debian's group of administrators, which only they are in.
ADMINISTRATORS = frozenset({0, 50})


@dataclass(frozen=True)
class Place:
    """A file or folder of the programs; `digest` and `claimed` (the version it names) are None where there is none."""

    path: str
    kind: str
    uid: int
    gid: int
    mode: int
    acl: bool
    digest: str | None
    claimed: str | None

    @property
    def name(self) -> str:
        """Its name without its folder."""
        return self.path.rpartition("/")[2]

    def changeable(self) -> str:
        """Who beside root can change it, as the end of a sentence; empty for nobody."""
        if self.uid != 0:
            return f"belongs to uid {self.uid}"
        if self.kind == "link":
            return "is a link"
        if self.mode & BY_ALL:
            return "can be changed by everybody"
        if self.mode & BY_GROUP and self.gid not in ADMINISTRATORS:
            return f"can be changed by the group {self.gid}"
        return "has an access list of its own" if self.acl else ""


@dataclass(frozen=True)
class HostPrograms:
    """What is installed. Source: /usr/local/sbin/clawkeep-*, the archive and both folders, as the collector read them.

    Evidence from before the programs were an archive has owner and mode of two of them and no digest, and then nothing
    is said of what they are. That is sound: the collector that runs on a host is always the one that this Clawkeep has
    just sent, and it always makes the record; a host that forges what the collector prints can forge this record as
    well as leave it out. A record that is missing because that part of the collector broke is not measured.
    """

    recorded: bool
    wrappers: tuple[Place, ...] = ()
    archive: Place | None = None
    folders: tuple[Place, ...] = ()

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """Read the inside evidence; raises `Unmeasured` when the collector broke, or the host has no program at all."""
        document = host.inside
        broken = mapping(document.raw.get("problems") or {}, "what broke in the collector")
        if not document.has(f"facts/{KEY}") and PART not in broken:
            files = rows(document.fact(FORMERLY), "the emergency tools")
            return cls(False, tuple(map(_place, files)))
        fact = mapping(document.fact(KEY), "the host programs")
        archive = fact.get("archive")
        found = cls(
            True,
            tuple(_place(row) for row in rows(fact.get("wrappers"), "the wrappers of the host programs")),
            None if archive is None else _place(mapping(archive, "the archive of the host programs")),
            tuple(_place(row) for row in rows(fact.get("folders"), "the folders of the host programs")),
        )
        if not found.wrappers:
            raise Unmeasured(f"no program of Clawkeep is in {package.FOLDER}")
        return found

    def others(self) -> list[str]:
        """Sentences about programs that are not the ones that this Clawkeep installs, and so were never tested."""
        if not self.recorded:
            return []
        archive = self._other_archive()
        wrappers = [sentence for one in self.wrappers for sentence in self._other(one)]
        # Where the archive is another one, what wrappers say of it adds nothing.
        late = [sentence for one in self.wrappers for sentence in self._late(one)] if not archive else []
        return [*archive, *wrappers, *late]

    def changeable(self) -> list[str]:
        """Sentences about files and folders of the programs that others than root can change."""
        places = (*self.wrappers, *([self.archive] if self.archive else []), *self.folders)
        return [f"{place.path} {why}: only root may change it" for place in places if (why := place.changeable())]

    def _other_archive(self) -> list[str]:
        if self.archive is None:
            return [f"{package.ARCHIVE} is missing, so no program of Clawkeep starts: run the playbook"]
        if self.archive.digest == _digest(package.archive()):
            return []
        if self.archive.claimed in (None, version()):
            said = (
                "is none of Clawkeep's" if self.archive.claimed is None else f"says that it is {version()} and is not"
            )
            return [f"{self.archive.path} {said}: run the playbook, and find out who changed it"]
        return [
            f"the programs of {self.archive.path} on this host are {self.archive.claimed}, this Clawkeep installs "
            f"{version()}: run the playbook, or judge with the Clawkeep that installed them"
        ]

    def _other(self, wrapper: Place) -> list[str]:
        if wrapper.name not in package.PROGRAMS:
            return [f"{wrapper.path} is no program of this Clawkeep: remove it, or find out who put it there"]
        if not self._genuine(wrapper):
            return [
                f"{wrapper.path} is not the wrapper that Clawkeep installs: run the playbook, and find out who wrote it"
            ]
        return []

    def _late(self, wrapper: Place) -> list[str]:
        if wrapper.claimed == version() or wrapper.name not in package.PROGRAMS or not self._genuine(wrapper):
            return []
        return [
            f"{wrapper.name} was installed with {wrapper.claimed} and the archive is {version()}: "
            "run the whole playbook, since what it started runs on as it was"
        ]

    def _genuine(self, wrapper: Place) -> bool:
        """Whether it is the wrapper of the version that it claims, which need not be the present one."""
        text = package.wrapper(wrapper.name, version=wrapper.claimed or "")
        return wrapper.digest == _digest(text.encode())


def _place(row: Mapping[str, Any]) -> Place:
    path = text(row.get("path"), "the path of a host program")

    def told(key: str) -> str | None:
        return None if row.get(key) is None else text(row[key], f"{key} of {path}")

    return Place(
        path,
        text(row.get("kind"), f"what {path} is"),
        integer(row.get("uid"), f"the owner of {path}"),
        integer(row.get("gid"), f"the group of {path}"),
        integer(row.get("mode"), f"the mode of {path}"),
        bool(sequence(row.get("acl"), f"the access list of {path}")),
        told("sha256"),
        told("version"),
    )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
