"""The schedule on a real control node: it runs by itself, people are told, and it shouts when it has stopped (LOG-09).

The lab host is its own control node and the only host of its site: the account that verifies logs in over the host's
loopback, which firewall and sshd let an administrator's key do. The site has no other vantage, since every probe would
cost an emulated processor minutes: what only the outside proves stays inconclusive, so each run ends with status 2, is
told, and counts.
"""

from __future__ import annotations

import email
import email.policy
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from clawkeep.base import clock
from clawkeep.lab import state, topology
from clawkeep.lab.guest import ADMIN
from clawkeep.site import ledger
from clawkeep.site.inventory import CONTROL, LEDGER
from clawkeep.site.ledger import Attempt, Ledger

from . import wheelhouse
from .conftest import ROOT, Lab, await_true, proven

pytestmark = pytest.mark.lab

NODE = "lab-node"
SELF = "127.0.0.1"
STATE = "/var/lib/clawkeep-verifier"
UNITS = ("clawkeep-verify.service", "clawkeep-staleness.service", "clawkeep-alarm@clawkeep-verify.service.service")
EXPOSURE = 20  # tenths, the most that systemd may find; it calls up to 20 safe, and a unit without hardening 96

# The node installs a virtual environment, some ten seconds of a real processor.
PLAY_SECONDS = 1800
# One run, and the minute that its timer may wait.
RUN_SECONDS = 900
# The watch is put off by up to a minute.
WATCH_SECONDS = 300
PASSES = 20  # at least: what is proved from inside alone
OVERDUE_DAYS = 11  # one period is a week here, and people are told after one and a half

EVERY_MINUTE = """\
[Timer]
OnCalendar=
OnCalendar=minutely
RandomizedDelaySec=0
"""


@dataclass(frozen=True)
class Node:
    """The control node. `lab` reaches it by the inventory of its own site."""

    lab: Lab

    def play(self) -> list[str]:
        """Set the node up; the tasks that changed something there."""
        done = self.lab.play("playbooks/schedule.yml", timeout=PLAY_SECONDS)
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        recap = re.search(rf"^{NODE} +: ok=\d+ +changed=(\d+) ", done.stdout, re.M)
        assert recap is not None, done.stdout[-2000:]
        parts = done.stdout.split("\nTASK [")
        changed = [part.partition("]")[0] for part in parts if re.search(rf"^changed: \[{NODE}", part, re.M)]
        assert bool(changed) == (recap.group(1) != "0"), "what a play says of its tasks is not read as it is meant"
        return changed

    def ledger(self) -> Ledger:
        return ledger.parse(self.lab.root(f"cat {LEDGER}"), LEDGER)

    def report(self, attempt: Attempt) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(self.lab.root(f"cat {STATE}/runs/{attempt.name}/report/report.json"))
        return report

    def mails(self) -> list[EmailMessage]:
        """Every mail of this site that the lab's sandbox has taken, in order."""
        journal = state.lab(self.lab.scenario).state / "world" / "mail.jsonl"
        lines = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
        every = [email.message_from_string(line["text"], policy=email.policy.default) for line in lines]
        return [one for one in every if one["X-Clawkeep-Node"] == NODE]

    def await_mail(self, text: str, since: int, seconds: float, times: int = 1) -> list[EmailMessage]:
        """Wait for mails after the first `since` with `text` in their subject; the sandbox's own file is looked at,
        so that the host has nothing to do but what is awaited."""

        def wanted() -> list[EmailMessage]:
            return [one for one in self.mails()[since:] if text in one["Subject"]]

        try:
            await_true(lambda: len(wanted()) >= times, seconds, f"{times} mails on {text!r}")
        except BaseException:
            print(self.lab.ssh("journalctl --no-pager -n 60 -u 'clawkeep-*' -t clawkeep").stdout)
            raise
        return wanted()

    def metrics(self) -> dict[str, float]:
        """Every sample by its name and labels, as a person who may read nothing else of the node's state sees them."""
        text = self.lab.root(f"runuser -u nobody -- sh -c 'cat {STATE}/metrics/*.prom'")
        return {
            sample.name + "".join(f" {value}" for _, value in sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def logged(self) -> list[tuple[int, str]]:
        """Priority and text of what was told by the system's log."""
        lines = self.lab.root("journalctl -t clawkeep -o json --output-fields=PRIORITY,MESSAGE").splitlines()
        return [(int(entry["PRIORITY"]), entry["MESSAGE"]) for entry in map(json.loads, lines)]

    def state(self, unit: str, name: str) -> str:
        return self.lab.root(f"systemctl show --value --property={name} {unit}").strip()

    def hasten(self) -> None:
        """Give the timer, which must be stopped, a start each minute, or as soon after a run's end."""
        folder = "/etc/systemd/system/clawkeep-verify.timer.d"
        self.lab.root(f"mkdir -p {folder} && printf %s '{EVERY_MINUTE}' > {folder}/lab.conf && systemctl daemon-reload")

    def rest(self) -> None:
        """Stop the timer, and wait for the end of what it started."""
        self.lab.root("systemctl stop clawkeep-verify.timer")
        busy = "systemctl is-active --quiet {0} || systemctl show -p ActiveState {0} | grep -q activating"
        idle = " && ".join(f"! ({busy.format(unit)})" for unit in UNITS)
        self.lab.until(idle, "the last run has ended", RUN_SECONDS)

    def pass_days(self, days: int) -> None:
        """Turn the host's clock on; restoring a snapshot puts it right."""
        self.lab.root(f"date --set '+{days} days'")


def site(lab: Lab, folder: Path) -> Path:
    """The inventory of a site whose only host verifies itself: the lab's, seen from the host."""
    shutil.copytree(lab.inventory, folder)
    groups = yaml.safe_load((lab.inventory / "hosts.yml").read_text(encoding="utf-8"))
    ((name, from_here),) = groups[lab.scenario]["hosts"].items()
    from_itself = {"ansible_host": SELF, "ansible_user": ADMIN, "ansible_become": True}
    hosts = {lab.scenario: {"hosts": {name: from_itself}}, CONTROL: {"hosts": {NODE: from_here}}}
    facts = yaml.safe_load((lab.inventory / "group_vars" / "all.yml").read_text(encoding="utf-8"))
    del facts["site_vantages"]
    mail = {
        "host": str(topology.MAIL_SANDBOX[0]),
        "port": 25,
        "security": "none",
        "sender": "verifier@lab.example",
        "recipients": ["operator@allowed.example"],
    }
    told = {"verifier_mail": mail, "verifier_tell": "always", "verifier_wheelhouse": str(wheelhouse.ensure(ROOT))}
    files = {"hosts.yml": hosts, "group_vars/all.yml": facts, f"group_vars/{CONTROL}.yml": told}
    for file, content in files.items():
        (folder / file).write_text(yaml.safe_dump(content), encoding="utf-8")
    key = lab.root("cat /etc/ssh/ssh_host_ed25519_key.pub").split()
    (folder / "known_hosts.txt").write_text(f"{SELF} {key[0]} {key[1]}\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """The control node, set up by the playbook and let in by its own host; the proven state returns afterwards."""
    folder = tmp_path_factory.mktemp("node")
    lab = proven(request.config, folder / "report")
    try:
        made = Node(replace(lab, inventory=site(lab, folder / "inventory")))
        made.play()
        keys = f"/home/{ADMIN}/.ssh/authorized_keys"
        lab.root(f"printf '\\nrestrict %s\\n' \"$(cat {STATE}/keys/ssh.pub)\" >> {keys}")
        yield made
    finally:
        lab.restore()


def test_a_second_play_changes_nothing(node: Node) -> None:
    assert node.play() == []


def test_systemd_confines_each_service(node: Node) -> None:
    for unit in UNITS:
        rated = node.lab.ssh(f"systemd-analyze security --no-pager --threshold={EXPOSURE} {unit}")
        print(rated.stdout.splitlines()[-1:])
        assert rated.returncode == 0, rated.stdout
        assert node.state(unit, "User") == "clawkeep"
        assert node.state(unit, "NoNewPrivileges") == "yes"
        assert node.state(unit, "CapabilityBoundingSet") == ""
    assert node.lab.root("id --groups --name clawkeep").strip() == "clawkeep"
    assert node.lab.root("passwd --status clawkeep").split()[1] == "L"


def test_nobody_else_reads_what_the_node_keeps(node: Node) -> None:
    """Neither the keys nor the inventory, settings and reports: an administrator of the host without sudo, too."""
    open_to_all = (
        f"find {STATE} /etc/clawkeep-verifier -perm /o=rwx ! -type l ! -name '*.pub' ! -path '{STATE}/metrics*'"
    )
    assert node.lab.root(open_to_all).split() == [STATE]  # others pass through it to the metrics
    assert node.lab.root(f"stat --format=%a {STATE}").strip() == "711"
    kept = ("keys/ssh", "keys/evidence", "schedule.json", "runs")
    for path in (*(f"{STATE}/{name}" for name in kept), "/etc/clawkeep-verifier/schedule.yml"):
        assert node.lab.ssh(f"test -e {path}").returncode == 0
        assert node.lab.ssh(f"runuser -u {ADMIN} -- test -r {path}").returncode != 0, path
    foreign = "find /opt/clawkeep /etc/clawkeep-verifier ! -user root"
    assert node.lab.root(foreign).split() == []  # what runs is not the account's to change


def test_the_timer_fires_by_itself_and_people_are_told(node: Node) -> None:
    known, since = len(node.ledger().attempts), len(node.mails())
    node.rest()
    node.hasten()
    node.lab.root("systemctl start clawkeep-verify.timer")
    node.await_mail(NODE, since, 2 * RUN_SECONDS, times=2)
    node.rest()
    told, after = node.mails()[since:], node.ledger()
    attempts = after.attempts[known:]
    assert len(attempts) >= 2
    assert len(told) == len(attempts), "OnFailure= told again what the run had told"
    kept = set(node.lab.root(f"ls {STATE}/runs").split())
    assert {one.name for one in attempts} <= kept

    said = node.lab.root("journalctl -u clawkeep-verify.service -o json --output-fields=_SYSTEMD_INVOCATION_ID")
    begun = {json.loads(line).get("_SYSTEMD_INVOCATION_ID") for line in said.splitlines()}
    assert len({one.invocation for one in attempts}) == len(attempts)
    assert {one.invocation for one in attempts} <= begun

    logged = node.logged()
    for mail, attempt in zip(told, attempts, strict=True):
        report = node.report(attempt)
        print(f"{attempt.name}: {clock.since(attempt.started, attempt.finished):.0f} s, {mail['Subject']}")
        assert attempt.complete, attempt.shortcomings()
        assert attempt.exit_status == report["exit_status"]
        assert [host["reached"] for host in report["hosts"]] == [True]
        counts = Counter(row["status"] for row in report["results"])
        assert counts["pass"] >= PASSES, counts
        subject = mail["Subject"].removeprefix("[clawkeep] ")
        assert f"exit status {attempt.exit_status}" in subject
        assert "1 of 1 hosts measured" in subject
        lines = mail.get_content().splitlines()
        assert Counter(_counts(lines)) == counts
        assert {text for priority, text in logged if priority == 4} >= {subject, *lines}

    last = attempts[-1]
    seen = node.metrics()
    counts = Counter(row["status"] for row in node.report(last)["results"])
    (host,) = last.hosts
    for status in ("pass", "fail", "error", "inconclusive", "waived"):
        assert seen[f"clawkeep_results {host} {status} {node.lab.scenario}"] == counts[status]
    assert seen["clawkeep_run_exit_status"] == last.exit_status
    assert seen["clawkeep_run_complete"] == 1
    assert seen["clawkeep_last_success_timestamp_seconds"] == clock.moment(last.finished).timestamp()


def _counts(lines: list[str]) -> dict[str, int]:
    """The line of a summary that counts results: `pass 40  inconclusive 9`."""
    (line,) = (line for line in lines if re.fullmatch(r"[a-z_]+ \d+(  [a-z_]+ \d+)*", line))
    return {word: int(count) for word, count in (pair.split() for pair in line.split("  "))}


def test_a_stopped_timer_is_shouted_about_until_a_run_counts_again(node: Node) -> None:
    """The watch's own timer finds out: nobody starts it, and nobody asks."""
    node.rest()
    node.hasten()
    since = len(node.mails())
    node.pass_days(OVERDUE_DAYS)
    before = node.ledger()
    age = before.last_complete.finished if before.last_complete else before.established
    (alarm,) = node.await_mail("verification has stopped", since, WATCH_SECONDS)
    text = alarm.get_content()
    assert age in text or "no run has counted" in text
    assert "the timer clawkeep-verify.timer is inactive" in text
    assert (3, alarm["Subject"].removeprefix("[clawkeep] ")) in node.logged()
    node.lab.until("systemctl is-failed --quiet clawkeep-staleness.service", "the watch has ended")
    seen = node.metrics()
    assert seen["clawkeep_stale"] == 1
    assert seen["clawkeep_watch_timestamp_seconds"] - clock.moment(age).timestamp() > (OVERDUE_DAYS - 1) * 86400

    node.lab.root("systemctl start clawkeep-verify.timer")
    node.await_mail("1 of 1 hosts measured", since, RUN_SECONDS)
    node.lab.root("systemctl start clawkeep-staleness.service", timeout=WATCH_SECONDS)
    assert node.state("clawkeep-staleness.service", "Result") == "success"
    assert node.metrics()["clawkeep_stale"] == 0
    (again,) = node.await_mail("verification goes on again", since, WATCH_SECONDS)
    assert (6, again["Subject"].removeprefix("[clawkeep] ")) in node.logged()
