"""BGL-05: units honour the flag of the kill command in both of its places."""

from __future__ import annotations

from collections.abc import Callable

from clawkeep_host.stop_flag import FLAGS

Render = Callable[..., str]
UNITS = "etc/systemd/system"


def conditions(text: str) -> list[str]:
    """What the unit's conditions on files say, each as it is written."""
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith("ConditionPathExists=")]


def test_a_flag_in_either_place_holds_the_gateway_back(render: Render) -> None:
    """systemd starts a unit when all plain conditions hold."""
    unit = conditions(render("openclaw", f"{UNITS}/clawkeep-openclaw.service.j2"))
    assert [word for word in unit if word.startswith("!")] == [f"!{flag}" for flag in FLAGS]
    assert not [word for word in unit if word.startswith("|")]


def test_a_flag_in_either_place_keeps_the_network_cut(render: Render) -> None:
    """And when one of those with a bar holds, as long as there is no plain one."""
    assert conditions(render("breakglass", f"{UNITS}/clawkeep-quarantine.service.j2")) == [f"|{flag}" for flag in FLAGS]
