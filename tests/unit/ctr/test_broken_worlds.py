"""Each weakness is told by exactly the controls that promise against it: crude ones, subtle ones, and the cases that
well-known checkers of containers are seen to miss.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jsonpatch
import pytest

from clawkeep.base import repo
from clawkeep.base.verdict import Status
from clawkeep.sabotage.world import place, read, read_patch

from . import worlds
from .worlds import STATE, VOLUMES, WORKSPACE, container, entry, mount, occupied, process, source

Document = dict[str, Any]
FULL = "000001ffffffffff"
TMP = "/tmp rw,nosuid,nodev"  # noqa: S108
RUNS_FROM_TMP = ("execute", "/tmp", "0", "0")  # noqa: S108


@dataclass(frozen=True)
class World:
    """A change of the good host, the controls that must fail for it, and words that one message must have."""

    change: Callable[[Document], object]
    red: frozenset[str]
    words: str


def facts(document: Document) -> Document:
    found: Document = document["facts"]
    return found


def gateway(document: Document) -> Document:
    found: Document = document["commands"]["docker-containers"]["json"][0]
    return found


def settings(**values: Any) -> Callable[[Document], object]:
    """Keys of the gateway's HostConfig."""
    return lambda document: gateway(document)["HostConfig"].update(values)


def first_process(**values: Any) -> Callable[[Document], object]:
    """Fields of the gateway's first process."""
    return lambda document: facts(document)["container-processes"]["openclaw"]["processes"][0].update(values)


def capability(kind: str, mask: str) -> Callable[[Document], object]:
    """One capability set of the gateway's first process."""
    return lambda d: facts(d)["container-processes"]["openclaw"]["processes"][0]["capabilities"].update({kind: mask})


def limit(file: str, value: str | None) -> Callable[[Document], object]:
    """One file of the gateway's cgroup."""
    return lambda document: facts(document)["container-processes"]["openclaw"]["limits"].update({file: value})


def row(*fields: str, instead: tuple[str, ...] = ()) -> Callable[[Document], object]:
    """A further row of the probe, in the place of those that begin with `instead`."""

    def change(document: Document) -> None:
        probe = facts(document)["inside-probe"]["openclaw"]
        kept = [one for one in probe["rows"] if not instead or tuple(one[: len(instead)]) != instead]
        probe["rows"] = [list(fields), *kept]

    return change


def without(kind: str) -> Callable[[Document], object]:
    """No row of the probe of this kind."""

    def change(document: Document) -> None:
        probe = facts(document)["inside-probe"]["openclaw"]
        probe["rows"] = [one for one in probe["rows"] if one[0] != kind]

    return change


def behind_the_last(document: Document) -> None:
    """A row behind the probe's last one."""
    facts(document)["inside-probe"]["openclaw"]["rows"].append(["writable", "/late"])


def table(old: str, new: str) -> Callable[[Document], object]:
    """A change of text in the kernel's mount table of the gateway; `old` is empty to add a line."""

    def change(document: Document) -> None:
        lines = facts(document)["container-mountinfo"]["openclaw"]
        changed = [line.replace(old, new) for line in lines] if old else [*lines, new]
        assert changed != lines
        facts(document)["container-mountinfo"]["openclaw"] = changed

    return change


def other(name: str, *mounts: Document, running: bool = True, **config: Any) -> Callable[[Document], object]:
    """A further container with binds and volumes, whose mount table the kernel derives from them."""

    def change(document: Document) -> None:
        made = container(name, Mounts=list(mounts))
        made["HostConfig"].update(config)
        if not running:
            made["State"] = {"Running": False, "Status": "created", "Pid": 0}
        document["commands"]["docker-containers"]["json"].append(made)
        known = facts(document)["mount-sources"]
        for item in mounts:
            known.setdefault(item["Source"], source(item["Source"]))
        if running:
            facts(document)["container-processes"][name] = occupied(
                process(900, first=3000, name="metrics", label="unconfined")
            )
            facts(document)["container-mountinfo"][name] = [
                f"400 300 254:0 {known[item['Source']]['real']} {item['Destination']} rw - ext4 /dev/vda rw"
                for item in mounts
            ]

    return change


def behind(path: str, real: str, kind: str = "directory", *holds: str) -> Callable[[Document], object]:
    """A source that is a link to `real`."""
    return lambda document: facts(document)["mount-sources"].update({path: source(real, kind, *holds)})


def volume(name: str, device: str) -> Callable[[Document], object]:
    """A named volume that binds a path of the host."""

    def change(document: Document) -> None:
        options = {"type": "none", "o": "bind", "device": device}
        made = {"Name": name, "Mountpoint": f"{VOLUMES}/{name}/_data", "Options": options}
        document["commands"]["docker-volumes"]["json"].append(made)
        facts(document)["mount-sources"][device] = source(device)

    return change


def state(*entries: Document) -> Callable[[Document], object]:
    """Further entries of the state volume."""
    return lambda document: facts(document)["state-trees"][0]["entries"].extend(entries)


def project(path: str, **values: Any) -> Callable[[Document], object]:
    """Fields of an entry of the rendered project."""

    def change(document: Document) -> None:
        (found,) = [one for one in facts(document)["state-trees"][2]["entries"] if one["path"] == path]
        found.update(values)

    return change


def both(*changes: Callable[[Document], object]) -> Callable[[Document], object]:
    def change(document: Document) -> None:
        for one in changes:
            one(document)

    return change


def desktop(*shared: str | None) -> Callable[[Document], object]:
    """A Desktop engine that shares folders; None for one whose settings do not name any, none for no settings."""
    folders = None if shared == (None,) else list(shared)

    def change(document: Document) -> None:
        document["commands"]["docker-info"]["json"]["OperatingSystem"] = "Docker Desktop"
        facts(document)["desktop-sharing"] = {"/Users/ada/settings-store.json": folders} if shared else {}

    return change


def world(change: Callable[[Document], object], red: str, words: str) -> World:
    return World(change, frozenset(red.split()), words)


def user(text: str) -> Callable[[Document], object]:
    return lambda document: gateway(document)["Config"].update(User=text)


def image(**values: str) -> Callable[[Document], object]:
    return lambda document: gateway(document)["Config"].update(values)


SESSION = {"openclaw": [{"pid": 802, "user": "", "privileged": True}]}
KEYS = mount("bind", "/root/.ssh", "/keys", rw=False)
PROPAGATED = {**mount("bind", "/srv/x", "/srv/x"), "Propagation": "rshared"}

WORLDS = {
    # CTR-01
    "root": world(both(user("0"), first_process(uids=[0] * 4)), "CTR-01 CTR-09", "uid 0"),
    "group-root": world(both(user("1000:0"), first_process(gids=[0] * 4)), "CTR-01 CTR-09", "gid 0"),
    "docker-group": world(first_process(groups=[1000, 992]), "CTR-01", "further groups 992"),
    "effective-only": world(first_process(uids=[1000, 0, 1000, 1000]), "CTR-01", "uid 0"),
    "root-helper": world(
        lambda d: facts(d)["container-processes"]["openclaw"]["processes"].append(process(802, uids=[0] * 4)),
        "CTR-01",
        "process 802",
    ),
    "next-start": world(user(""), "CTR-01 CTR-09", "configured to run as root"),
    # CTR-02; row 3 of the defects: nothing was added, so a look at CapAdd alone passes
    "nothing-dropped": world(
        both(settings(CapDrop=None), capability("bounding", "00000000a80425fb")), "CTR-02 CTR-09", "bounding set"
    ),
    "two-dropped": world(
        both(settings(CapDrop=["SYS_ADMIN", "NET_RAW"]), capability("bounding", "00000000a80405fb")),
        "CTR-02 CTR-09",
        "CHOWN",
    ),
    "raw-added": world(
        both(settings(CapAdd=["NET_RAW"]), capability("bounding", "0000000000002000")), "CTR-02 CTR-09", "NET_RAW"
    ),
    "ambient": world(capability("ambient", "0000000000000400"), "CTR-02", "NET_BIND_SERVICE in its ambient set"),
    "inheritable": world(capability("inheritable", "0000020000000000"), "CTR-02", "bit 41"),
    "raw-works": world(row("try", "raw-socket", "0", instead=("try", "raw-socket")), "CTR-02", "raw-socket succeeds"),
    # CTR-03
    "writable-root": world(
        both(settings(ReadonlyRootfs=False), table("/ / ro", "/ / rw"), row("writable", "/home/node")),
        "CTR-03 CTR-09",
        "/home/node",
    ),
    "runs-from-tmp": world(
        both(table(f"{TMP},noexec", TMP), row(*RUNS_FROM_TMP, instead=RUNS_FROM_TMP[:2])),
        "CTR-03",
        "without noexec",
    ),
    "endless-tmp": world(
        table("relatime - tmpfs tmpfs rw,size=65536k", "relatime - tmpfs tmpfs rw"), "CTR-03", "size limit"
    ),
    "image-volume": world(
        both(
            lambda d: gateway(d)["Mounts"].append(mount("volume", f"{VOLUMES}/f00/_data", "/srv/data", name="f00")),
            behind(f"{VOLUMES}/f00/_data", f"{VOLUMES}/f00/_data"),
            table("", f"300 195 254:0 {VOLUMES}/f00/_data /srv/data rw,nosuid,nodev - ext4 /dev/vda rw"),
            lambda d: facts(d)["state-trees"].append(worlds.tree(f"{VOLUMES}/f00/_data", entry("."))),
            lambda d: facts(d)["state-reads"].extend(
                {"tree": f"{VOLUMES}/f00/_data", "path": ".", "as": who, "got": got}
                for who, got in (("service", "ok"), ("stranger", "EACCES"))
            ),
            row("writable", "/srv/data"),
        ),
        "CTR-03 CTR-09 MNT-03",
        "/srv/data",
    ),
    # CTR-04
    "may-gain": world(
        both(settings(SecurityOpt=[]), first_process(no_new_privileges="0")), "CTR-04 CTR-09", "no_new_privs"
    ),
    "setuid-in-workspace": world(
        lambda d: facts(d)["privileged-files"]["openclaw"]["files"].append([f"{WORKSPACE}/.x", "4755", 0, False]),
        "CTR-04",
        "4755",
    ),
    "file-capability": world(
        lambda d: facts(d)["privileged-files"]["openclaw"]["files"].append(["/app/ping", "755", 0, True]),
        "CTR-04",
        "file capabilities",
    ),
    # CTR-05
    "no-seccomp": world(
        both(settings(SecurityOpt=["no-new-privileges:true", "seccomp=unconfined"]), first_process(seccomp="0")),
        "CTR-05 CTR-09",
        "no seccomp filter",
    ),
    "complain-mode": world(first_process(label="docker-default (complain)"), "CTR-05", "(complain)"),
    "unconfined": world(
        both(
            settings(SecurityOpt=["no-new-privileges:true", "apparmor=unconfined"]), first_process(label="unconfined")
        ),
        "CTR-05 CTR-09",
        "unconfined",
    ),
    "filter-that-allows": world(
        both(
            settings(SecurityOpt=["no-new-privileges:true", 'seccomp={"defaultAction":"SCMP_ACT_ALLOW"}']),
            row("try", "keyctl", "126", instead=("try", "keyctl")),
        ),
        "CTR-05 CTR-09",
        "ENOKEY",
    ),
    "unmasked-paths": world(
        settings(SecurityOpt=["no-new-privileges:true", "systempaths=unconfined"], MaskedPaths=[]),
        "CTR-05 CTR-09",
        "systempaths",
    ),
    # CTR-06
    "privileged": world(
        both(settings(Privileged=True), capability("bounding", FULL)), "CTR-02 CTR-06 CTR-09", "privileged"
    ),
    "host-pid": world(
        both(settings(PidMode="host"), first_process(namespaces=process(1)["namespaces"] | {"pid": 36})),
        "CTR-06 CTR-09",
        "host's pid namespace",
    ),
    "joined-network": world(settings(NetworkMode="container:abc"), "CTR-06 CTR-09", "container:abc"),
    "visited-network": world(
        both(
            other("peek", NetworkMode="container:openclaw"),
            lambda d: facts(d)["container-processes"]["peek"]["processes"][0]["namespaces"].update(net=2003),
        ),
        "CTR-06 CTR-09",
        "shares its net namespace with container peek",
    ),
    "device-rule": world(settings(DeviceCgroupRules=["c 1:1 rwm"]), "CTR-06 CTR-09", "device rule"),
    "device": world(lambda d: facts(d)["container-devices"]["openclaw"].append("sda"), "CTR-06", "/dev/sda"),
    "privileged-session": world(
        both(
            lambda d: facts(d).update({"docker-execs": SESSION}),
            lambda d: facts(d)["container-processes"]["openclaw"]["processes"].append(
                process(802, capabilities=dict.fromkeys(process(1)["capabilities"], FULL))
            ),
        ),
        "CTR-02 CTR-06",
        "privileged exec session",
    ),
    # CTR-07
    "no-process-limit": world(
        both(settings(PidsLimit=-1), limit("pids.max", "max")), "CTR-07 CTR-09", "no limit in pids.max"
    ),
    "endless-swap": world(limit("memory.swap.max", "max"), "CTR-07", "memory.swap.max"),
    "more-memory": world(
        both(settings(Memory=3 << 30), limit("memory.max", str(3 << 30))), "CTR-07 CTR-09", "memory.max"
    ),
    "more-processors": world(limit("cpu.max", "400000 100000"), "CTR-07", "4 processors"),
    "no-health-check": world(
        lambda d: gateway(d)["Config"].update(Healthcheck={"Test": ["NONE"]}), "CTR-07", "no health check"
    ),
    "idle-health-check": world(
        lambda d: gateway(d)["Config"].update(Healthcheck={"Test": ["CMD", "true"]}), "CTR-07", "does not ask /healthz"
    ),
    "unhealthy": world(lambda d: gateway(d)["State"].update(Health={"Status": "unhealthy"}), "CTR-07", "is unhealthy"),
    "restarts-always": world(
        settings(RestartPolicy={"Name": "always", "MaximumRetryCount": 0}), "CTR-07 CTR-09", "always"
    ),
    # CTR-08
    "latest": world(image(Image="ghcr.io/openclaw/openclaw:latest"), "CTR-08", "come to mean another image"),
    "other-image": world(lambda d: gateway(d).update(Image="sha256:" + "c" * 64), "CTR-08", "does not list"),
    "other-registry": world(image(Image="evil.example/openclaw@sha256:" + "a" * 64), "CTR-08", "evil.example/openclaw"),
    # CTR-09
    "no-release": world(
        lambda d: gateway(d)["Config"]["Labels"].update({"clawkeep.release": "²"}), "CTR-09", "no numbered release"
    ),
    "extra": world(other("metrics"), "CTR-09", "container metrics (running"),
    "leftover": world(other("clawdbot", running=False), "CTR-09", "container clawdbot (stopped"),
    "second-network": world(
        lambda d: gateway(d)["NetworkSettings"]["Networks"].update({"side": {}}), "CTR-09", "the network side"
    ),
    "override-file": world(
        lambda d: gateway(d)["Config"]["Labels"].update({"com.docker.compose.project.config_files": "/a.yml,/b.yml"}),
        "CTR-09",
        "/a.yml,/b.yml",
    ),
    "unknown-setting": world(settings(FutureKey=["x"]), "CTR-09", "FutureKey"),
    "published-wide": world(
        settings(PortBindings={"18789/tcp": [{"HostIp": "::", "HostPort": "18789"}]}), "CTR-09", "PortBindings"
    ),
    "login-service": world(first_process(name="sshd"), "CTR-09", "remote login"),
    # CTR-10
    "desktop-unhardened": world(
        both(desktop("/Users/ada/openclaw"), settings(ReadonlyRootfs=False)), "CTR-09 CTR-10", "writable root"
    ),
    "desktop-shares-home": world(desktop("/Users/ada"), "CTR-10", "shares /Users/ada"),
    "desktop-shares-parent": world(desktop("/Users/ada/openclaw", "/"), "CTR-10", "shares /"),
    "desktop-shares-its-default": world(desktop(None), "CTR-10", "shares what it shares by default"),
    # MNT-01; row 2 and 6 of the defects: directories around the socket, links, names that are not docker.sock
    "mounted-socket": world(
        both(
            other("portal", mount("bind", "/var/run/docker.sock", "/s")),
            behind("/var/run/docker.sock", "/run/docker.sock"),
        ),
        "CTR-09 MNT-01 MNT-02",
        "engine socket /run/docker.sock",
    ),
    "mounted-run": world(
        other("agentless", mount("bind", "/run", "/r", rw=False)), "CTR-09 MNT-01 MNT-02", "docker.sock"
    ),
    "linked-run": world(
        both(behind("/srv/t", "/run"), other("telemetry", mount("bind", "/srv/t", "/t"))),
        "CTR-09 MNT-01 MNT-02",
        "/run",
    ),
    "socket-proxy": world(
        row("socket", f"{WORKSPACE}/.relay", "0", "HTTP/1.0 200 OK\r\nApi-Version: 1.45\r\n"), "MNT-01", ".relay"
    ),
    "engine-port": world(
        row("engine-port", "172.30.0.1", "2375", "0", instead=("engine-port", "172.30.0.1", "2375")),
        "MNT-01",
        "port 2375",
    ),
    "docker-host": world(
        lambda d: gateway(d)["Config"]["Env"].append("DOCKER_HOST=tcp://10.0.0.1:2375"), "MNT-01", "DOCKER_HOST"
    ),
    "open-to-service": world(
        lambda d: facts(d)["engine-access"]["sockets"]["/run/docker.sock"].update(service="ok"), "MNT-01", "uid 1000"
    ),
    # MNT-02; row 2 and 6 of the defects: read-only, below and around, and no false alarm for lookalikes
    "keys": world(other("deploy", KEYS), "CTR-09 MNT-02", "/root/.ssh"),
    "below-etc": world(other("a", mount("bind", "/etc/ssh", "/x", rw=False)), "CTR-09 MNT-02", "/etc/ssh"),
    "around-docker": world(other("a", mount("bind", "/var/lib", "/x")), "CTR-09 MNT-02", "contains /var/lib/docker"),
    "whole-host": world(other("a", mount("bind", "/", "/host", rw=False)), "CTR-09 MNT-01 MNT-02", "is /"),
    "user-keys": world(other("a", mount("bind", "/srv/ada/.ssh", "/x", rw=False)), "CTR-09 MNT-02", "lies in a .ssh"),
    "keys-far-below": world(
        both(behind("/srv/x", "/srv/x", "directory", "b/ada/.ssh"), other("a", mount("bind", "/srv/x", "/x"))),
        "CTR-09 MNT-02",
        "b/ada/.ssh in /srv/x",
    ),
    "holds-keys": world(
        both(behind("/srv/ada", "/srv/ada", "directory", ".ssh"), other("a", mount("bind", "/srv/ada", "/x"))),
        "CTR-09 MNT-02",
        ".ssh in /srv/ada",
    ),
    "linked-etc": world(
        both(behind("/srv/data", "/etc"), other("a", mount("bind", "/srv/data", "/x"), running=False)),
        "CTR-09 MNT-02",
        "is /etc",
    ),
    "bound-volume": world(
        both(
            volume("reports", "/home"),
            other("a", mount("volume", f"{VOLUMES}/reports/_data", "/x", name="reports"), running=False),
        ),
        "CTR-09 MNT-02",
        "is /home",
    ),
    "kernel-knows": world(
        both(
            other("a"),
            lambda d: facts(d)["container-mountinfo"]["a"].append("9 1 254:0 /home/ada /x rw - ext4 /dev/vda rw"),
        ),
        "CTR-09 MNT-02",
        "/home/ada",
    ),
    "canary": world(row("canary", "/mnt/etc", "0"), "MNT-02", "/mnt/etc"),
    "innocent": world(other("a", mount("bind", "/srv/etc-backup", "/lib/etc")), "CTR-09", "container a"),
    # MNT-03
    "extra-volume": world(
        both(
            lambda d: gateway(d)["Mounts"].append(mount("bind", "/srv/x", "/srv/x")),
            behind("/srv/x", "/srv/x"),
            table("", "300 195 254:0 /srv/x /srv/x rw - ext4 /dev/vda rw"),
        ),
        "CTR-09 MNT-03",
        "/srv/x",
    ),
    "volume-of-two": world(
        other("indexer", mount("volume", f"{VOLUMES}/openclaw-workspace/_data", "/w", name="openclaw-workspace")),
        "CTR-09 MNT-03",
        "both container indexer and container openclaw",
    ),
    "shared-by-wish": world(
        both(
            lambda d: gateway(d)["Mounts"].append(PROPAGATED),
            behind("/srv/x", "/srv/x"),
            table("", "300 195 254:0 /srv/x /srv/x rw - ext4 /dev/vda rw"),
        ),
        "CTR-09 MNT-03",
        "rshared",
    ),
    "shared-in-the-kernel": world(
        table("noatime - ext4 /dev/vda rw", "noatime shared:77 - ext4 /dev/vda rw"), "MNT-03", "shared:77"
    ),
    "secret-mount": world(
        table("", "300 195 0:99 /x /srv/x rw - ext4 /dev/vdb rw"), "MNT-03", "the engine does not know of"
    ),
    "suid-volume": world(
        table("_data /home/node/.openclaw rw,nosuid,nodev", "_data /home/node/.openclaw rw,nodev"), "MNT-03", "nosuid"
    ),
    # MNT-04
    "readable-configuration": world(project("openclaw.json", mode="0644"), "MNT-04", "0644"),
    "readable-environment": world(project("gateway.env", mode="0640"), "MNT-04", "gateway.env"),
    "access-list": world(
        state(entry("state/openclaw.sqlite", "0600", kind="f", acl=["user::rw-", "user:65534:r--", "mask::r--"])),
        "MNT-04",
        "user:65534:r--",
    ),
    "readable-journal": world(state(entry("state/openclaw.sqlite-wal", "0644", kind="f")), "MNT-04", "-wal"),
    "readable-credential": world(state(entry("credentials/x", "0640", kind="f")), "MNT-04", "credentials/x"),
    "writable-by-all": world(state(entry("media/x", "0666", kind="f")), "MNT-04", "everybody may write"),
    "link-out": world(state(entry("media/x", "0777", kind="l", target="/etc/shadow")), "MNT-04", "/etc/shadow"),
    "climbing-link": world(state(entry("a/x", "0777", kind="l", target="../../x")), "MNT-04", "../../x"),
    "open-root": world(lambda d: facts(d)["state-trees"][0]["entries"][0].update(mode="0755"), "MNT-04", "0755"),
    "stranger-reads": world(
        lambda d: facts(d)["state-reads"].append(
            {"tree": f"{VOLUMES}/openclaw-state/_data", "path": "x.sqlite", "as": "stranger", "got": "ok"}
        ),
        "MNT-04",
        "other than the agent's can read",
    ),
}


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, Any]]:
    return worlds.judged({name: one.change for name, one in WORLDS.items()})


@pytest.mark.parametrize("name", WORLDS)
def test_exactly_its_controls_turn_red(found: Any, name: str) -> None:
    red = {control: result.message for control, result in found[name].items() if result.status is Status.FAIL}
    assert set(red) == WORLDS[name].red, red
    unmeasured = [
        f"{c}: {r.message}" for c, r in found[name].items() if r.status in (Status.INCONCLUSIVE, Status.ERROR)
    ]
    assert unmeasured == []


@pytest.mark.parametrize("name", WORLDS)
def test_the_message_says_what_is_wrong(found: Any, name: str) -> None:
    said = "\n".join(
        text
        for result in found[name].values()
        if result.status is Status.FAIL
        for text in (result.message, *(str(excerpt) for excerpt in result.evidence))
    )
    assert WORLDS[name].words in said


# A row that the probe would not have given: whoever wrote it would be believed in everything else, too.
OF_THE_PROBE = frozenset("CTR-01 CTR-02 CTR-03 CTR-05 MNT-01 MNT-02 MNT-04".split())  # noqa: SIM905
FORGED: dict[str, tuple[Callable[[Document], object], str]] = {
    "second-refusal": (row("try", "keyctl", "1"), "it tells of try keyctl twice"),
    "second-success": (row("try", "tcp", "0"), "it tells of try tcp twice"),
    "second-identity": (row("identity", "0", "0", "0 0", "0 0"), "it tells of identity twice"),
    "second-port": (row("engine-port", "172.30.0.1", "2375", "111"), "it tells of engine-port 172.30.0.1 2375 twice"),
    "second-end": (row("done"), "it tells of done twice"),
    "unknown-kind": (row("verdict", "good"), "it has no rows 'verdict'"),
    "no-kind": (row(""), "it has no rows ''"),
    "behind-the-last": (behind_the_last, "there is a row writable behind its last one"),
    "seen-by-the-collector": (
        lambda d: facts(d)["inside-probe"]["openclaw"].update(
            rows=[], error="it was traced", tampering=["it is traced"]
        ),
        "openclaw: it is traced",
    ),
}


@pytest.fixture(scope="module")
def forged() -> dict[str, dict[str, Any]]:
    return worlds.judged({name: change for name, (change, _) in FORGED.items()})


@pytest.mark.parametrize("name", FORGED)
def test_whoever_interferes_with_the_probe_turns_red_all_that_rests_on_it(forged: Any, name: str) -> None:
    red = {c: r for c, r in forged[name].items() if r.status is Status.FAIL}
    assert set(red) == OF_THE_PROBE
    for result in red.values():
        said = " ".join([result.message, *(str(one.excerpt) for one in result.evidence)])
        assert "a process of the agent interfered with the probe in container openclaw" in said
        assert FORGED[name][1] in said


BLIND = {  # what takes a control experiment away: no refusal counts any more
    "tcp-dead": (row("try", "tcp", "101", instead=("try", "tcp")), "CTR-02 MNT-01"),
    "calls-dead": (row("try", "getpid", "38", instead=("try", "getpid")), "CTR-05"),
    "no-walk": (without("walk"), "CTR-03"),
    "no-scratch": (without("execute"), "CTR-03"),
    "probe-cut": (without("done"), "CTR-03 MNT-01 MNT-02"),
    "no-canary": (without("canary"), "MNT-02"),
    "disk-full": (row("refused", "28", "1"), "CTR-03"),
    "script-not-written": (row("execute", "/tmp", "28", "1", instead=("execute", "/tmp")), "CTR-03"),  # noqa: S108
    "script-held-open": (row("execute", "/tmp", "26", "0", instead=("execute", "/tmp")), "CTR-03"),  # noqa: S108
    "script-empty": (row("execute", "/tmp", "8", "0", instead=("execute", "/tmp")), "CTR-03"),  # noqa: S108
    "socket-full": (row("socket", "/run/docker.sock", "11", ""), "MNT-01"),
    "no-descriptors": (
        row("engine-port", "172.30.0.1", "2375", "24", instead=("engine-port", "172.30.0.1", "2375")),
        "MNT-01",
    ),
    "engine-silent": (
        lambda d: facts(d)["engine-access"]["sockets"]["/run/docker.sock"].update(root="ECONNREFUSED"),
        "MNT-01",
    ),
    "no-executables": (lambda d: facts(d)["privileged-files"]["openclaw"].update(executables=0), "CTR-04"),
    "search-cut": (lambda d: facts(d)["privileged-files"]["openclaw"].update(error="it did not end"), "CTR-04"),
    "no-label": (first_process(label=None), "CTR-05"),
    "no-cgroup": (limit("pids.max", None), "CTR-07"),
    "no-number": (limit("pids.max", "²"), "CTR-07"),
    "no-quota": (limit("cpu.max", "² 100000"), "CTR-07"),
    "no-period": (limit("cpu.max", "200000 ²"), "CTR-07"),
    "endless-quota": (limit("cpu.max", "9" * 400 + " 100000"), "CTR-07"),
    "no-errno": (row("try", "tcp", "²", instead=("try", "tcp")), "CTR-02 MNT-01"),
    "starting": (lambda d: gateway(d)["State"].update(Health={"Status": "starting"}), "CTR-07"),
    "no-processes": (
        lambda d: facts(d)["container-processes"]["openclaw"].update(processes=[]),
        "CTR-01 CTR-02 CTR-04 CTR-05 CTR-06 CTR-07 CTR-09",
    ),
    "source-cut": (
        lambda d: facts(d)["mount-sources"]["/etc/clawkeep/openclaw/openclaw.json"].update(complete=False),
        "MNT-02",
    ),
    "tree-cut": (lambda d: facts(d)["state-trees"][0].update(complete=False), "MNT-04"),
    "service-refused": (lambda d: facts(d)["state-reads"][0].update(got="EACCES"), "MNT-04"),
    "no-devices": (lambda d: facts(d)["container-devices"].update(openclaw=None), "CTR-06"),
    "desktop-unknown": (desktop(), "CTR-10"),
}


@pytest.fixture(scope="module")
def blind() -> dict[str, dict[str, Any]]:
    return worlds.judged({name: change for name, (change, _) in BLIND.items()})


@pytest.mark.parametrize("name", BLIND)
def test_without_its_control_experiment_nothing_passes(blind: Any, name: str) -> None:
    results = blind[name]
    assert {c for c, r in results.items() if r.status is Status.INCONCLUSIVE} == set(BLIND[name][1].split()), {
        c: r.message for c, r in results.items() if r.status not in (Status.PASS, Status.NOT_APPLICABLE)
    }
    assert [c for c, r in results.items() if r.status in (Status.FAIL, Status.ERROR)] == []


def test_state_is_where_openclaw_keeps_it() -> None:
    assert WORKSPACE.startswith(STATE)


@pytest.mark.parametrize("stem", ["CTR-10-options-removed", "CTR-10-shared-home"])
def test_the_constructed_worlds_fit_what_the_collector_records(stem: str) -> None:
    sabotage = read(place(repo.find().sabotages, stem))

    def patched(document: Document) -> None:
        changed = jsonpatch.apply_patch({"inside": document}, read_patch(sabotage))
        document.update(changed["inside"])

    results = worlds.judged({stem: patched})[stem]
    assert {control for control, result in results.items() if result.status is Status.FAIL} == sabotage.red
