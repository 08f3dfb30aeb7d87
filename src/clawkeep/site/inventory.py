"""Whom the promises bind: an Ansible inventory's hosts with their tiers, and the facts of the site they stand in."""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from clawkeep.base import sshsig
from clawkeep.base.errors import ClawkeepError
from clawkeep.base.repo import Repo
from clawkeep.register import tiers
from clawkeep.register.register import sentence
from clawkeep.register.tiers import Tier

PEERS = "vpn_peers.yml"  # beside the inventory; `clawkeep vpn` writes it, the playbook and the suite read it
LISTING_LIMIT = 120  # seconds; a dynamic inventory may have to ask a cloud
CONTROL = "control_nodes"  # the group of the host whose timer verifies the others: it has no tier and is not judged
LEDGER = "/var/lib/clawkeep-verifier/schedule.json"  # where role `verifier` has it on that host


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
PublicKey = Annotated[str, AfterValidator(sshsig.public_key)]
Endpoint = Annotated[str, AfterValidator(_endpoint)]


class _Border(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Operator(_Border):
    """A person who may be called when a host must be stopped or entered."""

    name: str
    role: str
    contact: str


class Signer(_Border):
    """A person whose attestations count when they are signed by this ssh key; two keys are two signers of one name."""

    name: str
    key: PublicKey


class Vantage(_Border):
    """From where a probe looks: this machine as it is, or a network namespace of it called `name`.

    At the vantage `vpn`, `tunnel` is the WireGuard interface by which it comes in, as the device `device` of vpn_peers.
    `store` is the folder of the log store's records, as the vantage `siem` sees it. `pace` is how many ports a second
    the scans from here try at each address, before they try again more slowly where probes were lost on the way.
    """

    kind: Literal["local", "netns"]
    name: str = ""
    tunnel: str = ""
    device: str = ""
    store: str = ""
    pace: Annotated[int, Field(ge=100, le=100_000)] = 7500


class EgressDomain(_Border):
    """A name that agents may reach through the proxy on a port: why, who answers for it, when it is reviewed."""

    name: str
    port: int
    reason: str
    owner: str
    review: datetime.date


class EgressProbes(_Border):
    """What the bypass suite aims at: hosts that answer and that nobody approved, by name and by address.

    `approved` is a name that passes (empty: the tier's first) with its addresses; `rebinding` are approved names that
    lead to private addresses and `redirect` (`name/path`) an approved page that redirects to metadata, if any.
    """

    approved: str = ""
    approved4: Address | None = None
    approved6: Address | None = None
    forbidden: str = ""
    forbidden4: Address | None = None
    forbidden6: Address | None = None
    resolver4: Address | None = None
    resolver6: Address | None = None
    doh: str = ""
    redirect: str = ""
    rebinding: tuple[str, ...] = ()


class Image(_Border):
    """A container image that the site has reviewed: its name, image ids and registry digests (`sha256:...`)."""

    name: str
    ids: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()


class Peer(_Border):
    """A colleague's device on the VPN: public key, one address of each family, who answers for it, and its last day."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
    public_key: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$")]
    address4: Annotated[str, AfterValidator(_address)]
    address6: Annotated[str, AfterValidator(_address)]
    owner: Annotated[str, StringConstraints(min_length=1)]
    expires: datetime.date


class Site(_Border):
    """What is true of the place and no host may say otherwise: the `site_*` keys of <inventory>/group_vars/all.yml.

    Attributes bear the keys' names without `site_`. Networks are CIDR strings, endpoints `ADDRESS:PORT` strings with
    IPv6 in brackets; `images` is images.lock.yml, `vpn_peers` vpn_peers.yml. `web_names` gives the front door's name by
    host, `web_addresses` where peers of the VPN find it, `web_authority` the PEM of a certificate authority of the
    site's own.
    """

    name: str
    admin_networks: tuple[Network, ...] = ()
    management_interface: str = ""
    time_servers: tuple[str, ...] = ()
    emergency_key: PublicKey | None = None
    operators: tuple[Operator, ...] = ()
    signers: tuple[Signer, ...] = ()
    console: str = ""
    public_endpoint: Endpoint | None = None
    public_endpoint6: Endpoint | None = None
    private_endpoints: tuple[Endpoint, ...] = ()
    resolvers: tuple[Address, ...] = ()
    egress_domains: tuple[EgressDomain, ...] = ()
    egress_probes: EgressProbes = EgressProbes()
    log_collector: str = ""
    log_collector_name: str = ""
    log_ca: str = ""
    vantages: Mapping[str, Vantage] = Field(default_factory=dict)
    web_names: Mapping[str, str] = Field(default_factory=dict)
    web_addresses: tuple[Address, ...] = ()
    web_authority: str = ""
    images: tuple[Image, ...] = ()
    vpn_secrets: str = ""
    vpn_peers: tuple[Peer, ...] = ()


@dataclass(frozen=True)
class Host:
    """A host of the inventory: its name, its tier, the addresses that the outside may probe, and all its groups."""

    name: str
    tier: Tier
    addresses: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class ControlNode:
    """The host whose timer verifies this inventory, and where its ledger lies there (host variable clawkeep_ledger)."""

    name: str
    ledger: str = LEDGER


@dataclass(frozen=True)
class Inventory:
    """The hosts of one Ansible inventory, and the site that they stand in.

    `listing` is what `ansible-inventory --list` printed: the connection settings are in it, and nothing else of it is
    ever read, for a host's own variables are not the oracle.
    """

    source: Path
    hosts: tuple[Host, ...]
    site: Site
    listing: Mapping[str, Any] = field(repr=False)
    control_node: ControlNode | None = None

    @property
    def folder(self) -> Path:
        """Where the files beside the inventory lie."""
        return _folder(self.source)


def load(source: Path, checkout: Repo, *, limit: str | None = None) -> Inventory:
    """The inventory at `source` (a file or a folder), its hosts narrowed by the host pattern `limit`.

    Raises ClawkeepError when it cannot be parsed, holds no host, matches no host, or when a host has no tier or two.
    """
    if not source.exists():
        raise ClawkeepError(
            f"there is no inventory {source}: name an inventory file or folder, as for ansible-playbook"
        )
    listing = _list(source, checkout, limit)
    # The control node is asked about its schedule whoever is verified.
    whole = _list(source, checkout, None) if limit else listing
    names = sorted(set(_members(listing, "all")) - set(_members(whole, CONTROL)))
    if not names:
        of = f" in the limit {limit!r}" if limit else ""
        raise ClawkeepError(f"the inventory {source} has no host{of}: nothing was verified")
    return listed(source, whole, names, checkout)


def listed(source: Path, listing: Mapping[str, Any], names: Sequence[str], checkout: Repo) -> Inventory:
    """The inventory with the hosts `names` of a listing as `ansible-inventory --list` prints one.

    The site's files lie at `source` or beside it. Raises ClawkeepError when a host has no tier or two.
    """
    known = tiers.load(checkout.tiers)
    groups = {group: set(_members(listing, group)) for group in listing if group != "_meta"}
    memberships = {group: members for group, members in groups.items() if group.startswith(tiers.PREFIX)}
    variables = listing.get("_meta", {}).get("hostvars", {})
    hosts = tuple(
        Host(
            name,
            _tier_of(name, memberships, known),
            _addresses(name, variables.get(name, {})),
            tuple(sorted(group for group, members in groups.items() if name in members)),
        )
        for name in names
    )
    node = _control_node(sorted(groups.get(CONTROL, ())), memberships, variables)
    return Inventory(source, hosts, read_site(_folder(source)), listing, node)


def _folder(source: Path) -> Path:
    return source if source.is_dir() else source.parent


def _control_node(
    names: list[str], memberships: Mapping[str, set[str]], variables: Mapping[str, Any]
) -> ControlNode | None:
    for name in names:
        groups = sorted(group for group, members in memberships.items() if name in members)
        if groups:
            raise ClawkeepError(f"the host {name} is in {CONTROL} and in {groups[0]}: a control node has no tier")
    if len(names) > 1:
        raise ClawkeepError(
            f"{CONTROL} has {len(names)} hosts ({', '.join(names)}): one of them verifies, leave that one"
        )
    if not names:
        return None
    ledger = str(variables.get(names[0], {}).get("clawkeep_ledger", LEDGER))
    return ControlNode(names[0], ledger)


def _list(source: Path, checkout: Repo, limit: str | None) -> dict[str, Any]:
    beside = Path(sys.executable).parent / "ansible-inventory"
    argv = [str(beside) if beside.exists() else "ansible-inventory", "--list", "-i", str(source)]
    argv += ["--playbook-dir", str(checkout.playbooks)]
    if limit:
        argv += ["--limit", limit]
    environment = dict(
        os.environ,
        ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED="true",
        ANSIBLE_HOST_PATTERN_MISMATCH="error",  # a mistyped group must not shrink the run to what is left
        ANSIBLE_VERBOSITY="0",
        ANSIBLE_NOCOLOR="true",
        ANSIBLE_FORCE_COLOR="false",
    )
    config = checkout.root / "ansible.cfg"
    if config.exists():
        environment.setdefault("ANSIBLE_CONFIG", str(config))
    try:
        done = subprocess.run(
            argv, env=environment, capture_output=True, text=True, timeout=LISTING_LIMIT, check=False, errors="replace"
        )
    except FileNotFoundError:
        raise ClawkeepError("ansible-inventory is not installed: install Clawkeep with its dependencies") from None
    except subprocess.TimeoutExpired:
        raise ClawkeepError(f"ansible-inventory did not list {source} within {LISTING_LIMIT} s") from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("[ERROR]")] or done.stderr.splitlines()[
            -1:
        ]
        why = said[0].removeprefix("[ERROR]: ") if said else f"status {done.returncode}"
        if limit and "host pattern" in why:
            raise ClawkeepError(f"the limit {limit!r} names something that {source} does not have: {why}")
        raise ClawkeepError(f"the inventory {source} cannot be used: {why}")
    try:
        listing = json.loads(done.stdout)
    except ValueError as problem:
        raise ClawkeepError(f"ansible-inventory did not print JSON for {source}: {problem}") from None
    if not isinstance(listing, dict):
        raise ClawkeepError(f"ansible-inventory printed no listing of {source}")
    return listing


def _members(listing: Mapping[str, Any], group: str, above: tuple[str, ...] = ()) -> Iterator[str]:
    entry = listing.get(group, {})
    yield from entry.get("hosts", [])
    for child in entry.get("children", []):
        if child not in above:
            yield from _members(listing, child, (*above, group))


def _tier_of(name: str, memberships: Mapping[str, set[str]], known: Mapping[str, Tier]) -> Tier:
    groups = sorted(group for group, members in memberships.items() if name in members)
    choice = ", ".join(known)
    if not groups:
        raise ClawkeepError(f"the host {name} has no tier: put it into one of the groups {choice}")
    if len(groups) > 1:
        raise ClawkeepError(f"the host {name} is in {len(groups)} tiers ({', '.join(groups)}): leave it in exactly one")
    if groups[0] not in known:
        raise ClawkeepError(f"the host {name} is in the group {groups[0]}, which is no tier: the tiers are {choice}")
    return known[groups[0]]


def _addresses(name: str, variables: Mapping[str, Any]) -> tuple[str, ...]:
    value = variables.get("clawkeep_addresses", [])
    try:
        if not isinstance(value, list):
            raise ValueError("it is not a list")
        return tuple(_address(str(item)) for item in value)
    except ValueError as problem:
        raise ClawkeepError(
            f"clawkeep_addresses of the host {name} must be a list of IP addresses: {problem}"
        ) from None


def parse_site(data: Mapping[str, Any], source: str) -> Site:
    """The site in `data` (keys without `site_`); raises ClawkeepError naming `source` and the key that is wrong."""
    try:
        return Site.model_validate(data)
    except ValidationError as problem:
        raise ClawkeepError(f"{source}: site_{sentence(problem)}") from None


def read_site(folder: Path) -> Site:
    """The site of the inventory in `folder`, from group_vars/all.yml, images.lock.yml and vpn_peers.yml as written."""
    path = folder / "group_vars" / "all.yml"
    data: dict[str, Any] = {
        key.removeprefix("site_"): value for key, value in _mapping(path).items() if key.startswith("site_")
    }
    lock = folder / "images.lock.yml"
    data["images"] = _mapping(lock).get("images", []) if lock.exists() else []
    peers = folder / PEERS
    data["vpn_peers"] = _mapping(peers).get("vpn_peers", []) if peers.exists() else []
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
