"""clawkeep-firewall: changes undo themselves, and only a new connection keeps them."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.roles.conftest import render  # noqa: F401 - a fixture

from clawkeep_host import command, files, firewall, package
from clawkeep_host.command import Done, Refusal

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TIMER, SERVICE = "clawkeep-firewall-rollback.timer", "clawkeep-firewall-rollback.service"
RULES = "*filter\n:CLAWKEEP - [0:0]\n-A CLAWKEEP {}\nCOMMIT\n"
HELD = "Another app is currently holding the xtables lock."


class Host:
    """Packet filters and systemd as far as the tool uses them; `broken` makes commands fail by their beginning."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.broken: dict[str, tuple[int, str]] = {}
        self.table: str | None = None
        self.chains: dict[str, dict[str, list[str]]] = {tool: {"FORWARD": []} for tool in firewall.LAYERS}
        self.timer: list[str] | None = None
        self.journal: list[str] = []
        self.during: Callable[[str], None] = lambda _: None

    def __call__(self, *argv: str, stdin: str = "", **_: Any) -> Done:
        line = " ".join(argv)
        self.calls.append(line)
        self.during(line)
        for start, (status, words) in self.broken.items():
            if line.startswith(start):
                return Done(argv, status, "", words)
        if argv[0] == "systemd-cat":
            assert argv[1:] == ("--identifier=clawkeep-firewall", "--priority=notice")
            self.journal.append(stdin)
            return Done(argv, 0, "", "")
        if argv[0] in ("systemd-run", "systemctl"):
            return Done(argv, self.systemd(*argv), "", "")
        if argv[0] == "nft":
            status, out = self.nft(*argv[1:])
        elif argv[0] == "unshare":
            status, out = self.elsewhere(argv)
        else:
            status, out = self.xtables(argv[0], argv[1:], stdin)
        return Done(argv, status, out, "" if status == 0 else "no such thing")

    def systemd(self, *argv: str) -> int:
        if argv[0] == "systemd-run":
            self.timer = list(argv[1:])
        elif argv[1] == "stop":
            self.timer = None
            return 5
        else:
            assert argv == ("systemctl", "is-active", "--quiet", TIMER)
            return 0 if self.timer else 3
        return 0

    def nft(self, *argv: str) -> tuple[int, str]:
        if argv[:2] == ("--check", "--file"):
            return (0 if Path(argv[2]).is_file() else 1), ""
        if argv[0] == "--file":
            text = Path(argv[1]).read_text()
            self.table = text.removeprefix(firewall.REPLACE) or None
            return 0, ""
        if argv == ("list", "tables"):
            return 0, "table ip filter\n" + ("table inet clawkeep\n" if self.table else "")
        assert argv[1:] == ("list", "table", "inet", "clawkeep")
        assert self.table is not None
        return 0, self.table if argv[0] == "--stateless" else self.listing(self.table)

    @staticmethod
    def listing(table: str) -> str:
        return json.dumps({"nftables": [{"metainfo": {}}, {"table": table}]})

    def elsewhere(self, argv: tuple[str, ...]) -> tuple[int, str]:
        assert argv[:4] == ("unshare", "--net", "sh", "-ec")
        script, file = argv[4:]
        text = Path(file).read_text()
        if script == 'nft --file "$0" && nft --json list table inet clawkeep':
            return 0, self.listing(text)
        tool = script.partition("-restore")[0]
        assert script == f'{tool}-restore --noflush <"$0" && {tool} -S CLAWKEEP'
        return 0, "-N CLAWKEEP\n" + "".join(f"{line}\n" for line in text.splitlines() if line.startswith("-A"))

    def xtables(self, tool: str, argv: tuple[str, ...], given: str) -> tuple[int, str]:
        assert argv[0] == "-w"
        if tool.endswith("-restore"):
            assert argv == ("-w", "--noflush")
            lines = given.splitlines()
            self.chains[tool.removesuffix("-restore")]["CLAWKEEP"] = [line for line in lines if line.startswith("-A")]
            return 0, ""
        chains, verb, chain, rest = self.chains[tool], argv[1], argv[2], argv[3:]
        if verb == "-N":
            assert chain not in chains
            chains[chain] = []
        elif chain not in chains:
            return 1, ""
        elif verb == "-S":
            return 0, "".join(f"{line}\n" for line in [f"-N {chain}", *chains[chain]])
        elif verb == "-I":
            chains[chain].insert(int(rest[0]) - 1, f"-A {chain} {' '.join(rest[1:])}")
        elif verb == "-D" and rest[0].isdigit():
            chains[chain].pop(int(rest[0]) - 1)
        elif verb == "-D":
            chains[chain].remove(f"-A {chain} {' '.join(rest)}")
        elif verb == "-F":
            chains[chain].clear()
        else:
            assert verb == "-X"
            assert not chains.pop(chain)
        return 0, ""

    def changes(self) -> list[str]:
        """The commands that changed anything."""
        reading = re.compile(
            r"nft (--json |--stateless )?list|nft --check|unshare|ip6?tables -w -S|systemctl is-active"
        )
        return [line for line in self.calls if not reading.match(line)]

    def runs(self, tag: str) -> bool:
        """Whether all layers are those of one policy, and reached."""
        layers = {tool: firewall_chains(tag) for tool in firewall.LAYERS}
        return self.table == f"table {tag}\n" and self.chains == layers


def firewall_chains(tag: str) -> dict[str, list[str]]:
    return {
        "FORWARD": ["-A FORWARD -j DOCKER-USER"],
        "DOCKER-USER": ["-A DOCKER-USER -j CLAWKEEP"],
        "CLAWKEEP": [f"-A CLAWKEEP {tag}"],
    }


def write(folder: Path, tag: str) -> Path:
    """A policy: its table and its rules bear the tag."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "clawkeep.nft").write_text(f"table {tag}\n")
    for name in ("docker-user.rules", "docker-user.rules6"):
        (folder / name).write_text(RULES.format(tag))
    return folder


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Host:
    """A host whose folders lie in a temporary place; it is asked over connection 100, which was made at tick 500."""
    fake = Host()
    runtime = tmp_path / "run" / "firewall"
    monkeypatch.setattr(firewall, "SAVED", tmp_path / "saved")
    monkeypatch.setattr(firewall, "RUNTIME", runtime)
    for name, below in (("STATE", "armed.json"), ("PREVIOUS", "previous"), ("CANDIDATE", "candidate")):
        monkeypatch.setattr(firewall, name, runtime / below)
    monkeypatch.setattr(command, "attempt", fake)
    monkeypatch.setattr(firewall, "attempt", fake)
    monkeypatch.setattr(firewall, "connection", lambda: (100, 500))
    monkeypatch.setattr(firewall, "boot_ticks", lambda: 1000)
    monkeypatch.setattr("clawkeep_host.firewall.secrets.token_hex", lambda size: "c0ffee" + "00" * (size - 3))
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    (tmp_path / "saved").mkdir()
    runtime.mkdir(parents=True)
    return fake


@pytest.fixture
def armed(host: Host, tmp_path: Path) -> Host:
    """A host that runs policy `old`, with the change to `new` in flight."""
    call("arm", write(tmp_path / "old", "old"))
    shutil.copytree(firewall.CANDIDATE, firewall.SAVED, dirs_exist_ok=True)
    firewall.STATE.unlink()
    call("arm", write(tmp_path / "new", "new"))
    host.calls.clear()
    host.journal.clear()
    return host


def call(verb: str, candidate: Path | None = None, **options: Any) -> None:
    given = argparse.Namespace(candidate=candidate, **{"seconds": 120, "id": None, **options})
    verbs = {"docker-user": firewall.docker_user}
    verbs.get(verb, getattr(firewall, verb, None))(given)  # type: ignore[misc]


def confirm_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firewall, "connection", lambda: (200, 1001))
    call("confirm")


def state() -> Any:
    return json.loads(firewall.STATE.read_text())


# --- who is asking --------------------------------------------------------------------------------------------------


def processes(**table: tuple[str, int, int]) -> Any:
    """Return a stand-in for `process` that knows these: p42=(name, parent, start)."""
    return lambda pid: table[f"p{pid}"]


def test_a_connection_is_its_topmost_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 9)
    table = processes(
        p9=("python3", 8, 90),
        p8=("sudo", 7, 80),
        p7=("sshd-session", 6, 70),
        p6=("sshd-session", 5, 60),
        p5=("sshd", 1, 1),
    )
    monkeypatch.setattr(firewall, "process", table)
    assert firewall.connection() == (6, 60)


def test_a_console_is_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 9)
    monkeypatch.setattr(firewall, "process", processes(p9=("python3", 8, 90), p8=("login", 1, 80)))
    assert firewall.connection() is None


def test_a_process_is_read_whatever_it_calls_itself() -> None:
    """A name may hold brackets and spaces; the kernel puts it in brackets, unescaped."""
    copy = "import ctypes, os; ctypes.CDLL(None).prctl(15, b'x) S 1 (y'); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", copy], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        name, parent, start = firewall.process(child.pid)
        child.communicate(b"\n")
    assert (name, parent) == ("x) S 1 (y", os.getpid())
    assert firewall.process(os.getpid())[2] <= start <= firewall.boot_ticks()


def test_the_time_since_boot_is_told_as_processes_are() -> None:
    with subprocess.Popen(["sleep", "600"]) as child:
        start = firewall.process(child.pid)[2]
        child.kill()
    assert 0 <= firewall.boot_ticks() - start < 60 * os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize(("conn", "name"), [((1, 2), "1:2"), ([3, 4], "3:4"), (None, "console")])
def test_a_connection_has_a_name(conn: Any, name: str) -> None:
    assert firewall.named(conn) == name


# --- arm ------------------------------------------------------------------------------------------------------------


def test_arming_saves_starts_the_timer_and_then_loads(host: Host, tmp_path: Path) -> None:
    new = write(tmp_path / "new", "new")
    firewall.arm(argparse.Namespace(candidate=new, seconds=45))
    layer = [
        "{0}-restore -w --noflush",
        "{0} -w -N DOCKER-USER",
        "{0} -w -I DOCKER-USER 1 -j CLAWKEEP",
        "{0} -w -I FORWARD 1 -j DOCKER-USER",
    ]
    assert host.changes() == [
        f"systemctl stop {TIMER} {SERVICE}",
        "systemd-run --unit=clawkeep-firewall-rollback --on-active=45 --timer-property=AccuracySec=100ms"
        " --property=Restart=on-failure --property=RestartSec=10 --collect"
        " /usr/local/sbin/clawkeep-firewall rollback --id=c0ffee00",
        "systemd-cat --identifier=clawkeep-firewall --priority=notice",
        f"nft --file {firewall.CANDIDATE}/clawkeep.nft",
        *[line.format("iptables") for line in layer],
        *[line.format("ip6tables") for line in layer],
    ]
    assert host.calls[0] == f"nft --check --file {new}/clawkeep.nft"
    assert f"nft --check --file {firewall.PREVIOUS}/clawkeep.nft" in host.calls
    assert host.runs("new")
    assert host.journal == ["armed id=c0ffee00 conn=100:500\n"]
    assert state() == {"id": "c0ffee00", "conn": [100, 500], "loaded": 1000}
    assert list(firewall.SAVED.iterdir()) == []


def test_a_change_is_written_down_before_anything_of_it_happens(host: Host, tmp_path: Path) -> None:
    """Whatever ends the tool from then on, the timer knows what to roll back."""
    seen: dict[str, Any] = {}

    def during(line: str) -> None:
        seen.setdefault(line.split()[0], json.loads(firewall.STATE.read_text()) if firewall.STATE.exists() else None)
        if line == f"nft --file {firewall.CANDIDATE}/clawkeep.nft":
            seen["loading"] = state()

    host.during = during
    call("arm", write(tmp_path / "new", "new"))
    in_flight = {"id": "c0ffee00", "conn": [100, 500], "loaded": None}
    assert (seen["systemd-run"], seen["loading"]) == (in_flight, in_flight)


@pytest.mark.usefixtures("armed")
def test_what_is_written_down_is_for_root_alone() -> None:
    for path in (firewall.PREVIOUS, firewall.CANDIDATE):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE(firewall.STATE.stat().st_mode) == 0o600


def test_the_connection_that_arms_is_told_of_it(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call("arm", write(tmp_path / "new", "new"))
    assert capsys.readouterr().out == "armed id=c0ffee00 conn=100:500\n"
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")  # what a unit prints is in the journal already
    call("rollback")
    assert capsys.readouterr().out == ""
    assert host.journal[-1] == "rolled-back id=c0ffee00\n"


@pytest.mark.usefixtures("armed")
def test_what_ran_is_kept_as_it_can_be_loaded_again() -> None:
    assert (firewall.PREVIOUS / "clawkeep.nft").read_text() == (
        "add table inet clawkeep\ndelete table inet clawkeep\ntable old\n"
    )
    for name in firewall.LAYERS.values():
        assert (firewall.PREVIOUS / name).read_text() == RULES.format("old")


def test_where_nothing_ran_that_is_kept_too(host: Host, tmp_path: Path) -> None:
    call("arm", write(tmp_path / "new", "new"))
    assert [path.name for path in firewall.PREVIOUS.iterdir()] == ["clawkeep.nft"]
    assert (firewall.PREVIOUS / "clawkeep.nft").read_text() == firewall.REPLACE
    assert host.runs("new")
    host.chains["iptables"]["DOCKER-USER"].append("-A DOCKER-USER -s 192.0.2.1/32 -j DROP")
    call("rollback")
    assert host.table is None
    assert host.chains["iptables"] == {
        "FORWARD": ["-A FORWARD -j DOCKER-USER"],
        "DOCKER-USER": ["-A DOCKER-USER -s 192.0.2.1/32 -j DROP"],
    }
    assert host.chains["ip6tables"] == {"FORWARD": ["-A FORWARD -j DOCKER-USER"], "DOCKER-USER": []}


def test_the_same_policy_again_changes_nothing(
    armed: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    confirm_anew(monkeypatch)
    armed.calls.clear()
    capsys.readouterr()
    call("arm", tmp_path / "new")
    assert capsys.readouterr().out == "unchanged\n"
    assert armed.changes() == []
    assert not firewall.STATE.exists()


@pytest.mark.parametrize(
    "drift",
    [
        lambda host: setattr(host, "table", "table other\n"),
        lambda host: setattr(host, "table", None),
        lambda host: host.chains["iptables"]["CLAWKEEP"].append("-A CLAWKEEP -j RETURN"),
        lambda host: host.chains["ip6tables"]["CLAWKEEP"].clear(),
        lambda host: host.chains["ip6tables"]["DOCKER-USER"].insert(0, "-A DOCKER-USER -j RETURN"),
        lambda host: host.chains["iptables"]["FORWARD"].insert(0, "-A FORWARD -j ACCEPT"),
        lambda _: (firewall.SAVED / "docker-user.rules6").write_text("edited"),
        lambda _: (firewall.SAVED / "docker-user.rules").unlink(),
    ],
)
def test_the_same_policy_is_armed_again_where_something_else_runs_or_is_saved(
    armed: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drift: Callable[[Host], object]
) -> None:
    confirm_anew(monkeypatch)
    drift(armed)
    call("arm", tmp_path / "new")
    assert state()["loaded"] == 1000
    assert armed.table == "table new\n"
    for chains in armed.chains.values():
        assert chains["CLAWKEEP"] == ["-A CLAWKEEP new"]
        assert chains["DOCKER-USER"][0] == "-A DOCKER-USER -j CLAWKEEP"
        assert chains["FORWARD"][0] == "-A FORWARD -j DOCKER-USER"


def test_a_forgotten_change_is_rolled_back_before_another_is_armed(armed: Host, tmp_path: Path) -> None:
    call("arm", write(tmp_path / "newer", "newer"))
    assert armed.journal == ["rolled-back id=c0ffee00\n", "armed id=c0ffee00 conn=100:500\n"]
    assert (firewall.PREVIOUS / "docker-user.rules").read_text() == RULES.format("old")
    assert armed.runs("newer")


@pytest.mark.parametrize("missing", firewall.FILES)
def test_a_candidate_that_lacks_a_file_is_refused(host: Host, tmp_path: Path, missing: str) -> None:
    candidate = write(tmp_path / "new", "new")
    (candidate / missing).unlink()
    with pytest.raises(Refusal, match=rf"^{candidate} lacks {missing}; run the role firewall against this host\.$"):
        call("arm", candidate)
    assert host.calls == []


def test_a_candidate_that_nft_refuses_changes_nothing(host: Host, tmp_path: Path) -> None:
    host.broken["nft --check"] = (1, "syntax error")
    with pytest.raises(Refusal, match="syntax error"):
        call("arm", write(tmp_path / "new", "new"))
    assert host.changes() == []
    assert not firewall.STATE.exists()


@pytest.mark.parametrize("broken", ["systemd-run", "systemctl is-active"])
def test_without_a_timer_nothing_is_loaded_and_nothing_stays_armed(host: Host, tmp_path: Path, broken: str) -> None:
    host.broken[broken] = (1, "no bus")
    with pytest.raises(Refusal, match="no bus"):
        call("arm", write(tmp_path / "new", "new"))
    assert host.table is None
    assert not firewall.STATE.exists()
    assert host.timer is None
    assert host.changes()[-1] == f"systemctl stop {TIMER} {SERVICE}"


@pytest.mark.parametrize("broken", ["nft --file", "iptables-restore", "ip6tables -w -I FORWARD"])
def test_a_candidate_that_does_not_load_is_rolled_back_at_once(
    armed: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    confirm_anew(monkeypatch)
    armed.chains["ip6tables"]["FORWARD"].clear()
    met: list[str] = []

    def during(line: str) -> None:
        met.extend([line] if line.startswith(broken) else [])
        armed.broken = {broken: (4, HELD)} if len(met) == 1 and met[0] == line else {}

    armed.during = during
    with pytest.raises(Refusal, match=f"^`{broken}.*` failed: {HELD}$"):
        call("arm", write(tmp_path / "newer", "newer"))
    assert armed.runs("new")
    assert armed.journal[-1] == "rolled-back id=c0ffee00\n"
    assert armed.timer is None
    assert not firewall.STATE.exists()


def test_a_change_whose_record_cannot_be_written_is_rolled_back(
    armed: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tick at which it was loaded comes last, and /run may be full by then."""
    confirm_anew(monkeypatch)
    whole = files.write

    def full(path: Path, content: str | bytes) -> None:
        if path == firewall.STATE and json.loads(content)["loaded"] is not None:
            raise OSError(28, "No space left on device")
        whole(path, content)

    monkeypatch.setattr(files, "write", full)
    with pytest.raises(OSError, match="No space left"):
        call("arm", write(tmp_path / "newer", "newer"))
    assert armed.runs("new")
    assert not firewall.STATE.exists()


def test_a_change_that_is_loaded_but_not_recorded_is_in_flight_and_not_confirmed(
    armed: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process died in between: the record of before is whole."""
    firewall.remember({**state(), "loaded": None})
    with pytest.raises(Refusal, match=r"^Change c0ffee00 is not in force yet; the rollback stays armed\.$"):
        confirm_anew(monkeypatch)
    call("rollback", id="c0ffee00")
    assert armed.runs("old")


@pytest.mark.usefixtures("armed")
def test_the_record_of_a_change_is_never_half_written(monkeypatch: pytest.MonkeyPatch) -> None:
    before = firewall.STATE.read_text()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        firewall.remember({"id": "other", "conn": None, "loaded": 1})
    assert firewall.STATE.read_text() == before


# --- confirm --------------------------------------------------------------------------------------------------------


def test_a_new_connection_keeps_the_change(armed: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    confirm_anew(monkeypatch)
    assert (firewall.SAVED / "clawkeep.nft").read_text() == "table new\n"
    assert (firewall.SAVED / "docker-user.rules").read_text() == RULES.format("new")
    assert (firewall.SAVED / "docker-user.rules6").read_text() == RULES.format("new")
    assert {stat.S_IMODE(path.stat().st_mode) for path in firewall.SAVED.iterdir()} == {0o600}
    assert sorted(path.name for path in firewall.SAVED.iterdir()) == sorted(firewall.FILES)
    assert not firewall.STATE.exists()
    assert armed.timer is None
    digest = hashlib.sha256(b"table new\n").hexdigest()
    assert armed.journal == ["confirmed id=c0ffee00 conn=200:1001\n", f"saved id=c0ffee00 sha256={digest}\n"]
    assert armed.runs("new")


def test_a_saved_policy_holds_over_a_power_cut(armed: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    settled: list[tuple[Path, list[str]]] = []
    monkeypatch.setattr(files, "settle", lambda path: settled.append((path, [p.name for p in path.iterdir()])))
    confirm_anew(monkeypatch)
    folder, names = settled[-1]
    assert (folder, sorted(names)) == (firewall.SAVED, sorted(firewall.FILES))
    assert armed.timer is None


def test_the_record_goes_before_the_timer_is_stopped(armed: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    armed.during = lambda line: seen.append((line, firewall.STATE.exists())) if "systemctl" in line else None
    confirm_anew(monkeypatch)
    assert seen == [(f"systemctl stop {TIMER} {SERVICE}", False), (f"systemctl is-active --quiet {TIMER}", False)]


@pytest.mark.parametrize(
    ("connection", "why"),
    [
        pytest.param((100, 500), "older than change", id="the-one-that-armed"),
        pytest.param((100, 500), r"This connection \(100:500\)", id="it-is-named"),
        pytest.param((200, 900), "older than change", id="another-that-was-open-before"),
        pytest.param((200, 1000), "older than change", id="one-of-the-same-tick"),
        pytest.param((100, 1001), None, id="a-new-one-with-a-reused-pid"),
        pytest.param(None, "console", id="console"),
    ],
)
def test_only_a_newer_connection_confirms(
    armed: Host, monkeypatch: pytest.MonkeyPatch, connection: tuple[int, int] | None, why: str | None
) -> None:
    monkeypatch.setattr(firewall, "connection", lambda: connection)
    if why is None:
        call("confirm")
        return
    with pytest.raises(Refusal, match=why):
        call("confirm")
    assert firewall.STATE.exists()
    assert (firewall.SAVED / "clawkeep.nft").read_text() == "table old\n"
    assert armed.changes() == []


@pytest.mark.usefixtures("armed")
def test_a_connection_of_the_future_that_armed_does_not_confirm_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the same one, whatever its start says."""
    firewall.remember({**state(), "conn": [100, 2000]})
    monkeypatch.setattr(firewall, "connection", lambda: (100, 2000))
    with pytest.raises(Refusal, match="older than change"):
        call("confirm")


@pytest.mark.usefixtures("armed")
def test_after_the_rollback_there_is_nothing_to_confirm(monkeypatch: pytest.MonkeyPatch) -> None:
    call("rollback", id="c0ffee00")
    with pytest.raises(Refusal, match=r"^No change is armed: it was confirmed before, or it has been rolled back\.$"):
        confirm_anew(monkeypatch)


def test_a_timer_that_does_not_stop_keeps_the_policy_from_being_saved(
    armed: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(armed, "systemd", lambda *_: 0)
    with pytest.raises(Refusal, match=rf"^{TIMER} does not stop; it will find nothing to roll back\.$"):
        confirm_anew(monkeypatch)
    assert (firewall.SAVED / "clawkeep.nft").read_text() == "table old\n"
    call("rollback", id="c0ffee00")
    assert armed.runs("new")


def test_a_journal_that_takes_nothing_does_not_keep_a_confirmed_policy_from_being_saved(
    armed: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    armed.broken["systemd-cat"] = (1, "no journal")
    confirm_anew(monkeypatch)
    assert (firewall.SAVED / "clawkeep.nft").read_text() == "table new\n"
    assert "clawkeep-firewall: 'confirmed id=c0ffee00 conn=200:1001' is not in the journal: " in capsys.readouterr().err


def test_a_terminal_that_has_gone_does_not_keep_a_confirmed_policy_from_being_saved(
    armed: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection ends when the client has its answer, and the installed program writes without a buffer."""

    def gone(*_: Any, **__: Any) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("builtins.print", gone)
    confirm_anew(monkeypatch)
    assert (firewall.SAVED / "clawkeep.nft").read_text() == "table new\n"
    assert armed.journal[-1].startswith("saved ")


def test_a_full_disk_leaves_the_saved_policy_whole(armed: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = files.write

    def full(path: Path, content: bytes) -> None:
        if path.name == ".docker-user.rules6.new":
            raise OSError(28, "No space left on device")
        whole(path, content)

    monkeypatch.setattr(files, "write", full)
    with pytest.raises(OSError, match="No space left"):
        confirm_anew(monkeypatch)
    assert {(firewall.SAVED / name).read_text() for name in firewall.FILES} == {"table old\n", RULES.format("old")}
    assert sorted(path.name for path in firewall.SAVED.iterdir()) == sorted(firewall.FILES)
    assert armed.runs("new")


# --- rollback -------------------------------------------------------------------------------------------------------


def test_a_rollback_by_the_timer_brings_everything_back(armed: Host) -> None:
    call("rollback", id="c0ffee00")
    assert armed.runs("old")
    assert armed.journal == ["rolled-back id=c0ffee00\n"]
    assert not firewall.STATE.exists()
    assert "systemctl" not in " ".join(armed.calls)  # it would stop the very service that it runs in


def test_a_rollback_by_hand_stops_the_timer(armed: Host) -> None:
    call("rollback")
    assert armed.runs("old")
    assert armed.calls[-1] == f"systemctl stop {TIMER} {SERVICE}"


def test_a_late_timer_leaves_another_change_alone(armed: Host, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    call("rollback", id="another")
    assert capsys.readouterr().out == "nothing to roll back\n"
    assert armed.runs("new")
    assert firewall.STATE.exists()
    firewall.STATE.unlink()
    call("rollback")
    assert capsys.readouterr().out == "nothing to roll back\n"
    assert armed.calls == []


@pytest.mark.parametrize("content", ["", "{", '{"id": "c0ffee00"}', "[]", "null", "\x00", "\udcff"])
def test_a_change_whose_record_is_broken_is_rolled_back_and_not_confirmed(
    armed: Host, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    """Whatever broke it: a host that nobody may reach any more comes back."""
    firewall.STATE.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(Refusal, match=r"^Change unreadable is not in force yet; the rollback stays armed\.$"):
        confirm_anew(monkeypatch)
    call("rollback", id="c0ffee00")
    assert armed.runs("old")
    assert not firewall.STATE.exists()


@pytest.mark.parametrize("broken", ["iptables-restore", "ip6tables -w -S"])
def test_a_part_that_does_not_roll_back_keeps_no_other_from_it_and_is_tried_again(armed: Host, broken: str) -> None:
    armed.broken[broken] = (4, HELD)
    with pytest.raises(Refusal, match=rf"^change c0ffee00 is not rolled back as a whole: `{broken}.* failed: {HELD}$"):
        call("rollback", id="c0ffee00")
    assert armed.table == "table old\n"
    other = "ip6tables" if broken.startswith("iptables") else "iptables"
    assert armed.chains[other] == firewall_chains("old")
    assert firewall.STATE.exists()
    assert armed.journal == []
    armed.broken.clear()
    call("rollback", id="c0ffee00")
    assert armed.runs("old")


def test_where_nobody_knows_what_ran_the_saved_policy_comes_back(armed: Host) -> None:
    shutil.rmtree(firewall.PREVIOUS)
    call("rollback")
    assert armed.runs("old")  # which is saved
    assert not firewall.STATE.exists()


def test_where_nothing_is_saved_either_nothing_is_touched(armed: Host) -> None:
    shutil.rmtree(firewall.PREVIOUS)
    (firewall.SAVED / "clawkeep.nft").unlink()
    with pytest.raises(Refusal, match=r"saved lacks clawkeep\.nft"):
        call("rollback")
    assert armed.runs("new")


def test_a_held_lock_is_not_taken_for_a_missing_layer(armed: Host, tmp_path: Path) -> None:
    """It would be saved as none, and a rollback would then take the layer away."""
    firewall.STATE.unlink()
    armed.broken["ip6tables -w -S CLAWKEEP"] = (4, HELD)
    with pytest.raises(Refusal, match=HELD):
        call("arm", write(tmp_path / "newer", "newer"))
    assert armed.runs("new")
    assert not firewall.STATE.exists()


def test_a_table_that_cannot_be_listed_is_not_taken_for_a_missing_one(armed: Host, tmp_path: Path) -> None:
    firewall.STATE.unlink()
    armed.broken["nft list"] = (1, "Operation not permitted")
    with pytest.raises(Refusal, match="not permitted"):
        call("arm", write(tmp_path / "newer", "newer"))
    assert armed.table == "table new\n"


# --- the saved policy -------------------------------------------------------------------------------------------------


def test_boot_loads_the_saved_table_alone(armed: Host) -> None:
    armed.table = None
    call("load")
    assert armed.calls == [f"nft --file {firewall.SAVED}/clawkeep.nft"]
    (firewall.SAVED / "docker-user.rules").unlink()
    with pytest.raises(Refusal, match=r"lacks docker-user\.rules;"):
        call("load")


@pytest.mark.parametrize(
    ("before", "commands"),
    [
        pytest.param(
            {"FORWARD": ["-A FORWARD -j DOCKER-USER"], "DOCKER-USER": ["-A DOCKER-USER -j CLAWKEEP"]},
            ["{}-restore -w --noflush"],
            id="in order",
        ),
        pytest.param(
            {"FORWARD": ["-A FORWARD -j X"]},
            [
                "{}-restore -w --noflush",
                "{} -w -N DOCKER-USER",
                "{} -w -I DOCKER-USER 1 -j CLAWKEEP",
                "{} -w -I FORWARD 1 -j DOCKER-USER",
            ],
            id="no chain",
        ),
        pytest.param(
            {
                "FORWARD": ["-A FORWARD -j DOCKER-USER", "-A FORWARD -j X", "-A FORWARD -j DOCKER-USER"],
                "DOCKER-USER": ["-A DOCKER-USER -j RETURN", "-A DOCKER-USER -j CLAWKEEP"],
            },
            [
                "{}-restore -w --noflush",
                "{} -w -I DOCKER-USER 1 -j CLAWKEEP",
                "{} -w -D DOCKER-USER 3",
                "{} -w -I FORWARD 1 -j DOCKER-USER",
                "{} -w -D FORWARD 4",
                "{} -w -D FORWARD 2",
            ],
            id="behind and twice",
        ),
    ],
)
def test_the_jumps_come_first_and_once(host: Host, before: dict[str, list[str]], commands: list[str]) -> None:
    write(firewall.SAVED, "old")
    for tool in host.chains:
        host.chains[tool] = {**{name: list(lines) for name, lines in before.items()}, "CLAWKEEP": ["-A CLAWKEEP old"]}
    call("docker-user")
    assert host.changes() == [line.format(tool) for tool in ("iptables", "ip6tables") for line in commands]
    for chains in host.chains.values():
        for chain, target in (("FORWARD", "DOCKER-USER"), ("DOCKER-USER", "CLAWKEEP")):
            jump = f"-A {chain} -j {target}"
            assert (chains[chain][0], chains[chain].count(jump)) == (jump, 1)
            assert set(before.get(chain, [])) <= set(chains[chain])


@pytest.mark.parametrize(
    ("drift", "said"),
    [
        (lambda _: None, "unchanged"),
        (lambda host: host.chains["ip6tables"]["CLAWKEEP"].clear(), "changed ip6tables"),
        (lambda host: host.chains["iptables"].pop("DOCKER-USER"), "changed iptables"),
        (lambda host: [c["FORWARD"].clear() for c in host.chains.values()], "changed iptables ip6tables"),
        (lambda host: host.chains["iptables"]["DOCKER-USER"].clear(), "changed iptables"),
    ],
)
def test_the_layer_that_was_put_right_is_named(
    armed: Host, capsys: pytest.CaptureFixture[str], drift: Callable[[Host], object], said: str
) -> None:
    call("rollback")
    drift(armed)
    capsys.readouterr()
    call("docker-user")
    assert capsys.readouterr().out == f"{said}\n"
    assert armed.runs("old")


@pytest.mark.parametrize("missing", firewall.FILES)
def test_a_saved_policy_that_lacks_a_file_is_not_brought_into_force(armed: Host, missing: str) -> None:
    (firewall.SAVED / missing).unlink()
    with pytest.raises(Refusal, match=f"saved lacks {missing}; "):
        call("docker-user")
    assert armed.calls == []


def test_a_family_that_fails_does_not_keep_the_other_from_being_put_right(armed: Host) -> None:
    call("rollback")
    armed.chains["ip6tables"]["FORWARD"].clear()
    armed.broken["iptables-restore"] = (4, HELD)
    with pytest.raises(Refusal, match=HELD):
        call("docker-user")
    assert armed.chains["ip6tables"] == firewall_chains("old")


def test_a_comment_in_any_encoding_reaches_iptables_as_it_is(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rules"
    path.write_bytes(b"*filter\n# caf\xe9\nCOMMIT\n")
    given: list[str] = []
    xtables = host.xtables

    def listening(tool: str, argv: tuple[str, ...], stdin: str) -> tuple[int, str]:
        given.append(stdin)
        return xtables(tool, argv, stdin)

    monkeypatch.setattr(host, "xtables", listening)
    firewall.apply_layer("iptables", path)
    assert "# caf\udce9\n" in "".join(given)


def test_the_state_of_everything_is_told(
    armed: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def told() -> Any:
        capsys.readouterr()
        call("status")
        return json.loads(capsys.readouterr().out)

    digest = {name: hashlib.sha256(f"table {name}\n".encode()).hexdigest() for name in ("old", "new")}
    assert told() == {
        "armed": "c0ffee00",
        "ruleset_in_force": False,
        "docker_user_in_force": {"iptables": False, "ip6tables": False},
        "saved_sha256": digest["old"],
    }
    confirm_anew(monkeypatch)
    good = {
        "armed": None,
        "ruleset_in_force": True,
        "docker_user_in_force": {"iptables": True, "ip6tables": True},
        "saved_sha256": digest["new"],
    }
    assert told() == good
    armed.chains["iptables"]["DOCKER-USER"].insert(0, "-A DOCKER-USER -j RETURN")
    armed.chains["ip6tables"]["FORWARD"].insert(0, "-A FORWARD -j ACCEPT")
    assert told() == {**good, "docker_user_in_force": {"iptables": False, "ip6tables": False}}
    armed.table = None
    assert told()["ruleset_in_force"] is False
    (firewall.SAVED / "docker-user.rules6").unlink()
    with pytest.raises(Refusal, match="lacks"):
        call("status")


def test_policies_and_the_change_in_flight_lie_where_boot_and_the_collector_look() -> None:
    assert Path("/etc/clawkeep/firewall") == firewall.SAVED
    assert Path("/run/clawkeep/firewall/armed.json") == firewall.STATE
    assert {firewall.PREVIOUS.parent, firewall.CANDIDATE.parent} == {firewall.RUNTIME} == {firewall.STATE.parent}


# --- what compares ----------------------------------------------------------------------------------------------------


def test_what_changes_by_itself_is_no_difference() -> None:
    def listing(handle: int, packets: int, members: list[str], meter: list[str]) -> str:
        return json.dumps(
            {
                "nftables": [
                    {"metainfo": {"version": str(handle)}},
                    {"counter": {"name": "drop", "handle": handle, "packets": packets, "bytes": packets}},
                    {"set": {"name": "private", "elem": members, "flags": ["interval"]}},
                    {"set": {"name": "plain", "elem": members}},
                    {"set": {"name": "rate", "elem": meter, "flags": ["dynamic"]}},
                    {"rule": {"expr": [{"counter": {"packets": packets, "bytes": 1}}, {"drop": None}]}},
                ]
            }
        )

    one = firewall.canonical(listing(1, 0, ["10.0.0.0/8", "fc00::/7"], []))
    assert one == firewall.canonical(listing(2, 9, ["fc00::/7", "10.0.0.0/8"], ["192.0.2.1"]))
    assert one != firewall.canonical(listing(1, 0, ["10.0.0.0/8"], []))
    assert "version" not in one
    assert json.loads(one)[1] == {"set": {"name": "private", "elem": ["10.0.0.0/8", "fc00::/7"], "flags": ["interval"]}}
    assert json.loads(one)[3] == {"set": {"name": "rate", "flags": ["dynamic"]}}


def test_the_order_of_rules_is_a_difference() -> None:
    def listing(*verdicts: str) -> str:
        return json.dumps({"nftables": [{"rule": {"expr": [{verdict: None}]}} for verdict in verdicts]})

    assert firewall.canonical(listing("accept", "drop")) != firewall.canonical(listing("drop", "accept"))


# --- command line -----------------------------------------------------------------------------------------------------


def start(monkeypatch: pytest.MonkeyPatch, *argv: str) -> int:
    monkeypatch.setattr(sys, "argv", ["clawkeep-firewall", *argv])
    with pytest.raises(SystemExit) as end:
        firewall.main()
    assert isinstance(end.value.code, int)
    return end.value.code


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.mark.usefixtures("as_root")
def test_each_verb_reaches_its_function_under_the_lock(
    host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = write(tmp_path / "new", "new")
    seen = []

    def during(_: str) -> None:
        with pytest.raises(Refusal), files.lock(firewall.RUNTIME / "lock", "test", 0):
            pytest.fail("nobody holds the lock")
        seen.append(1)

    host.during = during
    shutil.rmtree(firewall.RUNTIME.parent)
    assert start(monkeypatch, "arm", str(new)) == 0
    assert stat.S_IMODE(firewall.RUNTIME.stat().st_mode) == 0o700
    assert "--on-active=120" in (host.timer or [])
    monkeypatch.setattr(firewall, "connection", lambda: (200, 1001))
    assert start(monkeypatch, "confirm") == 0
    assert start(monkeypatch, "arm", "--seconds=7", str(write(tmp_path / "other", "other"))) == 0
    assert "--on-active=7" in (host.timer or [])
    assert start(monkeypatch, "rollback", "--id=another") == 0
    assert firewall.STATE.exists()
    assert start(monkeypatch, "rollback", "--id=c0ffee00") == 0
    assert not firewall.STATE.exists()
    assert start(monkeypatch, "load") == 0
    assert start(monkeypatch, "docker-user") == 0
    capsys.readouterr()
    assert start(monkeypatch, "status") == 0
    assert json.loads(capsys.readouterr().out)["ruleset_in_force"] is True
    assert len(seen) == len(host.calls)


@pytest.mark.usefixtures("as_root")
def test_a_refusal_is_one_sentence_and_status_1(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(monkeypatch, "confirm") == 1
    said = capsys.readouterr()
    assert (said.out, said.err) == (
        "",
        "clawkeep-firewall: No change is armed: it was confirmed before, or it has been rolled back.\n",
    )
    assert host.calls == []


def test_only_root_changes_anything(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert start(monkeypatch, "load") == 1
    assert capsys.readouterr().err == "clawkeep-firewall: only root changes the firewall.\n"
    assert host.calls == []


@pytest.mark.parametrize("argv", [(), ("flush",), ("arm",), ("arm", "--seconds=0", "x"), ("arm", "--seconds=-5", "x")])
def test_bad_usage_is_status_2(host: Host, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...]) -> None:
    assert start(monkeypatch, *argv) == 2
    assert host.calls == []


def test_the_help_says_how_a_change_is_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(monkeypatch, "--help") == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: clawkeep-firewall ")
    assert "over a connection that was opened AFTER the candidate was in force" in text
    assert "Keep the change in flight" in text
    assert start(monkeypatch, "--version") == 0
    assert capsys.readouterr().out.startswith("clawkeep-firewall ")


# --- for real -------------------------------------------------------------------------------------------------------


ROUND_TRIP = """
mount -t tmpfs none /run; mount -t tmpfs none /etc; mkdir -p /etc/clawkeep/firewall
ip link set lo up 2>/dev/null || true
tool() { "$PYTHON" -IS "$TOOL" "$@"; }
listing() { nft list table inet clawkeep; iptables -S; ip6tables -S; }

tool arm "$ONE"
cp /run/clawkeep/firewall/candidate/* /etc/clawkeep/firewall/
rm /run/clawkeep/firewall/armed.json          # as confirmed; the tests above prove by whom
listing >/run/before

test "$(tool arm "$ONE")" = unchanged
tool arm "$OTHER" >/dev/null
! listing | cmp -s - /run/before
tool rollback >/dev/null
listing | diff /run/before -

iptables -I DOCKER-USER 1 -j RETURN           # what a subtle hand does
ip6tables -D FORWARD -j DOCKER-USER
tool status | grep -q '"iptables": false, "ip6tables": false'
test "$(tool docker-user)" = "changed iptables ip6tables"
test "$(tool docker-user)" = unchanged
tool status | grep -q '"iptables": true, "ip6tables": true'
"""


def test_rolling_back_restores_both_layers_in_both_families(render: Any, tmp_path: Path) -> None:  # noqa: F811
    """The whole tool as it is installed, in a network and a mount namespace of its own; systemd alone is played."""
    archive, tool = tmp_path / "clawkeep_host.zip", tmp_path / "clawkeep-firewall"
    archive.write_bytes(package.archive())
    tool.write_text(package.wrapper("clawkeep-firewall", archive=str(archive)))
    binaries = tmp_path / "bin"
    binaries.mkdir()
    for name, body in {"systemd-run": ":", "systemctl": ":", "systemd-cat": "cat >/dev/null"}.items():
        (binaries / name).write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        (binaries / name).chmod(0o755)
    for name in ("iptables", "ip6tables", "iptables-restore", "ip6tables-restore"):  # /etc/alternatives is hidden there
        (binaries / name).symlink_to(os.path.realpath(shutil.which(name, path=SYSTEM_PATH) or name))
    for policy, networks in {"one": ["192.0.2.0/24"], "other": ["198.51.100.0/24", "2001:db8::/32"]}.items():
        (tmp_path / policy).mkdir()
        variables = {"firewall_admin_networks": networks, "firewall_private_networks": networks}
        for name, template, family in (
            ("clawkeep.nft", "clawkeep.nft", 4),
            ("docker-user.rules", "docker-user.rules", 4),
            ("docker-user.rules6", "docker-user.rules", 6),
        ):
            text = render("firewall", f"etc/clawkeep/firewall/{template}.j2", firewall_layer_family=family, **variables)
            (tmp_path / policy / name).write_text(text, encoding="utf-8")
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    done = subprocess.run(
        ["unshare", *user, "--net", "--mount", "bash", "-euc", ROUND_TRIP],
        env={
            "PATH": f"{binaries}:{SYSTEM_PATH}",
            "PYTHON": os.path.realpath(sys.executable),
            "TOOL": str(tool),
            "ONE": str(tmp_path / "one"),
            "OTHER": str(tmp_path / "other"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
