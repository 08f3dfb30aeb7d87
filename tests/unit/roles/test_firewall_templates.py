"""The firewall's templates give rulesets that the kernel accepts, in both families."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import ROOT, read

RULESET = "etc/clawkeep/firewall/clawkeep.nft.j2"
LAYER = "etc/clawkeep/firewall/docker-user.rules.j2"

Render = Callable[..., str]

PLAIN: dict[str, Any] = {"firewall_admin_networks": ["192.0.2.0/24", "2001:db8:1::/64"]}
RICH: dict[str, Any] = PLAIN | {
    "firewall_ingress": [{"port": 443, "proto": "tcp", "from": "any"}, {"port": 22, "proto": "tcp", "from": "admin"}],
    "firewall_egress_bridges": ["br-test"],
    "firewall_metadata_exempt_uids": [0],
    "firewall_private_networks": ["203.0.113.0/24", "2001:db8:9::/48"],
    "firewall_resolvers": ["10.0.0.53", "fd00::53", "169.254.169.254"],
}
EMPTY: dict[str, Any] = {"firewall_agent_bridges": [], "firewall_agent_subnets": []}
SITES = pytest.mark.parametrize("variables", [PLAIN, RICH, EMPTY], ids=["plain", "rich", "empty"])


def in_own_network(*argv: str) -> str:
    """Run a command as root of a network namespace of its own, so that nothing of this machine is touched."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    done = subprocess.run(["unshare", *user, "--net", *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def load(ruleset: str, folder: Path) -> list[dict[str, Any]]:
    """Load a ruleset twice, as a first and a later converge do, and return nft's list of what then runs."""
    file = folder / "clawkeep.nft"
    file.write_text(ruleset, encoding="utf-8")
    nft = shutil.which("nft") or "/usr/sbin/nft"
    listing = in_own_network("sh", "-ec", f"{nft} -f {file} && {nft} -f {file} && {nft} -j list ruleset")
    objects: list[dict[str, Any]] = json.loads(listing)["nftables"]
    return objects


@SITES
def test_the_kernel_loads_the_ruleset(render: Render, tmp_path: Path, variables: dict[str, Any]) -> None:
    objects = load(render("firewall", RULESET, **variables), tmp_path)
    chains = {item["chain"]["name"]: item["chain"] for item in objects if "chain" in item}
    assert {name: (chain["hook"], chain["prio"], chain["policy"]) for name, chain in chains.items()} == {
        "guard": ("prerouting", -300, "accept"),
        "input": ("input", 0, "drop"),
        "forward": ("forward", -5, "drop"),
        "output": ("output", 0, "accept"),
    }


@SITES
def test_one_table_is_all_it_touches(render: Render, variables: dict[str, Any]) -> None:
    text = render("firewall", RULESET, **variables)
    assert "flush ruleset" not in text
    assert [line for line in text.splitlines() if "table" in line.split("#")[0]] == [
        "add table inet clawkeep",
        "delete table inet clawkeep",
        "table inet clawkeep {",
    ]


def test_every_set_of_addresses_has_its_twin(render: Render, tmp_path: Path) -> None:
    objects = load(render("firewall", RULESET, **RICH), tmp_path)
    sets = {item["set"]["name"]: item["set"] for item in objects if "set" in item}
    for name in ("metadata", "private", "admin", "agent_subnets", "resolver"):
        assert sets[f"{name}4"]["type"] == "ipv4_addr"
        assert sets[f"{name}6"]["type"] == "ipv6_addr"
        assert sets[f"{name}4"]["elem"]
        assert sets[f"{name}6"]["elem"]


def test_metadata_is_dropped_before_anything_is_accepted(render: Render, tmp_path: Path) -> None:
    objects = load(render("firewall", RULESET, **PLAIN), tmp_path)
    for chain in ("forward", "output"):
        rules = [item["rule"] for item in objects if "rule" in item and item["rule"]["chain"] == chain]
        texts = [json.dumps(rule["expr"]) for rule in rules]
        accepts = [number for number, text in enumerate(texts) if '"accept"' in text]
        drops = [number for number, text in enumerate(texts) if "@metadata" in text and '"drop"' in text]
        assert len(drops) == 2
        assert not accepts or max(drops) < min(accepts)


def test_a_name_server_among_the_metadata_is_the_hosts_alone(render: Render) -> None:
    text = render("firewall", RULESET, **RICH)
    assert "ip daddr 169.254.169.254 meta l4proto { tcp, udp } th dport 53 accept" in text.split("chain output")[1]
    layer = render("firewall", LAYER, firewall_layer_family=4, **RICH)
    assert "-d 169.254.169.254" not in layer


@SITES
@pytest.mark.parametrize(("family", "tool"), [(4, "iptables-restore"), (6, "ip6tables-restore")])
def test_the_second_layer_loads(
    render: Render, tmp_path: Path, variables: dict[str, Any], family: int, tool: str
) -> None:
    file = tmp_path / "rules"
    file.write_text(render("firewall", LAYER, firewall_layer_family=family, **variables), encoding="utf-8")
    in_own_network("sh", "-ec", f"PATH=$PATH:/usr/sbin; {tool} --noflush {file}")
    assert file.read_text(encoding="utf-8").rstrip().endswith("-A CLAWKEEP -j DROP\nCOMMIT")


def test_the_second_layer_carries_the_same_networks(render: Render) -> None:
    text = render("firewall", RULESET, **PLAIN)
    layers = "".join(render("firewall", LAYER, firewall_layer_family=family, **PLAIN) for family in (4, 6))
    for name in ("metadata4", "metadata6", "platform4", "private4", "private6"):
        block = text.split(f"set {name} {{")[1]
        elements = block.split("elements = {")[1].split("}")[0].split(",")
        for element in elements:
            assert f"-A CLAWKEEP -i clawkeep0 -d {element.strip()} -j DROP" in layers


ACCOUNTS = {"root": ["x", "0"], "proxy": ["x", "13"], "_apt": ["x", "42"], "ops": ["x", "1001"]}
CLOSED: dict[str, Any] = PLAIN | {
    "firewall_egress_mode": "proxy_allowlist",
    "firewall_host_egress": "drop_service_uids",
    "firewall_resolvers": ["10.0.0.53", "fd00::53"],
    "ansible_facts": {"getent_passwd": ACCOUNTS},
}


def rules_of(objects: list[dict[str, Any]], chain: str) -> list[str]:
    rules = [item["rule"] for item in objects if "rule" in item and item["rule"]["chain"] == chain]
    return [json.dumps(rule["expr"]) for rule in rules]


def test_behind_a_proxy_nothing_of_the_agents_is_forwarded(render: Render, tmp_path: Path) -> None:
    forward = rules_of(load(render("firewall", RULESET, **CLOSED), tmp_path), "forward")
    (drop,) = [number for number, rule in enumerate(forward) if "egress_forward_drop" in rule]
    accepts = [number for number, rule in enumerate(forward) if '"accept"' in rule]
    assert accepts
    assert drop < min(accepts)
    for family in (4, 6):
        layer = render("firewall", LAYER, firewall_layer_family=family, **CLOSED).splitlines()
        rules = [line for line in layer if line.startswith("-A")]
        assert rules[0] == "-A CLAWKEEP -i clawkeep0 -j DROP"
        assert not [line for line in rules if "-i clawkeep0" in line and "RETURN" in line]


@pytest.mark.parametrize("mode", ["drop_service_uids", "drop_all"])
def test_accounts_that_may_send_are_those_named(render: Render, tmp_path: Path, mode: str) -> None:
    objects = load(render("firewall", RULESET, **CLOSED | {"firewall_host_egress": mode}), tmp_path)
    (senders,) = [item["set"] for item in objects if item.get("set", {}).get("name") == "senders"]
    assert sorted(map(str, senders["elem"])) == sorted(map(str, [13, 42] if mode == "drop_all" else [0, 13, 42]))


def test_a_lower_policy_has_nothing_of_a_higher_one(render: Render) -> None:
    text = render("firewall", RULESET, **PLAIN)
    assert not [word for word in ("gateway4", "senders", "egress_", "3128", "3129") if word in text]


def test_the_proxy_refuses_what_the_packet_filter_drops() -> None:
    firewall = read(ROOT / "roles/firewall/vars/main.yml")
    mine = set(read(ROOT / "roles/egress_proxy/vars/main.yml")["__egress_proxy_refused"])
    dropped = {*firewall["__firewall_private"], *firewall["__firewall_platform"]}
    assert mine == dropped - {"::ffff:0:0/96"}  # Squid takes an IPv4 address inside an IPv6 one as the former
