"""One scheduled run: what is recorded, kept, told and given back, whatever becomes of `clawkeep verify`."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clawkeep.base.errors import ClawkeepError
from clawkeep.measure.controller import OWN_LEDGER
from clawkeep.measure.transport import SSH_OPTIONS
from clawkeep.report.terminal import MEANINGS
from clawkeep.schedule import job, tell
from clawkeep.schedule.notice import Notice
from clawkeep.verify.report import Exit

from .conftest import GREEN, KEY, RED, Node, report


def test_a_green_run_is_recorded_and_kept(node: Node) -> None:
    outcome = node.verify(GREEN)
    assert (outcome.status, outcome.problems) == (0, ())
    (attempt,) = node.ledger.attempts
    assert attempt == outcome.attempt
    assert (attempt.hosts, attempt.signed_by, attempt.exit_status) == ({"alpha": "measured"}, KEY, 0)
    assert attempt.complete
    folder = node.config.runs / attempt.name
    assert json.loads((folder / "report/report.json").read_text()) == GREEN
    assert (folder / "evidence").is_dir()
    assert (folder / "log.txt").read_text() == "measured\n"
    assert folder.stat().st_mode & 0o077 == 0
    assert node.config.ledger.stat().st_mode & 0o077 == 0


def test_the_program_that_is_called_is_this_command_line() -> None:
    done = subprocess.run([*job.PROGRAM, "--version"], text=True, capture_output=True, check=True)
    assert done.stdout.startswith("clawkeep ")


def test_a_red_run_counts_and_ends_red(node: Node) -> None:
    outcome = node.verify(report("pass", "fail", status=1))
    assert outcome.status == 1
    assert outcome.attempt.complete
    assert outcome.attempt.counts["fail"] == 1


def test_the_suite_is_called_as_production_calls_it(node: Node) -> None:
    node.settings(ssh_key=Path("/key with blank"), known_hosts=Path("/known"))
    node.verify()
    folder = node.config.runs / node.ledger.attempts[0].name
    assert node.seen["argv"] == [
        "verify",
        "--inventory",
        str(node.config.inventory),
        "--report",
        str(folder / "report"),
        "--save-evidence",
        str(folder / "evidence"),
        "--sign-key",
        str(node.config.sign_key),
    ]
    environment = node.seen["environment"]
    assert environment[OWN_LEDGER] == str(node.config.ledger)
    options = shlex.split(environment[SSH_OPTIONS])
    assert options[::2] == ["-o"] * (len(options) // 2)
    assert {"IdentityFile=/key with blank", "UserKnownHostsFile=/known", "StrictHostKeyChecking=yes"} <= {*options}


def test_the_suite_is_told_no_secret(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/x")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    node.verify()
    assert {"CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET"} & node.seen["environment"].keys() == set()


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (report(hosts=[], results=[], status=2), "it verified no host"),
        (report("inconclusive", "error", status=2), "on 1 of 1 hosts nothing could be judged"),
        (report("not_applicable", "manual", "not_required"), "on 1 of 1 hosts nothing could be judged"),
        (report("inconclusive", reached=False, status=2), "1 of 1 hosts were not reached"),
        (report("pass", left_out=["NET-01", "NET-02"]), "2 controls were left out"),
        (report("pass", bundle=None), "its evidence is not signed"),
        (report("pass", bundle={"key": None}), "its evidence is not signed"),
        (None, "it left no report: measured"),
        ("{", "it left no report: measured"),
        ('{"schema": 2}', "it left no report: measured"),
        ('{"schema": 1, "exit_status": 0, "hosts": [], "results": [{}]}', "it left no report: measured"),
    ],
)
def test_what_does_not_count_as_a_run_is_unmeasured(node: Node, document: object, said: str) -> None:
    outcome = node.verify(document)  # type: ignore[arg-type]
    assert outcome.status == 2
    assert said in outcome.attempt.shortcomings()
    assert node.ledger.last_complete is None


def test_a_report_that_contradicts_the_exit_status_does_not_count(node: Node) -> None:
    outcome = node.verify(GREEN, status=1)
    assert outcome.status == 2
    assert outcome.attempt.trouble == "it ended with status 1, and its report says 0"


@pytest.mark.parametrize("status", [5, 70, 130])
def test_a_status_that_is_none_of_the_contract_is_unmeasured(node: Node, status: int) -> None:
    assert node.verify(report("pass", status=status)).status == 2


def test_the_worst_finding_decides_beside_a_run_that_does_not_count(node: Node) -> None:
    lost: dict[str, Any] = {"hosts": [{"name": "alpha", "tier": "t", "reached": False}]}
    assert node.verify(report("fail", status=4, **lost)).status == 4
    assert node.verify(report("fail", status=1, **lost)).status == 2


def test_a_run_that_hangs_is_stopped_with_its_children(node: Node) -> None:
    node.settings(limit_seconds=1.5)
    outcome = node.verify(hangs=True, child=True)
    assert outcome.status == 2
    assert outcome.attempt.exit_status is None
    assert outcome.attempt.trouble == "it was stopped after 2 s"
    child = Path("/proc") / (node.folder / "child").read_text() / "stat"
    assert not child.exists() or child.read_text().rpartition(")")[2].split()[0] in "ZX"


def test_a_program_that_cannot_be_run_is_told(node: Node) -> None:
    outcome = job.run(node.config, program=("/no/such/program",), now=node.now)
    assert outcome.status == 2
    assert outcome.attempt.trouble == "it left no report: /no/such/program cannot be run: No such file or directory"


def test_what_the_suite_says_is_made_harmless(node: Node) -> None:
    outcome = node.verify(None, status=2, says="clawkeep: \x1b[2Jthe host \u202eflah is gone")
    assert outcome.attempt.trouble == "it left no report: \\u001b[2Jthe host \\u202eflah is gone"


def test_two_runs_at_once_are_refused(node: Node) -> None:
    node.verify()
    with (node.config.state / "run.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ClawkeepError, match="on its way already"):
            node.verify()
    assert len(node.ledger.attempts) == 1


def test_two_runs_in_one_second_have_names_of_their_own(node: Node) -> None:
    for _ in range(3):
        node.verify()
    assert node.runs == ["20261101T000000Z", "20261101T000000Z-2", "20261101T000000Z-3"]


def test_the_newest_runs_are_kept_and_the_last_complete_one_always(node: Node) -> None:
    node.settings(keep=2)
    node.verify(GREEN)
    strange = node.config.runs / "mine"
    strange.mkdir()
    (node.config.runs / "20200101T000000Z").symlink_to(strange)
    for _ in range(4):
        node.after(86400)
        node.verify(None)
    assert [attempt.name for attempt in node.ledger.attempts] == [
        "20261101T000000Z",
        "20261104T000000Z",
        "20261105T000000Z",
    ]
    assert node.runs == [
        "20200101T000000Z",
        "20261101T000000Z",
        "20261104T000000Z",
        "20261105T000000Z",
        "mine",
    ]
    node.after(86400)
    node.verify(GREEN)
    assert [name for name in node.runs if name.startswith("202611")] == ["20261105T000000Z", "20261106T000000Z"]


def test_what_was_left_by_a_crash_is_removed(node: Node) -> None:
    node.verify()
    (node.config.runs / "20261031T000000Z").mkdir()
    node.after(1)
    node.verify()
    assert "20261031T000000Z" not in node.runs


def test_a_metrics_folder_that_is_gone_stops_nothing(node: Node) -> None:
    node.settings(metrics=node.folder / "nowhere")
    outcome = node.verify(RED)
    assert outcome.status == 2
    assert "nowhere/clawkeep_verify.prom cannot be written: No such file or directory" in outcome.problems[0]
    assert len(node.ledger.attempts) == 1


def test_what_breaks_after_a_run_is_a_problem_and_no_status(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clawkeep.schedule.metrics.of_run", lambda *_: 1 / 0)
    outcome = node.verify(GREEN)
    assert outcome.status == 0
    assert outcome.problems[0] == "what is due after a run broke: ZeroDivisionError: division by zero"
    assert node.ledger.last_complete is not None


def test_a_ledger_that_cannot_be_read_is_told_before_anything_runs(node: Node) -> None:
    node.config.ledger.write_text("{")
    with pytest.raises(ClawkeepError, match="is no ledger of a schedule"):
        node.verify()
    assert not (node.folder / "seen.json").exists()


def test_the_start_of_the_service_is_remembered(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVOCATION_ID", "f00d")
    assert node.verify().attempt.invocation == "f00d"


def test_a_new_period_is_taken_over(node: Node) -> None:
    node.verify()
    node.settings(period="6h")
    node.verify()
    assert node.ledger.period == "6h"


class Ear:
    """Keeps what is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fails: str = "") -> None:
        self.heard: list[tuple[str, str]] = []

        def channel(name: str) -> tuple[str, Callable[[Notice], None]]:
            def send(notice: Notice) -> None:
                if name == fails:
                    raise RuntimeError("with a secret in it")
                self.heard.append((name, notice.subject))

            return name, send

        monkeypatch.setattr(tell, "channels", lambda _: [channel(name) for name in ("one", "two", "three")])


def test_trouble_is_told_and_quiet_is_not(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    ear = Ear(monkeypatch)
    documents = [GREEN, GREEN, report("fail", status=1), report("fail", status=1), GREEN, GREEN]
    subjects = []
    for document in documents:
        ear.heard.clear()
        node.verify(document)
        subjects.append(ear.heard[0][1] if ear.heard else "")
    assert subjects == [
        f"watcher: {MEANINGS[Exit.GREEN]} (exit status 0); 1 of 1 hosts measured",
        "",
        "watcher: a required control fails (exit status 1); 1 fail, 1 of 1 hosts measured",
        "watcher: a required control fails (exit status 1); 1 fail, 1 of 1 hosts measured",
        "watcher: in order again; 1 of 1 hosts measured",
        "",
    ]


def test_everything_is_told_where_that_is_wanted(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    ear = Ear(monkeypatch)
    node.settings(tell="always")
    node.verify()
    node.verify()
    assert len(ear.heard) == 6


@pytest.mark.parametrize("fails", ["one", "two", "three"])
def test_a_channel_that_fails_stops_no_other_and_changes_no_status(
    node: Node, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    ear = Ear(monkeypatch, fails)
    outcome = node.verify(report("fail", status=1))
    assert outcome.status == 1
    assert {name for name, _ in ear.heard} == {"one", "two", "three"} - {fails}
    assert outcome.told[fails] == "it broke with RuntimeError"
    assert outcome.problems == (f"nobody was told by {fails}: it broke with RuntimeError",)
    text = (node.folder / "metrics/clawkeep_verify.prom").read_text()
    assert f'clawkeep_tell_failed{{channel="{fails}"}} 1.0\n' in text
    assert text.count("clawkeep_tell_failed{") == 3


def test_a_run_that_does_not_count_says_so_first(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    ear = Ear(monkeypatch)
    node.verify(report(hosts=[], results=[], status=2))
    assert ear.heard[0][1] == "watcher: the run does not count: it verified no host"


def test_no_run_needs_systemd(node: Node) -> None:
    assert "INVOCATION_ID" not in os.environ
    assert node.verify().attempt.invocation == ""
