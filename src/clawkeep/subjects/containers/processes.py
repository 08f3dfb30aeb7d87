"""What the kernel says of the processes in every running container: identity, privilege, confinement, limits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Self

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.parsing import get, integer, mapping, number, sequence, text
from clawkeep.subjects.containers.containers import Containers

CAPABILITY_SETS = ("inheritable", "permitted", "effective", "bounding", "ambient")
# fmt: off
CAPABILITIES = (  # linux/capability.h, by bit
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)
# fmt: on
OWN_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "uts")  # user namespaces are a control of their own
SECCOMP_FILTER = 2
REMOTE_SHELLS = frozenset(("dropbear", "in.telnetd", "mosh-server", "sshd", "sshd-session", "telnetd", "ttyd"))


def capability_names(mask: int) -> list[str]:
    """The capabilities in a mask, as the kernel's header calls them without `CAP_`."""
    names = [name for bit, name in enumerate(CAPABILITIES) if mask >> bit & 1]
    return names + [f"bit {bit}" for bit in range(len(CAPABILITIES), mask.bit_length()) if mask >> bit & 1]


@dataclass(frozen=True)
class Process:
    """One process in a container. `uids` and `gids` are real, effective, saved, file system; capabilities are masks."""

    container: str
    pid: int
    name: str
    executable: str
    uids: tuple[int, ...]
    gids: tuple[int, ...]
    groups: tuple[int, ...]
    capabilities: Mapping[str, int]
    no_new_privileges: bool
    seccomp: int
    label: str | None
    namespaces: Mapping[str, int]

    @classmethod
    def parse(cls, container: str, value: object) -> Self:
        """One process as the collector recorded it."""
        raw = mapping(value, f"a process in container {container}")
        pid = integer(raw.get("pid"), f"a pid in container {container}")
        what = f"process {pid} in container {container}"
        sets = mapping(raw.get("capabilities"), f"the capabilities of {what}")
        uids, gids = (_numbers(raw.get(key), f"{key} of {what}") for key in ("uids", "gids"))
        if len(uids) != 4 or len(gids) != 4:
            raise Unmeasured(f"{what} does not show its four uids and gids")
        label = raw.get("label")
        namespaces = mapping(raw.get("namespaces"), f"the namespaces of {what}")
        return cls(
            container=container,
            pid=pid,
            name=text(raw.get("name"), f"the name of {what}"),
            executable=text(raw.get("executable", ""), f"the executable of {what}"),
            uids=uids,
            gids=gids,
            groups=_numbers(raw.get("groups"), f"groups of {what}"),
            capabilities={name: _mask(sets.get(name), f"{name} set of {what}") for name in CAPABILITY_SETS},
            no_new_privileges=_mask(raw.get("no_new_privileges"), f"NoNewPrivs of {what}") == 1,
            seccomp=_mask(raw.get("seccomp"), f"Seccomp of {what}"),
            label=None if label is None else text(label, f"the security label of {what}"),
            namespaces={name: integer(inode, f"a namespace of {what}") for name, inode in namespaces.items()},
        )

    def __str__(self) -> str:
        """The process as a sentence names it."""
        return f"process {self.pid} ({self.name}) in container {self.container}"


def _numbers(value: object, what: str) -> tuple[int, ...]:
    return tuple(integer(item, what) for item in sequence(value, what))


def _mask(value: object, what: str) -> int:
    written = text(value, what)
    try:
        return int(written, 16)
    except ValueError:
        raise Unmeasured(f"{what} is {written!r}, not a number") from None


@dataclass(frozen=True)
class Occupied:
    """One running container with its processes and the limits that its cgroup's files show (None when unreadable)."""

    name: str
    agent: bool
    processes: tuple[Process, ...]
    limits: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Processes:
    """The occupied containers of a host, and the inode numbers of the host's own namespaces."""

    containers: tuple[Occupied, ...]
    host_namespaces: Mapping[str, int]

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """From /proc and the cgroup files of every container that the engine calls running."""
        recorded = mapping(host.inside.fact("container-processes"), "the processes of containers")
        namespaces = mapping(host.inside.fact("host-namespaces"), "the host's namespaces")
        occupied = []
        for one in host.subject(Containers).all:
            if not one.running:
                continue
            raw = mapping(recorded.get(one.name), f"the processes of container {one.name}")
            found = sequence(raw.get("processes"), f"the processes of container {one.name}")
            occupied.append(
                Occupied(
                    one.name,
                    one.agent,
                    tuple(Process.parse(one.name, item) for item in found),
                    _limits(raw.get("limits"), one.name),
                )
            )
        return cls(
            tuple(occupied),
            {name: integer(inode, "a namespace of the host") for name, inode in namespaces.items()},
        )

    @property
    def agents(self) -> tuple[Occupied, ...]:
        """The running agent containers; raises Unmeasured without one, or when one shows no process."""
        found = tuple(one for one in self.containers if one.agent)
        if not found:
            raise Unmeasured("no agent container is running, so none of its processes was measured")
        for one in found:
            if not one.processes:
                raise Unmeasured(f"container {one.name} shows no process: it ended while it was looked at")
        return found

    @property
    def of_agents(self) -> list[Process]:
        """Every process of every agent container."""
        return [process for one in self.agents for process in one.processes]

    def identities_other_than(self, uid: int) -> list[str]:
        """Processes that are not `uid` with the group of the same number and no further group."""
        found = []
        for process in self.of_agents:
            if any(one != uid for one in process.uids):
                found.append(f"{process} has the uids {_list(process.uids)}, not {uid} alone")
            if any(one != uid for one in process.gids):
                found.append(f"{process} has the gids {_list(process.gids)}, not {uid} alone")
            if further := [group for group in process.groups if group != uid]:
                found.append(f"{process} is in the further groups {_list(further)}")
        return found

    def with_root_identity(self) -> list[str]:
        """Processes with any uid, gid or group 0."""
        return [
            f"{process} has a {kind} 0"
            for process in self.of_agents
            for kind, numbers in (("uid", process.uids), ("gid", process.gids), ("group", process.groups))
            if 0 in numbers
        ]

    def with_capabilities(self) -> list[str]:
        """Processes with anything in any of the five capability sets."""
        found = []
        for process in self.of_agents:
            for name, mask in process.capabilities.items():
                if mask:
                    held = capability_names(mask)
                    shown = ", ".join(held[:4]) + (f" and {len(held) - 4} more" if len(held) > 4 else "")
                    found.append(f"{process} has {shown} in its {name} set")
        return found

    def holding(self, capability: str) -> list[str]:
        """Processes that have `capability` (a name without `CAP_`) in any set, or could get it from a file."""
        bit = 1 << CAPABILITIES.index(capability)
        return [
            f"{process} has {capability} in its {name} set"
            for process in self.of_agents
            for name, mask in process.capabilities.items()
            if mask & bit
        ]

    def able_to_gain_privileges(self) -> list[str]:
        """Processes that a setuid program could lift up."""
        return [f"{process} runs without no_new_privs" for process in self.of_agents if not process.no_new_privileges]

    def without_seccomp(self) -> list[str]:
        """Processes whose system calls no filter looks at."""
        return [
            f"{process} has no seccomp filter (mode {process.seccomp})"
            for process in self.of_agents
            if process.seccomp != SECCOMP_FILTER
        ]

    def not_confined_by(self, profile: str) -> list[str]:
        """Processes that the AppArmor profile `profile` does not confine in enforce mode, or SELinux as a container."""
        found = []
        for process in self.of_agents:
            if process.label is None:
                raise Unmeasured(f"{process} shows no security label: this kernel has neither AppArmor nor SELinux on")
            selinux = process.label.split(":")
            if len(selinux) >= 4 and selinux[2] == "container_t":
                continue
            if process.label != f"{profile} (enforce)":
                found.append(f"{process} is confined by {process.label or 'nothing'}, not by {profile} (enforce)")
        return found

    def shared_namespaces(self) -> list[str]:
        """Namespaces that an agent container's processes share with the host or with another container."""
        found: dict[str, None] = {}
        for one in self.agents:
            for kind in OWN_NAMESPACES:
                host = get(self.host_namespaces, kind, "the host's namespaces")
                inodes = {get(process.namespaces, kind, f"{process}'s namespaces") for process in one.processes}
                if host in inodes:
                    found[f"container {one.name} has a process in the host's {kind} namespace"] = None
                for other in self.containers:
                    if other is not one and any(process.namespaces.get(kind) in inodes for process in other.processes):
                        found[f"container {one.name} shares its {kind} namespace with container {other.name}"] = None
        return list(found)

    def limits_looser_than(self, memory: int, swap: int, cpus: float, pids: int) -> list[str]:
        """Agent containers whose live cgroup allows more: bytes of memory and of swap, processors, processes."""
        found = []
        for one in self.agents:
            for file, most, unit in (
                ("memory.max", memory, "bytes"),
                ("memory.swap.max", swap, "bytes"),
                ("pids.max", pids, "processes"),
            ):
                value = _limit(one, file)
                if value is None or value > most:
                    shown = "no limit" if value is None else f"{value} {unit}"
                    found.append(f"container {one.name} has {shown} in {file}, the tier allows {most}")
            busy = _processors(one)
            if busy is None or busy > cpus:
                shown = "no limit" if busy is None else f"{busy:g} processors"
                found.append(f"container {one.name} has {shown} in cpu.max, the tier allows {cpus:g}")
        return found

    def remote_shells(self) -> list[str]:
        """Processes in agent containers that let somebody log in."""
        return [
            f"{process} is a remote login service"
            for process in self.of_agents
            if {process.name, PurePosixPath(process.executable).name} & REMOTE_SHELLS
        ]


def _list(numbers: Iterable[int]) -> str:
    return ", ".join(str(number) for number in numbers)


def _limits(value: object, container: str) -> Mapping[str, str | None]:
    if value is None:
        return {}
    what = f"the limits of container {container}"
    return {
        name: None if item is None else text(item, f"{name} of container {container}")
        for name, item in mapping(value, what).items()
    }


def _limit(one: Occupied, file: str) -> int | None:
    """The number in a cgroup file; None for `max`; raises Unmeasured when it was not readable."""
    written = one.limits.get(file)
    if written is None:
        raise Unmeasured(f"{file} of container {one.name} could not be read (this host has no cgroup v2 for it)")
    if written == "max":
        return None
    found = number(written)
    if found is None:
        raise Unmeasured(f"{file} of container {one.name} holds {written!r}, not a number")
    return found


def _processors(one: Occupied) -> float | None:
    written = one.limits.get("cpu.max")
    left, _, right = (written or "").partition(" ")
    if left == "max":
        return None
    quota, period = number(left), number(right)
    if quota is None or not period:
        raise Unmeasured(f"cpu.max of container {one.name} holds {written!r}, not a quota and a period")
    return quota / period
