"""Whom the promises bind: an Ansible inventory's hosts with their tiers, and the facts of the site they stand in."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from clawkeep.errors import ClawkeepError
from clawkeep.register import sentence
from clawkeep.tiers import Tier


def _network(value: str) -> str:
    return str(ipaddress.ip_network(value))


def _address(value: str) -> str:
    return str(ipaddress.ip_address(value))


def _endpoint(value: str) -> str:
    host, colon, port = value.rpartition(":")
    if not colon or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError('an endpoint is "ADDRESS:PORT", with an IPv6 address in brackets')
    address = ipaddress.ip_address(host[1:-1] if host.startswith("[") and host.endswith("]") else host)
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


Network = Annotated[str, AfterValidator(_network)]
Address = Annotated[str, AfterValidator(_address)]
Endpoint = Annotated[str, AfterValidator(_endpoint)]


class _Border(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Operator(_Border):
    """A person who may be called when a host must be stopped or entered."""

    name: str
    role: str
    contact: str


class Vantage(_Border):
    """From where a probe looks: this machine as it is, or a network namespace of it called `name`."""

    kind: Literal["local", "netns"]
    name: str = ""


class Image(_Border):
    """A container image that the site has reviewed: its name, image ids and registry digests (`sha256:...`)."""

    name: str
    ids: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()


class Site(_Border):
    """What is true of the place and no host may say otherwise: the `site_*` keys of <inventory>/group_vars/all.yml.

    Attributes bear the keys' names without `site_`. Networks are CIDR strings, endpoints `ADDRESS:PORT` strings with
    IPv6 in brackets; `images` is images.lock.yml.
    """

    name: str
    admin_networks: tuple[Network, ...] = ()
    operators: tuple[Operator, ...] = ()
    console: str = ""
    public_endpoint: Endpoint | None = None
    public_endpoint6: Endpoint | None = None
    private_endpoints: tuple[Endpoint, ...] = ()
    resolvers: tuple[Address, ...] = ()
    vantages: Mapping[str, Vantage] = Field(default_factory=dict)
    images: tuple[Image, ...] = ()


@dataclass(frozen=True)
class Host:
    """A host of the inventory: its name, its tier, and the addresses that the outside may probe."""

    name: str
    tier: Tier
    addresses: tuple[str, ...] = ()


def parse_site(data: Mapping[str, Any], source: str) -> Site:
    """The site in `data` (keys without `site_`); raises ClawkeepError naming `source` and the key that is wrong."""
    try:
        return Site.model_validate(data)
    except ValidationError as problem:
        raise ClawkeepError(f"{source}: site_{sentence(problem)}") from None


def read_site(folder: Path) -> Site:
    """The site of the inventory in `folder`, from group_vars/all.yml and images.lock.yml as they are written."""
    path = folder / "group_vars" / "all.yml"
    data: dict[str, Any] = {
        key.removeprefix("site_"): value for key, value in _mapping(path).items() if key.startswith("site_")
    }
    lock = folder / "images.lock.yml"
    data["images"] = _mapping(lock).get("images", []) if lock.exists() else []
    return parse_site(data, str(path))


def _mapping(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ClawkeepError(
            f"{path} is missing: it holds the site's facts (site_name ...), see inventories/example"
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
        raise ClawkeepError(f"{path} cannot be read as YAML: {' '.join(str(problem).split())}") from None
    if not isinstance(data, dict):
        raise ClawkeepError(f"{path} is not a mapping")
    return {str(key): value for key, value in data.items()}
