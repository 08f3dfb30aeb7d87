"""Which containers are agents: the one definition, for what stops them, what collects them and what judges them.

An agent goes by many names: Clawkeep's project, upstream's Compose file under any folder's name, the product's former
names, a hand-made `docker run`. So it is known by what it is: its labels, its program, its state folder, its settings
in the environment, the process that runs in it, or by having the image of one that is known. Standard library only.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

PRODUCTS = ("openclaw", "clawdbot", "moltbot")  # today's name and the former ones
_NAMES = "|".join(PRODUCTS)
ROLE = "clawkeep.role"  # Clawkeep's label of containers and networks that are the agents'
# What the product is told through its environment, and nothing else is: where its state and its settings lie.
_SETTINGS = re.compile(r"(OPENCLAW|CLAWDBOT|MOLTBOT)_(STATE_DIR|CONFIG_PATH|PACKAGED_\w+|NO_RESPAWN|PROFILE)")
_WORD = re.compile(r"[^\s'\"=;&|()]+")
_PROGRAM = re.compile(rf"(?:{_NAMES})(?:\.m?js)?")
_PACKAGE = re.compile(rf"(?:^|/)node_modules/(?:{_NAMES})/")


def signs(container: Mapping[str, Any], processes: Iterable[str] = ()) -> tuple[str, ...]:
    """Why an inspected container counts as an agent's, each as a clause; empty when nothing says so.

    `processes` are the names of what runs in it, as /proc/PID/comm has them.
    """
    config = _mapping(container.get("Config"))
    labels = _mapping(config.get("Labels"))
    found = []
    if labels.get(ROLE) == "agent" or is_task(container):
        found.append("its labels say so")
    if any(_product(name) for name in _names(container, labels)):
        found.append("it is called so")
    if _product(_repository(str(config.get("Image") or ""))):
        found.append("its image is called so")
    words = [word for text in _command(config) for word in _WORD.findall(text)]
    if any(_PROGRAM.fullmatch(posixpath.basename(word)) or _PACKAGE.search(word) for word in words):
        found.append("it starts the program")
    variables = (str(entry).partition("=")[0] for entry in _list(config.get("Env")))
    if any(_SETTINGS.fullmatch(name) for name in variables):
        found.append("its environment holds the program's settings")
    targets = (str(_mapping(mount).get("Destination") or "") for mount in _list(container.get("Mounts")))
    if any(posixpath.basename(target).lstrip(".") in PRODUCTS and "/." in target for target in targets):
        found.append("it has the program's state folder")
    if any(name.startswith(PRODUCTS) for name in processes):
        found.append("the program runs in it")
    return tuple(found)


def among(containers: Sequence[Mapping[str, Any]], processes: Mapping[str, Iterable[str]] = {}) -> frozenset[str]:
    """The names of those containers that are agents'; `processes` has the names of what runs, by container's name.

    An image that one of them has makes agents of all that have it. Containers in which Clawkeep has the image check a
    configuration, with no network at all, are none.
    """
    known = {name_of(one): one for one in containers if not _checks(one)}
    found = {name for name, one in known.items() if signs(one, processes.get(name, ()))}
    images = {str(known[name]["Image"]) for name in found if known[name].get("Image")}
    return frozenset(found | {name for name, one in known.items() if str(one.get("Image")) in images})


def is_task(container: Mapping[str, Any]) -> bool:
    """Whether an agent's container is one that a gateway started for a task or as a sandbox: it follows no release."""
    labels = _mapping(_mapping(container.get("Config")).get("Labels"))
    return labels.get(ROLE) == "task" or "clawkeep.task" in labels or labels.get("openclaw.sandbox") == "1"


def name_of(container: Mapping[str, Any]) -> str:
    """A container's name, by which everything else about it is recorded: it outlives the container's id."""
    return str(container.get("Name") or container.get("Id")).lstrip("/")


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _product(name: str) -> bool:
    return name.lower() in PRODUCTS


def _names(container: Mapping[str, Any], labels: Mapping[str, Any]) -> list[str]:
    service = str(labels.get("com.docker.compose.service") or "")
    return [name_of(container), str(labels.get("com.docker.compose.project") or ""), service.rpartition("-gateway")[0]]


def _repository(reference: str) -> str:
    """The last part of the repository that an image reference names."""
    return posixpath.basename(reference.partition("@")[0]).partition(":")[0]


def _command(config: Mapping[str, Any]) -> list[str]:
    parts = (config.get("Entrypoint"), config.get("Cmd"))
    return [str(word) for part in parts for word in ([part] if isinstance(part, str) else _list(part))]


def _checks(container: Mapping[str, Any]) -> bool:
    labels = _mapping(_mapping(container.get("Config")).get("Labels"))
    return labels.get(ROLE) == "check" and _mapping(container.get("HostConfig")).get("NetworkMode") == "none"
