"""The service of a Compose project, translated: what an engine would make of it, and what it would say of it then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from clawkeep.lab import tools
from clawkeep.lab.bench.isolation import LIMITS, Container, Mount
from clawkeep.lab.bench.tree import Tree
from clawkeep.lab.errors import LabError

CONFINED = {"cap_drop": ["ALL"], "init": True}  # what the bench does, whatever is asked for
NO_NEW_PRIVILEGES = "no-new-privileges:true"


def variables(service: Mapping[str, Any], image: Mapping[str, Any], env_file: str) -> dict[str, str]:
    """The process's environment: the image's, above it the file's, above that the project's."""
    lines = (*image.get("Env", ()), *(line for line in env_file.splitlines() if "=" in line))
    pairs = dict(line.split("=", 1) for line in lines)
    return {**pairs, **{name: str(value) for name, value in service.get("environment", {}).items()}}


def volumes(service: Mapping[str, Any], tree: Tree, folder: Path) -> list[Mount]:
    """The service's volumes as folders below `folder`, filled from the image as an engine fills new ones."""
    found = []
    for volume in service["volumes"]:
        if volume["type"] != "volume":
            continue
        source, image = folder / volume["source"], tree.root / volume["target"].lstrip("/")
        tools.run(["cp", "--archive", str(image), str(source)])
        found.append(Mount(source, volume["target"], read_only=bool(volume.get("read_only"))))
    return found


def binds(service: Mapping[str, Any], sources: Mapping[str, Path]) -> list[Mount]:
    """The service's bind mounts, each from the file that stands for the host's here."""
    return [
        Mount(sources[volume["source"]], volume["target"], read_only=bool(volume.get("read_only")))
        for volume in service["volumes"]
        if volume["type"] == "bind"
    ]


def container(service: Mapping[str, Any], tree: Tree, environment: Mapping[str, str], mounts: list[Mount]) -> Container:
    """What the service is to the bench; raises LabError where the service asks for less than the bench does."""
    for sentence in _unlike(service):
        raise LabError(f"the bench cannot run this service: {sentence}")
    words = [*_list(service.get("entrypoint")), *_list(service.get("command"))]
    return Container(
        root=tree.root,
        argv=tuple(word.replace("$$", "$") for word in words),
        environment=environment,
        uid=int(str(service["user"]).partition(":")[0]),
        hostname=service["hostname"],
        folder=tree.config.get("WorkingDir") or "/",
        read_only=service["read_only"],
        tmpfs=dict(one.split(":", 1) for one in service["tmpfs"]),
        mounts=tuple(mounts),
        limits={name: int(value) for name, value in service.get("ulimits", {}).items()},
    )


def _unlike(service: Mapping[str, Any]) -> Iterator[str]:
    for key, value in CONFINED.items():
        if service.get(key) != value:
            yield f"{key} is {service.get(key)}, not {value}"
    if NO_NEW_PRIVILEGES not in service.get("security_opt", ()):
        yield f"security_opt has no {NO_NEW_PRIVILEGES}"
    for name in service.get("ulimits", {}):
        if name not in LIMITS:
            yield f"the bench knows no limit {name}"


def inspected(service: Mapping[str, Any], tree: Tree, environment: Mapping[str, str], pid: int) -> dict[str, Any]:
    """The part of `docker inspect` that the collector reads of a running container, with its published ports."""
    ports: dict[str, list[dict[str, str]]] = {}
    for published in service["ports"]:
        address, outer, inner = str(published).rsplit(":", 2)
        ports.setdefault(f"{inner}/tcp", []).append({"HostIp": address, "HostPort": outer})
    return {
        "Name": f"/{service['container_name']}",
        "Image": tree.image.id,
        "State": {"Status": "running", "Running": True, "Pid": pid},
        "Config": {
            "Hostname": service["hostname"],
            "User": service["user"],
            "Image": tree.image.id,
            "Labels": dict(service["labels"]),
            "Env": [f"{name}={value}" for name, value in environment.items()],
            "Entrypoint": _list(service.get("entrypoint")),
            "Cmd": _list(service.get("command")),
        },
        "NetworkSettings": {"Ports": ports},
    }


def _list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(word) for word in value or ()]
