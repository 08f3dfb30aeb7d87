"""The declared project: which containers there are, and how the tier has each of their settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.parsing import integer, mapping, number, size
from clawkeep.subjects.containers.containers import Container, Containers
from clawkeep.subjects.containers.mounts import CONFIGURATION, VOLUME_HOMES
from clawkeep.subjects.network.openings import GATEWAYS
from clawkeep_host.addresses import AGENT_BRIDGE

NAME = "openclaw"
SERVICE = "gateway"
COMPOSE_FILE = "/etc/clawkeep/openclaw/compose.yml"
SHARED_MEMORY = 64 << 20  # the engine's default

# What the engine hides from a container unless it is told otherwise; a container that hides less was told.
HIDDEN = frozenset(("/proc/kcore", "/proc/keys", "/proc/sched_debug", "/proc/timer_list", "/sys/firmware"))
READ_ONLY = frozenset(("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"))

# Settings that neither weaken a container nor say what the tier promises.
FREE = frozenset(("Annotations", "ConsoleSize", "ContainerIDFile", "Init", "LogConfig", "ShmSize", "Ulimits"))
JUDGED_AS_MOUNTS = frozenset(("Binds", "Mounts", "Tmpfs"))

Expectation = Callable[[Any], bool]
Rules = Mapping[str, tuple[Expectation, str]]


def _is(wanted: object) -> tuple[Expectation, str]:
    return lambda value: value == wanted, repr(wanted)


def _hides(wanted: frozenset[str]) -> tuple[Expectation, str]:
    return (
        lambda value: isinstance(value, list) and wanted <= set(map(str, value)),
        f"all of {', '.join(sorted(wanted))}",
    )


def _options(tier: Mapping[str, Any]) -> tuple[Expectation, str]:
    apparmor, seccomp = str(tier["openclaw_apparmor_profile"]), str(tier["openclaw_seccomp_profile"])

    def holds(value: Any) -> bool:
        if not isinstance(value, list):
            return False
        found = {str(option).replace("=", ":", 1) for option in value}
        named = {option for option in found if not option.startswith("no-new-privileges")}
        bound = found - named <= {"no-new-privileges", "no-new-privileges:true"} and found != named
        allowed = {f"apparmor:{apparmor}"} | ({"seccomp:builtin"} if seccomp == "default" else set())
        custom = {option for option in named if seccomp != "default" and option.startswith("seccomp:{")}
        return bound and named - custom <= allowed

    return holds, f"no-new-privileges, AppArmor {apparmor} and seccomp {seccomp}"


def rules(tier: Mapping[str, Any]) -> Rules:
    """What the tier promises of each HostConfig key that it has a say in; every other key has to be empty."""
    memory = size(tier["openclaw_memory"], "the tier's openclaw_memory")
    port = int(tier["openclaw_port"])
    # Where names are answered by approval, the project asks the host's own name server; the engine's would ask any.
    name_servers = [str(GATEWAYS[0])] if tier["egress_mode"] == "proxy_allowlist" else []
    published = {f"{port}/tcp": [{"HostIp": str(tier["openclaw_publish_address"]), "HostPort": str(port)}]}
    return {
        "CapDrop": _is(list(tier["openclaw_cap_drop"])),
        "Dns": (lambda value: (value or []) == name_servers, repr(name_servers)),
        "CgroupnsMode": _is("private"),
        "IpcMode": _is("private"),
        "MaskedPaths": _hides(HIDDEN),
        "Memory": _is(memory),
        "MemorySwap": _is(memory),
        "NanoCpus": _is(int(float(tier["openclaw_cpus"]) * 1_000_000_000)),
        "NetworkMode": (lambda value: value == AGENT_BRIDGE or value == f"{NAME}_{AGENT_BRIDGE}", AGENT_BRIDGE),
        "PidsLimit": _is(int(tier["openclaw_pids_limit"])),
        "PortBindings": _is(published),
        "ReadonlyPaths": _hides(READ_ONLY),
        "ReadonlyRootfs": _is(bool(tier["openclaw_read_only"])),
        "RestartPolicy": _is({"Name": "on-failure", "MaximumRetryCount": 5}),
        "Runtime": (lambda value: value in ("runc", "io.containerd.runc.v2"), "'runc'"),
        "SecurityOpt": _options(tier),
    }


def _is_empty(value: Any) -> bool:
    return value in (None, "", 0, False, [], {}) or (isinstance(value, list) and not any(value))


@dataclass(frozen=True)
class Project:
    """The containers of a host, held against the project that the tier declares: one gateway and nothing else."""

    containers: Containers

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """From `docker inspect` of every container, stopped ones too."""
        return cls(host.subject(Containers))

    def extra_containers(self) -> list[str]:
        """Containers, stopped ones too, that the project does not have."""
        _ = self.containers.agents  # with nothing running, an empty host would pass
        return [
            f"container {one.name} ({'running' if one.running else 'stopped'}, image {one.reference}) is not declared"
            for one in self.containers.all
            if one.name != NAME
        ]

    def _gateway(self) -> Iterator[Container]:
        _ = self.containers.agents
        return (one for one in self.containers.all if one.name == NAME)

    def foreign_origins(self) -> list[str]:
        """Signs that the gateway was not made from the rendered Compose file alone."""
        wanted = {
            "com.docker.compose.project": NAME,
            "com.docker.compose.service": SERVICE,
            "com.docker.compose.project.config_files": COMPOSE_FILE,
            "clawkeep.role": "agent",
        }
        found = []
        for one in self._gateway():
            for label, value in wanted.items():
                if one.labels.get(label) != value:
                    found.append(f"container {one.name} has {label} {one.labels.get(label, 'unset')!r}, not {value!r}")
            if number(one.labels.get("clawkeep.release", "")) is None:
                found.append(f"container {one.name} belongs to no numbered release")
        return found

    def other_settings(self, tier: Mapping[str, Any]) -> list[str]:
        """Settings of the gateway that differ from the tier's promise, or that the promise has no word for."""
        promised = rules(tier)
        uid = int(tier["openclaw_uid"])
        found = []
        for one in self._gateway():
            if one.user != f"{uid}:{uid}":
                found.append(f"container {one.name} has User {one.user!r}, the tier says '{uid}:{uid}'")
            for key, (holds, wanted) in promised.items():
                value = one.setting(key)
                if not holds(value):
                    found.append(f"container {one.name} has {key} {_brief(value)}, the tier says {wanted}")
            for key, value in sorted(one.host.items()):
                if key not in promised and key not in FREE | JUDGED_AS_MOUNTS and not _is_empty(value):
                    found.append(f"container {one.name} has {key} {_brief(value)}, which the project does not set")
            if integer(one.setting("ShmSize"), f"ShmSize of container {one.name}") > SHARED_MEMORY:
                found.append(f"container {one.name} has more shared memory than the engine gives by itself")
        return found

    def other_mounts(self, tier: Mapping[str, Any]) -> list[str]:
        """Volumes, binds and scratch space of the gateway that differ from the tier's lists."""
        wanted = {("volume", name, VOLUME_HOMES.get(name, "?")) for name in tier["mounts_allowed"]}
        wanted.add(("bind", *CONFIGURATION))
        scratch = set(tier["openclaw_tmpfs"])
        found = []
        for one in self._gateway():
            held = {
                (item.kind, item.name or item.source, item.destination) for item in one.attached if item.kind != "tmpfs"
            }
            tmpfs = set(mapping(one.setting("Tmpfs") or {}, f"Tmpfs of container {one.name}"))
            tmpfs |= {item.destination for item in one.attached if item.kind == "tmpfs"}
            found += [f"container {one.name} has the {kind} {name} at {at}" for kind, name, at in sorted(held - wanted)]
            found += [
                f"container {one.name} lacks the {kind} {name} at {at}" for kind, name, at in sorted(wanted - held)
            ]
            found += [f"container {one.name} has a tmpfs at {at}" for at in sorted(tmpfs - scratch)]
            found += [f"container {one.name} lacks the tmpfs at {at}" for at in sorted(scratch - tmpfs)]
        return found

    def other_networks(self) -> list[str]:
        """Networks of the gateway beside its own, at this moment."""
        return [
            f"container {one.name} is attached to the network {name}"
            for one in self._gateway()
            for name in one.networks or ("none",)
            if name not in (AGENT_BRIDGE, f"{NAME}_{AGENT_BRIDGE}")
        ]


def _brief(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else shown[:77] + "..."
