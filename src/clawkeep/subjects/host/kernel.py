"""Kernel parameters in force, and whether they bite."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import Document, HostEvidence
from clawkeep.evidence.parsing import mapping, number, text, texts

# parameter -> (what holds of its value, in words); the value is a whole number unless the words say otherwise
Wanted = tuple[Callable[[int], bool], str]


def exactly(value: int) -> Wanted:
    """The parameter has this value."""
    return (lambda found: found == value), str(value)


def least(value: int) -> Wanted:
    """The parameter has this value or a greater one."""
    return (lambda found: found >= value), f"at least {value}"


HOST: Mapping[str, Wanted] = {
    "kernel/kptr_restrict": least(1),
    "kernel/dmesg_restrict": exactly(1),
    "kernel/unprivileged_bpf_disabled": least(1),
    "kernel/yama/ptrace_scope": least(1),
    "kernel/randomize_va_space": exactly(2),
    "kernel/kexec_load_disabled": exactly(1),
    "kernel/perf_event_paranoid": least(2),
    "fs/protected_hardlinks": exactly(1),
    "fs/protected_symlinks": exactly(1),
    "fs/protected_fifos": least(1),
    "fs/protected_regular": least(1),
    "fs/suid_dumpable": exactly(0),
    "net/core/bpf_jit_harden": exactly(2),
    "net/ipv4/tcp_syncookies": least(1),
    "net/ipv4/icmp_echo_ignore_broadcasts": exactly(1),
    "net/ipv4/ip_forward": exactly(1),
}
INTERFACE: Mapping[str, Mapping[str, Wanted]] = {
    "ipv4": {
        "accept_redirects": exactly(0),
        "secure_redirects": exactly(0),
        "send_redirects": exactly(0),
        "accept_source_route": exactly(0),
    },
    "ipv6": {"accept_redirects": exactly(0), "accept_source_route": exactly(0), "accept_ra": exactly(0)},
}
# Where the kernel drops a program's memory: a pipe into nothing, or nowhere.
NO_DUMP = ("|/bin/false", "|/usr/bin/false", "|/bin/true", "|/usr/bin/true", "")
NOBODY_ATTACHES = 3  # kernel.yama.ptrace_scope: not even root, until the next boot


@dataclass(frozen=True)
class Kernel:
    """The parameters by their path below /proc/sys, and what came of trying them. Source: /proc/sys, experiments."""

    document: Document
    values: Mapping[str, str]

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """Read the inside evidence; raises `Unmeasured` when no parameter was read."""
        pairs = host.inside.fact("sysctl")
        if not isinstance(pairs, list) or not pairs or not all(_is_pair(pair) for pair in pairs):
            raise Unmeasured("the kernel's parameters were not read")
        return cls(host.inside, dict(pairs))

    def loose_parameters(self) -> list[str]:
        """Sentences about parameters of the whole host whose value in force is not the wanted one."""
        return [sentence for name, wanted in HOST.items() if (sentence := self._deviation(name, wanted))]

    def interfaces(self, family: str) -> tuple[str, ...]:
        """The interfaces of a family with `all` and `default` among them; `Unmeasured` when those two are missing."""
        prefix = f"net/{family}/conf/"
        found = {name.removeprefix(prefix).rpartition("/")[0] for name in self.values if name.startswith(prefix)}
        if family == "ipv6" and not found:
            return ()  # a kernel without IPv6 has no IPv6 parameters
        if not {"all", "default"} <= found:
            raise Unmeasured(f"the {family} parameters of the interfaces were not read")
        return tuple(sorted(found))

    def loose_interfaces(self) -> list[str]:
        """Sentences about interfaces, `all` and `default` among them, that heed what a neighbour tells them."""
        found = []
        for family, settings in INTERFACE.items():
            for interface in self.interfaces(family):
                for setting, wanted in settings.items():
                    found.append(self._deviation(f"net/{family}/conf/{interface}/{setting}", wanted))
        return [sentence for sentence in found if sentence] + self._unfiltered_interfaces()

    def _unfiltered_interfaces(self) -> list[str]:
        """The kernel takes the greater of `all` and the interface's own: 1 is strict, 2 loose, 0 no check at all."""
        everywhere = self._number("net/ipv4/conf/all/rp_filter")
        return [
            f"{interface} accepts packets from any source address (rp_filter 0)"
            for interface in self.interfaces("ipv4")
            if interface not in ("all", "lo")
            and max(everywhere, self._number(f"net/ipv4/conf/{interface}/rp_filter")) == 0
        ]

    def memory_images(self) -> list[str]:
        """A sentence when the memory of a crashed program is kept somewhere."""
        pattern = self.values.get("kernel/core_pattern")
        if pattern is None:
            raise Unmeasured("kernel/core_pattern was not read")
        return [] if pattern in NO_DUMP else [f"a crashed program's memory is kept: kernel.core_pattern is {pattern}"]

    def debuggable_siblings(self) -> list[str]:
        """A sentence when one process of the agent's account may read another's memory.

        `Unmeasured` unless attaching works where it is allowed: to an own child, or for root.
        """
        experiments = mapping(self.document.json("agent-experiments"), "the experiments as the agent's account")
        tried = mapping(experiments.get("ptrace"), "the attempt to attach as a debugger")
        works = "ok" in (tried.get("own-child"), tried.get("root"))
        if tried.get("sibling") == "ok":
            return ["a process of the agent's account attaches to another one as a debugger"]
        if not works and self._number("kernel/yama/ptrace_scope") != NOBODY_ATTACHES:
            raise Unmeasured(f"attaching as a debugger works for nobody here: {tried.get('root')}")
        if tried.get("sibling") not in ("EPERM", "EACCES"):
            raise Unmeasured(f"the attempt to attach as a debugger ended with {tried.get('sibling')}")
        return []

    def broken_docker(self) -> list[str]:
        """A sentence when the container answers on its own address and not through its published port.

        A gateway that listens nowhere is CTR-07's business: both ways must then be refused alike, which proves that
        packets travel. `Unmeasured` when nothing comes back at all.
        """
        tried = mapping(self.document.fact("published-port"), "the attempt on the published port")
        published = text(tried.get("outcome"), "the outcome of the attempt on the published port")
        direct = set(texts(tried.get("direct"), "the attempts on the container's addresses"))
        if published == "open" or (published == "refused" and direct == {"refused"}):
            return []
        where = f"127.0.0.1:{tried.get('port')} takes no connection ({published})"
        if "open" in direct:
            return [f"{where}, though the container answers on its own address"]
        raise Unmeasured(f"{where}, and the container does not answer either")

    def _number(self, name: str) -> int:
        value = self.values.get(name)
        found = None if value is None else number(value.removeprefix("-"))
        if value is None or found is None:
            raise Unmeasured(f"{name} is no number: {value!r}")
        return -found if value.startswith("-") else found

    def _deviation(self, name: str, wanted: Wanted) -> str | None:
        holds, words = wanted
        if name not in self.values:
            return f"{name.replace('/', '.')} does not exist in this kernel, and should be {words}"
        found = self._number(name)
        return None if holds(found) else f"{name.replace('/', '.')} is {found}, and should be {words}"


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(part, str) for part in pair)
