"""The kept releases of the agent's container: what can be gone back to, and whether that would be safe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Self

import yaml

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import Document, HostEvidence
from clawkeep.evidence.parsing import mapping, rows, text, texts
from clawkeep.subjects.inspected import Inspected
from clawkeep_host.agents import ROLE, is_task

FOLDER = "/etc/clawkeep/releases"
LABEL = "clawkeep.release"
SERVICE = "gateway"
PROVEN = "proven"
FAILED = "failed"


@dataclass(frozen=True)
class Release:
    """One kept release: its record (release.json), and its Compose file parsed (None when it is not readable)."""

    name: str
    record: Mapping[str, Any]
    compose: Mapping[str, Any] | None

    @property
    def state(self) -> str:
        """`proven` once it was healthy, `candidate` before, `failed` when it never was; empty when not recorded."""
        return str(self.record.get("state", ""))

    @property
    def image(self) -> str:
        """The image's id, `sha256:...`; empty when not recorded."""
        return str(self.record.get("image_id", ""))

    @property
    def service(self) -> Mapping[str, Any] | None:
        """The gateway's part of the Compose file."""
        services = (self.compose or {}).get("services")
        service = services.get(SERVICE) if isinstance(services, Mapping) else None
        return service if isinstance(service, Mapping) else None


@dataclass(frozen=True)
class Releases:
    """All below /etc/clawkeep/releases, and what runs. Source: the files, `docker inspect`, the engine's API."""

    document: Document
    inspected: Inspected
    current: str
    kept: tuple[Release, ...]
    in_use: str

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """Read the inside evidence; raises `Unmeasured` when the collector did not look."""
        found = mapping(host.inside.fact("releases"), "the kept releases")
        kept = tuple(
            Release(text(row.get("name"), "the name of a release"), _record(row), _parsed(row.get("compose")))
            for row in rows(found.get("kept"), "the kept releases")
        )
        return cls(
            host.inside, host.subject(Inspected), str(found.get("current") or ""), kept, str(found.get("in-use") or "")
        )

    @cached_property
    def _running(self) -> list[Mapping[str, Any]]:
        known = self.inspected
        gateways = [one for one in known.containers if known.is_agent(one) and not is_task(one)]
        found = [one for one in gateways if _labels(one).get(ROLE) == "agent" or _runs(one)]
        if not found:
            raise Unmeasured("no agent container is there, so no release is in use")
        return found

    def unproven(self) -> list[str]:
        """Sentences when what runs is not the current release, or the current release was never healthy."""
        release = next((release for release in self.kept if release.name == self.current), None)
        if release is None:
            return [f"{FOLDER} does not keep the current release {self.current or '(none is marked)'}"]
        found = []
        if release.state != PROVEN:
            found.append(f"release {release.name} is in use and {release.state or 'of unknown state'}, not proven")
        for container in self._running:
            label = _labels(container).get(LABEL, "")
            name = str(container.get("Name", "")).lstrip("/")
            if label != release.name:
                found.append(f"container {name} runs release {label or '(none)'}, the current one is {release.name}")
            if container.get("Image") != release.image:
                found.append(f"container {name} runs another image than release {release.name} records")
        if release.compose is None or release.compose != _parsed(self.in_use):
            found.append(f"the Compose file in use is not the one that release {release.name} keeps")
        return found

    def lost_images(self) -> list[str]:
        """Sentences about kept releases whose image is gone, so that nothing can go back to them."""
        present = set(texts(self.document.fact("engine-images"), "the engine's images"))
        if not present:
            raise Unmeasured("the engine lists no image at all, not even the one that runs")
        return [
            f"release {release.name} is kept, but its image {release.image or '(none recorded)'} is gone"
            for release in self.kept
            if release.state != FAILED and release.image not in present
        ]

    def weaker(self, uid: int, read_only: bool) -> list[str]:
        """Sentences about kept releases that would run with less confinement than the promises of CTR and NET-04."""
        found = []
        for release in self.kept:
            service = release.service
            if service is None:
                found.append(f"release {release.name} keeps no readable Compose file with the service {SERVICE}")
                continue
            found += [f"release {release.name} {trouble}" for trouble in _troubles(service, uid, read_only)]
        return found


def _troubles(service: Mapping[str, Any], uid: int, read_only: bool) -> list[str]:
    options = [str(option).replace("=", ":") for option in _list(service.get("security_opt"))]
    ports = _list(service.get("ports"))
    checks = {
        "would run with a writable root file system (read_only)": read_only and service.get("read_only") is not True,
        "would keep capabilities (cap_drop)": _list(service.get("cap_drop")) != ["ALL"],
        "would add capabilities (cap_add)": bool(service.get("cap_add")),
        "would run as another user (user)": str(service.get("user", "")).split(":") != [str(uid), str(uid)],
        "would let processes gain privileges (security_opt)": not {
            "no-new-privileges:true",
            "no-new-privileges",
        }.intersection(options),
        "would run unconfined (security_opt)": any(option.endswith(":unconfined") for option in options),
        "would run privileged (privileged)": bool(service.get("privileged")),
        "would share a namespace of the host (pid, ipc, network_mode, userns_mode)": any(
            str(service.get(key, "")).startswith(("host", "container:"))
            for key in ("pid", "ipc", "network_mode", "userns_mode", "uts")
        ),
        "would hold a device (devices)": bool(service.get("devices") or service.get("device_cgroup_rules")),
        "would publish a port beyond loopback (ports)": any(not _on_loopback(port) for port in ports),
        "would not bound its processes (pids_limit)": "pids" not in str(service.get("deploy", ""))
        and not service.get("pids_limit"),
    }
    return [trouble for trouble, present in checks.items() if present]


def _on_loopback(port: object) -> bool:
    if isinstance(port, Mapping):
        return str(port.get("host_ip", "")) in ("127.0.0.1", "::1")
    return str(port).startswith(("127.0.0.1:", "[::1]:"))


def _list(value: object) -> list[Any]:
    return list(value) if isinstance(value, list) else []


def _runs(container: Mapping[str, Any]) -> bool:
    state = container.get("State")
    return isinstance(state, Mapping) and bool(state.get("Running"))


def _labels(container: Mapping[str, Any]) -> Mapping[str, str]:
    config = container.get("Config")
    labels = config.get("Labels") if isinstance(config, Mapping) else None
    return labels if isinstance(labels, Mapping) else {}


def _record(row: Mapping[str, Any]) -> Mapping[str, Any]:
    record = row.get("record")
    return record if isinstance(record, Mapping) else {}


def _parsed(text: object) -> Mapping[str, Any] | None:
    return _mapping_of(text) if isinstance(text, str) else None


@lru_cache(maxsize=64)
def _mapping_of(text: str) -> Mapping[str, Any] | None:
    """The mapping that YAML is; read once, for a release is compared with what is in use, and hosts have the same."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return None
    return found if isinstance(found, Mapping) else None
