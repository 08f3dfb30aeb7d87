"""clawkeep-kill: the agent is cut off and stopped whatever else fails, and revived by nothing but a release."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clawkeep_host import agent_containers, engine_api, files, kill, steps, stop_flag, system_log
from clawkeep_host.command import Done, Refusal, run
from clawkeep_host.kill import Settings
from clawkeep_host.stop_flag import Memory
from clawkeep_host.version import version

from .engine import SECRET, SILENCE, Engine, Fake, refusal

AGENT, TASK = "a" * 64, "b" * 64
POLICY = {"Name": "on-failure", "MaximumRetryCount": 5}
CUT = """\
add table inet clawkeep_quarantine
delete table inet clawkeep_quarantine
table inet clawkeep_quarantine {
	set bridges {
		type ifname
		elements = { "clawkeep0", "tasks0" }
	}
	chain from_bridges {
		type filter hook prerouting priority -450; policy accept;
		iifname @bridges counter drop
	}
	chain forwarded {
		type filter hook forward priority -450; policy accept;
		oifname @bridges counter drop
	}
	chain to_bridges {
		type filter hook output priority -450; policy accept;
		oifname @bridges counter drop
	}
}
"""
UNCUT = "add table inet clawkeep_quarantine\ndelete table inet clawkeep_quarantine\n"
# What stops an agent that has one container and one unit, in order.
STOPPED = [
    "cut clawkeep0 tasks0",
    "pause openclaw",
    "top openclaw",
    "update openclaw no",
    "kill openclaw",
    "systemctl is-active gateway.service",
    "systemctl stop gateway.service",
]
AFTERWARDS = ["10-token", "20-model", "logs openclaw", "changes openclaw", "nft list ruleset"]


class Host:
    """A host with one agent's container and unit: what is done to it is a list of words, in order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.done: list[str] = []
        self.logged: list[str] = []
        self.limits: dict[str, float] = {}
        self.given: dict[str, str] = {}
        self.flags: dict[str, tuple[bool, bool]] = {}  # whether the flag and its copy were there, by word
        self.units = {"gateway.service": "active"}
        self.trouble: dict[str, Exception] = {}
        self.then: dict[str, Callable[[], object]] = {}  # what happens just before something is done
        self.engine = Engine(self.done, Fake("openclaw", AGENT))

    def happened(self, word: str) -> None:
        self.flags[word] = (kill.FLAG.exists(), kill.COPY.exists())
        self.then.pop(word, lambda: None)()

    def ask(self, *words: Any, **options: Any) -> bytes:
        before = len(self.done)
        try:
            return self.engine.ask(*words, **options)
        finally:
            for word in self.done[before:]:
                self.happened(word)

    def command(self, *argv: str, stdin: str = "", seconds: float = kill.COMMAND_SECONDS) -> str:
        word = " ".join(argv)
        if argv[0].startswith("/"):
            word = Path(argv[0]).name
        elif stdin:
            assert argv == ("nft", "--file", "-")
            word = "lift" if stdin == UNCUT else "cut " + " ".join(stdin.split('"')[1::2])
        self.done.append(word)
        self.limits[word], self.given[word] = seconds, stdin
        self.happened(word)
        if word in self.trouble:
            raise self.trouble[word]
        return f"{word} said API_TOKEN={SECRET}\n"

    def attempt(self, *argv: str, seconds: float = 60.0) -> Done:
        word = " ".join(argv)
        self.done.append(word)
        self.limits[word] = seconds
        self.happened(word)
        if word in self.trouble:
            return Done(argv, 124, "", "")
        if argv[:2] == ("nft", "list"):
            return Done(argv, 0 if any(done.startswith("cut") for done in self.done) else 1, "", "")
        return Done(argv, 0, f"{self.units.get(argv[2], 'inactive')}\n", "")

    def log(self, program: str, severity: int, message: str) -> None:
        assert (program, severity) == ("clawkeep-kill", 1)
        self.logged.append(message)

    @property
    def settings(self) -> Settings:
        return Settings.read()

    def evidence(self) -> dict[str, str]:
        (folder,) = (path for path in kill.STATE.iterdir() if path.is_dir())
        return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Host]:
    """The host that the program works on, with its folders in a temporary place."""
    fake = Host(tmp_path)
    (tmp_path / "kill.d").mkdir()
    for name in ("20-model", "10-token"):
        hook = tmp_path / "kill.d" / name
        hook.write_text("#!/bin/sh\n")
        hook.chmod(0o700)
    (tmp_path / "kill.d/README").write_text("no program\n")
    (tmp_path / "kill.d/folder").mkdir()
    secrets = tmp_path / "gateway.env"
    secrets.write_text(f"# A_COMMENT=1\n OPENCLAW_GATEWAY_TOKEN = {SECRET}=\nno sign\n")
    (tmp_path / "kill.conf").write_text(
        f"[kill]\nroles = agent task\nbridges = clawkeep0 tasks0\nunits = gateway.service\nsecret_files = {secrets}\n"
    )
    for name, value in {
        "SETTINGS": tmp_path / "kill.conf",
        "HOOKS": tmp_path / "kill.d",
        "STATE": tmp_path / "var/kill",
        "FLAG": tmp_path / "var/kill/active",
        "COPY": tmp_path / "run/clawkeep/kill/active",
        "LOCK": tmp_path / "run/clawkeep/kill/lock",
        "command": fake.command,
        "attempt": fake.attempt,
        "succeeds": lambda *argv, seconds: fake.attempt(*argv, seconds=seconds).ok,
        "operator": lambda: "ada on pts/0",
    }.items():
        monkeypatch.setattr(kill, name, value)
    monkeypatch.setattr(engine_api, "ask", fake.ask)
    monkeypatch.setattr(system_log, "tell", fake.log)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # this machine's disk is not what is tried
    before = signal.getsignal(signal.SIGHUP)
    yield fake
    signal.signal(signal.SIGHUP, before)


def on(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Run the program with a command line; gives its exit status."""
    monkeypatch.setattr("sys.argv", ["clawkeep-kill", *words])
    with pytest.raises(SystemExit) as end:
        kill.main()
    assert isinstance(end.value.code, int)
    return end.value.code


# --- the plan ---------------------------------------------------------------------------------------------------


def everything_below(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_mode, path.stat().st_mtime_ns) for path in folder.rglob("*")}


def test_a_dry_run_names_every_target_and_changes_nothing(host: Host) -> None:
    before = everything_below(host.folder)
    plan, failures = kill.plan(host.settings)
    assert failures == []
    assert plan == {
        "stopped": False,
        "containers": [
            {
                "id": AGENT,
                "name": "openclaw",
                "role": "agent",
                "running": True,
                "restart_policy": "no",
                "restart_policy_now": "on-failure",
            }
        ],
        "bridges": ["clawkeep0", "tasks0"],
        "units": ["gateway.service"],
        "hooks": [str(kill.HOOKS / "10-token"), str(kill.HOOKS / "20-model")],
        "revoke": [
            {"name": "MODEL_API_KEY", "where": "environment of container openclaw"},
            {"name": "OPENCLAW_GATEWAY_TOKEN", "where": str(host.folder / "gateway.env")},
        ],
    }
    assert SECRET not in json.dumps(plan)
    assert (host.done, host.logged) == ([], [])
    assert everything_below(host.folder) == before


def test_a_dry_run_tells_of_containers_that_do_not_run_or_have_no_policy(host: Host) -> None:
    host.engine.containers += [
        Fake("task", TASK, state="exited", role="task", restart={"Name": ""}),
        Fake("check", "c" * 64, role="check", network="none"),
    ]
    (_, task) = kill.plan(host.settings)[0]["containers"]
    assert (task["running"], task["restart_policy_now"]) == (False, "no")


def test_a_dry_run_leaves_out_what_went_away_and_tells_what_it_could_not_see(host: Host) -> None:
    host.engine.containers += [Fake("task", TASK, role="task")]
    host.engine.trouble["json openclaw"] = refusal(404)
    host.engine.trouble["json task"] = refusal(500)
    plan, failures = kill.plan(host.settings)
    assert [(row["name"], row["restart_policy_now"]) for row in plan["containers"]] == [("task", "unknown")]
    assert [row["name"] for row in plan["revoke"]] == ["OPENCLAW_GATEWAY_TOKEN"]
    assert failures == ["task cannot be looked at: Docker refuses this: no"]


@pytest.mark.parametrize("flag", ["FLAG", "COPY"])
def test_a_dry_run_tells_whether_the_agent_is_stopped(host: Host, flag: str) -> None:
    stop_flag.write(getattr(kill, flag), Memory())
    assert kill.plan(host.settings)[0]["stopped"] is True


def test_a_plan_that_cannot_be_made_is_none(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    host.engine.trouble["list"] = SILENCE
    assert on(monkeypatch, "--dry-run", "--json") == 1
    assert capsys.readouterr() == ("", "clawkeep-kill: Docker does not answer: timed out\n")
    kill.SETTINGS.unlink()
    with pytest.raises(Refusal, match=r"^/.*/kill\.conf cannot be read: \[Errno 2\]"):
        kill.plan(host.settings)


# --- settings and tokens ----------------------------------------------------------------------------------------


def test_settings_are_lists_of_words(host: Host) -> None:
    kill.SETTINGS.write_text(
        "[kill]\nroles = agent\n  task\nbridges =\nunits=a.service b.service\nsecret_files = /a%b /c\n"
    )
    assert host.settings == Settings(["agent", "task"], [], ["a.service", "b.service"], ["/a%b", "/c"])


@pytest.mark.parametrize(
    ("text", "read", "trouble"),
    [
        ("[kill]\nroles = agent\nbridges = br0\nunits = u\n", Settings(["agent"], ["br0"], ["u"], []), "lacks"),
        ("[kill]\n\troles=agent\n\nbridges : br0 br1\n[kill\n", Settings(["agent"], ["br0", "br1"], [], []), "cannot"),
        ("[other]\nroles = agent\nxbridges = br0\n", Settings(["agent"], [], [], []), "lacks"),
        ("\xff\xfe", Settings([], [], [], []), "cannot"),
        ("", Settings([], [], [], []), "lacks"),
    ],
    ids=["one missing", "broken", "another part", "no text", "empty"],
)
def test_of_broken_settings_the_legible_is_read(host: Host, text: str, read: Settings, trouble: str) -> None:
    kill.SETTINGS.write_bytes(text.encode("latin-1"))
    found = host.settings
    assert found.trouble.startswith(f"{kill.SETTINGS} {trouble}")
    assert replace(found, trouble="") == read


def test_settings_that_lack_a_key_name_it(host: Host) -> None:
    kill.SETTINGS.write_text("[kill]\nroles = agent\n")
    assert host.settings.trouble == f"{kill.SETTINGS} lacks 'bridges'"


@pytest.mark.parametrize("damage", ["removed", "broken"])
def test_an_agent_is_stopped_by_its_label_alone_when_the_settings_are_gone(host: Host, damage: str) -> None:
    """The one thing that must not happen is that nothing does."""
    host.engine.containers += [Fake("other", TASK, role="other")]
    if damage == "removed":
        kill.SETTINGS.unlink()
    else:
        kill.SETTINGS.write_text("[kill\nbridges = clawkeep0 tasks0\nunits = gateway.service\n")
    answer, failures = kill.kill(host.settings)
    assert [row["name"] for row in answer["containers"]] == ["openclaw", "other"]
    assert {"kill openclaw", "kill other"} <= set(host.done)
    assert failures[0].startswith(f"not everything may be reached: {kill.SETTINGS} cannot be read: ")
    assert ("cut clawkeep0 tasks0" in host.done) is (damage == "broken")
    assert ("systemctl stop gateway.service" in host.done) is (damage == "broken")


def test_tokens_are_named_by_file_and_by_container(host: Host) -> None:
    other = host.folder / "other.env"
    other.write_text("MODEL_API_KEY=1\nexport X=2\n")
    settings = Settings([], [], [], [str(host.folder / "gateway.env"), str(other), str(host.folder / "none.env")])
    host.engine.containers += [Fake("task", TASK, role="task", environment=["DB_PASSWORD=1", "PATH=/bin"])]
    answer, failures = kill.kill(settings)
    assert failures == []
    assert answer["revoke"] == [
        {"name": "DB_PASSWORD", "where": "environment of container task"},
        {"name": "MODEL_API_KEY", "where": str(other)},
        {"name": "OPENCLAW_GATEWAY_TOKEN", "where": str(host.folder / "gateway.env")},
        {"name": "export X", "where": str(other)},
    ]


def test_a_pipe_in_place_of_a_file_of_tokens_is_not_waited_for(tmp_path: Path) -> None:
    """Whoever may write beside it could make it one that nobody fills."""
    os.mkfifo(tmp_path / "pipe")
    refused: list[OSError] = []

    def read() -> None:
        try:
            kill.variables(tmp_path / "pipe")
        except OSError as refusal:
            refused.append(refusal)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(3)
    assert [one.strerror for one in refused] == ["it is no regular file"]


def test_a_file_of_tokens_that_leads_elsewhere_is_told(host: Host) -> None:
    (host.folder / "folder").mkdir()
    (host.folder / "link").symlink_to(host.folder / "gateway.env")
    (host.folder / "odd").write_bytes(b"\xffA_TOKEN=1\n")
    (host.folder / "big").write_bytes(b"A" * kill.SECRETS_BYTES + b"=1\n")
    names = ["folder", "link", "odd", "big"]
    settings = Settings([], [], [], [str(host.folder / name) for name in names])
    answer, failures = kill.kill(settings)
    lost = [f"tokens in {host.folder / name} are not named: " for name in names]
    assert failures[0] == f"{lost[0]}[Errno {errno.EINVAL}] it is no regular file: '{host.folder}/folder'"
    assert failures[1].startswith(f"{lost[1]}[Errno {errno.ELOOP}]")
    assert len(failures) == 2
    assert [row["name"] for row in answer["revoke"]] == ["MODEL_API_KEY", "\ufffdA_TOKEN"]


# --- the order --------------------------------------------------------------------------------------------------


def test_the_network_goes_first_then_all_that_runs_then_tokens_and_evidence(host: Host) -> None:
    answer, failures = kill.kill(host.settings)
    assert failures == []
    assert host.done == [*STOPPED, *AFTERWARDS]
    assert host.given["cut clawkeep0 tasks0"] == CUT
    assert answer["stopped"] is True
    assert answer["since"] == stop_flag.read(kill.FLAG).since
    assert answer["containers"] == [{"id": AGENT, "name": "openclaw"}]
    assert answer["bridges"] == ["clawkeep0", "tasks0"]
    assert answer["units"] == ["gateway.service"]
    assert Path(answer["evidence"]).parent == kill.STATE
    assert [row["name"] for row in answer["revoke"]] == ["MODEL_API_KEY", "OPENCLAW_GATEWAY_TOKEN"]


def test_all_are_frozen_before_any_is_looked_at(host: Host) -> None:
    host.engine.containers += [Fake("task", TASK, role="task")]
    kill.kill(host.settings)
    asked = [(method, path.rpartition("/")[2].partition("?")[0]) for method, path, *_ in host.engine.asked]
    assert asked[:3] == [("GET", "json"), ("POST", "pause"), ("POST", "pause")]
    assert asked[3:7] == [("GET", "json"), ("GET", "top"), ("GET", "json"), ("GET", "top")]
    assert asked[7:11] == [("POST", "update"), ("POST", "kill"), ("POST", "update"), ("POST", "kill")]


def test_units_are_held_back_at_once_and_all_is_remembered_before_it_is_taken(host: Host) -> None:
    """The copy comes first, for a tmpfs answers at once; the disk has to know before a policy is lost."""
    seen: dict[str, Memory] = {}
    host.then["update openclaw no"] = lambda: seen.update(
        disk=stop_flag.read(kill.FLAG), copy=stop_flag.read(kill.COPY)
    )
    host.then["systemctl stop gateway.service"] = lambda: seen.update(unit=stop_flag.read(kill.FLAG))
    kill.kill(host.settings)
    assert host.flags["cut clawkeep0 tasks0"] == (False, False)
    assert host.flags["pause openclaw"] == (False, True)
    assert host.flags["update openclaw no"] == (True, True)
    assert seen["disk"].restart == seen["copy"].restart == {AGENT: POLICY}
    assert seen["unit"].units == ["gateway.service"]
    memory = stop_flag.read(kill.FLAG)
    assert memory == Memory(memory.since, ["clawkeep0", "tasks0"], {AGENT: POLICY}, ["gateway.service"])
    assert memory.since.startswith("20")
    assert memory.since.endswith("+00:00")
    assert stop_flag.read(kill.COPY) == memory


def test_a_container_that_stands_still_already_is_not_frozen_or_killed(host: Host) -> None:
    host.engine.containers = [Fake("old", AGENT, state="exited", restart={"Name": "no"})]
    _, failures = kill.kill(host.settings)
    assert failures == []
    assert [word for word in host.done if "old" in word] == ["update old no", "logs old", "changes old"]
    assert stop_flag.read(kill.FLAG).restart == {}


def test_a_container_that_is_removed_when_it_ends_tells_its_log_before(host: Host) -> None:
    host.engine.containers[0].passing = True
    _, failures = kill.kill(host.settings)
    assert failures == []
    mine = [word for word in host.done if "openclaw" in word]
    assert mine == [f"{word} openclaw" for word in ("pause", "top", "logs", "changes")] + STOPPED[3:5]
    assert {"openclaw.log", "openclaw.changes.json", "openclaw.processes.json"} <= set(host.evidence())


def test_one_that_is_removed_and_does_not_run_is_asked_for_its_log_later(host: Host) -> None:
    host.engine.containers = [Fake("old", AGENT, state="created", passing=True)]
    kill.kill(host.settings)
    assert [word for word in host.done if "old" in word] == ["update old no", "logs old", "changes old"]


# --- units ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "stopped"),
    [
        ("active", True),
        ("activating", True),  # its command would start the agent yet
        ("deactivating", True),  # as in a restart
        ("reloading", True),
        ("inactive", False),
        ("failed", False),
        ("unknown", False),
    ],
)
def test_a_unit_that_is_up_or_on_its_way_is_stopped(host: Host, state: str, stopped: bool) -> None:
    host.units["gateway.service"] = state
    _, failures = kill.kill(host.settings)
    assert failures == []
    assert ("systemctl stop gateway.service" in host.done) is stopped
    assert stop_flag.read(kill.FLAG).units == (["gateway.service"] if stopped else [])


def test_a_unit_of_which_nothing_is_known_is_stopped(host: Host) -> None:
    host.trouble["systemctl is-active gateway.service"] = Refusal("")
    _, failures = kill.kill(host.settings)
    assert failures == [
        "gateway.service is of unknown state: `systemctl is-active gateway.service` did not end in time"
    ]
    assert "systemctl stop gateway.service" in host.done
    assert stop_flag.read(kill.FLAG).units == ["gateway.service"]


def test_several_units_are_all_stopped(host: Host) -> None:
    settings = Settings(["agent"], ["clawkeep0"], ["b.service", "gateway.service", "a.service"], [])
    host.units |= {"a.service": "active", "b.service": "active"}
    host.trouble["systemctl stop b.service"] = Refusal("it resists")
    _, failures = kill.kill(settings)
    assert failures == ["b.service was not stopped: it resists"]
    assert [word.split()[2] for word in host.done if word.startswith("systemctl stop")] == settings.units
    assert stop_flag.read(kill.FLAG).units == ["a.service", "b.service", "gateway.service"]


def test_what_a_unit_or_a_rollout_started_meanwhile_is_stopped_too(host: Host) -> None:
    late = Fake("late", TASK, restart={"Name": "always"})
    host.then["systemctl stop gateway.service"] = lambda: host.engine.containers.append(late)
    answer, failures = kill.kill(host.settings)
    assert failures == []
    assert host.done[:7] == STOPPED
    assert host.done[7:11] == ["pause late", "top late", "update late no", "kill late"]
    assert [row["name"] for row in answer["containers"]] == ["late", "openclaw"]
    assert stop_flag.read(kill.FLAG).restart == {AGENT: POLICY, TASK: {"Name": "always"}}


def test_a_container_that_was_revived_is_stopped_again_and_told_once(host: Host) -> None:
    def revive() -> None:
        host.engine.containers[0].state = "running"

    host.then["systemctl stop gateway.service"] = revive
    answer, failures = kill.kill(host.settings)
    assert failures == []
    assert host.done.count("kill openclaw") == 2
    assert answer["containers"] == [{"id": AGENT, "name": "openclaw"}]
    assert stop_flag.read(kill.FLAG).restart == {AGENT: POLICY}  # not the one that the first look took


# --- agents without the label -----------------------------------------------------------------------------------


def by_hand(state: str = "running") -> Fake:
    """What somebody started with `docker run`."""
    return Fake("mine", TASK, state=state, role=None, restart={"Name": "always"}, environment=["OPENCLAW_PROFILE=x"])


@pytest.mark.parametrize("state", ["running", "exited"])
def test_an_agent_that_was_started_by_hand_is_stopped_last(host: Host, state: str) -> None:
    host.engine.containers += [by_hand(state), Fake("web", "c" * 64, role=None, image="sha256:web", environment=None)]
    answer, failures = kill.kill(host.settings)
    assert failures == []
    assert host.done[:7] == STOPPED
    acts = ["pause mine", "top mine", "update mine no", "kill mine"] if state == "running" else ["update mine no"]
    assert host.done[7 : 7 + len(acts)] == acts
    assert [row["name"] for row in answer["containers"]] == ["mine", "openclaw"]
    assert stop_flag.read(kill.FLAG).restart == {AGENT: POLICY, TASK: {"Name": "always"}}
    assert not [word for word in host.done if "web" in word]


def test_a_dry_run_names_an_agent_that_was_started_by_hand(host: Host) -> None:
    host.engine.containers += [by_hand()]
    (_, mine) = kill.plan(host.settings)[0]["containers"]
    assert (mine["name"], mine["role"], mine["restart_policy_now"]) == ("mine", "", "always")


def test_a_container_that_cannot_be_looked_at_is_named(host: Host) -> None:
    host.engine.containers += [by_hand(), Fake("odd", "c" * 64, role=None)]
    host.engine.trouble["json odd"] = refusal(500)
    for outcome in (kill.plan(host.settings), kill.kill(host.settings)):
        assert outcome[1] == ["whether odd is an agent is not known: the engine did not tell"]
    assert "kill mine" in host.done


def test_a_search_that_fails_costs_nothing_else(host: Host) -> None:
    host.engine.trouble["list all"] = SILENCE
    _, failures = kill.kill(host.settings)
    assert failures == ["agents without the label were not looked for: Docker does not answer: timed out"]
    assert host.done == [*STOPPED, *AFTERWARDS]


def test_a_search_has_a_minute_too(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    host.engine.containers += [by_hand()]
    limits: list[float] = []

    def search(roles: list[str], seconds: Callable[[], float]) -> tuple[list[Any], list[str]]:
        assert roles == ["agent", "task"]
        limits.append(seconds())
        now[0] += 50
        limits.append(seconds())
        return [], []

    monkeypatch.setattr(agent_containers, "unlabelled", search)
    kill.kill(host.settings)
    kill.plan(host.settings)
    assert limits == [20, 10, 20, 20]


# --- evidence ---------------------------------------------------------------------------------------------------


def test_evidence_is_kept_without_a_secret(host: Host) -> None:
    answer, _ = kill.kill(host.settings)
    found = host.evidence()
    assert set(found) == {
        *(f"openclaw.{part}" for part in ("inspect.json", "processes.json", "changes.json", "log")),
        *("10-token.out", "20-model.out", "ruleset.txt", "kill.json"),
    }
    assert {name for name, text in found.items() if SECRET in text} <= {"ruleset.txt"}  # the packet filter has none
    assert found["10-token.out"] == "10-token said API_TOKEN=[redacted]\n"
    assert found["ruleset.txt"].startswith("nft list ruleset said")
    assert json.loads(found["kill.json"]) == {**answer, "failures": []}
    assert Path(answer["evidence"]).stat().st_mode & 0o777 == 0o700


def test_evidence_tells_what_failed(host: Host) -> None:
    host.trouble["10-token"] = Refusal(f"`10-token` failed: API_TOKEN={SECRET}")
    _, failures = kill.kill(host.settings)
    assert failures == ["10-token failed: `10-token` failed: API_TOKEN=[redacted]"]
    found = host.evidence()
    assert json.loads(found["kill.json"])["failures"] == failures
    assert found["10-token.out"] == ""
    assert "20-model" in host.done


def test_a_hostile_container_name_leads_nowhere(host: Host) -> None:
    host.engine.containers[0].name = "../../../run/escaped\x1b[2J"
    kill.kill(host.settings)
    assert not list(host.folder.rglob("*escaped*\x1b*"))
    assert not (host.folder / "run/escaped\x1b[2J.log").exists()
    assert len(host.evidence()) == 8


def test_a_second_kill_remembers_what_the_first_one_found(host: Host) -> None:
    kill.kill(host.settings)
    first = stop_flag.read(kill.FLAG)
    host.units["gateway.service"] = "inactive"
    answer, failures = kill.kill(Settings(["agent"], ["other0"], ["gateway.service"], []))
    assert failures == []
    second = stop_flag.read(kill.FLAG)
    assert second == Memory(first.since, ["clawkeep0", "other0", "tasks0"], first.restart, first.units)
    assert stop_flag.read(kill.COPY) == second
    assert "cut clawkeep0 other0 tasks0" in host.done
    assert answer["since"] == first.since
    assert len([path for path in kill.STATE.iterdir() if path.is_dir()]) == 2


def test_a_kill_after_a_reboot_cuts_what_the_disk_remembers(host: Host) -> None:
    """The copy is gone; the disk is not asked before the network of the settings is cut."""
    stop_flag.write(kill.FLAG, Memory("2026-12-01T00:00:00+00:00", ["old0"], {}, []))
    _, failures = kill.kill(host.settings)
    assert failures == []
    assert host.done[:2] == ["cut clawkeep0 tasks0", "cut clawkeep0 old0 tasks0"]
    assert stop_flag.read(kill.COPY).since == "2026-12-01T00:00:00+00:00"


# --- what may fail ----------------------------------------------------------------------------------------------

WRITES = ("open", "mkdir", "fsync", "replace", "unlink")


class Writes:
    """Counts what the program writes, and fails from the nth write on, or at that one alone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, below: Path) -> None:
        self.count, self.fails, self.number = 0, range(0), errno.ENOSPC
        for name in WRITES:
            monkeypatch.setattr(os, name, self._counted(name, getattr(os, name)))
        self.below = str(below)

    def _counted(self, name: str, really: Callable[..., Any]) -> Callable[..., Any]:
        def write(*words: Any, **options: Any) -> Any:
            reads = name == "open" and not words[1] & os.O_CREAT
            elsewhere = name != "fsync" and not str(words[0]).startswith(self.below)
            if not reads and not elsewhere:
                self.count += 1
                if self.count in self.fails:
                    raise OSError(self.number, os.strerror(self.number), str(words[0]))
            return really(*words, **options)

        return write


def expect_stopped(host: Host, failures: list[str], what: object) -> None:
    """All that stops the agent was done, in its order, and so was all that does not need the disk."""
    assert [word for word in host.done if word in STOPPED] == STOPPED, what
    assert {"10-token", "20-model"} <= set(host.done), what
    assert host.engine.containers[0].state == "exited", what
    assert host.engine.containers[0].restart == {"Name": "no"}, what
    missing = [path for path in (kill.FLAG, kill.COPY) if not path.exists()]
    assert failures or (not missing and len(host.evidence()) == 8), what


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("goes_on", [True, False], ids=["from there on", "that one alone"])
def test_whichever_write_fails_the_agent_is_stopped(
    host: Host, monkeypatch: pytest.MonkeyPatch, number: int, goes_on: bool, tmp_path: Path
) -> None:
    writes = Writes(monkeypatch, tmp_path)
    kill.kill(host.settings)
    total = writes.count
    assert total > 30
    settings = host.settings
    for nth in range(1, total + 1):
        for folder in ("var", "run"):
            shutil.rmtree(tmp_path / folder, ignore_errors=True)
        host.done.clear()
        host.engine.containers = [Fake("openclaw", AGENT)]
        writes.count, writes.number = 0, number
        writes.fails = range(nth, 10_000 if goes_on else nth + 1)
        _, failures = kill.kill(settings)
        writes.fails = range(0)
        expect_stopped(host, failures, (nth, failures))


def refusing(number: int) -> Callable[..., Any]:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), str(path))

    return refuse


def full(monkeypatch: pytest.MonkeyPatch, *places: Path) -> None:
    """Have no flag and no evidence written below some places."""
    really = files.write

    def write(path: Path, *words: Any) -> None:
        if any(place in path.parents for place in places):
            refusing(errno.ENOSPC)(path)
        really(path, *words)

    monkeypatch.setattr(files, "write", write)


def test_on_a_full_disk_the_copy_holds_and_the_operator_is_told(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    full(monkeypatch, kill.STATE)
    answer, failures = kill.kill(host.settings)
    expect_stopped(host, failures, failures)
    assert not kill.FLAG.exists()
    held = [one for one in failures if one.startswith("the stop holds only until a reboot: ")]
    assert held == [
        "the stop holds only until a reboot: [Errno 28] No space left on device: "
        f"'{kill.FLAG}' (mend {kill.STATE}, then `clawkeep-kill kill` again)"
    ]
    assert failures[0] == held[0]
    assert stop_flag.read(kill.COPY) == Memory(
        answer["since"], ["clawkeep0", "tasks0"], {AGENT: POLICY}, ["gateway.service"]
    )
    assert kill.status(host.settings)[1] == [
        f"the stop holds only until a reboot, for {kill.FLAG} is missing: `clawkeep-kill kill` again"
    ]
    host.done.clear()
    released, failures = kill.release(host.settings)
    assert failures == []
    assert host.done == ["update openclaw on-failure", "lift", "systemctl restart gateway.service"]
    assert not kill.COPY.exists()
    assert released["stopped"] is False


def test_when_the_disk_has_room_again_a_second_kill_makes_it_hold(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as meanwhile:
        full(meanwhile, kill.STATE)
        kill.kill(host.settings)
    _, failures = kill.kill(host.settings)
    assert failures == []
    assert stop_flag.read(kill.FLAG).restart == {AGENT: POLICY}


def test_a_disk_that_has_room_again_in_time_is_no_failure(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as meanwhile:
        full(meanwhile, kill.STATE)
        host.then["kill openclaw"] = meanwhile.undo
        assert kill.kill(host.settings)[1] == []
    assert stop_flag.read(kill.FLAG).restart == {AGENT: POLICY}


def test_with_a_full_tmpfs_the_disk_holds(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    full(monkeypatch, kill.COPY.parent)
    _, failures = kill.kill(host.settings)
    assert failures == [
        f"the stop holds only as long as {kill.FLAG} can be read: [Errno 28] No space left on device: '{kill.COPY}'"
    ]
    assert host.flags["update openclaw no"] == (True, False)


def test_what_nothing_remembers_the_operator_is_told(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    full(monkeypatch, kill.COPY.parent, kill.STATE)
    host.units["a.service"] = "active"
    _, failures = kill.kill(replace(host.settings, units=["gateway.service", "a.service"]))
    assert failures[:2] == [
        f"nothing holds the agent's units back: [Errno 28] No space left on device: '{kill.FLAG}'",
        "a release will not know what to restore: restart policies "
        f'{{"{AGENT}": {{"Name": "on-failure", "MaximumRetryCount": 5}}}}; units a.service gateway.service',
    ]
    expect_stopped(host, failures, failures)


def test_without_a_folder_of_its_own_it_makes_one(host: Host) -> None:
    assert not (host.folder / "var").exists()
    kill.kill(host.settings)
    assert (host.folder / "var").stat().st_mode & 0o777 == 0o755
    assert kill.STATE.stat().st_mode & 0o777 == 0o700


def test_a_disk_that_hangs_is_not_waited_for(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that is frozen, or whose device has gone, holds whoever writes, and no signal ends that."""
    over = threading.Event()
    really = files.write

    def write(path: Path, *words: Any) -> None:
        if kill.STATE in path.parents:
            over.wait(60)
        really(path, *words)

    monkeypatch.setattr(files, "write", write)
    monkeypatch.setattr(kill, "Disk", lambda: steps.Disk(0.1))
    answer, failures = kill.kill(host.settings)
    over.set()
    expect_stopped(host, failures, failures)
    assert failures[0].startswith("the stop holds only until a reboot: not tried, for the disk hangs")
    assert failures[1] == "no evidence is kept: not tried, for the disk hangs"
    assert answer["evidence"] is None
    assert kill.COPY.exists()


def test_a_disk_that_cannot_be_read_any_more_is_not_waited_for(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    really = stop_flag.read

    def read(flag: Path) -> Memory:
        if flag == kill.FLAG:
            assert host.done[0] == "cut clawkeep0 tasks0"
            over.wait(60)
        return really(flag)

    monkeypatch.setattr(stop_flag, "read", read)
    monkeypatch.setattr(kill, "Disk", lambda: steps.Disk(0.1))
    _, failures = kill.kill(host.settings)
    over.set()
    expect_stopped(host, failures, failures)
    assert failures[0] == "what a former kill took is not known: the disk did not answer within 0.1 s"


def test_an_engine_that_is_silent_costs_neither_the_cut_nor_the_flag_nor_the_units(host: Host) -> None:
    host.engine.trouble["list"] = SILENCE
    answer, failures = kill.kill(host.settings)
    assert host.done == [STOPPED[0], *STOPPED[5:], "10-token", "20-model", "nft list ruleset"]
    assert failures == [
        "containers were not found: Docker does not answer: timed out",
        "containers were not looked for again: Docker does not answer: timed out",
        "agents without the label were not looked for: Docker does not answer: timed out",
    ]
    assert kill.FLAG.exists()
    assert answer["containers"] == []
    assert [row["name"] for row in answer["revoke"]] == ["OPENCLAW_GATEWAY_TOKEN"]


def test_an_engine_that_falls_silent_is_not_waited_for_again_and_again(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its list comes, and then nothing: all questions together have a minute until the units are stopped."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(kill, "ENGINE_SECONDS", 30)
    host.engine.containers += [Fake("task", TASK, role="task")]
    really = host.engine.ask

    def silent(method: str, path: str, *words: Any, seconds: float = 20, **options: Any) -> bytes:
        if "?" in path and "logs" not in path:
            return really(method, path, *words, **options)
        now[0] += seconds
        host.engine.asked.append((method, path, seconds, 0))
        raise SILENCE

    monkeypatch.setattr(engine_api, "ask", silent)
    _, failures = kill.kill(host.settings)
    first = [asked[2] for asked in host.engine.asked if "filters" not in asked[1]][:10]
    assert first == [20, 10, 2, 2, 2, 2, 2, 2, 2, 2]
    assert "systemctl stop gateway.service" in host.done
    assert [one.partition(":")[0] for one in failures][:10] == [
        "openclaw was not frozen",
        "task was not frozen",
        "the restart policy of openclaw is not remembered",
        "evidence of openclaw is incomplete",
        "the restart policy of task is not remembered",
        "evidence of task is incomplete",
        "openclaw keeps its restart policy",
        "openclaw was not killed",
        "task keeps its restart policy",
        "task was not killed",
    ]


@pytest.mark.parametrize("word", ["pause", "json", "top", "update", "kill"])
@pytest.mark.parametrize(
    "trouble",
    [SILENCE, refusal(500), KeyError("State"), ValueError("no JSON")],
    ids=["silence", "refusal", "odd answer", "no JSON"],
)
def test_one_container_that_resists_costs_no_other(host: Host, word: str, trouble: Exception) -> None:
    """An engine that hangs at one container (its shim is dead) still answers for the others."""
    host.engine.containers += [Fake("task", TASK, role="task")]
    host.engine.trouble[f"{word} openclaw"] = trouble
    _, failures = kill.kill(host.settings)
    assert [line for line in host.done if " task" in line and "tasks0" not in line][:4] == [
        "pause task",
        "top task",
        "update task no",
        "kill task",
    ]
    assert {"pause openclaw", "update openclaw no", "kill openclaw", "systemctl stop gateway.service"} <= set(host.done)
    assert failures
    assert all("openclaw" in sentence for sentence in failures)


def test_a_container_that_went_away_is_no_failure(host: Host) -> None:
    host.engine.containers += [Fake("task", TASK, role="task")]
    for word in ("pause", "json", "update", "kill"):
        host.engine.trouble[f"{word} task"] = refusal(404)
    _, failures = kill.kill(host.settings)
    assert failures == []
    assert "kill openclaw" in host.done


def test_a_missing_nft_costs_only_the_cut_which_is_tried_twice(host: Host) -> None:
    missing = Refusal("`nft --file -` failed: it cannot be started: No such file or directory")
    host.trouble["cut clawkeep0 tasks0"] = missing
    host.trouble["nft list ruleset"] = missing
    _, failures = kill.kill(host.settings)
    assert [word for word in host.done if word != STOPPED[0]] == [*STOPPED[1:], *AFTERWARDS]
    assert host.done.count(STOPPED[0]) == 2
    assert failures == [
        f"the network was not cut: {missing}",
        f"evidence of the packets is incomplete, ruleset.txt is missing: {missing}",
    ]


def test_a_cut_that_goes_well_the_second_time_is_no_failure(host: Host) -> None:
    host.trouble[STOPPED[0]] = Refusal("busy")
    host.then[STOPPED[0]] = lambda: host.then.update({STOPPED[0]: host.trouble.clear})
    assert kill.kill(host.settings)[1] == []
    assert host.done[:2] == [STOPPED[0]] * 2


def test_a_hook_that_hangs_is_ended_and_the_next_one_runs(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """With real programs: one that hangs and leaves a daemon behind, one that revokes."""
    (kill.HOOKS / "10-token").write_text("#!/bin/sh\nsetsid sleep 600 &\necho $! > $0.pid\nsleep 600\n")
    (kill.HOOKS / "20-model").write_text(f"#!/bin/sh\necho revoked; echo API_TOKEN={SECRET}\n")
    monkeypatch.setattr(kill, "command", real_hooks(host))
    monkeypatch.setattr(kill, "HOOK_SECONDS", 0.3)
    monkeypatch.setattr("clawkeep_host.command.LAST_WORDS", 0.3)
    _, failures = kill.kill(host.settings)
    os.kill(int((kill.HOOKS / "10-token.pid").read_text()), signal.SIGKILL)
    assert failures == [f"10-token failed: `{kill.HOOKS / '10-token'}` did not end in time"]
    assert host.evidence()["20-model.out"] == "revoked\nAPI_TOKEN=[redacted]\n"


def real_hooks(host: Host) -> Callable[..., str]:
    really = host.command

    def command(*argv: str, stdin: str = "", seconds: float = 30.0) -> str:
        if argv[0].startswith(str(host.folder)):
            return run(*argv, stdin=stdin, seconds=seconds)
        return really(*argv, stdin=stdin, seconds=seconds)

    return command


def test_hooks_that_cannot_be_found_are_told(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kill, "hooks", refusing(errno.EIO).__get__(host.folder))
    _, failures = kill.kill(host.settings)
    assert len(failures) == 1
    assert failures[0].startswith("no hook ran: [Errno 5]")
    assert "nft list ruleset" in host.done


def test_a_host_without_hooks_or_units_or_bridges_is_fine(host: Host) -> None:
    (host.folder / "kill.d/10-token").unlink()
    (host.folder / "kill.d/20-model").unlink()
    _, failures = kill.kill(Settings(["agent"], [], [], []))
    assert failures == []
    assert host.done == [*STOPPED[1:5], "logs openclaw", "changes openclaw", "nft list ruleset"]
    assert stop_flag.read(kill.FLAG).bridges == []


def test_every_command_has_its_time(host: Host) -> None:
    kill.kill(host.settings)
    kill.release(host.settings)
    assert host.limits == {
        "cut clawkeep0 tasks0": 30.0,
        "systemctl is-active gateway.service": 30.0,
        "systemctl stop gateway.service": 30.0,
        "10-token": 30.0,
        "20-model": 30.0,
        "nft list ruleset": 30.0,
        "lift": 30.0,
        "systemctl restart gateway.service": 300.0,
    }


def test_a_command_is_run_with_what_it_is_given() -> None:
    assert kill.command("cat", stdin="a word") == "a word"
    assert kill.command("cat") == ""
    with pytest.raises(Refusal, match="did not end in time"):
        kill.command("sleep", "600", seconds=0.1)


def test_an_interrupted_kill_is_logged(host: Host) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    host.then["10-token"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        kill.kill(host.settings)
    assert host.logged[-1] == "kill broken off"
    assert host.done[:7] == STOPPED


# --- the network ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "odd",
    ["a" * 16, "a/b", 'a"b', "a\\b", "a*", "a:b", "a b", ""],
    ids=["long", "slash", "quote", "backslash", "star", "colon", "blank", "empty"],
)
def test_a_name_that_no_interface_can_have_costs_no_other_bridge(host: Host, odd: str) -> None:
    """One such name and the packet filter would refuse all of them."""
    with pytest.raises(Refusal) as refused:
        kill.quarantine(["clawkeep0", odd, "tasks0"])
    assert str(refused.value) == f"no interface can have the name {odd}; correct {kill.SETTINGS}"
    assert host.given == {"cut clawkeep0 tasks0": CUT}


def test_several_odd_names_are_all_told(host: Host) -> None:
    with pytest.raises(Refusal, match=r"have the name a/b, c/d; correct"):
        kill.quarantine(["a/b", "c/d"])
    assert host.done == []


def test_names_of_every_length_are_cut(host: Host) -> None:
    kill.quarantine(["a", "a" * 15])
    assert host.done == [f"cut a {'a' * 15}"]


def test_no_bridge_is_no_command(host: Host) -> None:
    kill.quarantine([])
    assert host.done == []


# --- the lock ---------------------------------------------------------------------------------------------------


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nobody wait long for a lock."""
    monkeypatch.setattr(kill, "KILL_WAITS", 0)
    monkeypatch.setattr(kill, "RELEASE_WAITS", 0)
    monkeypatch.setattr(files, "POLL_SECONDS", 0.01)


@pytest.mark.usefixtures("hurried")
def test_a_kill_goes_on_beside_another_that_does_not_end(host: Host) -> None:
    files.make_folder(kill.LOCK.parent)
    with files.lock(kill.LOCK, "another"):
        _, failures = kill.kill(host.settings)
    assert failures == ["went on without the lock: another clawkeep-kill is at work"]
    assert host.done == [STOPPED[0], *STOPPED, *AFTERWARDS]  # a release may have lifted the first cut


def test_a_kill_waits_for_another_but_not_with_the_cut(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "POLL_SECONDS", 0.01)
    files.make_folder(kill.LOCK.parent)
    really, waits, outcome = files.lock, threading.Event(), []

    def lock(path: Path, what: str, seconds: float | None = None) -> Any:
        if seconds:
            assert seconds == 10
            waits.set()
        return really(path, what, seconds)

    with files.lock(kill.LOCK, "another"):
        monkeypatch.setattr(files, "lock", lock)
        second = threading.Thread(target=lambda: outcome.append(kill.kill(host.settings)))
        second.start()
        assert waits.wait(10)
        assert host.done == [STOPPED[0]]
    second.join(10)
    assert outcome[0][1] == []
    assert host.done == [STOPPED[0], *STOPPED, *AFTERWARDS]


def test_two_kills_at_once_stop_the_agent_and_remember_it(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "POLL_SECONDS", 0.01)
    outcomes: list[Any] = []
    both = [threading.Thread(target=lambda: outcomes.append(kill.kill(host.settings))) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(30)
    assert [failures for _, failures in outcomes] == [[], []]
    assert stop_flag.read(kill.FLAG).restart == {AGENT: POLICY}
    assert host.engine.containers[0].state == "exited"


def test_the_lock_is_held_until_the_end_and_then_given_back(host: Host) -> None:
    held: list[bool] = []

    def try_it() -> None:
        try:
            with files.lock(kill.LOCK, "x", 0):
                held.append(False)
        except Refusal:
            held.append(True)

    host.then["pause openclaw"] = try_it
    host.then["nft list ruleset"] = try_it
    kill.kill(host.settings)
    try_it()
    assert held == [True, True, False]
    assert kill.LOCK.stat().st_mode & 0o777 == 0o600


def test_a_lock_that_cannot_be_had_is_told_and_nothing_else_changes(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "lock", refusing(errno.ENOSPC))
    _, failures = kill.kill(host.settings)
    assert failures == [f"went on without the lock: [Errno 28] No space left on device: '{kill.LOCK}'"]
    assert host.done == [*STOPPED, *AFTERWARDS]


# --- release ----------------------------------------------------------------------------------------------------


def test_a_release_gives_everything_back(host: Host) -> None:
    kill.kill(host.settings)
    since = stop_flag.read(kill.FLAG).since
    host.done.clear()
    answer, failures = kill.release(host.settings)
    assert failures == []
    assert answer == {"stopped": False, "since": since, "units": ["gateway.service"]}
    assert host.done == ["update openclaw on-failure", "lift", "systemctl restart gateway.service"]
    assert host.engine.containers[0].restart == POLICY
    assert not kill.FLAG.exists()
    assert not kill.COPY.exists()
    assert host.flags["update openclaw on-failure"] == (False, True)  # can be repeated until the policies are back
    assert host.flags["lift"] == (False, False)


def test_a_release_after_a_reboot_gives_everything_back(host: Host) -> None:
    kill.kill(host.settings)
    kill.COPY.unlink()
    kill.LOCK.unlink()
    kill.COPY.parent.rmdir()
    host.done.clear()
    _, failures = kill.release(host.settings)
    assert failures == []
    assert host.done == ["update openclaw on-failure", "lift", "systemctl restart gateway.service"]
    assert host.flags["update openclaw on-failure"] == (False, True)


def test_a_release_of_an_agent_that_is_not_stopped_does_nothing(host: Host) -> None:
    assert kill.release(host.settings) == ({"stopped": False, "message": "the agent is not stopped"}, [])
    assert (host.done, host.logged) == ([], [])
    assert not kill.LOCK.exists()


def test_a_release_that_broke_off_can_be_repeated(host: Host) -> None:
    kill.kill(host.settings)

    def interrupt() -> None:
        raise KeyboardInterrupt

    host.then["update openclaw on-failure"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        kill.release(host.settings)
    assert stop_flag.is_set((kill.FLAG, kill.COPY))
    host.done.clear()
    assert kill.release(host.settings)[1] == []
    assert host.done == ["update openclaw on-failure", "lift", "systemctl restart gateway.service"]


def test_a_release_without_room_for_the_copy_goes_on(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    kill.kill(host.settings)
    kill.COPY.unlink()
    full(monkeypatch, kill.COPY.parent)
    assert kill.release(host.settings)[1] == []
    assert "update openclaw on-failure" in host.done


@pytest.mark.parametrize("flag", ["FLAG", "COPY"])
def test_an_agent_whose_flag_cannot_be_removed_stays_stopped(
    host: Host, monkeypatch: pytest.MonkeyPatch, flag: str
) -> None:
    kill.kill(host.settings)
    stays = getattr(kill, flag)
    really = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path == stays:
            refusing(errno.EROFS)(path)
        really(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    since = stop_flag.read(stays).since
    host.done.clear()
    answer, failures = kill.release(host.settings)
    assert answer == {"stopped": True, "since": since, "units": []}
    assert failures == [
        f"{stays} was not removed: [Errno 30] Read-only file system: '{stays}'",
        f"the agent stays stopped: remove {stays} and release again",
    ]
    assert host.done == ([] if flag == "FLAG" else ["update openclaw on-failure"])
    assert stop_flag.read(kill.COPY).restart == {AGENT: POLICY}  # and nothing is forgotten


def test_a_flag_that_went_though_something_failed_is_gone(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    kill.kill(host.settings)
    monkeypatch.setattr(files, "settle", refusing(errno.EIO))
    host.done.clear()
    answer, failures = kill.release(host.settings)
    assert answer["stopped"] is False
    assert [one.partition(":")[0] for one in failures] == [
        f"{kill.FLAG} was not removed",
        f"{kill.COPY} was not removed",
    ]
    assert host.done == ["update openclaw on-failure", "lift", "systemctl restart gateway.service"]


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ({"Name": "on-failure", "MaximumRetryCount": 5}, "on-failure:5"),
        ({"Name": "always", "MaximumRetryCount": 0}, "always"),
        ({"Name": "unless-stopped"}, "unless-stopped"),
    ],
)
def test_a_policy_that_did_not_come_back_is_named(host: Host, policy: dict[str, Any], words: str) -> None:
    """The flag is gone then, and nothing else remembers it."""
    host.engine.containers[0].restart = policy
    kill.kill(host.settings)
    host.engine.trouble["update"] = SILENCE
    _, failures = kill.release(host.settings)
    assert failures == [
        f"container {AGENT[:12]} did not get its restart policy {words} back: Docker does not answer: timed out"
    ]
    assert host.done[-2:] == ["lift", "systemctl restart gateway.service"]


def test_a_container_that_is_gone_needs_nothing_back(host: Host) -> None:
    kill.kill(host.settings)
    host.engine.containers.clear()
    assert kill.release(host.settings)[1] == []


def test_every_step_of_a_release_is_tried(host: Host) -> None:
    kill.kill(Settings(["agent"], ["clawkeep0"], ["a.service", "gateway.service"], []))
    stop_flag.write(kill.FLAG, stop_flag.read(kill.FLAG).joined(Memory(units=["a.service"])))
    host.trouble = {word: Refusal("no") for word in ("lift", "systemctl restart a.service")}
    host.done.clear()
    answer, failures = kill.release(host.settings)
    assert failures == ["the network stays cut: no", "a.service did not start: no"]
    assert host.done == [
        "update openclaw on-failure",
        "lift",
        "systemctl restart a.service",
        "systemctl restart gateway.service",
    ]
    assert answer["units"] == ["a.service", "gateway.service"]


@pytest.mark.parametrize(
    ("during", "flag", "done"),
    [
        ("update one always", "FLAG", 1),
        ("update two always", "FLAG", 2),
        ("lift", "FLAG", 3),
        ("lift", "COPY", 3),
        ("systemctl restart a.service", "FLAG", 4),
        ("systemctl restart a.service", "COPY", 4),
    ],
)
def test_a_kill_during_a_release_is_not_undone_by_it(host: Host, during: str, flag: str, done: int) -> None:
    """A kill does not wait long for a release, which may start units for minutes."""
    host.engine.containers = [Fake("one", AGENT), Fake("two", TASK)]
    always = {"Name": "always"}
    stop_flag.write(kill.FLAG, Memory("x", [], {AGENT: always, TASK: always}, ["a.service", "b.service"]))
    host.then[during] = lambda: stop_flag.write(getattr(kill, flag), Memory("y"))
    answer, failures = kill.release(host.settings)
    assert host.done == ["update one always", "update two always", "lift", "systemctl restart a.service"][:done]
    assert failures == ["the release was not ended: the agent was stopped again meanwhile"]
    assert answer == {"stopped": True, "since": "x", "units": []}
    assert kill.COPY.exists() is (done < 3 or flag == "COPY")  # what the kill made is not for the release to remove


@pytest.mark.parametrize("flag", ["FLAG", "COPY"])
def test_a_kill_just_before_the_network_is_lifted_keeps_it_cut(
    host: Host, monkeypatch: pytest.MonkeyPatch, flag: str
) -> None:
    kill.kill(host.settings)
    really = kill._removed

    def removed(all_: steps.Steps, which: Path) -> bool:
        gone = really(all_, which)
        if which == kill.COPY:
            stop_flag.write(getattr(kill, flag), Memory("y"))
        return gone

    monkeypatch.setattr(kill, "_removed", removed)
    host.done.clear()
    answer, failures = kill.release(host.settings)
    assert failures == ["the release was not ended: the agent was stopped again meanwhile"]
    assert answer["stopped"] is True
    assert host.done == ["update openclaw on-failure"]


def test_a_kill_while_the_copy_goes_keeps_the_network_cut(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    kill.kill(host.settings)
    really = stop_flag.remove

    def remove(flag: Path) -> None:
        really(flag)
        if flag == kill.COPY:
            stop_flag.write(kill.COPY, Memory("y"))

    monkeypatch.setattr(stop_flag, "remove", remove)
    host.done.clear()
    answer, _ = kill.release(host.settings)
    assert answer["stopped"] is True
    assert host.done == ["update openclaw on-failure"]


@pytest.mark.parametrize("text", ["", "not JSON"])
def test_a_flag_that_remembers_nothing_is_lifted_and_the_rest_is_the_operators(host: Host, text: str) -> None:
    kill.FLAG.parent.mkdir(parents=True)
    kill.FLAG.write_text(text)
    answer, failures = kill.release(replace(host.settings, units=["a.service", "b.service"]))
    assert answer == {"stopped": False, "since": None, "units": []}
    assert failures == ["the flag remembers nothing: start by hand what ran: a.service b.service"]
    assert host.done == ["lift"]


@pytest.mark.usefixtures("hurried")
def test_a_release_is_refused_while_a_kill_is_at_work(host: Host) -> None:
    kill.kill(host.settings)
    host.done.clear()
    with files.lock(kill.LOCK, "x"), pytest.raises(Refusal, match=r"^another clawkeep-kill is at work$"):
        kill.release(host.settings)
    assert host.done == []
    assert kill.FLAG.exists()


def test_a_release_without_a_lock_goes_on_and_tells(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    kill.kill(host.settings)
    asked: list[Any] = []

    def lock(*words: Any) -> None:
        asked.append(words)
        refusing(errno.ENOSPC)(*words)

    monkeypatch.setattr(files, "lock", lock)
    answer, failures = kill.release(host.settings)
    assert failures == [f"went on without the lock: [Errno 28] No space left on device: '{kill.LOCK}'"]
    assert answer["stopped"] is False
    assert asked == [(kill.LOCK, "clawkeep-kill", 60.0)]


# --- status and quarantine --------------------------------------------------------------------------------------


def test_the_status_of_an_agent_that_runs(host: Host) -> None:
    host.engine.containers += [Fake("old", TASK, state="exited"), Fake("check", "c" * 64, role="check", network="none")]
    answer, failures = kill.status(host.settings)
    assert answer == {"stopped": False, "since": None, "network_cut": False, "running": ["openclaw"]}
    assert failures == []
    assert host.done == ["nft list table inet clawkeep_quarantine"]
    assert host.limits == {"nft list table inet clawkeep_quarantine": 30.0}
    assert host.logged == []


def test_the_status_of_an_agent_that_is_stopped(host: Host) -> None:
    kill.kill(host.settings)
    answer, failures = kill.status(host.settings)
    assert failures == []
    since = stop_flag.read(kill.FLAG).since
    assert answer == {"stopped": True, "since": since, "network_cut": True, "running": []}
    kill.COPY.unlink()
    assert kill.status(host.settings)[0]["since"] == since


def test_a_stop_that_does_not_hold_is_told(host: Host) -> None:
    stop_flag.write(kill.COPY, Memory("2026-12-01T00:00:00+00:00"))
    answer, failures = kill.status(host.settings)
    assert answer == {
        "stopped": True,
        "since": "2026-12-01T00:00:00+00:00",
        "network_cut": False,
        "running": ["openclaw"],
    }
    assert failures == [
        "container openclaw runs although the agent is stopped",
        "the network is not cut although the agent is stopped",
        f"the stop holds only until a reboot, for {kill.FLAG} is missing: `clawkeep-kill kill` again",
    ]


def test_a_status_is_told_as_far_as_it_is_known(host: Host) -> None:
    kill.kill(host.settings)
    host.engine.trouble["list"] = SILENCE
    kill.SETTINGS.write_text("[kill]\nroles = agent\n")
    answer, failures = kill.status(host.settings)
    assert (answer["stopped"], answer["network_cut"], answer["running"]) == (True, True, None)
    assert failures == [
        f"not everything may be looked at: {kill.SETTINGS} lacks 'bridges'",
        "containers were not found: Docker does not answer: timed out",
    ]


def test_a_quarantine_cuts_what_settings_and_both_flags_name(host: Host) -> None:
    stop_flag.write(kill.FLAG, Memory("x", ["old0"]))
    stop_flag.write(kill.COPY, Memory("x", ["older0"]))
    bridges = ["clawkeep0", "old0", "older0", "tasks0"]
    assert kill.only_network(host.settings) == ({"bridges": bridges}, [])
    assert host.done == ["cut " + " ".join(bridges)]
    assert host.logged == ["quarantine started by ada on pts/0"]


def test_a_quarantine_with_broken_settings_cuts_what_is_known(host: Host) -> None:
    stop_flag.write(kill.FLAG, Memory("x", ["clawkeep0"]))
    kill.SETTINGS.unlink()
    host.trouble["cut clawkeep0"] = Refusal("no")
    _, failures = kill.only_network(host.settings)
    assert failures[0].startswith(f"not everything may be reached: {kill.SETTINGS} cannot be read")
    assert failures[1:] == ["the network was not cut: no"]


# --- the log ----------------------------------------------------------------------------------------------------


def test_the_log_hears_of_a_kill_and_a_release(host: Host) -> None:
    kill.kill(host.settings)
    kill.release(host.settings)
    assert host.logged == [
        "kill started by ada on pts/0",
        "the agent is stopped, containers: 1, failed steps: 0",
        "kill ended, failed steps: 0",
        "release started by ada on pts/0",
        "release ended, failed steps: 0",
    ]


def test_the_log_hears_what_failed_and_no_value(host: Host) -> None:
    host.trouble["10-token"] = Refusal(f"failed with {SECRET}")
    host.engine.trouble["kill"] = refusal(500, SECRET)
    kill.kill(host.settings)
    assert host.logged == [
        "kill started by ada on pts/0",
        "failed: openclaw was not killed",
        "failed: openclaw was not killed",
        "the agent is stopped, containers: 1, failed steps: 2",
        "failed: 10-token failed",
        "kill ended, failed steps: 3",
    ]


def test_a_log_that_does_not_hear_stops_nothing_and_is_told(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_log, "tell", refusing(errno.ECONNREFUSED))
    _, failures = kill.kill(host.settings)
    assert host.done == [*STOPPED, *AFTERWARDS]
    assert failures == ["the system's log was not told: [Errno 111] Connection refused: 'clawkeep-kill'"]


# --- the command line -------------------------------------------------------------------------------------------


def test_nothing_happens_without_a_word(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert on(monkeypatch) == 2
    assert capsys.readouterr().err.endswith("clawkeep-kill: error: say what to do: kill, release or status\n")
    assert on(monkeypatch, "release", "--dry-run") == 2
    assert capsys.readouterr().err.endswith("clawkeep-kill: error: --dry-run goes with `kill` only\n")
    assert on(monkeypatch, "destroy") == 2
    assert host.done == []


@pytest.mark.parametrize("words", [("--dry-run",), ("kill", "--dry-run")])
def test_a_dry_run_prints_the_plan(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    assert on(monkeypatch, *words, "--json") == 0
    assert json.loads(capsys.readouterr().out) == kill.plan(host.settings)[0]
    assert on(monkeypatch, *words) == 0
    assert capsys.readouterr() == (
        "stopped: False\n"
        "containers:\n"
        "  openclaw (aaaaaaaaaaaa)\n"
        "bridges:\n"
        "  clawkeep0\n"
        "  tasks0\n"
        "units:\n"
        "  gateway.service\n"
        "hooks:\n"
        f"  {kill.HOOKS}/10-token\n"
        f"  {kill.HOOKS}/20-model\n"
        "revoke:\n"
        "  MODEL_API_KEY (environment of container openclaw)\n"
        f"  OPENCLAW_GATEWAY_TOKEN ({host.folder}/gateway.env)\n",
        "",
    )
    assert host.done == []
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL


def test_a_kill_ends_with_its_answer_and_status(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    assert on(monkeypatch, "kill", "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["stopped"] is True
    assert err == ""
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN  # what is begun is ended, though the session is lost
    host.engine.trouble["list"] = SILENCE
    assert on(monkeypatch, "kill") == 1
    out, err = capsys.readouterr()
    assert "stopped: True\n" in out
    assert "containers: none\n" in out
    assert err == (
        "clawkeep-kill: containers were not found: Docker does not answer: timed out\n"
        "clawkeep-kill: containers were not looked for again: Docker does not answer: timed out\n"
        "clawkeep-kill: agents without the label were not looked for: Docker does not answer: timed out\n"
    )


@pytest.mark.parametrize(
    ("word", "done"),
    [
        ("release", ["update openclaw on-failure", "lift", "systemctl restart gateway.service"]),
        ("status", ["nft list table inet clawkeep_quarantine"]),
        ("quarantine", ["cut clawkeep0 tasks0"]),
    ],
)
def test_every_other_command_is_reached(
    host: Host, monkeypatch: pytest.MonkeyPatch, word: str, done: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    kill.kill(host.settings)
    host.done.clear()
    assert on(monkeypatch, word, "--json") == (
        1 if word == "status" else 0
    )  # the network counts as cut while `done` has it
    assert host.done == done
    assert json.loads(capsys.readouterr().out)


def test_what_failed_is_told_at_length(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    host.trouble["10-token"] = Refusal("x" * 3000)
    assert on(monkeypatch, "kill") == 1
    assert capsys.readouterr().err == f"clawkeep-kill: 10-token failed: {'x' * 3000}\n"


def test_what_is_printed_moves_no_cursor(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    host.engine.containers[0].name = "a\x1b[2Jb"
    host.engine.containers[0].environment = ["X\x1b[2J_TOKEN=1"]
    host.engine.trouble["kill"] = refusal(500)
    assert on(monkeypatch, "kill") == 1
    assert on(monkeypatch, "status") == 1
    assert "\x1b" not in "".join(capsys.readouterr())


def test_it_tells_its_version_and_its_own_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert on(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"clawkeep-kill {version()}\n"
    assert on(monkeypatch, "--help") == 0
    shown = capsys.readouterr().out
    assert "clawkeep-kill release    lift it: the only way back" in shown
    assert " what to do; nothing happens without it\n" in shown
    assert " answer in JSON\n" in shown
    assert " tell what `kill` would do, and change nothing\n" in shown


def test_its_places_and_times_are_those_that_are_told() -> None:
    assert (kill.ENGINE_SECONDS, kill.KILL_WAITS, kill.RELEASE_WAITS) == (60, 10, 60)
    assert (str(kill.SETTINGS), str(kill.HOOKS)) == ("/etc/clawkeep/kill.conf", "/etc/clawkeep/kill.d")
    assert str(kill.STATE) == "/var/lib/clawkeep/kill"
    assert str(kill.LOCK) == "/run/clawkeep/kill/lock"
    assert (kill.FLAG, kill.COPY) == stop_flag.FLAGS


def test_an_agent_on_a_network_of_its_own_is_cut_off(host: Host) -> None:
    """OpenClaw's own Compose file under some folder's name, beside the gateway that is declared."""
    host.engine.containers += [Fake("molbot-1", "e" * 64, role=None, network="molbot_default")]
    own = "br-" + "1" * 12
    for answer, failures in (kill.plan(host.settings), kill.kill(host.settings)):
        assert failures == []
        assert answer["bridges"] == sorted({own, *host.settings.bridges})
        assert "molbot-1" in [one["name"] for one in answer["containers"]]
    assert stop_flag.read(kill.FLAG).bridges == sorted({own, *host.settings.bridges})


def test_a_network_that_the_engine_does_not_tell_of_is_told(host: Host) -> None:
    host.engine.containers += [Fake("molbot-1", "e" * 64, role=None, network="molbot_default")]
    host.engine.trouble["networks"] = SILENCE
    answer, failures = kill.kill(host.settings)
    assert answer["bridges"] == host.settings.bridges
    assert [one for one in failures if "molbot_default" in one] == [
        "the bridges of molbot_default are not known: Docker does not answer: timed out"
    ]
