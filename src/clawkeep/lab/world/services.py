"""Which stand-in runs where, and how one knows that it answers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clawkeep.lab import topology as t
from clawkeep.lab.topology import Address, Lab, Place, Scenario


@dataclass(frozen=True)
class Service:
    """One stand-in: `argv(folder)` starts it with its files in the folder, `ports` answer when it is ready."""

    name: str
    place: Place
    addresses: tuple[Address, ...]
    ports: tuple[int, ...]
    argv: Callable[[Path], list[str]]


def _python(name: str, place: Place, addresses: tuple[Address, ...], *ports: int, tls: bool = False) -> Service:
    def argv(folder: Path) -> list[str]:
        certificate = [f"--certificate={folder / 'site.pem'}"] if tls else []
        journal = f"--journal={folder / name}.jsonl"
        return [sys.executable, "-m", f"clawkeep.lab.world.{name}", journal, *certificate, *map(str, addresses)]

    return Service(name, place, addresses, ports, argv)


def _listener(
    name: str, addresses: tuple[Address, ...], tcp: tuple[int, ...], udp: tuple[int, ...], ready: tuple[int, ...]
) -> Service:
    def argv(folder: Path) -> list[str]:
        ports = [*(f"--tcp={port}" for port in tcp), *(f"--udp={port}" for port in udp)]
        journal = f"--journal={folder / name}.jsonl"
        return [sys.executable, "-m", "clawkeep.lab.world.listener", journal, *ports, *map(str, addresses)]

    return Service(name, t.INTERNET, addresses, ready, argv)


def _dnsmasq(folder: Path) -> list[str]:
    records = [f"--host-record={name},{','.join(map(str, addresses))}" for name, addresses in t.NAMES.items()]
    return [
        "dnsmasq",
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--user=root",  # the state folder, and so its log, is root's alone
        "--pid-file=",
        "--no-resolv",
        "--no-hosts",
        "--bind-interfaces",
        "--except-interface=lo",
        *(f"--listen-address={a}" for a in t.RESOLVERS + t.FOREIGN_RESOLVERS),
        "--address=/#/",  # every other name does not exist
        "--log-queries",
        f"--log-facility={folder / 'dns.log'}",
        *records,
        # Whatever is asked below these is answered, so that a question that got out is seen to have got out.
        *(f"--address=/{name}/{t.FORBIDDEN_SITE[0]}" for name in ("api.model.example", "forbidden.example")),
    ]


def _device(folder: Path) -> list[str]:
    addresses = ("10.78.0.2/32", "fd5e:c1a0:78::2/128", "to:10.78.0.1", "to:fd5e:c1a0:78::1")
    key = folder.parent / "vpn" / "device.key"
    return [sys.executable, "-m", "clawkeep.lab.world.device", str(key), t.tunnel(folder.parent), *addresses]


def _siem(scenario: Scenario) -> Service:
    addresses = tuple(i.ip for i in t.SIEM.addresses)

    def argv(folder: Path) -> list[str]:
        who = [f"--tier={scenario.tiers[-1]}", f"--peer={scenario.log_name}", f"--credentials={folder.parent / 'log'}"]
        module = [sys.executable, "-m", "clawkeep.lab.world.siem"]
        return [*module, *who, str(folder / t.SIEM.name), *map(str, addresses)]

    return Service(t.SIEM.name, t.SIEM, addresses, (t.LOG_PORT,), argv)


SERVICES = (  # of every lab
    _python("metadata", t.METADATA, t.METADATA_ADDRESSES, 80),
    _python("sites", t.INTERNET, t.ALLOWED_SITE + t.FORBIDDEN_SITE, 80, 443, tls=True),
    _python("model", t.INTERNET, t.MODEL_API, 80, 443, tls=True),
    _python("mail", t.INTERNET, t.MAIL_SANDBOX, 25),
    Service("dns", t.INTERNET, t.RESOLVERS + t.FOREIGN_RESOLVERS, (53,), _dnsmasq),
    _listener("detours", t.FORBIDDEN_SITE, (22, 25, 47808), (123, 443), (22,)),
    _listener("foreign", t.FOREIGN_RESOLVERS, (443, 853), (853,), (853,)),
    _python("ntp", t.INTERNET, t.TIME_SERVERS),
    Service("device", t.VPN, (), (), _device),
    _python("echo", t.NEIGHBOUR, t.NEIGHBOUR_ECHO, 80),
)
CERTIFIED_NAMES = ("allowed.example", "forbidden.example", "api.model.example")


def of(lab: Lab) -> tuple[Service, ...]:
    """The stand-ins of one lab."""
    return (*SERVICES, *((_siem(lab.scenario),) if t.SIEM in lab.places else ()))
