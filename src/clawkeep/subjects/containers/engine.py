"""The container engine as it runs: versions, sockets, files, group and the defaults in force."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import Document, HostEvidence
from clawkeep.evidence.parsing import boolean, integer, legible, mapping, number, rows, text, texts
from clawkeep.subjects.inspected import Inspected
from clawkeep.subjects.network.bindings import LIVE, of_inspect
from clawkeep.subjects.systemd import units

RESTART = "systemctl restart docker"
NETWORK_DAEMONS = ("containerd", "dockerd", "podman")
LOOPBACK_REGISTRIES = {"127.0.0.0/8", "::1/128"}
WRITABLE_BY_OTHERS = 0o002
WRITABLE_BY_GROUP = 0o020
STICKY = 0o1000
BOUNDED_LOG_DRIVERS = {"journald", "local"}  # journald and `local` bound what they keep by themselves


def version(text: str) -> tuple[int, ...]:
    """The numbers of a version such as `26.1.5+dfsg1`; empty when it does not begin with one."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", text)
    return tuple(int(part) for part in found.group(1).split(".")) if found else ()


@dataclass(frozen=True)
class EngineProcess:
    """A process of the stack; `deleted` when its file was replaced or removed since it started."""

    pid: int
    name: str
    deleted: bool
    argv: tuple[str, ...]


@dataclass(frozen=True)
class EngineFile:
    """Something on disk: `mode` are the permission bits, `acl` the named entries, `parent` when it only leads there."""

    path: str
    kind: str
    uid: int
    gid: int
    mode: int
    acl: tuple[str, ...]
    parent: bool


@dataclass(frozen=True)
class Engine:
    """Docker's daemon and its stack. Source: `docker info`, its API, /proc, `systemctl show`, stat."""

    host: HostEvidence
    document: Document
    processes: tuple[EngineProcess, ...]
    info: Mapping[str, Any]

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """Read the inside evidence; raises `Unmeasured` when the engine did not answer or no dockerd was seen."""
        inside = host.inside
        processes = tuple(
            EngineProcess(
                integer(row.get("pid"), "the pid of an engine process"),
                text(row.get("name"), "the name of an engine process"),
                boolean(row.get("deleted"), "deleted of an engine process"),
                texts(row.get("argv"), "the arguments of an engine process"),
            )
            for row in rows(inside.fact("engine-processes"), "the list of engine processes")
        )
        if not any(process.name == "dockerd" for process in processes):
            raise Unmeasured("no dockerd runs here, so no engine could be measured")
        info = mapping(inside.json("docker-info"), "`docker info`")
        if info.get("ServerErrors"):
            raise Unmeasured(f"`docker info` could not ask the engine: {str(info['ServerErrors'])[:200]}")
        return cls(host, inside, processes, info)

    # --- versions ---------------------------------------------------------------------------------------------------

    @cached_property
    def components(self) -> Mapping[str, str]:
        """Version by component (`Engine`, `containerd`, `runc`), as the running daemon reports them."""
        answer = mapping(self.document.fact("engine-version"), "the engine's version")
        return {
            text(part.get("Name"), "the name of a component"): text(part.get("Version"), "the version of a component")
            for part in rows(answer.get("Components"), "the components in the engine's version")
        }

    def _component(self, name: str) -> tuple[int, ...]:
        found = version(self.components.get(name, ""))
        if not found:
            raise Unmeasured(f"the engine does not tell the version of {name}")
        return found

    def below(self, floors: Mapping[str, str]) -> list[str]:
        """Sentences about components that are older than their floor."""
        return [
            f"{name} {self.components[name]} is older than {floor}"
            for name, floor in floors.items()
            if self._component(name) < version(floor)
        ]

    def replaced_while_running(self) -> list[str]:
        """Sentences about processes whose file was replaced: an upgrade that nobody put into force."""
        return [
            f"{process.name} (pid {process.pid}) still runs a program that was replaced on disk: restart it"
            for process in self.processes
            if process.deleted
        ]

    def firewall_backend(self) -> str:
        """Which firewall the engine programs: `iptables`, `nftables`, `iptables+firewalld` ...

        Engines below 29 do not say; they know iptables alone.
        """
        told = self.info.get("FirewallBackend")
        if isinstance(told, Mapping):
            return text(told.get("Driver"), "the firewall backend in `docker info`")
        if self._component("Engine") >= (29,):
            raise Unmeasured("`docker info` does not tell the firewall backend of an engine that has two")
        return "iptables"

    # --- the API ----------------------------------------------------------------------------------------------------

    def require_ping(self) -> None:
        """The control experiment: root's ping over the engine's own socket is answered, else `Unmeasured`."""
        ping = mapping(self.document.fact("engine-ping"), "root's ping of the engine")
        if ping.get("status") != 200 or not ping.get("engine"):
            raise Unmeasured(
                f"root's own ping of {ping.get('socket')} was not answered, so a silent port proves nothing"
            )

    def network_listeners(self) -> list[str]:
        """Sentences about TCP and UDP sockets of a daemon, on a port known as an engine's, or that a unit asks for."""
        self.require_ping()
        found = []
        held = self._held_for_containers()
        for row in rows(self.document.fact("engine-sockets"), "the engine's sockets"):
            owner = row.get("owner")
            proto = text(row.get("proto"), "the protocol of a socket")
            address = text(row.get("address"), "the address of a socket")
            port = integer(row.get("port"), "the port of a socket")
            if owner == "dockerd" and (proto, address, port) in held:
                continue
            where = f"{proto} {address}:{port}"
            found.append(f"{owner} listens on {where}" if owner else f"{where}, an engine's port, is open")
        for unit in units(self.document.lines("engine-units")).values():
            for listen in unit.get("Listen", "").splitlines():
                if listen and not listen.startswith("/"):
                    found.append(f"{unit['Id']} listens on {listen}")
        for process in self.processes:
            for word in process.argv if process.name in NETWORK_DAEMONS else ():
                if re.search(r"\b(?:tcp|http|https)://", word):
                    found.append(f"{process.name} was started with {word}")
        return found

    def _held_for_containers(self) -> set[tuple[str, str, int | None]]:
        """Ports that dockerd occupies for containers which publish them: without its proxy it does so itself.

        Nothing of the API is there, which `relayed_api` sees for itself; on which address they may be is NET-04's.
        """
        containers = self.host.subject(Inspected).containers
        with legible("the published ports in `docker inspect`"):
            bindings = [one for container in containers for one in of_inspect(container) if one.view == LIVE]
        return {(one.proto, one.address, one.port) for one in bindings}

    def relayed_api(self) -> list[str]:
        """Sentences about TCP listeners of anyone that answer as an engine does."""
        self.require_ping()
        return [
            f"{row.get('owner') or 'a process'} answers as the engine on {row.get('address')}:{row.get('port')}"
            for row in rows(self.document.fact("tcp-answers"), "what the TCP listeners answer")
            if row.get("says") == "engine"
        ]

    def swarm(self) -> str:
        """The state of swarm mode, `inactive` on a host that is in none."""
        swarm = mapping(self.info.get("Swarm"), "swarm mode in `docker info`")
        return text(swarm.get("LocalNodeState"), "the state of swarm mode in `docker info`")

    # --- files and group --------------------------------------------------------------------------------------------

    @cached_property
    def files(self) -> tuple[EngineFile, ...]:
        """The engine's files, sockets and the directories that lead to them."""
        found = tuple(
            EngineFile(
                text(row.get("path"), "the path of a file"),
                text(row.get("kind"), "the kind of a file"),
                integer(row.get("uid"), "the uid of a file"),
                integer(row.get("gid"), "the gid of a file"),
                integer(row.get("mode"), "the mode of a file"),
                tuple(f"{e.get('whom')} {e.get('id')}" for e in rows(row.get("acl"), "the access list of a file")),
                boolean(row.get("parent"), "parent of a file"),
            )
            for row in rows(self.document.fact("engine-files"), "the engine's files")
        )
        if not any(entry.kind == "socket" for entry in found):
            raise Unmeasured("the engine runs, but none of its sockets was found on disk")
        return found

    def loose_files(self) -> list[str]:
        """Sentences about files, sockets and directories of the engine that others than root can change or use."""
        socket_gid = self._group.get("socket-gid")
        found = []
        for entry in self.files:
            shown = f"{entry.path} (mode {entry.mode:04o}, uid {entry.uid}, gid {entry.gid})"
            sticky = entry.kind == "directory" and entry.mode & STICKY
            if entry.uid != 0:
                found.append(f"{shown} does not belong to root")
            if entry.mode & WRITABLE_BY_OTHERS and not sticky:
                found.append(f"{shown} is writable by everyone")
            own_group = entry.gid == 0 or (entry.kind == "socket" and entry.gid == socket_gid)
            if entry.mode & WRITABLE_BY_GROUP and not own_group:
                found.append(f"{shown} is writable by group {entry.gid}")
            if entry.acl and not entry.parent:
                found.append(f"{entry.path} has an access list that names {', '.join(entry.acl)}")
        return found

    @property
    def _group(self) -> Mapping[str, Any]:
        return mapping(self.document.fact("engine-group"), "the engine's group")

    def undeclared_members(self, declared: Collection[str]) -> list[str]:
        """Sentences about everyone beside `declared` who is in the group of the engine's socket, by whatever way."""
        group = self._group
        names = ", ".join(texts(group.get("groups"), "the names of the engine's group"))
        if not names:
            raise Unmeasured("the group of the engine's socket could not be told")
        found = [
            f"{name} is a member of {names}"
            for name in texts(group.get("members"), "the members of the engine's group")
            if name not in declared
        ]
        found += [
            f"{name} has {names} as the primary group"
            for name in texts(group.get("primary"), "the accounts whose primary group is the engine's")
            if name not in declared
        ]
        if not declared:
            found += [
                f"process {row.get('pid')} ({row.get('name')}, uid {row.get('uid')}) still holds the group {names}"
                for row in rows(group.get("processes"), "the processes that hold the engine's group")
            ]
        return found

    def opened_by_agent(self) -> list[str]:
        """Sentences about the agent's account opening the socket; `Unmeasured` unless root's own attempt succeeds."""
        tried = mapping(self.document.json("agent-experiments"), "the experiments as the agent's account")
        socket = mapping(tried.get("engine-socket"), "the attempt on the engine's socket")
        if socket.get("root") != "ok":
            raise Unmeasured(f"root itself could not open the engine's socket: {socket.get('root')}")
        if socket.get("agent") in ("EACCES", "EPERM"):
            return []
        if socket.get("agent") == "ok":
            return [f"the agent's account (uid {tried.get('uid')}) opens the engine's socket"]
        raise Unmeasured(f"the agent's attempt on the engine's socket ended with {socket.get('agent')}")

    # --- defaults ---------------------------------------------------------------------------------------------------

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """daemon.json merged with the daemon's flags, of which the daemon allows each setting in one place only.

        Only for what no answer of the daemon tells; `stale_settings` tells whether the file was read at all.
        """
        config = mapping(self.document.fact("engine-config"), "daemon.json")
        merged: dict[str, Any] = {}
        if config.get("present"):
            if "problem" in config:
                raise Unmeasured(f"daemon.json is not JSON: {config['problem']}")
            merged.update(mapping(config.get("settings"), "daemon.json"))
        for process in self.processes:
            if process.name == "dockerd":
                merged.update(_flags(process.argv))
        return merged

    def stale_settings(self) -> list[str]:
        """A sentence when daemon.json changed after the running daemon started: then its word is not in force."""
        config = mapping(self.document.fact("engine-config"), "daemon.json")
        changed = config.get("changed")
        if not config.get("present") or not isinstance(changed, int | float):
            return []
        unit = units(self.document.lines("engine-units")).get("docker.service", {})
        told = unit.get("ExecMainStartTimestamp", "").removeprefix("@")
        started = number(told)
        if started is None:
            raise Unmeasured(f"systemd does not tell when docker.service started: {told!r}")
        if changed >= started + 1:  # systemd tells whole seconds
            return [f"{config.get('path')} changed after dockerd started, and dockerd was not restarted: {RESTART}"]
        return []

    def loose_defaults(self, networks: object) -> list[str]:
        """Sentences about defaults that give a container without flags more than it needs.

        `networks` is `docker network inspect` of all networks. Every default is asked of the daemon where it answers.
        """
        default = self._default_network(networks)
        options = mapping(default.get("Options"), "the options of Docker's default network")
        security = texts(self.info.get("SecurityOptions"), "the security options in `docker info`")
        found = []
        if options.get("com.docker.network.bridge.enable_icc") != "false":
            found.append("containers on the default network may talk to one another (icc)")
        if options.get("com.docker.network.bridge.host_binding_ipv4") != "127.0.0.1":
            where = options.get("com.docker.network.bridge.host_binding_ipv4")
            found.append(f"a port that is published without an address opens on {where}, not on loopback (ip)")
        if not any(option.split(",")[0] == "name=no-new-privileges" for option in security):
            found.append("containers may gain privileges unless they ask not to (no-new-privileges)")
        if not boolean(self.info.get("LiveRestoreEnabled"), "LiveRestoreEnabled in `docker info`"):
            found.append("containers stop when the daemon does (live-restore)")
        debug = boolean(self.info.get("Debug"), "Debug in `docker info`")
        if debug or self.settings.get("log-level", "info") != "info":
            found.append(f"the daemon's log level is not info ({'debug' if debug else 'set otherwise'})")
        if boolean(self.info.get("ExperimentalBuild"), "ExperimentalBuild in `docker info`"):
            found.append("experimental features are on")
        return found + self._insecure_registries() + self._unbounded_logs() + self._loose_network_settings()

    def _default_network(self, networks: object) -> Mapping[str, Any]:
        for network in rows(networks, "`docker network inspect`"):
            if network.get("Name") == "bridge":
                return network
        raise Unmeasured("`docker network inspect` does not show the default network")

    def _insecure_registries(self) -> list[str]:
        registries = mapping(self.info.get("RegistryConfig"), "the registries in `docker info`")
        ranges = set(texts(registries.get("InsecureRegistryCIDRs") or [], "the insecure registries"))
        indexes = mapping(registries.get("IndexConfigs") or {}, "the registries in `docker info`")
        names = [
            name
            for name, index in indexes.items()
            if not boolean(mapping(index, f"the registry {name}").get("Secure"), f"Secure of the registry {name}")
        ]
        return [f"the registry {name} is used without TLS" for name in sorted(ranges - LOOPBACK_REGISTRIES) + names]

    def _unbounded_logs(self) -> list[str]:
        driver = text(self.info.get("LoggingDriver"), "LoggingDriver in `docker info`")
        if driver in BOUNDED_LOG_DRIVERS:
            return []
        options = self.settings.get("log-opts")
        if driver == "json-file" and isinstance(options, Mapping) and options.get("max-size") not in (None, "", "-1"):
            return []
        return [f"container logs grow without bound (log-driver {driver}, no max-size)"]

    def _loose_network_settings(self) -> list[str]:
        found = []
        if any(process.name == "docker-proxy" for process in self.processes) or self.settings.get(
            "userland-proxy", True
        ):
            found.append("published ports pass through a userland proxy")
        if not self.settings.get("iptables", True):
            found.append("the engine does not program the firewall for its networks (iptables)")
        # Before 27 the engine's IPv6 rules need experimental features; Clawkeep's own chains stand in there.
        if self._component("Engine") >= (27,) and not self.settings.get("ip6tables", True):
            found.append("the engine does not program the IPv6 firewall for its networks (ip6tables)")
        return found


def _flags(argv: tuple[str, ...]) -> dict[str, Any]:
    """The daemon's flags of interest as daemon.json would say them: `--iptables=false`, `--log-level debug`, `-D`."""
    found: dict[str, Any] = {}
    words = list(argv[1:])
    for at, word in enumerate(words):
        name, equals, value = word.partition("=")
        name = name.lstrip("-")
        if name in ("iptables", "ip6tables", "userland-proxy"):
            found[name] = value != "false" if equals else True
        elif name == "log-level":
            found[name] = value if equals else (words[at + 1] if at + 1 < len(words) else "")
        elif word in ("-D", "--debug"):
            found["log-level"] = "debug"
        elif name == "log-opt" and "max-size=" in (text := value or (words[at + 1] if at + 1 < len(words) else "")):
            found["log-opts"] = {"max-size": text.partition("max-size=")[2]}
    return found
