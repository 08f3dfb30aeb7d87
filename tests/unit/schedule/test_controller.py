"""What the controller knows: estate.yml, the tier groups and the control node's ledger, from wherever it verifies."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from clawkeep.base.errors import ClawkeepError
from clawkeep.base.repo import Repo
from clawkeep.measure import controller
from clawkeep.measure.controller import OWN_LEDGER, Controller
from clawkeep.measure.probes import vantage
from clawkeep.measure.transport import SSH_OPTIONS, connections
from clawkeep.register.tiers import Tier
from clawkeep.site import estate, inventory, ledger
from clawkeep.site.inventory import ControlNode, Host, Inventory, Site, Vantage

from .conftest import GREEN, Node, report

BEGAN, ENDED = "2026-11-23T09:10:58Z", "2026-11-23T09:12:47Z"
TIER = Tier("tier1_personal", 1, {})
ENTRY = """\
schema: 1
estate:
  - host: alpha
    tier: tier1_personal
    reason: One person's assistant.
    data: [public, own]
    credentials: test
    reviewed: 2026-06-01
"""


@pytest.fixture(autouse=True)
def _no_own_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(OWN_LEDGER, raising=False)


def site(folder: Path, node: ControlNode | None = None) -> Inventory:
    hosts = (Host("alpha", TIER, (), ("all", "tier1_personal", "web")),)
    return Inventory(folder, hosts, Site(name="x"), {}, node)


def facts(found: Controller, host: str = "alpha") -> dict[str, Any]:
    document: dict[str, Any] = found.document(Host(host, TIER, (), ("all", "tier1_personal", "web")), BEGAN, ENDED)
    return document["facts"]  # type: ignore[no-any-return]


def test_the_entry_and_the_tier_groups_are_told(tmp_path: Path) -> None:
    (tmp_path / "estate.yml").write_text(ENTRY)
    found = Controller.look(site(tmp_path), None)
    assert facts(found) == {
        "asked": found.asked,
        "measured": {"began": BEGAN, "ended": ENDED},
        "tiers": ["tier1_personal"],
        "estate": {
            "host": "alpha",
            "tier": "tier1_personal",
            "reason": "One person's assistant.",
            "data": ["public", "own"],
            "credentials": "test",
            "reviewed": "2026-06-01",
        },
        "schedule": None,
    }
    assert facts(found, "beta")["estate"] is None


def test_no_file_means_no_entry(tmp_path: Path) -> None:
    assert estate.load(tmp_path / "estate.yml") == {}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("schema: 1", "schema: 2", "was written for a later Clawkeep"),
        ("2026-06-01", "2026-02-30", ":8: reviewed: there is no such day in the calendar"),
        ("2026-06-01", "2026-06-01T10:00:00Z", ":8: reviewed: a date is YYYY-MM-DD"),
        ("[public, own]", "[]", ":6: data: "),
        ("[public, own]", "public", ":6: data: "),
        ("[public, own]", "[Payment!]", ":6: data.0: "),
        ("[public, own]", "[[own]]", ":6: data.0: "),
        ("credentials: test", "credentials: some", ":7: credentials: "),
        ("    reason: One person's assistant.\n", "", "reason: it is missing"),
        ("reason:", "raeson:", ":5: raeson: this key is unknown"),
        ("estate:", "estate: [", "it is not YAML that can be read here"),
        ("estate:", "estates:", "the key 'estates' is unknown"),
        ("reviewed: 2026-06-01\n", f"reviewed: 2026-06-01\n{ENTRY.partition('estate:')[2][1:]}", "stands in "),
    ],
)
def test_a_wrong_estate_is_told_with_its_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "estate.yml"
    path.write_text(ENTRY.replace(old, new))
    with pytest.raises(ClawkeepError) as raised:
        Controller.look(site(tmp_path), None)
    assert said in str(raised.value)
    assert str(path) in str(raised.value)
    assert type(raised.value) is ClawkeepError  # status 2: it is no waiver


def asking(text: str | Exception) -> tuple[list[Sequence[str]], Callable[[Sequence[str]], str]]:
    asked: list[Sequence[str]] = []

    def ask(argv: Sequence[str]) -> str:
        asked.append(argv)
        if isinstance(text, Exception):
            raise text
        return text

    return asked, ask


def test_the_control_node_is_asked_for_its_ledger(tmp_path: Path, node: Node) -> None:
    node.verify(report("pass", status=0))
    node.after(60)
    node.verify(report(hosts=[], results=[], status=2))
    asked, ask = asking(node.config.ledger.read_text())
    told = facts(Controller.look(site(tmp_path, ControlNode("watcher", "/l.json")), ask))["schedule"]
    assert asked == [["cat", "--", "/l.json"]]
    assert (told["node"], told["period"], told["watch"]) == ("watcher", "daily", {"looked": None, "complaints": []})
    assert [(run["expected"], run["measured"], run["signed"], run["here"]) for run in told["runs"]] == [
        (1, 1, True, "measured"),
        (0, 0, True, None),
    ]


@pytest.mark.parametrize(
    "answer", [ClawkeepError("watcher is unreachable by ssh"), "", "{}", '{"schema": 2}', "\x00" * 10]
)
def test_a_node_that_does_not_answer_is_a_problem_of_the_schedule_alone(
    tmp_path: Path, answer: str | Exception
) -> None:
    (tmp_path / "estate.yml").write_text(ENTRY)
    document = Controller.look(site(tmp_path, ControlNode("watcher")), asking(answer)[1]).document(
        site(tmp_path).hosts[0], BEGAN, ENDED
    )
    assert "schedule" not in document["facts"]
    assert document["problems"]["schedule"].startswith("the schedule is not known: ")
    assert document["facts"]["estate"] is not None


def test_on_the_node_itself_nobody_is_asked(tmp_path: Path, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.verify(GREEN)
    monkeypatch.setenv(OWN_LEDGER, str(node.config.ledger))
    asked, ask = asking("")
    found = Controller.look(site(tmp_path, ControlNode("watcher")), ask)
    assert asked == []
    assert facts(found)["schedule"]["runs"][0]["here"] == "measured"


def test_the_last_good_run_is_told_behind_many_bad_ones(
    tmp_path: Path, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.verify(GREEN)
    for _ in range(controller.RUNS + 2):
        node.after(3600)
        node.verify(None, status=2)
    monkeypatch.setenv(OWN_LEDGER, str(node.config.ledger))
    found = Controller.look(site(tmp_path), None)
    told = facts(found)["schedule"]["runs"]
    assert len(told) == controller.RUNS + 1
    assert [run["here"] for run in told] == ["measured", *[None] * controller.RUNS]
    assert len(facts(found, "beta")["schedule"]["runs"]) == controller.RUNS


HOSTS = """
all:
  children:
    tier1_personal: {hosts: {alpha: {ansible_connection: local}, beta: {ansible_connection: local}}}
    control_nodes: {hosts: {watcher: {ansible_host: 192.0.2.9, ansible_user: ops, ansible_become: true}}}
"""


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Inventory]:
    (tmp_path / "repository/playbooks/group_vars").mkdir(parents=True)
    (tmp_path / "repository/playbooks/group_vars/tier1_personal.yml").write_text("tier: {name: x, rank: 1}\n")
    (tmp_path / "site/group_vars").mkdir(parents=True)
    (tmp_path / "site/group_vars/all.yml").write_text("site_name: here\n")

    def loaded(hosts: str, limit: str | None = None) -> Inventory:
        (tmp_path / "site/hosts.yml").write_text(hosts)
        return inventory.load(tmp_path / "site", Repo(tmp_path / "repository"), limit=limit)

    return loaded


def test_a_control_node_is_asked_and_not_judged(load: Callable[..., Inventory], tmp_path: Path) -> None:
    found = load(HOSTS, "alpha")
    assert [host.name for host in found.hosts] == ["alpha"]
    assert found.control_node == ControlNode("watcher", "/var/lib/clawkeep-verifier/schedule.json")
    ways = connections(found, tmp_path / "none.cfg")
    assert ways.keys() == {"alpha", "watcher"}
    assert ways["watcher"].login[-1] == "192.0.2.9"


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        (
            HOSTS.replace("watcher:", "alpha:"),
            "alpha is in control_nodes and in tier1_personal: a control node has no tier",
        ),
        (HOSTS.replace("watcher:", "other: {}, watcher:"), "control_nodes has 2 hosts (other, watcher)"),
        (HOSTS.replace("alpha: {ansible_connection: local}, beta: {ansible_connection: local}", ""), "has no host"),
    ],
)
def test_a_control_node_is_one_host_without_a_tier(load: Callable[..., Inventory], hosts: str, said: str) -> None:
    with pytest.raises(ClawkeepError) as raised:
        load(hosts)
    assert said in str(raised.value)


def test_where_the_ledger_lies_can_be_said(load: Callable[..., Inventory]) -> None:
    found = load(HOSTS.replace("ansible_user: ops", "clawkeep_ledger: /srv/l.json"))
    assert found.control_node == ControlNode("watcher", "/srv/l.json")


def test_what_the_node_insists_on_wins_over_the_inventory(
    load: Callable[..., Inventory], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weak = HOSTS.replace("ansible_user: ops", "ansible_ssh_common_args: -o StrictHostKeyChecking=no")
    monkeypatch.setenv(SSH_OPTIONS, "-o StrictHostKeyChecking=yes -o 'IdentityFile=/a b'")
    login = connections(load(weak), tmp_path / "none.cfg")["watcher"].login
    assert "IdentityFile=/a b" in login
    assert login.index("StrictHostKeyChecking=yes") < login.index("StrictHostKeyChecking=no")


def test_a_ledger_of_a_local_node_is_read_by_its_connection(tmp_path: Path, load: Callable[..., Inventory]) -> None:
    path = tmp_path / "schedule.json"
    ledger.establish(path, "here", "weekly", "2026-11-01T00:00:00Z")
    local = f"ansible_connection: local, clawkeep_ledger: {path}"
    found = load(HOSTS.replace("ansible_host: 192.0.2.9, ansible_user: ops, ansible_become: true", local))
    ways = connections(found, tmp_path / "none.cfg")
    told = facts(Controller.look(found, ways["watcher"].ask))["schedule"]
    assert (told["node"], told["established"]) == ("here", "2026-11-01T00:00:00Z")
    path.unlink()
    document = Controller.look(found, ways["watcher"].ask).document(found.hosts[0], BEGAN, ENDED)
    assert "No such file" in document["problems"]["schedule"]


def test_raw_sockets_spare_the_probe_from_being_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(vantage, "raw_sockets", lambda: True)
    assert vantage.argv_at(Vantage(kind="local"), ["probe"]) == ["probe"]
    assert vantage.argv_at(Vantage(kind="netns", name="n"), ["probe"])[0] == "sudo"
    monkeypatch.setattr(vantage, "raw_sockets", lambda: False)
    assert vantage.argv_at(Vantage(kind="local"), ["probe"]) == ["sudo", "-n", "--", "probe"]


def test_raw_sockets_are_asked_of_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(socket, "socket", refused)
    assert vantage.raw_sockets() is False
