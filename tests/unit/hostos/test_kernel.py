"""HST-03: what the kernel's evidence must and must not show."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from clawkeep.base.verdict import Unmeasured
from clawkeep.subjects.host.kernel import Kernel

from .world import World, asked, fact, said


def _everything(kernel: Kernel) -> list[str]:
    return [
        *kernel.loose_parameters(),
        *kernel.loose_interfaces(),
        *kernel.memory_images(),
        *kernel.debuggable_siblings(),
        *kernel.broken_docker(),
    ]


def _set(**values: str) -> Callable[[World], object]:
    renamed = {name.replace("__", "/"): value for name, value in values.items()}

    def change(world: World) -> None:
        world["facts"]["sysctl"] = sorted((dict(world["facts"]["sysctl"]) | renamed).items())
        world["facts"]["sysctl"] = [list(pair) for pair in world["facts"]["sysctl"]]

    return change


def _ptrace(**outcomes: str) -> Callable[[World], object]:
    tried = {"sibling": "EPERM", "own-child": "ok", "root": "ok"} | {
        k.replace("_", "-"): v for k, v in outcomes.items()
    }
    return lambda world: said(world, "agent-experiments", ptrace=tried)


def test_the_good_kernel_has_no_complaint() -> None:
    assert _everything(asked(Kernel)) == []


def test_a_gateway_that_is_starting_does_not_accuse_the_kernel() -> None:
    assert _everything(asked(Kernel, lambda w: fact(w, "published-port", outcome="refused", direct=["refused"]))) == []


def test_strict_everywhere_covers_an_interface_without_its_own_filter() -> None:
    assert _everything(asked(Kernel, _set(**{"net/ipv4/conf/eth0.5/rp_filter": "0"}))) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (_set(kernel__kptr_restrict="0"), "kernel.kptr_restrict is 0, and should be at least 1"),
        (_set(kernel__perf_event_paranoid="-1"), "kernel.perf_event_paranoid is -1, and should be at least 2"),
        (_set(net__ipv4__ip_forward="0"), "net.ipv4.ip_forward is 0, and should be 1"),
        (_set(kernel__core_pattern="|/usr/lib/systemd/systemd-coredump %P"), "memory is kept"),
        (_set(**{"net/ipv6/conf/eth0.5/accept_ra": "1"}), "net.ipv6.conf.eth0.5.accept_ra is 1, and should be 0"),
        (_set(net__ipv6__conf__default__accept_ra="2"), "net.ipv6.conf.default.accept_ra is 2"),
        (_set(net__ipv4__conf__all__send_redirects="1"), "net.ipv4.conf.all.send_redirects is 1"),
        (
            _set(**{"net/ipv4/conf/all/rp_filter": "0", "net/ipv4/conf/eth0.5/rp_filter": "0"}),
            "eth0.5 accepts packets from any source address",
        ),
        (_ptrace(sibling="ok"), "attaches to another one"),
        (lambda w: fact(w, "published-port", outcome="timed out"), "though the container answers on its own address"),
        (
            lambda w: w["facts"].update(sysctl=[p for p in w["facts"]["sysctl"] if p[0] != "fs/protected_fifos"]),
            "fs.protected_fifos does not exist",
        ),
    ],
)
def test_each_weakness_is_told(change: Callable[[World], object], complaint: str) -> None:
    complaints = _everything(asked(Kernel, change))
    assert len(complaints) == 1
    assert complaint in complaints[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w["facts"].update(sysctl=[]),
        lambda w: w["facts"].update(sysctl={"a": "b"}),
        lambda w: w["facts"].pop("sysctl"),
        _set(kernel__kptr_restrict=""),
        _set(kernel__dmesg_restrict="yes"),
        _set(kernel__dmesg_restrict="²"),
        _set(kernel__dmesg_restrict="--1"),
        _set(kernel__dmesg_restrict="1" * 5000),
        lambda w: w["facts"].update(sysctl=[p for p in w["facts"]["sysctl"] if "/all/" not in p[0]]),
        lambda w: w["facts"].update(sysctl=[p for p in w["facts"]["sysctl"] if p[0] != "kernel/core_pattern"]),
        _ptrace(own_child="EPERM", root="EPERM"),
        _ptrace(sibling="the attempt broke"),
        lambda w: w["commands"].pop("agent-experiments"),
        lambda w: fact(w, "published-port", outcome="refused", direct=[]),
        lambda w: fact(w, "published-port", outcome="timed out", direct=["timed out"]),
    ],
)
def test_what_was_not_measured_never_passes(change: Callable[[World], object]) -> None:
    with pytest.raises(Unmeasured):
        _everything(asked(Kernel, change))
