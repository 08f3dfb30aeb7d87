"""DKR-01 to DKR-04: what the engine's evidence must and must not show."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from clawkeep.base.verdict import Unmeasured
from clawkeep.subjects.containers.engine import Engine, version

from .world import STARTED, World, asked, command, entry, fact, good, said

FLOORS = {"containerd": "1.6.18", "runc": "1.1.12"}


def _networks(world: World | None = None) -> object:
    return (world or good())["commands"]["docker-networks"]["json"]


def _everything(engine: Engine) -> list[str]:
    return [
        *engine.below(FLOORS),
        *engine.below({"Engine": "28.0.0"}),
        *engine.replaced_while_running(),
        *engine.network_listeners(),
        *engine.relayed_api(),
        *engine.loose_files(),
        *engine.undeclared_members([]),
        *engine.opened_by_agent(),
        *engine.loose_defaults(_networks()),
        *engine.stale_settings(),
    ]


def test_the_good_engine_has_no_complaint() -> None:
    engine = asked(Engine)
    assert _everything(engine) == []
    assert engine.firewall_backend() == "iptables"
    assert engine.swarm() == "inactive"


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("26.1.5+dfsg1", (26, 1, 5)), ("v1.7.24~ds1", (1, 7, 24)), ("28.0.0-rc.1", (28, 0, 0)), ("dev", ())],
)
def test_versions_are_compared_by_number(text: str, numbers: tuple[int, ...]) -> None:
    assert version(text) == numbers


def _component(name: str, value: str) -> Callable[[World], object]:
    def change(world: World) -> None:
        for part in world["facts"]["engine-version"]["Components"]:
            if part["Name"] == name:
                part["Version"] = value

    return change


def _process(**more: object) -> Callable[[World], object]:
    row = {"pid": 77, "name": "containerd", "deleted": False, "argv": ["/usr/bin/containerd"]} | more
    return lambda world: world["facts"]["engine-processes"].append(row)


def _row(name: str, **row: object) -> Callable[[World], object]:
    return lambda world: world["facts"][name].append(row)


def _argument(*words: str) -> Callable[[World], object]:
    return lambda world: world["facts"]["engine-processes"][1]["argv"].extend(words)


def _unit_listens(world: World) -> None:
    world["commands"]["engine-units"]["lines"].insert(-2, "Listen=127.0.0.1:2375 (Stream)")


def _setting(name: str, value: object) -> Callable[[World], object]:
    return lambda world: world["facts"]["engine-config"]["settings"].update({name: value})


def _info(**changes: object) -> Callable[[World], object]:
    return lambda world: said(world, "docker-info", **changes)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (_component("Engine", "26.1.5+dfsg1"), "Engine 26.1.5+dfsg1 is older than 28.0.0"),
        (_component("runc", "1.1.7"), "runc 1.1.7 is older than 1.1.12"),
        (_process(name="containerd-shim-runc-v2", deleted=True), "containerd-shim-runc-v2 (pid 77) still runs"),
        (_process(name="dockerd", deleted=True), "dockerd (pid 77) still runs"),
        (
            _row("engine-sockets", proto="tcp", address="127.0.0.1", port=2375, owner="dockerd"),
            "dockerd listens on tcp 127.0.0.1:2375",
        ),
        (
            _row("engine-sockets", proto="udp6", address="::", port=4789, owner=None),
            "udp6 :::4789, an engine's port, is open",
        ),
        (_unit_listens, "docker.socket listens on 127.0.0.1:2375"),
        (_argument("-H", "tcp://127.0.0.1:2375"), "dockerd was started with tcp://127.0.0.1:2375"),
        (
            _row("tcp-answers", address="127.0.0.1", port=9443, owner="/usr/bin/socat", says="engine"),
            "/usr/bin/socat answers as the engine on 127.0.0.1:9443",
        ),
        (lambda w: w["facts"]["engine-files"].append(entry("/etc/x", uid=1000)), "/etc/x (mode 0644, uid 1000"),
        (lambda w: w["facts"]["engine-files"].append(entry("/etc/x", 0o666)), "is writable by everyone"),
        (lambda w: w["facts"]["engine-files"].append(entry("/etc/x", 0o664, gid=27)), "is writable by group 27"),
        (
            lambda w: w["facts"]["engine-files"][2].update(acl=[{"whom": "user", "id": 2000, "bits": 6}]),
            "/run/docker.sock has an access list that names user 2000",
        ),
        (lambda w: fact(w, "engine-group", members=["openclaw"]), "openclaw is a member of docker"),
        (lambda w: fact(w, "engine-group", primary=["backup"]), "backup has docker as the primary group"),
        (
            lambda w: fact(w, "engine-group", processes=[{"pid": 4, "uid": 2000, "name": "bash"}]),
            "process 4 (bash, uid 2000) still holds the group docker",
        ),
        (
            lambda w: said(w, "agent-experiments", **{"engine-socket": {"agent": "ok", "root": "ok"}}),
            "the agent's account (uid 1000) opens the engine's socket",
        ),
        (_info(SecurityOptions=["name=seccomp"]), "(no-new-privileges)"),
        (_info(LiveRestoreEnabled=False), "(live-restore)"),
        (_info(Debug=True), "log level is not info (debug)"),
        (_info(ExperimentalBuild=True), "experimental features are on"),
        (_info(LoggingDriver="syslog"), "logs grow without bound (log-driver syslog"),
        (_setting("log-opts", {}), "logs grow without bound (log-driver json-file"),
        (
            _info(RegistryConfig={"InsecureRegistryCIDRs": ["10.0.0.0/8"], "IndexConfigs": {}}),
            "the registry 10.0.0.0/8 is used without TLS",
        ),
        (
            _info(RegistryConfig={"IndexConfigs": {"r:5000": {"Secure": False}}}),
            "the registry r:5000 is used without TLS",
        ),
        (_setting("userland-proxy", True), "userland proxy"),
        (_process(name="docker-proxy"), "userland proxy"),
        (_argument("--iptables=false"), "(iptables)"),
        (_setting("ip6tables", False), "(ip6tables)"),
        (lambda w: fact(w, "engine-config", changed=STARTED + 60.0), "changed after dockerd started"),
    ],
)
def test_each_weakness_is_told(change: Callable[[World], object], complaint: str) -> None:
    complaints = _everything(asked(Engine, change))
    assert len(complaints) == 1
    assert complaint in complaints[0]


@pytest.mark.parametrize(
    ("option", "value", "complaint"),
    [
        ("com.docker.network.bridge.enable_icc", "true", "(icc)"),
        ("com.docker.network.bridge.host_binding_ipv4", "0.0.0.0", "opens on 0.0.0.0"),  # noqa: S104
    ],
)
def test_the_default_network_tells_what_is_in_force(option: str, value: str, complaint: str) -> None:
    world = good()
    _networks(world)[0]["Options"][option] = value  # type: ignore[index]
    complaints = asked(Engine).loose_defaults(_networks(world))
    assert len(complaints) == 1
    assert complaint in complaints[0]


def test_ip6tables_is_not_asked_of_an_engine_that_cannot() -> None:
    def change(world: World) -> None:
        _component("Engine", "26.1.5")(world)
        _setting("ip6tables", False)(world)

    assert asked(Engine, change).loose_defaults(_networks()) == []


def test_declared_members_are_allowed() -> None:
    engine = asked(Engine, lambda world: fact(world, "engine-group", members=["ops"], primary=["ops"]))
    assert engine.undeclared_members(["ops"]) == []


def test_a_new_engine_must_tell_its_backend() -> None:
    with pytest.raises(Unmeasured, match="backend"):
        asked(Engine, _component("Engine", "29.0.1")).firewall_backend()
    told = asked(Engine, _info(FirewallBackend={"Driver": "nftables"}))
    assert told.firewall_backend() == "nftables"


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w["facts"].update({"engine-processes": []}),
        lambda w: w["facts"].pop("engine-processes"),
        lambda w: w["commands"].update({"docker-info": command("", status=1, stderr="Cannot connect")}),
        lambda w: w["commands"].update({"docker-info": command({"ServerErrors": ["Cannot connect"]})}),
        lambda w: w["commands"].update({"docker-info": command([])}),
        lambda w: w["facts"].update({"engine-ping": {"socket": "/run/docker.sock", "status": None}}),
        lambda w: fact(w, "engine-version", Components=None),
        lambda w: w["facts"].pop("engine-version"),
        lambda w: said(w, "docker-info", SecurityOptions=None),
        lambda w: said(w, "docker-info", Debug="no"),
        lambda w: w["facts"].update({"engine-files": []}),
        lambda w: w["facts"].update({"engine-sockets": "none"}),
        lambda w: w["facts"].update(
            {"engine-sockets": [{"owner": "dockerd", "proto": "tcp", "address": [], "port": 1}]}
        ),
        lambda w: w["commands"].update({"docker-containers": command([{"HostConfig": {"PortBindings": "80"}}])}),
        lambda w: fact(w, "engine-group", groups=[]),
        lambda w: said(w, "agent-experiments", **{"engine-socket": {"agent": "EACCES", "root": "ENOENT"}}),
        lambda w: said(w, "agent-experiments", **{"engine-socket": {"agent": "ENOENT", "root": "ok"}}),
        lambda w: fact(w, "engine-config", problem="line 3"),
        lambda w: w["commands"].update({"engine-units": command("Id=docker.service")}),
        lambda w: w["commands"].update({"engine-units": command("Id=docker.service\nExecMainStartTimestamp=@²")}),
    ],
)
def test_what_was_not_measured_never_passes(change: Callable[[World], object]) -> None:
    with pytest.raises(Unmeasured):
        _everything(asked(Engine, change))
