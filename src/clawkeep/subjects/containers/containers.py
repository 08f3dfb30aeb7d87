"""The containers of a host, stopped ones too, as `docker inspect` shows them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.parsing import boolean, get, integer, mapping, sequence, text, texts
from clawkeep.subjects.inspected import Inspected

CONTENT_ADDRESS = re.compile(r"(?:[^@\s]+@)?sha256:[0-9a-f]{64}")
ENGINE_VARIABLES = ("CONTAINERD_ADDRESS", "CONTAINER_HOST", "DOCKER_CONTEXT", "DOCKER_HOST")
PRIVATE_MODES = {  # HostConfig key: the values that give the container a namespace of its own
    "CgroupnsMode": ("private",),
    "IpcMode": ("private", "none"),
    "PidMode": ("",),
    "UTSMode": ("",),
    "UsernsMode": ("",),
}
RESTARTS = 5  # the most restarts after which a failing agent stays down


@dataclass(frozen=True)
class Attached:
    """One entry of a container's mounts: `kind` is `volume`, `bind` or `tmpfs`; `name` is a volume's."""

    kind: str
    name: str
    source: str
    destination: str
    writable: bool
    propagation: str


@dataclass(frozen=True)
class Container:
    """One container. `image` is the id it was made from, `reference` what was asked for; `host` is its HostConfig.

    `running` means that it has a process: between two restarts it has none. `user` and `health_test` are as configured;
    `health` is what the health check found last (empty without one).
    """

    name: str
    agent: bool
    running: bool
    image: str
    reference: str
    user: str
    labels: Mapping[str, str] = field(repr=False)
    variables: tuple[str, ...]
    health_test: tuple[str, ...]
    health: str
    host: Mapping[str, Any] = field(repr=False)
    networks: tuple[str, ...]
    attached: tuple[Attached, ...]
    engine_files: Mapping[str, str] = field(repr=False)

    @classmethod
    def parse(cls, value: object, *, agent: bool) -> Self:
        """One element of `docker inspect`; raises Unmeasured when it is not what the engine documents."""
        raw = mapping(value, "a container in docker inspect")
        name = text(raw.get("Name"), "a container's name").removeprefix("/")
        what = f"container {name}"
        config = mapping(raw.get("Config"), f"Config of {what}")
        state = mapping(raw.get("State"), f"State of {what}")
        network = mapping(raw.get("NetworkSettings"), f"NetworkSettings of {what}")
        labels = mapping(config.get("Labels") or {}, f"the labels of {what}")
        check = mapping(config.get("Healthcheck") or {}, f"the health check of {what}")
        health = mapping(state.get("Health") or {}, f"the health of {what}")
        return cls(
            name=name,
            agent=agent,
            running=boolean(state.get("Running"), f"Running of {what}")
            and integer(state.get("Pid"), f"the pid of {what}") > 0,
            image=text(raw.get("Image"), f"the image of {what}"),
            reference=text(config.get("Image"), f"the image reference of {what}"),
            user=text(config.get("User"), f"the user of {what}"),
            labels={key: str(label) for key, label in labels.items()},
            variables=tuple(
                entry.partition("=")[0] for entry in texts(config.get("Env") or [], f"the environment of {what}")
            ),
            health_test=texts(check.get("Test") or [], f"the health check of {what}"),
            health=text(health.get("Status", ""), f"the health of {what}"),
            host=mapping(raw.get("HostConfig"), f"HostConfig of {what}"),
            networks=tuple(sorted(mapping(network.get("Networks") or {}, f"the networks of {what}"))),
            attached=tuple(_attached(item, what) for item in sequence(raw.get("Mounts"), f"mounts of {what}")),
            engine_files={
                point: text(raw.get(key, ""), f"{key} of {what}")
                for point, key in (
                    ("/etc/resolv.conf", "ResolvConfPath"),
                    ("/etc/hostname", "HostnamePath"),
                    ("/etc/hosts", "HostsPath"),
                )
            },
        )

    def setting(self, key: str) -> Any:
        """One key of HostConfig, which must be there."""
        return get(self.host, key, f"HostConfig of container {self.name}")

    @property
    def powers(self) -> list[str]:
        """What the configuration gives of the host: privilege, devices, namespaces; each as a clause."""
        what = f"container {self.name}"
        clauses = ["is privileged"] if boolean(self.setting("Privileged"), f"Privileged of {what}") else []
        for key, noun in (
            ("Devices", "device"),
            ("DeviceCgroupRules", "device rule"),
            ("DeviceRequests", "device request"),
        ):
            clauses += [f"has the {noun} {item}" for item in sequence(self.setting(key) or [], f"{key} of {what}")]
        for key, own in PRIVATE_MODES.items():
            mode = text(self.setting(key), f"{key} of {what}")
            if mode not in own:
                clauses.append(f"has {key} {mode!r}")
        mode = text(self.setting("NetworkMode"), f"NetworkMode of {what}")
        if mode == "host" or mode.startswith(("container:", "ns:")):
            clauses.append(f"has NetworkMode {mode!r}")
        return clauses


def _attached(value: object, what: str) -> Attached:
    raw = mapping(value, f"a mount of {what}")
    return Attached(
        kind=text(raw.get("Type"), f"a mount's type in {what}"),
        name=text(raw.get("Name", ""), f"a mount's name in {what}"),
        source=text(raw.get("Source", ""), f"a mount's source in {what}"),
        destination=text(raw.get("Destination"), f"a mount's destination in {what}"),
        writable=boolean(raw.get("RW"), f"RW of a mount of {what}"),
        propagation=text(raw.get("Propagation", ""), f"a mount's propagation in {what}"),
    )


@dataclass(frozen=True)
class Containers:
    """All containers of a host; `privileged_sessions` are the running exec sessions by container id."""

    all: tuple[Container, ...]
    privileged_sessions: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """From `docker inspect` of every container, and the engine's list of exec sessions."""
        inspected = host.subject(Inspected)
        sessions = mapping(host.inside.fact("docker-execs"), "the exec sessions")
        return cls(
            tuple(Container.parse(item, agent=inspected.is_agent(item)) for item in inspected.containers),
            {
                identity: sum(_privileged(item) for item in sequence(running, "the exec sessions of a container"))
                for identity, running in sessions.items()
            },
        )

    @property
    def agents(self) -> tuple[Container, ...]:
        """The running containers that do agent work; raises Unmeasured when there is none."""
        found = tuple(one for one in self.all if one.agent and one.running)
        if not found:
            raise Unmeasured("no agent container is running, so nothing about one was measured")
        return found

    def users_other_than(self, uid: int) -> list[str]:
        """Agent containers that are not configured to run as `uid` with the group of the same number."""
        wanted = f"{uid}:{uid}"
        return [
            f"container {one.name} is configured to run as {one.user or 'root'}, not as {wanted}"
            for one in self.agents
            if one.user != wanted
        ]

    def with_host_powers(self) -> list[str]:
        """Agent containers that are privileged, hold a device or share a namespace by configuration."""
        return [f"container {one.name} {clause}" for one in self.agents for clause in one.powers]

    def with_privileged_sessions(self) -> list[str]:
        """Agent containers in which somebody's privileged `docker exec` is running."""
        return [
            f"container {one.name} has {count} privileged exec session{'s' if count > 1 else ''} running"
            for one in self.agents
            if (count := self.privileged_sessions.get(one.name, 0))
        ]

    def with_other_security_options(self, apparmor: str, seccomp: str) -> list[str]:
        """Agent containers whose options replace the profiles: `apparmor` by name, `seccomp` `default` or by name."""
        return [
            f"container {one.name} has the security option {_brief(option)}"
            for one in self.agents
            for option in texts(one.setting("SecurityOpt") or [], f"SecurityOpt of container {one.name}")
            if not _is_expected(option, apparmor, seccomp)
        ]

    def restarting_without_end(self) -> list[str]:
        """Agent containers that the engine revives without a limit."""
        found = []
        for one in self.agents:
            policy = mapping(one.setting("RestartPolicy"), f"RestartPolicy of container {one.name}")
            name = text(policy.get("Name", ""), f"RestartPolicy of container {one.name}")
            count = integer(policy.get("MaximumRetryCount", 0), f"MaximumRetryCount of container {one.name}")
            if name in ("", "no") or (name == "on-failure" and 0 < count <= RESTARTS):
                continue
            limit = f" with {count or 'endless'} tries" if name == "on-failure" else ""
            found.append(f"container {one.name} restarts by the policy {name}{limit}, not on-failure:{RESTARTS}")
        return found

    def not_healthy(self) -> list[str]:
        """Agent containers without a health check of the gateway, or not found healthy; Unmeasured while starting."""
        found, starting = [], []
        for one in self.agents:
            if one.health_test[:1] in ((), ("NONE",)) or not one.health:
                found.append(f"container {one.name} has no health check")
            elif not any("/healthz" in word for word in one.health_test):
                found.append(f"container {one.name} has a health check that does not ask /healthz")
            elif one.health == "starting":
                starting.append(one.name)
            elif one.health != "healthy":
                found.append(f"container {one.name} is {one.health}")
        if starting and not found:
            raise Unmeasured(f"container {starting[0]} is still starting: it has been neither healthy nor unhealthy")
        return found

    def of_other_images(self, identities: Iterable[str]) -> list[str]:
        """Agent containers that were made from an image whose id is not among `identities`."""
        locked = frozenset(identities)
        if not locked:
            raise Unmeasured("the site's images.lock.yml lists no image id to compare with")
        return [
            f"container {one.name} runs the image {one.image}, which images.lock.yml does not list"
            for one in self.agents
            if one.image not in locked
        ]

    def without_content_address(self) -> list[str]:
        """Agent containers whose image was named by something that can be moved: a tag."""
        return [
            f"container {one.name} was started from {one.reference}, a name that can come to mean another image"
            for one in self.agents
            if not CONTENT_ADDRESS.fullmatch(one.reference)
        ]

    def from_other_repositories(self, names: Iterable[str]) -> list[str]:
        """Agent containers whose image reference names a repository that is not among `names`."""
        allowed = frozenset(names)
        return [
            f"container {one.name} comes from {repository}, which images.lock.yml does not list"
            for one in self.agents
            if (repository := _repository(one.reference)) and repository not in allowed
        ]

    def with_engine_variables(self) -> list[str]:
        """Containers whose environment points at a container engine."""
        return [
            f"container {one.name} has {name} in its environment"
            for one in self.all
            for name in one.variables
            if name in ENGINE_VARIABLES
        ]


def _privileged(value: object) -> bool:
    session = mapping(value, "an exec session")
    return boolean(session.get("privileged"), "privileged of an exec session")


def _repository(reference: str) -> str:
    """The repository that a reference names; empty for a bare image id."""
    name = reference.partition("@")[0]
    if re.fullmatch(r"(?:sha256:)?[0-9a-f]{64}", name):
        return ""
    head, slash, last = name.rpartition("/")
    return head + slash + last.partition(":")[0]


def _brief(option: str) -> str:
    return option if len(option) <= 60 else option[:57] + "..."


def _is_expected(option: str, apparmor: str, seccomp: str) -> bool:
    name, value = (*re.split("[=:]", option, maxsplit=1), "")[:2]
    if name == "no-new-privileges":
        return True  # whether it is on is seen at the processes
    if name == "apparmor":
        return value == apparmor
    if name == "seccomp":
        return value == "builtin" if seccomp == "default" else value not in ("", "unconfined", "builtin")
    return False
