"""A good host with one gateway, as the collector records it, and how the controls judge it once it is changed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from clawkeep.base import repo
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.observation import Observation
from clawkeep.register import tiers
from clawkeep.site.inventory import Host, Image, Site
from clawkeep.verify.evaluate import Selection, evaluate
from clawkeep.verify.report import Result

IMAGE = "sha256:" + "a" * 64
HOME = "/var/lib/docker/containers/c1"
VOLUMES = "/var/lib/docker/volumes"
SCRATCH = ["/tmp", "/var/tmp", "/run", "/home/node/.npm"]  # noqa: S108
STATE, WORKSPACE = "/home/node/.openclaw", "/home/node/.openclaw/workspace"
TABLE = [
    "195 61 0:45 / / ro,relatime - overlay overlay rw,lowerdir=/l,upperdir=/u",
    "196 195 0:48 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw",
    "197 195 0:49 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755",
    "198 197 0:50 / /dev/pts rw,nosuid,noexec,relatime - devpts devpts rw,gid=5",
    "199 195 0:51 / /sys ro,nosuid,nodev,noexec,relatime - sysfs sysfs ro",
    "200 199 0:27 /system.slice/docker-c1.scope /sys/fs/cgroup ro,nosuid,nodev,noexec - cgroup2 cgroup rw",
    "201 197 0:47 / /dev/mqueue rw,nosuid,nodev,noexec,relatime - mqueue mqueue rw",
    "202 197 0:52 / /dev/shm rw,nosuid,nodev,noexec,relatime - tmpfs shm rw,size=65536k",
    *(
        f"{210 + n} 195 0:{60 + n} / {path} rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw,size=65536k"
        for n, path in enumerate(SCRATCH)
    ),
    *(
        f"{220 + n} 195 254:0 {HOME}/{name} /etc/{name} ro,noatime - ext4 /dev/vda rw"
        for n, name in enumerate(("resolv.conf", "hostname", "hosts"))
    ),
    f"230 195 254:0 {VOLUMES}/openclaw-state/_data {STATE} rw,nosuid,nodev,noatime - ext4 /dev/vda rw",
    f"231 230 254:0 {VOLUMES}/openclaw-workspace/_data {WORKSPACE} rw,nosuid,nodev,noatime - ext4 /dev/vda rw",
    "232 195 254:0 /etc/clawkeep/openclaw/openclaw.json /etc/openclaw/openclaw.json ro,noatime - ext4 /dev/vda rw",
    "62 196 0:48 /bus /proc/bus ro,nosuid,nodev,noexec,relatime - proc proc rw",
    "68 196 0:49 /null /proc/kcore rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755",
    "81 199 0:56 / /sys/firmware ro,relatime - tmpfs tmpfs ro",
]
HOST_TABLE = [
    "24 1 254:0 / / rw,noatime shared:1 - ext4 /dev/vda rw",
    "25 24 0:25 / /run rw,nosuid,nodev shared:5 - tmpfs tmpfs rw,size=400000k",
    "26 24 0:22 / /proc rw,nosuid,nodev,noexec shared:9 - proc proc rw",
    "27 24 0:27 / /sys/fs/cgroup rw,nosuid,nodev,noexec shared:10 - cgroup2 cgroup2 rw",
    f"30 24 254:0 {VOLUMES} {VOLUMES} rw,nosuid,nodev,noatime - ext4 /dev/vda rw",
    "31 24 0:45 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw",
]
HOST_NAMESPACES = {"cgroup": 35, "ipc": 39, "mnt": 41, "net": 40, "pid": 36, "user": 37, "uts": 38}
EMPTY = "0000000000000000"


def mount(kind: str, source: str, destination: str, *, name: str = "", rw: bool = True) -> dict[str, Any]:
    """One entry of `Mounts`."""
    entry: dict[str, Any] = {"Type": kind, "Source": source, "Destination": destination, "RW": rw, "Mode": ""}
    return {**entry, "Propagation": "rprivate" if kind == "bind" else "", **({"Name": name} if name else {})}


def host_config() -> dict[str, Any]:
    """HostConfig of the good gateway, as engine 26.1 shows it."""
    empty: dict[str, Any] = dict.fromkeys(
        [
            "BlkioDeviceReadBps",
            "BlkioDeviceReadIOps",
            "BlkioDeviceWriteBps",
            "BlkioDeviceWriteIOps",
            "BlkioWeightDevice",
            "CapAdd",
            "DeviceCgroupRules",
            "DeviceRequests",
            "Devices",
            "Dns",
            "DnsOptions",
            "DnsSearch",
            "ExtraHosts",
            "GroupAdd",
            "Links",
            "MemorySwappiness",
            "OomKillDisable",
            "StorageOpt",
            "Sysctls",
            "Ulimits",
            "VolumesFrom",
        ]
    )
    numbers = dict.fromkeys(
        [
            "BlkioWeight",
            "CpuCount",
            "CpuPercent",
            "CpuPeriod",
            "CpuQuota",
            "CpuRealtimePeriod",
            "CpuRealtimeRuntime",
            "CpuShares",
            "IOMaximumBandwidth",
            "IOMaximumIOps",
            "MemoryReservation",
            "OomScoreAdj",
        ],
        0,
    )
    words = dict.fromkeys(
        [
            "Cgroup",
            "CgroupParent",
            "ContainerIDFile",
            "CpusetCpus",
            "CpusetMems",
            "Isolation",
            "PidMode",
            "UTSMode",
            "UsernsMode",
            "VolumeDriver",
        ],
        "",
    )
    return {
        **empty,
        **numbers,
        **words,
        "AutoRemove": False,
        "Binds": None,
        "CapDrop": ["ALL"],
        "CgroupnsMode": "private",
        "ConsoleSize": [0, 0],
        "IpcMode": "private",
        "LogConfig": {"Type": "json-file", "Config": {}},
        "MaskedPaths": [
            *("/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list"),
            *("/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"),
        ],
        "Memory": 2 << 30,
        "MemorySwap": 2 << 30,
        "NanoCpus": 2_000_000_000,
        "NetworkMode": "clawkeep0",
        "PidsLimit": 512,
        "PortBindings": {"18789/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18789"}]},
        "Privileged": False,
        "PublishAllPorts": False,
        "ReadonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        "ReadonlyRootfs": True,
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 5},
        "Runtime": "runc",
        "SecurityOpt": ["no-new-privileges:true"],
        "ShmSize": 64 << 20,
        "Tmpfs": dict.fromkeys(SCRATCH, "noexec,nosuid,nodev,size=64m,mode=1777"),
    }


def container(name: str, **changes: Any) -> dict[str, Any]:
    """A running sidecar without any hardening, as `docker run` makes it."""
    plain = host_config() | {
        "CapDrop": None,
        "Memory": 0,
        "MemorySwap": 0,
        "NanoCpus": 0,
        "NetworkMode": "default",
        "PidsLimit": None,
        "PortBindings": {},
        "ReadonlyRootfs": False,
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "SecurityOpt": None,
        "Tmpfs": None,
    }
    return {
        "Id": f"id-{name}",
        "Name": f"/{name}",
        "Image": "sha256:" + "b" * 64,
        "Config": {"Image": "clawkeep/probe:1", "User": "", "Env": ["PATH=/bin"], "Labels": {}},
        "State": {"Running": True, "Status": "running", "Pid": 900},
        "HostConfig": plain,
        "NetworkSettings": {"Networks": {"bridge": {}}},
        "Mounts": [],
        "ResolvConfPath": f"/var/lib/docker/containers/id-{name}/resolv.conf",
        "HostnamePath": f"/var/lib/docker/containers/id-{name}/hostname",
        "HostsPath": f"/var/lib/docker/containers/id-{name}/hosts",
        "ExecIDs": None,
        **changes,
    }


def gateway() -> dict[str, Any]:
    """The good gateway."""
    return container(
        "openclaw",
        Image=IMAGE,
        Config={
            "Image": IMAGE,
            "User": "1000:1000",
            "Env": ["OPENCLAW_CONFIG_PATH=/etc/openclaw/openclaw.json"],
            "Labels": {
                "clawkeep.role": "agent",
                "clawkeep.release": "1",
                "com.docker.compose.project": "openclaw",
                "com.docker.compose.service": "gateway",
                "com.docker.compose.project.config_files": "/etc/clawkeep/openclaw/compose.yml",
            },
            "Healthcheck": {"Test": ["CMD", "node", "-e", "fetch('http://127.0.0.1:18789/healthz')"]},
        },
        State={"Running": True, "Status": "running", "Pid": 800, "Health": {"Status": "healthy"}},
        HostConfig=host_config(),
        NetworkSettings={"Networks": {"clawkeep0": {}}},
        Mounts=[
            mount("volume", f"{VOLUMES}/openclaw-state/_data", STATE, name="openclaw-state"),
            mount("volume", f"{VOLUMES}/openclaw-workspace/_data", WORKSPACE, name="openclaw-workspace"),
            mount("bind", "/etc/clawkeep/openclaw/openclaw.json", "/etc/openclaw/openclaw.json", rw=False),
        ],
        ResolvConfPath=f"{HOME}/resolv.conf",
        HostnamePath=f"{HOME}/hostname",
        HostsPath=f"{HOME}/hosts",
    )


def process(pid: int, first: int = 2000, **changes: Any) -> dict[str, Any]:
    """A good process; namespaces are numbered from `first`, the user namespace is the host's."""
    kinds = ("cgroup", "ipc", "mnt", "net", "pid", "uts")
    return {
        "pid": pid,
        "name": "openclaw-gatewa",
        "executable": "/usr/local/bin/node",
        "uids": [1000] * 4,
        "gids": [1000] * 4,
        "groups": [1000],
        "capabilities": dict.fromkeys(("inheritable", "permitted", "effective", "bounding", "ambient"), EMPTY),
        "no_new_privileges": "1",
        "seccomp": "2",
        "label": "docker-default (enforce)",
        "namespaces": {kind: first + n for n, kind in enumerate(kinds)} | {"user": HOST_NAMESPACES["user"]},
        **changes,
    }


def occupied(*processes: dict[str, Any]) -> dict[str, Any]:
    """One container's processes under the good limits."""
    limits = {"memory.max": str(2 << 30), "memory.swap.max": "0", "cpu.max": "200000 100000", "pids.max": "512"}
    return {"cgroup": "/system.slice/docker-c1.scope", "limits": limits, "processes": list(processes)}


def probe_rows() -> list[list[str]]:
    """What the probe finds in the good gateway."""
    writable = [*SCRATCH, STATE, WORKSPACE, "/dev/shm", "/dev/mqueue"]  # noqa: S108
    return [
        ["identity", "1000", "1000", "1000 1000", "1000 1000"],
        ["walk", "2641"],
        ["canary", WORKSPACE, "0"],
        ["canary", STATE, "0"],
        *(["writable", path] for path in writable),
        ["refused", "30", "2629"],
        *(["execute", path, "13", "0"] for path in SCRATCH),
        ["try", "tcp", "0"],
        ["try", "raw-socket", "1"],
        ["try", "mount", "1"],
        ["try", "getpid", "0"],
        ["try", "keyctl", "1"],
        ["try", "bpf", "1"],
        ["socket", "/tmp/node.sock", "0", ""],  # noqa: S108
        ["engine-port", "172.30.0.1", "2375", "110"],
        ["engine-port", "172.30.0.1", "2376", "110"],
        ["readable", "/etc/openclaw/openclaw.json", "0"],
        ["try", "unshare", "1"],
        ["done"],
    ]


def entry(path: str, mode: str = "0700", *, kind: str = "d", uid: int = 1000, **more: Any) -> dict[str, Any]:
    """One entry of a state tree."""
    return {"path": path, "kind": kind, "mode": mode, "uid": uid, "gid": uid, **more}


def tree(root: str, *entries: dict[str, Any], complete: bool = True) -> dict[str, Any]:
    """One walked tree."""
    return {"root": root, "entries": list(entries), "files": [], "counted": len(entries), "complete": complete}


def source(path: str, kind: str = "directory", *holds: str) -> dict[str, Any]:
    """What lies at a mount's source."""
    return {"real": path, "kind": kind, "holds": list(holds)}


def good() -> dict[str, Any]:
    """The inside document of the good host."""
    state, workspace = f"{VOLUMES}/openclaw-state/_data", f"{VOLUMES}/openclaw-workspace/_data"
    config = "/etc/clawkeep/openclaw/openclaw.json"
    reads = [
        {"tree": root, "path": ".", "as": who, "got": got}
        for root in (state, workspace)
        for who, got in (("service", "ok"), ("stranger", "EACCES"))
    ]

    def ran(value: object) -> dict[str, Any]:
        return {"argv": ["docker"], "status": 0, "json": value, "truncated": False}

    return {
        "schema": 1,
        "commands": {
            "docker-containers": ran([gateway()]),
            "docker-volumes": ran(
                [
                    {"Name": name, "Mountpoint": f"{VOLUMES}/{name}/_data", "Options": None}
                    for name in ("openclaw-state", "openclaw-workspace")
                ]
            ),
            "docker-info": ran({"OperatingSystem": "Debian GNU/Linux 13 (trixie)"}),
        },
        "facts": {
            "docker-execs": {},
            "engine-access": {"uid": 1000, "sockets": {"/run/docker.sock": {"root": "answered", "service": "EACCES"}}},
            "desktop-sharing": {},
            "host-namespaces": HOST_NAMESPACES,
            "container-processes": {"openclaw": occupied(process(800), process(801))},
            "host-mountinfo": HOST_TABLE,
            "container-mountinfo": {"openclaw": TABLE},
            "mount-sources": {state: source(state), workspace: source(workspace), config: source(config, "file")},
            "container-devices": {"openclaw": ["fd", "full", "null", "ptmx", "pts", "shm", "tty", "urandom", "zero"]},
            "privileged-files": {"openclaw": {"files": [], "executables": 483, "error": None}},
            "canaries": {"sensitive": ["/etc", "/root"], "workspaces": [workspace]},
            "inside-probe": {"openclaw": {"rows": probe_rows(), "error": None}},
            "state-trees": [
                tree(
                    state,
                    entry("."),
                    entry("tmp", "0755"),
                    entry("tmp/openclaw-1000/gateway.state.lock.sqlite", "0644", kind="f"),
                ),
                tree(workspace, entry("."), entry("AGENTS.md", "0644", kind="f")),
                tree(
                    "/etc/clawkeep/openclaw",
                    entry(".", "0755", uid=0),
                    entry("compose.yml", "0644", kind="f", uid=0),
                    entry("openclaw.json", "0400", kind="f"),
                    entry("gateway.env", "0600", kind="f", uid=0),
                ),
            ],
            "state-reads": reads,
        },
        "problems": {},
    }


Change = Callable[[dict[str, Any]], object]
CONTROLS = (*(f"CTR-{n:02}" for n in range(1, 11)), *(f"MNT-{n:02}" for n in range(1, 5)))


def judged(worlds: Mapping[str, Change], site: Site | None = None) -> dict[str, dict[str, Result]]:
    """The results by control of each world: the good host after a change to its document. One run of the suite."""
    checkout = repo.find()
    tier = tiers.load(checkout.tiers)["tier1_personal"]
    site = site or Site(name="unit", images=(Image(name="openclaw/openclaw", ids=(IMAGE,)),))
    observations = []
    for name, change in worlds.items():
        document = copy.deepcopy(good())
        change(document)
        evidence = HostEvidence(name, {"schema": 1, "host": name, "inside": document, "vantages": {}})
        observations.append(Observation(Host(name, tier, ()), site, evidence))
    found: dict[str, dict[str, Result]] = {name: {} for name in worlds}
    for result in evaluate(observations, Selection(CONTROLS), checkout=checkout).results:
        found[result.host][result.control] = result
    return found
