"""The staleness watch: silence is told, whatever caused it, and told once a day."""

from __future__ import annotations

import subprocess

import pytest

from clawkeep.base.errors import ClawkeepError
from clawkeep.schedule import alarm, metrics, tell, watch
from clawkeep.schedule.notice import Notice

from .conftest import GREEN, Node, report
from .test_metrics import plain, unix

DAY = 86400
TIMER = "clawkeep-verify.timer"
GOOD = {"LoadState": "loaded", "UnitFileState": "enabled", "ActiveState": "active"}


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[Notice]:
    """What people were told, over a channel that works."""
    found: list[Notice] = []
    monkeypatch.setattr(tell, "channels", lambda _: [("ear", found.append)])
    return found


def look(node: Node, state: dict[str, str] | None = None) -> tuple[str, ...]:
    return watch.look(node.config, ask=lambda _: GOOD if state is None else {**GOOD, **state}, now=node.now).complaints


def test_a_schedule_that_goes_on_is_quiet(node: Node, heard: list[Notice]) -> None:
    node.verify(GREEN)
    heard.clear()
    node.after(1.4 * DAY)
    assert look(node) == ()
    assert heard == []
    assert node.ledger.watch.looked == node.time


def test_an_overdue_run_is_told(node: Node, heard: list[Notice]) -> None:
    node.verify(GREEN)
    heard.clear()
    node.after(1.5 * DAY + 1)
    (said,) = look(node)
    assert said == "the last run that counts ended 1 d 12 h ago (2026-11-01T00:00:00Z); one is due every 1 d"
    assert heard[0].subject == f"watcher: verification has stopped: {said}"
    assert plain(node, metrics.WATCH) == {
        "clawkeep_watch_timestamp_seconds": unix(node.time),
        "clawkeep_stale": 1,
        "clawkeep_watch_last_success_timestamp_seconds": unix("2026-11-01T00:00:00Z"),
    }


@pytest.mark.parametrize(
    "empty",
    [report(hosts=[], results=[], status=2), report("inconclusive", status=2), report("pass", bundle=None), None],
    ids=["no host", "all inconclusive", "unsigned", "no report"],
)
def test_a_run_that_does_not_count_is_no_sign_of_life(node: Node, heard: list[Notice], empty: object) -> None:
    node.verify(GREEN)
    for _ in range(3):
        node.after(DAY)
        node.verify(empty)  # type: ignore[arg-type]
    heard.clear()
    assert "ended 3 d ago" in look(node)[0]
    assert len(heard) == 1


def test_a_first_run_that_never_comes_is_told(node: Node, heard: list[Notice]) -> None:
    assert look(node) == ()  # the schedule was set up just now
    node.after(2 * DAY)
    assert look(node) == ("no run has counted since the schedule was set up 2 d ago; one is due every 1 d",)
    assert len(heard) == 1


def test_a_red_run_is_a_sign_of_life(node: Node, heard: list[Notice]) -> None:
    node.after(3 * DAY)
    node.verify(report("pass", "fail", status=1))
    heard.clear()
    assert look(node) == ()
    assert heard == []


def test_a_run_from_the_future_is_told(node: Node, heard: list[Notice]) -> None:
    node.verify(GREEN)
    node.after(-3 * DAY)
    assert look(node) == ("the last run is dated 3 d in the future: look at the clock",)
    assert heard[-1].level.name == "ERROR"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"UnitFileState": "disabled"}, "is disabled: it will not be there after the next start"),
        ({"ActiveState": "inactive"}, "is inactive: nothing will start verification"),
        ({"UnitFileState": "masked", "LoadState": "masked"}, "is not there (systemd says masked)"),
        ({"LoadState": "not-found", "UnitFileState": "", "ActiveState": "inactive"}, "is not there"),
    ],
)
def test_a_stopped_timer_is_told_at_once(node: Node, heard: list[Notice], state: dict[str, str], said: str) -> None:
    node.settings(timer=TIMER)
    node.verify(GREEN)
    heard.clear()
    (complaint,) = look(node, state)
    assert complaint.startswith(f"the timer {TIMER} ")
    assert said in complaint
    assert len(heard) == 1


def test_a_timer_that_nobody_knows_of_is_told(node: Node, heard: list[Notice]) -> None:
    def ask(_: str) -> dict[str, str]:
        raise ClawkeepError("systemd cannot be asked for x: no bus")

    node.settings(timer=TIMER)
    node.verify(GREEN)
    assert watch.look(node.config, ask=ask, now=node.now).complaints == ("systemd cannot be asked for x: no bus",)
    assert heard


def test_systemds_words_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = "LoadState=loaded\nUnitFileState=enabled\nActiveState=active\n"
    monkeypatch.setattr(subprocess, "run", lambda *a, **_: subprocess.CompletedProcess(a, 0, printed, ""))
    assert watch.timer_state(TIMER) == GOOD


def test_systemd_that_cannot_be_asked_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *a, **_: subprocess.CompletedProcess(a, 1, "", "no bus\n"))
    with pytest.raises(ClawkeepError, match="systemd cannot be asked for x: no bus"):
        watch.timer_state("x")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.undo()


def test_people_are_reminded_once_a_day_and_told_of_the_end(node: Node, heard: list[Notice]) -> None:
    node.verify(GREEN)
    heard.clear()
    subjects = []
    for _ in range(60):
        node.after(3600)
        look(node)
        subjects += [notice.subject.split(": ")[1] for notice in heard]
        heard.clear()
    assert subjects == ["verification has stopped"]
    for _ in range(24):
        node.after(3600)
        look(node)
    assert len(heard) == 1
    node.verify(GREEN)
    heard.clear()
    look(node)
    look(node)
    assert [notice.subject for notice in heard] == ["watcher: verification goes on again"]


def test_an_alarm_that_nobody_heard_is_repeated(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Notice] = []

    def broken(notice: Notice) -> None:
        tried.append(notice)
        raise ClawkeepError("no way out")

    monkeypatch.setattr(tell, "channels", lambda _: [("ear", broken)])
    node.after(-3 * DAY)
    node.verify(None, status=2)
    node.after(3 * DAY)
    tried.clear()
    for _ in range(3):
        node.after(3600)
        outcome = watch.look(node.config, ask=lambda _: GOOD, now=node.now)
    assert len(tried) == 3
    assert outcome.problems == ("nobody was told by ear: no way out",)


def test_a_run_and_the_watch_do_not_lose_each_others_words(node: Node) -> None:
    node.verify(GREEN)
    look(node)
    node.after(3600)
    node.verify(GREEN)
    assert node.ledger.watch.looked == "2026-11-01T00:00:00Z"
    look(node)
    assert len(node.ledger.attempts) == 2


FAILED = {
    "MONITOR_INVOCATION_ID": "f00d",
    "MONITOR_SERVICE_RESULT": "timeout",
    "MONITOR_EXIT_CODE": "killed",
    "MONITOR_EXIT_STATUS": "TERM",
}


def test_a_service_that_ended_without_a_word_is_told(node: Node, heard: list[Notice]) -> None:
    assert alarm.raise_alarm(node.config, "clawkeep-verify.service", FAILED) == {"ear": ""}
    assert heard[0].subject == "watcher: clawkeep-verify.service failed (timeout)"
    assert "result timeout (killed TERM)" in heard[0].text


def test_a_service_that_told_people_itself_is_not_told_again(
    node: Node, heard: list[Notice], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVOCATION_ID", "f00d")
    node.verify(report("fail", status=1))
    heard.clear()
    assert alarm.raise_alarm(node.config, "clawkeep-verify.service", FAILED) is None
    assert heard == []
    assert (
        alarm.raise_alarm(node.config, "clawkeep-verify.service", {**FAILED, "MONITOR_INVOCATION_ID": ""}) is not None
    )


def test_the_watchs_own_alarm_is_not_told_twice(
    node: Node, heard: list[Notice], monkeypatch: pytest.MonkeyPatch
) -> None:
    look(node)
    node.after(3 * DAY)
    monkeypatch.setenv("INVOCATION_ID", "f00d")
    look(node)
    assert len(heard) == 1
    assert alarm.raise_alarm(node.config, "clawkeep-staleness.service", FAILED) is None
