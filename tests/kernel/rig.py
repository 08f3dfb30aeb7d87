"""The roles' own proxy, name server and packet filter between an agent and a world, each in a network namespace.

Squid and dnsmasq are the real ones, with the rendered configurations; the world is the lab's, with its stand-ins.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from clawkeep.base import repo
from clawkeep.collector.experiments import bypass
from clawkeep.collector.experiments.bypass_cases import facts, filled, listed
from clawkeep.collector.namespaces import in_network_of
from clawkeep.collector.recorder import Recorder
from clawkeep.lab import topology as t
from clawkeep.lab.world import pki
from clawkeep.lab.world.services import CERTIFIED_NAMES, SERVICES
from clawkeep.site import inventory
from clawkeep_host.addresses import PROXY_PORT

Render = Callable[..., str]

AGENT, HOST, WORLD = (f"t2x-{os.getpid()}-{name}" for name in ("agent", "host", "world"))
ACCOUNTS = {"root": ["x", "0"], "proxy": ["x", "13"], "_apt": ["x", "42"], "clawkeep-resolver": ["x", "65534"]}
AGENT_UID = 1000
CHECKOUT = repo.find(Path(__file__))
SITE_FILE = CHECKOUT.root / "inventories" / "lab" / "group_vars" / "all.yml"
TIER_FILE = CHECKOUT.tiers / "tier2_team.yml"


def run(*words: str, text: str | None = None, check: bool = True) -> str:
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not check, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def within(namespace: str, *words: str, text: str | None = None) -> str:
    return run("ip", "netns", "exec", namespace, *words, text=text)


def missing() -> list[str]:
    """What this machine lacks to build the rig."""
    tools = [tool for tool in ("ip", "nft", "squid", "dnsmasq", "openssl", "setpriv") if shutil.which(tool) is None]
    return tools if os.geteuid() == 0 else ["root", *tools]


@dataclass
class Rig:
    """The three namespaces, running; `tier` and `site` are what the collector would be told."""

    folder: Path
    render: Render
    agent: subprocess.Popen[bytes]
    stack: contextlib.ExitStack
    tier: dict[str, Any] = field(default_factory=lambda: yaml.safe_load(TIER_FILE.read_text()))
    site: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read the lab's site as the controller does."""
        self.site = inventory.read_site(SITE_FILE.parent.parent).model_dump(mode="json")

    # --- the host's policy ------------------------------------------------------------------------------------------

    def ruleset(self, **variables: Any) -> str:
        """The firewall's rules for this tier, or with other variables."""
        known = {
            "firewall_admin_networks": ["10.0.2.2/32"],
            "firewall_egress_mode": "proxy_allowlist",
            "firewall_host_egress": "drop_service_uids",
            "firewall_resolvers": self.site["resolvers"],
            "ansible_facts": {"getent_passwd": ACCOUNTS},
            **variables,
        }
        return self.render("firewall", "etc/clawkeep/firewall/clawkeep.nft.j2", **known)

    def filter(self, text: str) -> None:
        """Load a ruleset in the host's namespace."""
        within(HOST, "nft", "-f", "-", text=text)

    def proxy_files(self) -> dict[str, str]:
        """The rendered configurations of proxy and name server, with the rig's paths."""
        known = {
            "egress_proxy_domains": self.tier["egress_allowed_domains"],
            "egress_proxy_site_domains": self.site["egress_domains"],
            "egress_proxy_resolvers": self.site["resolvers"],
        }
        squid = self.render("egress_proxy", "etc/clawkeep/proxy/squid.conf.j2", **known)
        dnsmasq = self.render("egress_proxy", "etc/clawkeep/resolver/dnsmasq.conf.j2", **known)
        share = Path(str(shutil.which("squid"))).resolve().parents[1] / "share" / "squid"
        squid += f"\nmime_table {share}/mime.conf\nicon_directory {share}/icons\n"
        squid += f"error_directory {share}/errors/en\nunlinkd_program {share.parents[1]}/lib/squid/unlinkd\n"
        return {"squid.conf": self._here(squid), "dnsmasq.conf": self._here(dnsmasq)}

    def _here(self, text: str) -> str:
        for there, name in (("/etc/clawkeep/proxy", "etc"), ("/run/clawkeep-proxy", "run")):
            text = text.replace(there, str(self.folder / name))
        for name in ("proxy", "resolver"):
            text = text.replace(f"/var/log/clawkeep/{name}", str(self.folder / "log"))
        return text.replace("user=clawkeep-resolver", "user=nobody")

    @contextlib.contextmanager
    def daemons(self, change: Callable[[dict[str, str]], None] | None = None) -> Iterator[None]:
        """Proxy and name server, with the rendered configurations, changed or not."""
        files = self.proxy_files()
        if change:
            change(files)
        for name, text in files.items():
            (self.folder / "etc" / name).write_text(text)
        squid = [str(shutil.which("squid")), "-N", "-f", str(self.folder / "etc" / "squid.conf")]
        dnsmasq = ["dnsmasq", "-k", f"--conf-file={self.folder / 'etc' / 'dnsmasq.conf'}", "--pid-file="]
        owner = ["setpriv", "--reuid=13", "--regid=13", "--clear-groups"]
        with (
            daemon(HOST, *dnsmasq, log=self.folder / "dnsmasq.out"),
            daemon(HOST, *owner, *squid, log=self.folder / "squid.out"),
        ):
            listening(HOST, "172.30.0.1:53", "172.30.0.1:3128", hint=self.folder)
            self._await_second_hop()
            yield

    def _await_second_hop(self) -> None:
        """Wait until the proxy has found its own second hop, which it does in the moments after it listens."""
        name = self.tier["egress_allowed_domains"][0]["name"]
        deadline = time.monotonic() + 20
        proxy = ("172.30.0.1", PROXY_PORT)
        while time.monotonic() < deadline:
            if in_network_of(self.agent.pid, lambda: bypass.tunnel(proxy, f"{name}:443", name))["status"] != 500:
                return
            time.sleep(0.1)

    # --- what an agent gets ------------------------------------------------------------------------------------------

    def tried(self) -> dict[str, Any]:
        """What the collector records of the bypass cases, from the agent's network and from the host's."""
        labels = bypass.random_labels()
        known, rebinding = facts(self.site, self.tier, labels)
        tasks = list(filled(known, rebinding))
        names = listed(self.site, self.tier)
        peers = in_network_of(_holder(HOST), lambda: bypass.peers(tasks, known["approved"]))
        rec = Recorder({})
        before = in_network_of(_holder(HOST), lambda: rec.json("before", bypass.COUNTERS))
        agent = in_network_of(
            self.agent.pid, lambda: bypass.inside(tasks, ["172.30.0.1"], ["172.30.0.1"], names, known["approved"])
        )
        after = in_network_of(_holder(HOST), lambda: rec.json("after", bypass.COUNTERS))
        one = {"name": "openclaw", "host_network": False, **agent}
        return {"bypass": {"host": peers, "containers": [one]}, "before": before, "after": after}


_HOLDERS: dict[str, subprocess.Popen[bytes]] = {}


def _holder(namespace: str) -> int:
    return _HOLDERS[namespace].pid


@contextlib.contextmanager
def daemon(namespace: str, *argv: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program in a namespace until the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(["ip", "netns", "exec", namespace, *argv], stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def listening(namespace: str, *places: str, hint: Path) -> None:
    """Wait until something listens at every place."""
    deadline = time.monotonic() + 20
    while True:
        found = within(namespace, "ss", "-Hltn")
        if all(f" {place} " in found for place in places):
            return
        said = "".join(path.read_text(errors="replace")[-1500:] for path in sorted(hint.glob("*.out")))
        assert time.monotonic() < deadline, f"nothing listens at {places}: {found}{said}"
        time.sleep(0.1)


def _address(namespace: str, interface: str, *texts: str) -> None:
    for text in texts:
        extra = ["nodad"] if ":" in text else []
        run("ip", "-n", namespace, "address", "add", text, "dev", interface, *extra)


def _wire() -> None:
    def link(here: str, name: str, mac: str, there: str, other: str, peer: str) -> None:
        run("ip", "-n", here, *f"link add {name} address {mac} type veth peer name {other}".split(),
            "address", peer, "netns", there)  # fmt: skip
        run("ip", "-n", here, "link", "set", name, "up")
        run("ip", "-n", there, "link", "set", other, "up")

    run(
        "ip",
        "-n",
        HOST,
        *["link", "add", "clawkeep0", "address", "02:00:00:00:30:01", "type", "bridge", "mcast_snooping", "0"],
    )
    run("ip", "-n", HOST, "link", "set", "clawkeep0", "up")
    link(AGENT, "eth0", "02:00:00:00:30:02", HOST, "veth0", "02:00:00:00:30:09")
    run("ip", "-n", HOST, "link", "set", "veth0", "master", "clawkeep0")
    link(WORLD, "wire", "02:00:00:00:71:01", HOST, "lab0", "02:00:00:00:71:10")
    _address(HOST, "clawkeep0", "172.30.0.1/24", "fd5e:c1a0:30::1/64")
    _address(AGENT, "eth0", "172.30.0.2/24", "fd5e:c1a0:30::2/64")
    _address(HOST, "lab0", "203.0.113.10/24", "2001:db8:113::10/64")
    _address(WORLD, "wire", "203.0.113.1/24", "2001:db8:113::1/64")
    owned = {address for service in SERVICES for address in service.addresses} - {t.GATEWAYS[0], t.GATEWAYS[1]}
    _address(WORLD, "lo", *(str(address) for address in sorted(owned, key=str)))
    # The input rules drop neighbour discovery of the agent with everything else: what IPv6 it has, it has to be given.
    for here, address, mac in ((AGENT, "::1", "30:01"), (HOST, "::2", "30:02")):
        device = "eth0" if here == AGENT else "clawkeep0"
        neighbour = f"neigh replace fd5e:c1a0:30{address} lladdr 02:00:00:00:{mac} dev {device} nud permanent"
        run("ip", "-n", here, *neighbour.split())
    within(HOST, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    for here, via4, via6 in ((AGENT, "172.30.0.1", "fd5e:c1a0:30::1"), (HOST, "203.0.113.1", "2001:db8:113::1")):
        run("ip", "-n", here, "route", "add", "default", "via", via4)
        run("ip", "-n", here, "-6", "route", "add", "default", "via", via6)
    run("ip", "-n", WORLD, "route", "add", "172.30.0.0/24", "via", "203.0.113.10")
    run("ip", "-n", WORLD, "-6", "route", "add", "fd5e:c1a0:30::/64", "via", "2001:db8:113::10")


@contextlib.contextmanager
def built(render: Render) -> Iterator[Rig]:
    """The rig without proxy and rules; all of it ends with the block."""
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="t2x-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        for name in ("etc", "run", "log", "world"):
            (folder / name).mkdir()
            (folder / name).chmod(0o777)
        for name in (AGENT, HOST, WORLD):
            run("ip", "netns", "add", name)
            stack.callback(run, "ip", "netns", "del", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
            _HOLDERS[name] = stack.enter_context(daemon(name, "sleep", "3600", log=folder / "sleep.log"))
        _wire()
        request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=clawkeep-proxy"
        run("openssl", *request.split(), "-keyout", str(folder / "etc" / "unused.key"),
            "-out", str(folder / "etc" / "unused.pem"))  # fmt: skip
        (folder / "etc" / "unused.key").chmod(0o644)
        pki.create(folder / "world", CERTIFIED_NAMES)
        os.environ.setdefault("PYTHONPATH", str(CHECKOUT.root / "src"))
        for service in SERVICES:
            argv = service.argv(folder / "world")
            stack.enter_context(daemon(WORLD, *argv, log=folder / f"{service.name}.out"))
        places = [f"{f'[{a}]' if a.version == 6 else a}:{p}" for s in SERVICES for a in s.addresses for p in s.ports]
        listening(WORLD, *places, hint=folder)
        yield Rig(folder, render, _HOLDERS[AGENT], stack)
