"""Docker Desktop: the engine runs in a Linux VM of its own, and shares folders of the Mac or PC into it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Self

from clawkeep.base.verdict import NotApplicable, Unmeasured
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.parsing import boolean, integer, mapping, text, texts
from clawkeep.subjects.containers.containers import Container, Containers
from clawkeep.subjects.containers.sensitive_paths import DENIED_NAMES

HOME_PARENTS = ("/Users", "/home", "/host_mnt/Users", "/run/desktop/mnt/host/c/Users", "C:/Users")
VM_PREFIXES = ("/host_mnt", "/run/desktop/mnt/host")


@dataclass(frozen=True)
class Desktop:
    """The containers of a Desktop engine, and the folders that its settings share, by settings file; None for a file
    that names none.
    """

    containers: Containers
    shared: Mapping[str, tuple[str, ...] | None]

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """From `docker info`, `docker inspect` and Desktop's settings; NotApplicable where the engine is the host's."""
        info = mapping(host.inside.json("docker-info"), "docker info")
        system = text(info.get("OperatingSystem"), "the engine's operating system")
        if not system.startswith("Docker Desktop"):
            raise NotApplicable(f"the engine runs on {system} itself, not in Docker Desktop's VM")
        settings = mapping(host.inside.fact("desktop-sharing"), "the shared folders")
        return cls(
            host.subject(Containers),
            {
                path: None if folders is None else texts(folders, f"the shared folders in {path}")
                for path, folders in settings.items()
            },
        )

    def missing_options(self) -> list[str]:
        """Hardening that the configuration of an agent container lacks; Desktop's VM does not make up for it."""
        found = []
        for one in self.containers.agents:
            what = f"container {one.name}"
            read_only = boolean(one.setting("ReadonlyRootfs"), f"ReadonlyRootfs of {what}")
            dropped = texts(one.setting("CapDrop") or [], f"CapDrop of {what}")
            added = texts(one.setting("CapAdd") or [], f"CapAdd of {what}")
            processes = integer(one.setting("PidsLimit") or 0, f"PidsLimit of {what}")
            lacking = [
                clause
                for holds, clause in (
                    (one.user.partition(":")[0] in ("", "0", "root"), "runs as root"),
                    (not read_only, "has a writable root file system"),
                    (dropped != ("ALL",), "does not drop ALL capabilities"),
                    (bool(added), "adds capabilities"),
                    (not _is_bound_to_its_privileges(one), "runs without no-new-privileges"),
                    (not one.setting("Memory"), "has no memory limit"),
                    (processes <= 0, "has no limit on processes"),
                )
                if holds
            ]
            found += [f"{what} {clause}" for clause in (*lacking, *one.powers)]
        return found

    def shared_beyond(self, projects: Collection[str]) -> list[str]:
        """Folders shared into the VM that are a home directory, hold one, or lie outside of `projects`' names."""
        if not self.shared:
            raise Unmeasured("Docker Desktop's settings were not found, so what it shares is not known")
        found = []
        for path, folders in self.shared.items():
            if folders is None:
                found.append(f"Docker Desktop shares what it shares by default, whole home directories ({path})")
            for folder in folders or ():
                if PurePath(_plain(folder)).name not in projects or _is_home(folder):
                    found.append(f"Docker Desktop shares {folder} into its VM ({path})")
        return found

    def mounted_beyond(self, projects: Collection[str]) -> list[str]:
        """Bind mounts of any container that come from a shared folder other than a project's."""
        return [
            f"container {one.name} mounts {item.source} of the computer at {item.destination}"
            for one in self.containers.all
            for item in one.attached
            if item.kind == "bind"
            and (_is_home(item.source) or not set(PurePosixPath(_plain(item.source)).parts) & set(projects))
        ]


def _is_bound_to_its_privileges(one: Container) -> bool:
    options = texts(one.setting("SecurityOpt") or [], f"SecurityOpt of container {one.name}")
    return any(option in ("no-new-privileges", "no-new-privileges:true") for option in options)


def _plain(path: str) -> str:
    return PureWindowsPath(path).as_posix().rstrip("/") or "/"


def _is_home(path: str) -> bool:
    """Whether `path` is somebody's home directory, holds home directories, or is a directory of credentials."""
    plain = _plain(path)
    for prefix in VM_PREFIXES:
        plain = plain.removeprefix(prefix) or "/"
    real = PurePosixPath(plain)
    homes = [PurePosixPath(home) for home in HOME_PARENTS]
    return any(home == real or home.is_relative_to(real) or real.parent == home for home in homes) or bool(
        set(real.parts) & set(DENIED_NAMES)
    )
