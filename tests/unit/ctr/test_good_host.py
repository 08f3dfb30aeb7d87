"""On the good host every container and mount control holds, and nothing that is missing or hostile passes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from clawkeep.base.verdict import Status
from clawkeep.site.inventory import Site

from . import worlds

GARBAGE: tuple[Any, ...] = (None, 7, "text", {}, [1], [[]], [{}], {"openclaw": None}, {"openclaw": {"rows": 3}})


def set_facts(value: Any, document: dict[str, Any]) -> None:
    document["facts"] = dict.fromkeys(document["facts"], value)


def set_containers(value: Any, document: dict[str, Any]) -> None:
    document["commands"]["docker-containers"]["json"] = value


def empty(document: dict[str, Any]) -> None:
    set_containers([], document)
    document["commands"]["docker-volumes"]["json"] = []
    for key in ("container-processes", "container-mountinfo", "inside-probe", "mount-sources"):
        document["facts"][key] = {}
    document["facts"]["state-trees"] = document["facts"]["state-reads"] = []


def stopped(document: dict[str, Any]) -> None:
    document["commands"]["docker-containers"]["json"][0]["State"] = {"Running": False, "Pid": 0}
    for key in ("container-processes", "container-mountinfo", "inside-probe"):
        document["facts"][key] = {}


def silent(document: dict[str, Any]) -> None:
    for key in ("docker-containers", "docker-info"):
        document["commands"][key] = {"argv": ["docker"], "status": 1, "json": None, "stderr": "Cannot connect"}


UNMEASURED: dict[str, Callable[[dict[str, Any]], object]] = {
    "empty": empty,
    "stopped": stopped,
    "silent": silent,
    **{f"facts-{n}": functools.partial(set_facts, value) for n, value in enumerate(GARBAGE) if value != {}},
    **{f"containers-{n}": functools.partial(set_containers, value) for n, value in enumerate(GARBAGE)},
    "half-a-container": functools.partial(set_containers, [{"Name": "/openclaw", "Config": []}]),
}


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, Any]]:
    return worlds.judged({"good": lambda _: None, **UNMEASURED})


@pytest.mark.parametrize("control", [one for one in worlds.CONTROLS if one != "CTR-10"])
def test_the_good_host_is_green(found: Any, control: str) -> None:
    result = found["good"][control]
    assert result.status is Status.PASS, result.message


@pytest.mark.parametrize("name", UNMEASURED)
def test_what_was_not_measured_never_passes(found: Any, name: str) -> None:
    results = {control: result for control, result in found[name].items() if control != "CTR-10"}
    assert len(results) == 13
    wrong = [
        f"{control} {r.status}: {r.message}" for control, r in results.items() if r.status is not Status.INCONCLUSIVE
    ]
    assert wrong == []


def test_the_reason_is_told(found: Any) -> None:
    assert "Cannot connect" in found["silent"]["CTR-10"].message


def test_a_linux_engine_is_no_desktop(found: Any) -> None:
    result = found["good"]["CTR-10"]
    assert result.status is Status.NOT_APPLICABLE
    assert "Debian" in result.message


def test_an_empty_lock_pins_nothing() -> None:
    assert worlds.judged({"good": lambda _: None}, Site(name="unit"))["good"]["CTR-08"].status is Status.INCONCLUSIVE
