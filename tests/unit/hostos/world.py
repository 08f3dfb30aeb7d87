"""The evidence of a host that keeps every promise of DKR, HST and BGL; tests break one thing of it at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any, TypeVar

from clawkeep.evidence.document import HostEvidence
from clawkeep_host import package
from clawkeep_host.version import version

World = dict[str, Any]
T = TypeVar("T")

AGENT = "a" * 64
IMAGE = "sha256:" + "1" * 64
RULESET = hashlib.sha256(b"table inet clawkeep {}").hexdigest()
STARTED = 1_790_000_000  # seconds since the epoch at which the daemons started

COMPOSE = """\
services:
  gateway:
    image: clawkeep/openclaw:2026.9.6
    user: "1000:1000"
    read_only: true
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    pids_limit: 512
    ports: ["127.0.0.1:18789:18789"]
"""
SSHD = """\
port 22
permitrootlogin no
maxauthtries 3
pubkeyauthentication yes
passwordauthentication no
kbdinteractiveauthentication no
hostbasedauthentication no
gssapiauthentication no
permitemptypasswords no
persourcepenalties crash:90 authfail:5
authenticationmethods any
allowusers ops
"""


def command(value: Any, *, status: int | None = 0, stderr: str = "", argv: str = "true") -> dict[str, Any]:
    """A command's record: text becomes lines, anything else JSON."""
    record: dict[str, Any] = {"argv": argv.split(), "status": status, "truncated": False, "stderr": stderr}
    record["lines" if isinstance(value, str) else "json"] = value.splitlines() if isinstance(value, str) else value
    return record


def entry(path: str, mode: int = 0o644, **more: Any) -> dict[str, Any]:
    """One row of what stat and getfacl say."""
    return {"path": path, "kind": "file", "uid": 0, "gid": 0, "mode": mode, "acl": [], "parent": False} | more


def programs() -> dict[str, Any]:
    """Clawkeep's programs as the collector records them on a host that this checkout has just set up."""
    digest = hashlib.sha256(package.archive()).hexdigest()
    archive = entry(package.ARCHIVE, sha256=digest, version=version())
    names = ("clawkeep-firewall", "clawkeep-kill", "clawkeep-release", "clawkeep-state")
    texts = {name: package.wrapper(name).encode() for name in names}
    wrappers = [
        entry(f"{package.FOLDER}/{name}", 0o755, sha256=hashlib.sha256(text).hexdigest(), version=version())
        for name, text in texts.items()
    ]
    folders = [entry(path, 0o755, kind="directory") for path in ("/usr/local/lib/clawkeep", package.FOLDER)]
    return {"archive": archive, "wrappers": wrappers, "folders": folders}


def account(name: str, uid: int, **more: Any) -> dict[str, Any]:
    """One account with a group of its own and no way in."""
    return {
        "name": name,
        "uid": uid,
        "gid": uid,
        "group": name,
        "groups": [],
        "home": "/nonexistent",
        "shell": "/usr/sbin/nologin",
        "login": "locked",
    } | more


def journal(*lines: str, boot: str = "b1", first: int = 1) -> str:
    """The firewall tool's lines as `journalctl -o json` prints them, a second apart."""
    return "\n".join(
        json.dumps({"MESSAGE": line, "__REALTIME_TIMESTAMP": str(at * 1_000_000), "_BOOT_ID": boot})
        for at, line in enumerate(lines, first)
    )


def container(**more: Any) -> dict[str, Any]:
    """The agent's container as `docker inspect` shows it."""
    return {
        "Id": AGENT,
        "Name": "/openclaw",
        "Image": IMAGE,
        "Config": {
            "Image": "clawkeep/openclaw:2026.9.6",
            "Labels": {"clawkeep.role": "agent", "clawkeep.release": "2"},
        },
        "HostConfig": {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 5}},
        "NetworkSettings": {"Networks": {"clawkeep": {}}},
    } | more


def network(name: str, interface: str, **options: str) -> dict[str, Any]:
    """One network as `docker network inspect` shows it."""
    named = {"com.docker.network.bridge.name": interface} | options
    subnet = {"Subnet": "172.30.0.0/24"}
    return {"Name": name, "Id": "c" * 64, "Driver": "bridge", "IPAM": {"Config": [subnet]}, "Containers": {}} | {
        "Options": named
    }


def good() -> World:
    """The document of the good host, new at each call."""
    release = {"release": 2, "image_id": IMAGE, "state": "proven", "proven_at": "2026-09-01T00:00:00Z"}
    commands = {
        "docker-info": command(
            {
                "SecurityOptions": ["name=apparmor", "name=seccomp,profile=builtin", "name=no-new-privileges"],
                "LiveRestoreEnabled": True,
                "Debug": False,
                "ExperimentalBuild": False,
                "LoggingDriver": "json-file",
                "Swarm": {"LocalNodeState": "inactive"},
                "RegistryConfig": {
                    "InsecureRegistryCIDRs": ["127.0.0.0/8"],
                    "IndexConfigs": {"docker.io": {"Name": "docker.io", "Secure": True}},
                },
            }
        ),
        "docker-containers": command([container()]),
        "docker-networks": command(
            [
                network(
                    "bridge",
                    "docker0",
                    **{
                        "com.docker.network.bridge.enable_icc": "false",
                        "com.docker.network.bridge.host_binding_ipv4": "127.0.0.1",
                    },
                ),
                network("clawkeep", "clawkeep0") | {"Labels": {"clawkeep.role": "agent"}},
            ]
        ),
        "engine-units": command(
            f"Id=docker.service\nExecMainStartTimestamp=@{STARTED}\n\n"
            "Id=docker.socket\nListen=/run/docker.sock (Stream)\n\nId=containerd.service"
        ),
        "agent-experiments": command(
            {
                "uid": 1000,
                "writes": {"/etc": "EACCES", "/etc/cron.d": "EACCES"},
                "writes-as-root": {"/etc": "ok", "/etc/cron.d": "ok"},
                "state": {"path": "/state", "write": "ok"},
                "engine-socket": {"agent": "EACCES", "root": "ok"},
                "ptrace": {"sibling": "EPERM", "own-child": "EPERM", "root": "ok"},
                "schedule": {
                    "crontab": {
                        "present": True,
                        "status": 1,
                        "says": "You (openclaw) are not allowed to use this program (crontab)",
                    },
                    "at": {"present": False},
                },
            }
        ),
        "sudo-list": command("User openclaw is not allowed to run sudo on lab.", status=1),
        "sshd-units": command(f"Id=ssh.service\nActiveState=active\nStateChangeTimestamp=@{STARTED}"),
        "sshd-T/0/0": command(SSHD),
        "sshd-T/0/1": command(SSHD),
        "ssh-offers/root": command("", status=255, stderr="root@127.0.0.1: Permission denied (publickey)."),
        "firewall-journal": command(
            journal(
                "armed id=01 conn=10:100",
                "confirmed id=01 conn=20:200",
                f"saved id=01 sha256={RULESET}",
                "loaded the rest",
            )
        ),
        "rollback-timers": command(""),
        "kill-plan": command(
            {
                "containers": [{"id": AGENT, "name": "openclaw", "restart_policy": "no"}],
                "bridges": ["clawkeep0"],
                "units": [],
                "revoke": [{"name": "gateway token", "where": "/etc/clawkeep/openclaw/gateway.env"}],
            }
        ),
        "ip-addr": command(
            [
                {
                    "ifname": "ens3",
                    "addr_info": [
                        {"family": "inet", "local": "203.0.113.10", "prefixlen": 24, "scope": "global"},
                        {"family": "inet6", "local": "2001:db8:113::10", "prefixlen": 64, "scope": "global"},
                    ],
                }
            ]
        ),
        "ip-route": command([{"dst": "default", "dev": "ens3"}]),
        "ip-route6": command([{"dst": "default", "dev": "ens3"}]),
    }
    facts = {
        "engine-processes": [
            {"pid": 8, "name": "containerd", "deleted": False, "argv": ["/usr/bin/containerd"]},
            {"pid": 9, "name": "dockerd", "deleted": False, "argv": ["/usr/sbin/dockerd", "-H", "fd://"]},
        ],
        "engine-version": {
            "Components": [
                {"Name": "Engine", "Version": "28.5.1"},
                {"Name": "containerd", "Version": "1.7.24~ds1"},
                {"Name": "runc", "Version": "1.1.15+ds1"},
            ]
        },
        "engine-images": [IMAGE, "sha256:" + "2" * 64],
        "engine-sockets": [],
        "engine-ping": {"socket": "/run/docker.sock", "status": 200, "engine": "1.45"},
        "tcp-answers": [{"address": "10.0.2.15", "port": 22, "owner": "/usr/sbin/sshd", "says": "sshd, not asked"}],
        "engine-files": [
            entry("/etc", 0o755, kind="directory", parent=True),
            entry("/etc/docker/daemon.json"),
            entry("/run/docker.sock", 0o660, kind="socket", gid=102),
        ],
        "engine-config": {
            "path": "/etc/docker/daemon.json",
            "present": True,
            "changed": STARTED - 5.0,
            "settings": {"userland-proxy": False, "iptables": True, "log-opts": {"max-size": "10m"}},
        },
        "engine-group": {
            "socket-group": "docker",
            "socket-gid": 102,
            "groups": ["docker"],
            "members": [],
            "primary": [],
            "processes": [],
        },
        "accounts": [
            account("root", 0, **{"shell": "/bin/bash"}),
            account("openclaw", 1000),
            account("ops", 2000, **{"shell": "/bin/bash", "groups": ["sudo"]}),
        ],
        "sudo-present": True,
        "lingering": [],
        "user-units": [],
        "agent-processes": [
            {
                "pid": 70,
                "name": "openclaw-gatewa",
                "cgroup": f"/system.slice/docker-{AGENT}.scope",
                "contained": True,
                "no-new-privs": True,
            }
        ],
        "agent-units": [],
        "revivers": [],
        "sshd-listeners": [{"pid": 5, "flags": [], "ports": [22]}],
        "sshd-specs": [
            {"why": "anyone", "key": "sshd-T/0/0", "spec": {"user": "root", "addr": "203.0.113.50"}},
            {"why": "anyone", "key": "sshd-T/0/1", "spec": {"user": "ops", "addr": "203.0.113.50"}},
        ],
        "sshd-files": [{"path": "/etc/ssh/sshd_config", "changed": STARTED - 9.0}],
        "sysctl": [[name, value] for name, value in sorted(parameters().items())],
        "published-port": {"port": 18789, "outcome": "open", "direct": ["open"]},
        "firewall-armed": None,
        "firewall-files": {"clawkeep.nft": {"sha256": RULESET}},
        "runbook": {
            "uid": 0,
            "mode": 0o640,
            "text": "# Recovery\n- Addresses: 203.0.113.10, 2001:db8:113::10\nCall Ada Byron, +44 20 0000.\n"
            "`clawkeep-firewall rollback`, `clawkeep-kill`, rollback.yml\n",
        },
        "route-sources": {"ipv4": "203.0.113.10", "ipv6": "2001:db8:113::10"},
        "kill-settings": "[kill]\nbridges = clawkeep0\n",
        "break-glass-files": [entry("/usr/local/sbin/clawkeep-kill", 0o755), entry("/etc/clawkeep/kill.conf")],
        "host-programs": programs(),
        "releases": {
            "present": True,
            "current": "2",
            "kept": [
                {"name": "1", "record": release | {"release": 1, "image_id": "sha256:" + "2" * 64}, "compose": COMPOSE},
                {"name": "2", "record": release, "compose": COMPOSE},
            ],
            "in-use": COMPOSE,
        },
    }
    return {"schema": 1, "commands": commands, "facts": facts, "problems": {}}


def parameters() -> dict[str, str]:
    """The kernel parameters of the good host, with one interface beside `all` and `default`."""
    on = """
        kernel/dmesg_restrict kernel/unprivileged_bpf_disabled kernel/kexec_load_disabled fs/protected_hardlinks
        fs/protected_symlinks net/ipv4/tcp_syncookies net/ipv4/icmp_echo_ignore_broadcasts net/ipv4/ip_forward
    """
    strict = """
        kernel/kptr_restrict kernel/yama/ptrace_scope kernel/randomize_va_space fs/protected_fifos
        fs/protected_regular net/core/bpf_jit_harden kernel/perf_event_paranoid
    """
    found = dict.fromkeys(on.split(), "1") | dict.fromkeys(strict.split(), "2")
    found |= {"fs/suid_dumpable": "0", "kernel/core_pattern": "|/bin/false"}
    for interface in ("all", "default", "lo", "eth0.5"):
        found[f"net/ipv4/conf/{interface}/rp_filter"] = "1"
        for name in ("accept_redirects", "secure_redirects", "send_redirects", "accept_source_route"):
            found[f"net/ipv4/conf/{interface}/{name}"] = "0"
        for name in ("accept_redirects", "accept_source_route", "accept_ra"):
            found[f"net/ipv6/conf/{interface}/{name}"] = "0"
    return found


def asked(kind: type[T], change: Callable[[World], object] | None = None) -> T:
    """The subject `kind` of the good host after `change`."""
    world = good()
    if change is not None:
        change(world)
    return HostEvidence("alpha", {"schema": 1, "host": "alpha", "inside": world}).subject(kind)


def fact(world: World, name: str, **changes: Any) -> None:
    """Change members of one fact that is a mapping."""
    world["facts"][name].update(changes)


def said(world: World, name: str, **changes: Any) -> None:
    """Change members of the JSON that one command printed."""
    world["commands"][name]["json"].update(changes)
