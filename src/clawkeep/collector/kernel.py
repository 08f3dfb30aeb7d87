"""The kernel's parameters as they are in force, for every network interface there is."""

from __future__ import annotations

import os
import socket
from typing import Dict

from clawkeep.collector import docker, proc
from clawkeep.collector.recorder import Recorder

ROOT = "/proc/sys/"
SINGLE = (
    "kernel/kptr_restrict",
    "kernel/dmesg_restrict",
    "kernel/unprivileged_bpf_disabled",
    "kernel/yama/ptrace_scope",
    "kernel/randomize_va_space",
    "kernel/kexec_load_disabled",
    "kernel/perf_event_paranoid",
    "kernel/core_pattern",
    "kernel/sysrq",
    "fs/protected_hardlinks",
    "fs/protected_symlinks",
    "fs/protected_fifos",
    "fs/protected_regular",
    "fs/suid_dumpable",
    "net/core/bpf_jit_harden",
    "net/ipv4/ip_forward",
    "net/ipv4/tcp_syncookies",
    "net/ipv4/icmp_echo_ignore_broadcasts",
)
PER_INTERFACE = {
    "ipv4": (
        "rp_filter",
        "accept_redirects",
        "secure_redirects",
        "send_redirects",
        "accept_source_route",
        "forwarding",
    ),
    "ipv6": ("accept_ra", "accept_redirects", "accept_source_route", "forwarding"),
}


def collect(rec: Recorder) -> None:
    """Read the values from /proc/sys and try a published port, which the same parameters must not break."""
    rec.note("sysctl", sorted(values().items()))  # pairs: as a mapping, tcp_syncookies looks like a secret's name
    port = int(rec.parameters.get("tier", {}).get("openclaw_port", 18789))
    addresses = [
        network.get("IPAddress")
        for container in docker.agents(rec)
        for network in ((container.get("NetworkSettings") or {}).get("Networks") or {}).values()
    ]
    direct = [reach(str(address), port) for address in addresses if address]
    rec.note("published-port", {"port": port, "outcome": reach("127.0.0.1", port), "direct": direct})


def values() -> Dict[str, str]:
    """Path below /proc/sys (an interface name may hold dots, a path tells them apart) to value."""
    names = list(SINGLE)
    for family, settings in PER_INTERFACE.items():
        folder = "net/%s/conf" % family
        interfaces = sorted(os.listdir(ROOT + folder)) if os.path.isdir(ROOT + folder) else []
        names += ["%s/%s/%s" % (folder, interface, setting) for interface in interfaces for setting in settings]
    found = {}
    for name in names:
        value = proc.read(ROOT + name)
        if value is not None:
            found[name] = value.strip()
    return found


def reach(address: str, port: int) -> str:
    """`open`, `refused` (somebody answered, nobody listens), or why nothing came back."""
    try:
        with socket.create_connection((address, port), 5):
            return "open"
    except ConnectionRefusedError:
        return "refused"
    except OSError as problem:
        return problem.strerror or str(problem)
