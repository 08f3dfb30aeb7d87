"""What containers hold of their host: mounts by the kernel's tables, sources by their real paths, files that lift."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import PurePosixPath
from typing import Any, Self

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.parsing import boolean, get, legible, mapping, sequence, text, texts
from clawkeep.subjects.containers.containers import Attached, Container, Containers
from clawkeep.subjects.containers.engine_access import EngineAccess
from clawkeep.subjects.containers.mountinfo import Mount, host_paths, parse
from clawkeep.subjects.containers.sensitive_paths import DENIED_NAMES, engine_sockets_in, why_sensitive

VOLUME_HOMES = {  # where OpenClaw keeps what it must not lose
    "openclaw-state": "/home/node/.openclaw",
    "openclaw-workspace": "/home/node/.openclaw/workspace",
}
CONFIGURATION = ("/etc/clawkeep/openclaw/openclaw.json", "/etc/openclaw/openclaw.json")  # on the host, in the container
SCRATCH_FLAGS = ("nodev", "noexec", "nosuid")
VOLUME_FLAGS = ("nodev", "nosuid")
ENGINE_SCRATCH = ("/dev/mqueue", "/dev/shm")  # noqa: S108 - the engine makes these in every container
ENGINE_PLACES = {"/", "/sbin/docker-init", "/usr/sbin/docker-init"}  # the latter two with `init: true`
DEVICES = frozenset(
    "console core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Source:
    """A path that a container or volume names: the real path, what lies there, and where sensitive names are in it.

    `complete` says whether all of it was looked at for them.
    """

    real: str
    kind: str
    holds: tuple[str, ...]
    complete: bool


@dataclass(frozen=True)
class Mounts:
    """All containers with the kernel's mount tables of the running ones, and the host's.

    `volumes` maps a volume's name to the host path that its options bind (empty for a plain volume); `sockets` are the
    engine sockets that exist on the host.
    """

    containers: Containers
    host: tuple[Mount, ...]
    tables: Mapping[str, tuple[Mount, ...]]
    sources: Mapping[str, Source]
    volumes: Mapping[str, str]
    sockets: tuple[str, ...]
    devices: Mapping[str, tuple[str, ...] | None] = field(repr=False)
    lifting: Mapping[str, Mapping[str, Any]] = field(repr=False)

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """From /proc/<pid>/mountinfo of every container and of the host, the engine's volumes, and a search."""
        containers = host.subject(Containers)
        tables = mapping(host.inside.fact("container-mountinfo"), "the mount tables")
        volumes = sequence(host.inside.json("docker-volumes"), "the list of volumes")
        return cls(
            containers=containers,
            host=parse(texts(host.inside.fact("host-mountinfo"), "the host's mount table")),
            tables={
                one.name: parse(texts(tables.get(one.name), f"the mount table of {one.name}"))
                for one in containers.all
                if one.running
            },
            sources={
                path: _source(path, item)
                for path, item in mapping(host.inside.fact("mount-sources"), "the sources of mounts").items()
            },
            volumes=dict(_volume(item) for item in volumes),
            sockets=tuple(sorted(host.subject(EngineAccess).sockets)),
            devices={
                identity: None if found is None else texts(found, "the names in /dev")
                for identity, found in mapping(host.inside.fact("container-devices"), "the devices").items()
            },
            lifting={
                identity: mapping(found, "a search for privileged files")
                for identity, found in mapping(host.inside.fact("privileged-files"), "privileged files").items()
            },
        )

    def _agents(self) -> Iterator[tuple[Container, tuple[Mount, ...]]]:
        for one in self.containers.agents:
            if not (table := self.tables[one.name]):
                raise Unmeasured(f"container {one.name} shows no mount table: it ended while it was looked at")
            yield one, table

    def with_writable_root(self) -> list[str]:
        """Agent containers whose root file system is mounted writable."""
        return [
            f"container {one.name} has a writable root file system"
            for one, table in self._agents()
            for mount in table
            if mount.point == "/" and "ro" not in mount.options
        ]

    def scratch_unlike(self, declared: Collection[str]) -> list[str]:
        """Scratch space of agent containers that is missing, undeclared, unlimited or can run, lift or hold devices."""
        found = []
        for one, table in self._agents():
            scratch = {mount.point: mount for mount in table if _is_scratch(mount)}
            found += [f"container {one.name} has no tmpfs at {point}" for point in declared if point not in scratch]
            for point, mount in sorted(scratch.items()):
                if point not in declared and point not in ENGINE_SCRATCH:
                    found.append(f"container {one.name} has an undeclared tmpfs at {point}")
                missing = [flag for flag in SCRATCH_FLAGS if flag not in mount.options]
                if missing:
                    found.append(f"container {one.name} has a tmpfs at {point} without {', '.join(missing)}")
                if not any(option.startswith("size=") for option in mount.features):
                    found.append(f"container {one.name} has a tmpfs at {point} without a size limit")
        return found

    def unexpected_devices(self) -> list[str]:
        """Names in the /dev of agent containers that the engine does not put there by itself."""
        found = []
        for one in self.containers.agents:
            names = self.devices.get(one.name)
            if not names:
                raise Unmeasured(f"the /dev of container {one.name} could not be listed")
            found += [f"container {one.name} has the device /dev/{name}" for name in names if name not in DEVICES]
        return found

    def lifting_files(self) -> list[str]:
        """Files on any mount of an agent container that change who runs them: setuid, setgid, file capabilities."""
        found, unfinished = [], ""
        for one in self.containers.agents:
            search = get(self.lifting, one.name, "the search for privileged files")
            for item in sequence(search.get("files"), "the privileged files"):
                with legible("a privileged file"):
                    path, mode, _owner, capable = sequence(item, "a privileged file")
                how = "with file capabilities" if capable else f"with mode {mode}"
                found.append(f"container {one.name} has the file {path} {how}")
            if search.get("error"):
                unfinished = f"the search for setuid files in container {one.name} did not end: {search['error']}"
            elif not search.get("executables"):
                unfinished = f"the search for setuid files in container {one.name} saw no executable at all"
        if unfinished and not found:
            raise Unmeasured(unfinished)
        return found

    def engine_sockets(self) -> list[str]:
        """Mounts of any container through which an engine's socket is seen."""
        found: dict[str, None] = {}
        for one, destination, path in self._host_paths():
            for socket in engine_sockets_in(path, self.sockets):
                found[f"container {one.name} sees the engine socket {socket} through its mount {destination}"] = None
        return list(found)

    def sensitive(self) -> list[str]:
        """Mounts of any container, read-only ones too, whose real path on the host no container may see."""
        found: dict[str, None] = {}
        for one, destination, path in self._host_paths():
            why = why_sensitive(path)
            if why is not None:
                found[f"container {one.name} sees {path} of the host at {destination}: it {why}"] = None
        unfinished = ""
        for one in self.containers.all:
            for item in one.attached:
                for path in self._brought(item):
                    source = self._source(path)
                    for name in source.holds:
                        if PurePosixPath(name).name in DENIED_NAMES:
                            found[f"container {one.name} sees {name} in {path} of the host"] = None
                    unfinished = unfinished or ("" if source.complete else path)
        if unfinished and not found:
            raise Unmeasured(f"{unfinished} holds more than could be looked at for keys")
        return list(found)

    def _brought(self, item: Attached) -> list[str]:
        """The paths of the host that a mount brings in, as they are named: a bind's source, a volume's device."""
        if item.kind == "volume":
            device = self.volumes.get(item.name, "")
            return [device] if device.startswith("/") else []
        return [item.source] if item.kind == "bind" else []

    def _host_paths(self) -> Iterator[tuple[Container, str, str]]:
        """Container, mount point and real host path of every mount that the engine did not make for itself."""
        for one in self.containers.all:
            for item in one.attached:
                for path in self._named_paths(item):
                    if not _is_configuration(one, item.destination, path, item.writable):
                        yield one, item.destination, path
            own = self._own_roots(one)
            for mount in self.tables.get(one.name, ()):
                if _is_kernel(mount) or mount.point == "/":
                    continue
                for path in host_paths(mount, self.host):
                    if path in own or one.engine_files.get(mount.point) == path:
                        continue
                    if not _is_configuration(one, mount.point, path, "ro" not in mount.options):
                        yield one, mount.point, path

    def _named_paths(self, item: Attached) -> list[str]:
        """The real host paths that the configuration names, which is all there is of a stopped container."""
        return [self._source(path).real for path in self._brought(item)]

    def _own_roots(self, one: Container) -> set[str]:
        """Where the engine itself keeps this container's volumes and shared memory.

        What a volume's options bind is seen by its other path.
        """
        roots = {item.source for item in one.attached if item.kind == "volume"}
        home = one.engine_files.get("/etc/hosts", "").removesuffix("/hosts")
        return roots | ({f"{home}/mounts/shm"} if home else set())

    def _source(self, path: str) -> Source:
        return get(self.sources, path, "the record of mount sources")

    def unlike_declared(self, names: Collection[str]) -> list[str]:
        """Mounts of agent containers beyond the volumes `names` at their places and the read-only configuration."""
        unknown = [name for name in names if name not in VOLUME_HOMES]
        if unknown:
            raise Unmeasured(f"the tier allows the volume {unknown[0]}, whose place is not known")
        homes = {VOLUME_HOMES[name]: name for name in names}
        found = []
        for one, table in self._agents():
            for item in one.attached:
                if homes.get(item.destination) == item.name and item.kind == "volume":
                    continue
                if item.kind == "tmpfs" or _is_configuration(one, item.destination, item.source, item.writable):
                    continue
                shown = item.name or item.source
                found.append(f"container {one.name} has the undeclared {item.kind} {shown} at {item.destination}")
            places = {mount.point for mount in table}
            found += [
                f"container {one.name} has no volume {name} at {place}"
                for place, name in homes.items()
                if place not in places or not any(item.destination == place for item in one.attached)
            ]
            known = {item.destination for item in one.attached} | set(one.engine_files) | ENGINE_PLACES
            for mount in table:
                if (
                    mount.point not in known
                    and not _is_kernel(mount)
                    and not _is_scratch(mount)
                    and not _is_mask(mount)
                ):
                    found.append(f"container {one.name} has a mount at {mount.point} that the engine does not know of")
        return found

    def volumes_of_several(self) -> list[str]:
        """Volumes that more than one container holds, stopped ones included."""
        holders: dict[str, list[str]] = {}
        for one in self.containers.all:
            for name in {item.name for item in one.attached if item.kind == "volume"}:
                holders.setdefault(name, []).append(one.name)
        return [
            f"volume {name} belongs to both container {first} and container {second}"
            for name, owners in sorted(holders.items())
            for first, second in combinations(sorted(owners), 2)
        ]

    def propagating(self) -> list[str]:
        """Mounts of agent containers that pass mount events on to the host or take them from it."""
        found = []
        for one, table in self._agents():
            for item in one.attached:
                if item.propagation not in ("", "rprivate", "private"):
                    found.append(f"container {one.name} has {item.destination} with propagation {item.propagation}")
            for mount in table:
                if mount.peers and mount.point not in ENGINE_PLACES:
                    found.append(
                        f"container {one.name} has a mount at {mount.point} that is {' and '.join(mount.peers)}"
                    )
        return found

    def volumes_without_flags(self, names: Collection[str]) -> list[str]:
        """Declared volumes of agent containers that could hold a setuid program or a device."""
        places = {VOLUME_HOMES.get(name, "") for name in names}
        return [
            f"container {one.name} has {mount.point} without {flag}"
            for one, table in self._agents()
            for mount in table
            if mount.point in places
            for flag in VOLUME_FLAGS
            if flag not in mount.options
        ]


def _volume(value: object) -> tuple[str, str]:
    raw = mapping(value, "a volume")
    name = text(raw.get("Name"), "a volume's name")
    options = mapping(raw.get("Options") or {}, f"the options of volume {name}")
    return name, text(options.get("device", ""), f"the device of volume {name}")


def _source(path: str, value: object) -> Source:
    raw = mapping(value, f"the source {path}")
    return Source(
        text(raw.get("real"), f"the real path of {path}"),
        text(raw.get("kind"), f"the kind of {path}"),
        texts(raw.get("holds") or [], f"the names in {path}"),
        boolean(raw.get("complete", True), f"complete of {path}"),
    )


def _is_kernel(mount: Mount) -> bool:
    """Whether this is one of the kernel's own file systems where every container has it."""
    places: Mapping[str, Sequence[str]] = {
        "proc": ("/proc",),
        "sysfs": ("/sys",),
        "cgroup": ("/sys/fs/cgroup",),
        "cgroup2": ("/sys/fs/cgroup",),
        "mqueue": ("/dev/mqueue",),
        "devpts": ("/dev/pts", "/dev/console"),
    }
    homes = places.get(mount.filesystem, ())
    return any(mount.point == home or mount.point.startswith(home + "/") for home in homes)


def _is_mask(mount: Mount) -> bool:
    """Whether the engine laid this over a part of /proc or /sys, or over /dev, to hide it."""
    return mount.filesystem == "tmpfs" and (mount.point == "/dev" or mount.point.startswith(("/proc/", "/sys/")))


def _is_scratch(mount: Mount) -> bool:
    return mount.filesystem == "tmpfs" and not _is_mask(mount)


def _is_configuration(one: Container, destination: str, path: str, writable: bool) -> bool:
    """Whether this is the one file that Clawkeep itself mounts into its gateway, read-only."""
    return one.agent and not writable and (path, destination) == CONFIGURATION
