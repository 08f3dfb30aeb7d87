"""The lab's network in this machine's kernel: namespaces of its own, gone afterwards. Needs root."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from clawkeep.lab import network
from clawkeep.lab.topology import SCENARIOS, Lab

pytestmark = pytest.mark.kernel


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(SCENARIOS["tier2_team"], tmp_path)
    yield lab
    network.delete(lab)


def cards(lab: Lab) -> dict[str, str]:
    """The MAC address by place, as the kernel has it."""
    found = {}
    for place in lab.places:
        argv = ["ip", "-n", lab.netns(place), "-json", "link", "show", network.CARD]
        found[place.name] = json.loads(subprocess.check_output(argv))[0]["address"]
    return found


def test_every_card_is_known_again_in_a_network_built_anew(lab: Lab) -> None:
    network.create(lab)
    first = cards(lab)
    assert len(set(first.values())) == len(lab.places)
    network.delete(lab)
    assert not network.existing() & set(lab.namespaces)
    network.create(lab)
    assert cards(lab) == first


def test_a_place_hears_another_over_the_segment(lab: Lab) -> None:
    network.create(lab)
    first, second = lab.places[:2]
    argv = [
        "ip",
        "netns",
        "exec",
        lab.netns(first),
        "nmap",
        "-sn",
        "-n",
        "-PR",
        "-oG",
        "-",
        str(second.addresses[0].ip),
    ]
    assert "Status: Up" in subprocess.check_output(argv, text=True)
