"""clawkeep-release: nothing but a healthy release stays in force, and the way back is always there."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clawkeep_host import engine_api, files, release
from clawkeep_host.command import FLOODED, OVERDUE, Done, Refusal

IMAGE = "sha256:" + "a" * 64
COMPOSE = 'services: {gateway: {labels: {\n  clawkeep.release: "@release@"\n}}}\n'


Want = Callable[[str], None]


class Engine:
    """A Docker whose container becomes what the Compose file in force makes of it."""

    def __init__(self, force: Path) -> None:
        self.force = force
        self.container: dict[str, Any] | None = None
        self.images = {IMAGE}
        self.valid = True
        self.said: Done | None = None  # what the validating container says instead
        self.broken: set[str] = set()  # configurations with which the gateway ends
        self.crashing: set[str] = set()  # those with which it ends again and again
        self.silent = 0  # how often it does not answer
        self.calls: list[str] = []
        self.before: Callable[[str], None] = lambda _: None

    def ask(self, method: str, path: str, body: Any = None, **_: Any) -> bytes:
        """The engine's API."""
        self.calls.append(f"{method} {path}")
        self.before(f"{method} {path}")
        assert (method, body) == ("GET", None)
        if self.silent:
            self.silent -= 1
            raise engine_api.EngineError("Docker does not answer: refused")
        if path == "/containers/openclaw/json":
            if self.container is None:
                raise engine_api.Missing("no such container")
            return json.dumps(self.container).encode()
        name = path.removeprefix("/images/").removesuffix("/json")
        if name not in self.images:
            raise engine_api.Missing("no such image")
        return json.dumps({"Id": IMAGE}).encode()

    def __call__(self, *argv: str, seconds: float = 0, limit: int = 0) -> Done:
        """Its command line."""
        assert argv[0] == "docker"
        assert seconds > 0
        assert limit == 16 << 20
        words = argv[1:]
        self.calls.append(" ".join(words))
        self.before(" ".join(words))
        status, out = 0, ""
        if words[0] == "run":
            issues = [] if self.valid else [{"path": "gateway.bind", "message": "Invalid input"}]
            status, out = int(not self.valid), json.dumps({"valid": self.valid, "issues": issues})
            if self.said:
                return self.said
        elif words[0] == "pull":
            self.images.add(words[-1])
        elif words[0] == "compose" and "up" in words:
            self.up(recreate="--force-recreate" in words)
        elif words[0] == "compose":
            assert words[-3:] == ("stop", "--timeout", "0")
            assert self.container
            self.container["State"] = {"Running": False, "Restarting": False, "ExitCode": 137}
        else:
            assert words[:2] == ("rm", "--force")
        return Done(argv, status, out, "")

    def runs(self, *words: str) -> int:
        """How many calls hold these words."""
        return sum(all(word in call for word in words) for call in self.calls)

    def up(self, *, recreate: bool) -> None:
        """What `docker compose up` does: a new container when anything changed, a started one otherwise."""
        number = (self.force / "compose.yml").read_text().split('clawkeep.release: "')[1].split('"')[0]
        works = (self.force / "openclaw.json").read_text() not in self.broken
        old = self.container
        if recreate or old is None or old["Config"]["Labels"]["clawkeep.release"] != number:
            self.container = {
                "Image": IMAGE,
                "Config": {"User": "1000:1000", "Labels": {"clawkeep.release": number}},
                "HostConfig": {"Memory": 2 << 30, "PortBindings": {}},
                "NetworkSettings": {"Networks": {"clawkeep0": {}}},
                "Mounts": [],
                "RestartCount": 0,
            }
        assert self.container
        if (self.force / "openclaw.json").read_text() in self.crashing:
            self.container["RestartCount"] = 3
            self.container["State"] = {"Running": True, "Restarting": False, "ExitCode": 137}
            return
        self.container["State"] = {
            "Running": works,
            "Restarting": False,
            "ExitCode": 0 if works else 1,
            "Health": {"Status": "healthy" if works else "starting"},
        }


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Engine:
    """The engine that the tool talks to, its folders in a temporary place, and a gateway that answers while it runs."""
    for name, value in {
        "FORCE": tmp_path / "openclaw",
        "CANDIDATE": tmp_path / "openclaw/candidate",
        "RELEASES": tmp_path / "releases",
        "KILLED": (tmp_path / "active", tmp_path / "copy"),
        "LOCK": tmp_path / "run" / "lock",
        "POLL_SECONDS": 0,
    }.items():
        monkeypatch.setattr(release, name, value)
    fake = Engine(release.FORCE)
    monkeypatch.setattr(release, "attempt", fake)
    monkeypatch.setattr(engine_api, "ask", fake.ask)
    monkeypatch.setattr(release, "answers", lambda found: found["State"]["Running"])
    monkeypatch.setattr(os, "fchown", lambda *_: None)
    (tmp_path / "openclaw/candidate").mkdir(parents=True)
    return fake


@pytest.fixture
def want() -> Want:
    """Write the candidate as the role does."""

    def write(configuration: str) -> None:
        texts = {"compose.yml": COMPOSE, "openclaw.json": configuration, "image": IMAGE + "\n"}
        for name, text in texts.items():
            (release.CANDIDATE / name).write_text(text)

    return write


def kill(flag: int = 0) -> None:
    """What clawkeep-kill does first."""
    release.KILLED[flag].touch()


def change(verb: str, *, kept: int = 5) -> dict[str, Any]:
    return release.change(verb, release.Options(1000, 0.5, 1, kept))


def record(number: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((release.RELEASES / str(number) / "release.json").read_text())
    return found


def test_a_first_release_is_validated_numbered_and_proven(engine: Engine, want: Want) -> None:
    want("good")
    answer = change("apply")
    assert (answer["changed"], answer["release"]) == (True, 1)
    assert record(1)["state"] == "proven"
    assert record(1)["image_id"] == IMAGE
    assert (release.RELEASES / "current").readlink() == Path("1")
    assert (release.FORCE / "compose.yml").read_text() == COMPOSE.replace("@release@", "1")
    assert engine.runs("run --rm") == 1


def test_the_validating_container_can_do_nothing_else(engine: Engine, want: Want) -> None:
    want("good")
    change("apply")
    words = next(call for call in engine.calls if call.startswith("run "))
    for limit in (
        *("--rm", "--pull never", "--network none", "--read-only", "--user 1000:1000", "--cap-drop ALL"),
        *("--security-opt no-new-privileges:true", "--memory 2g", "--memory-swap 2g", "--pids-limit 256"),
        *("--log-driver none", "--label clawkeep.role=check", f"source={release.CANDIDATE}/openclaw.json,target="),
        "openclaw.json,readonly",
    ):
        assert limit in words
    assert words.endswith(f" --entrypoint openclaw {IMAGE} config validate --json")


def test_a_second_run_changes_nothing(engine: Engine, want: Want) -> None:
    want("good")
    change("apply")
    before = len(engine.calls)
    assert change("apply")["changed"] is False
    assert engine.calls[before:] == ["GET /containers/openclaw/json"]


@pytest.mark.parametrize(
    "drift",
    [
        lambda container: container["HostConfig"].update(Memory=0),
        lambda container: container["NetworkSettings"]["Networks"].update(bridge={}),
        lambda container: container["State"].update(Running=False),
        lambda container: container.update(Image="sha256:" + "b" * 64),
    ],
    ids=["docker update", "network connect", "stopped", "another image"],
)
def test_a_container_that_drifted_is_made_anew(
    engine: Engine, want: Want, drift: Callable[[dict[str, Any]], None]
) -> None:
    want("good")
    change("apply")
    assert engine.container
    drift(engine.container)
    assert change("apply")["changed"] is True
    assert change("apply")["changed"] is False
    assert record(1)["state"] == "proven"


def test_a_configuration_that_openclaw_refuses_changes_nothing(engine: Engine, want: Want) -> None:
    want("good")
    change("apply")
    engine.valid = False
    want("bad")
    with pytest.raises(Refusal, match=r"refuses the configuration: gateway.bind: Invalid input") as refusal:
        change("apply")
    assert refusal.value.status == release.REFUSED
    assert (release.FORCE / "openclaw.json").read_text() == "good"
    assert not (release.RELEASES / "2").exists()


def test_a_release_that_is_not_healthy_backs_out(engine: Engine, want: Want) -> None:
    want("good")
    change("apply")
    engine.broken = {"tighter"}
    want("tighter")
    with pytest.raises(Refusal, match=r"release 2 failed .*; release 1 is back and healthy") as refusal:
        change("apply")
    assert refusal.value.status == release.BACK
    assert (release.FORCE / "openclaw.json").read_text() == "good"
    assert engine.container
    assert engine.container["Config"]["Labels"]["clawkeep.release"] == "1"
    assert (release.RELEASES / "current").readlink() == Path("1")
    assert record(2)["state"] == "failed"


def test_a_release_that_keeps_ending_is_not_waited_for(engine: Engine, want: Want) -> None:
    """The engine would start it more often than that: each time is one more in which nobody is served."""
    want("good")
    change("apply")
    engine.crashing = {"bad"}
    want("bad")
    with pytest.raises(Refusal, match=r"ended 3 times.*release 1 is back"):
        change("apply")


def test_a_first_release_that_fails_says_that_nothing_runs(engine: Engine, want: Want) -> None:
    engine.broken = {"broken"}
    want("broken")
    with pytest.raises(Refusal, match="there is no other to go back to") as refusal:
        change("apply")
    assert refusal.value.status == release.DOWN


def test_a_proof_that_was_cut_short_goes_on_where_it_was(engine: Engine, want: Want) -> None:
    want("slow")
    release.deploy(release.keep(release.Release(release.CANDIDATE), IMAGE), 1000)
    running = engine.container
    answer = change("apply")
    assert (answer["changed"], answer["release"]) == (True, 1)
    assert engine.container is running
    assert record(1)["state"] == "proven"


def test_a_rollback_goes_to_the_previous_release_and_back_again(engine: Engine, want: Want) -> None:
    assert engine.container is None
    for configuration in ("one", "two"):
        want(configuration)
        change("apply")
    assert change("rollback")["release"] == 1
    assert (release.FORCE / "openclaw.json").read_text() == "one"
    assert change("rollback")["release"] == 2


def test_failed_releases_are_forgotten_first(engine: Engine, want: Want) -> None:
    engine.broken = {"broken"}
    for configuration in ("one", "two"):
        want(configuration)
        change("apply")
    want("broken")
    with pytest.raises(Refusal):
        change("apply")
    want("three")
    change("apply", kept=3)
    assert sorted(path.name for path in release.RELEASES.glob("[0-9]*")) == ["1", "2", "4"]


@pytest.mark.parametrize("flag", [0, 1], ids=["on the disk", "on the tmpfs of a full disk"])
def test_a_killed_agent_stays_down(engine: Engine, want: Want, flag: int) -> None:
    want("good")
    kill(flag)
    for verb in ("apply", "rollback", "start"):
        with pytest.raises(Refusal, match="clawkeep-kill release") as refusal:
            change(verb)
        assert refusal.value.status == release.REFUSED
    assert engine.calls == []


# --- an agent that is stopped meanwhile -----------------------------------------------------------------------------


def test_a_kill_while_a_release_is_proven_wants_none_back(engine: Engine, want: Want) -> None:
    """The container ends because it was killed: that says nothing about the release, and the former one stays down."""
    want("good")
    change("apply")
    want("better")

    def end(call: str) -> None:
        if engine.runs("compose", "up") == 2 and call.startswith("GET /containers"):
            kill()
            assert engine.container
            engine.container["State"] = {"Running": False, "Restarting": False, "ExitCode": 137}

    engine.before = end
    with pytest.raises(Refusal, match=r"^the agent was stopped by clawkeep-kill; ") as refusal:
        change("apply")
    assert refusal.value.status == release.DOWN
    assert engine.runs("compose", "up") == 2
    assert record(2)["state"] == "candidate"
    assert (release.RELEASES / "current").readlink() == Path("1")


def test_a_kill_ends_the_wait_for_health(engine: Engine, want: Want, monkeypatch: pytest.MonkeyPatch) -> None:
    want("good")
    monkeypatch.setattr(release, "answers", lambda _: kill())
    with pytest.raises(Refusal, match="clawkeep-kill"):
        release.change("apply", release.Options(1000, 3600, 1, 5))
    assert engine.container


@pytest.mark.parametrize("verb", ["apply", "start"])
def test_a_container_that_compose_starts_during_a_kill_is_stopped(engine: Engine, want: Want, verb: str) -> None:
    want("good")
    change("apply")
    want("better")
    engine.before = lambda call: kill() if " up " in call else None
    with pytest.raises(Refusal, match=r"^the agent was stopped by clawkeep-kill; "):
        change(verb)
    assert engine.container
    assert engine.container["State"]["Running"] is False
    assert engine.calls[-1].endswith("compose.yml stop --timeout 0")


def test_a_kill_before_compose_starts_leaves_the_files_in_force_alone(engine: Engine, want: Want) -> None:
    want("good")
    change("apply")
    want("better")
    engine.before = lambda call: kill() if call.startswith("run ") else None
    with pytest.raises(Refusal, match="clawkeep-kill"):
        change("apply")
    assert (release.FORCE / "openclaw.json").read_text() == "good"
    assert engine.runs("compose", "up") == 1


def test_a_kill_while_another_is_waited_for_is_heeded(
    engine: Engine, want: Want, monkeypatch: pytest.MonkeyPatch
) -> None:
    want("good")

    @contextlib.contextmanager
    def waited(*_: Any) -> Iterator[None]:
        kill()
        yield

    monkeypatch.setattr(files, "lock", waited)
    with pytest.raises(Refusal, match="clawkeep-kill"):
        change("apply")
    assert engine.calls == []


def test_one_change_at_a_time(engine: Engine, want: Want) -> None:
    want("good")
    release.LOCK.parent.mkdir()
    busy = pytest.raises(Refusal, match=r"^another clawkeep-release is at work$")
    with files.lock(release.LOCK, "test"), busy:
        release.change("apply", release.Options(1000, 0, 1, 5))
    assert engine.calls == []


# --- an engine and a disk that fail -----------------------------------------------------------------------------------


def test_an_engine_that_is_silent_for_a_while_is_asked_again(engine: Engine, want: Want) -> None:
    want("good")

    def restart(call: str) -> None:
        if " up " in call:
            engine.silent = 3

    engine.before = restart
    assert change("apply")["release"] == 1
    assert engine.silent == 0


def test_an_engine_that_stays_silent_is_the_reason(engine: Engine, want: Want) -> None:
    want("good")

    def stop(call: str) -> None:
        if " up " in call:
            engine.silent = 10**9

    engine.before = stop
    with pytest.raises(Refusal, match="it was not healthy within 0 s: Docker does not answer: refused") as refusal:
        release.change("apply", release.Options(1000, 0.1, 1, 5))
    assert refusal.value.status == release.DOWN


def test_the_status_tells_releases_while_the_engine_is_silent(engine: Engine, want: Want) -> None:
    want("good")
    change("apply")
    options = release.Options(1000, 1, 1, 5)
    told = release.status(options)
    assert told == {
        "current": 1,
        "previous": None,
        "kept": {1: "proven"},
        "running": True,
        "as_proven": True,
        "killed": False,
    }
    engine.silent = 1
    kill()
    assert release.status(options) == {**told, "running": False, "as_proven": False, "killed": True}


def test_a_full_disk_does_not_keep_the_former_release_from_coming_back(
    engine: Engine, want: Want, monkeypatch: pytest.MonkeyPatch
) -> None:
    want("good")
    change("apply")
    engine.broken = {"broken"}
    want("broken")
    write = files.write

    def full(path: Path, content: str | bytes, *more: Any) -> None:
        if path == release.RELEASES / "2" / "release.json" and b"failed" in str(content).encode():
            raise OSError(28, "No space left on device")
        write(path, content, *more)

    monkeypatch.setattr(files, "write", full)
    with pytest.raises(Refusal, match="release 1 is back and healthy") as refusal:
        change("apply")
    assert refusal.value.status == release.BACK


def test_a_release_that_cannot_be_kept_leaves_nothing(
    engine: Engine, want: Want, monkeypatch: pytest.MonkeyPatch
) -> None:
    want("good")

    def full(path: Path, *_: Any) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(files, "write", full)
    with pytest.raises(OSError, match="No space left"):
        change("apply")
    assert list(release.RELEASES.iterdir()) == []
    assert engine.runs("compose") == 0


def test_files_that_cannot_be_put_into_force_bring_the_former_release_back(
    engine: Engine, want: Want, monkeypatch: pytest.MonkeyPatch
) -> None:
    want("good")
    change("apply")
    want("better")
    write = files.write

    def full(path: Path, content: str | bytes, *more: Any) -> None:
        if path == release.FORCE / "openclaw.json" and content == b"better":
            raise OSError(28, "No space left on device")
        write(path, content, *more)

    monkeypatch.setattr(files, "write", full)
    with pytest.raises(Refusal, match=r"release 2 failed \(\[Errno 28\] No space left on device\); release 1 is back"):
        change("apply")
    assert (release.FORCE / "compose.yml").read_text() == COMPOSE.replace("@release@", "1")
    assert engine.container


def test_the_files_in_force_have_their_owners_and_modes(want: Want, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, tuple[int, int]] = {}

    def fchown(file: int, uid: int, gid: int) -> None:
        given[Path(f"/proc/self/fd/{file}").readlink().name] = (uid, gid)

    monkeypatch.setattr(os, "fchown", fchown)
    want("good")
    change("apply")
    assert given == {".openclaw.json.new": (1000, 1000)}
    modes = {name: stat.S_IMODE((release.FORCE / name).stat().st_mode) for name in ("compose.yml", "openclaw.json")}
    assert modes == {"compose.yml": 0o600, "openclaw.json": 0o400}


def test_a_file_that_the_agent_has_blown_up_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"good")
    assert release.holds(path, b"good")
    with path.open("r+b") as file:
        file.truncate(1 << 42)  # more than any memory holds
    assert not release.holds(path, b"good")
    path.write_bytes(b"goo")
    assert not release.holds(path, b"good")


def test_a_candidate_that_is_no_text_is_refused(want: Want) -> None:
    want("good")
    (release.CANDIDATE / "compose.yml").write_bytes(b"\xff\xfe")
    with pytest.raises(Refusal, match=r"candidate is no text; run the role openclaw against this host$"):
        change("apply")


# --- image and validation ---------------------------------------------------------------------------------------------


def test_an_image_known_by_its_digest_is_pulled(engine: Engine, want: Want) -> None:
    reference = "registry.example/openclaw@sha256:" + "c" * 64
    want("good")
    (release.CANDIDATE / "image").write_text(f"{reference}\n")
    assert change("apply")["release"] == 1
    assert f"GET /images/{reference}/json" in engine.calls
    assert f"pull --quiet {reference}" in engine.calls
    assert record(1)["image_id"] == IMAGE


def test_an_image_that_no_registry_has_is_refused(engine: Engine, want: Want) -> None:
    want("good")
    (release.CANDIDATE / "image").write_text("../containers?x=y\n")
    with pytest.raises(Refusal, match=r"^the image \.\./containers\?x=y is not on this host, and it names no registry"):
        change("apply")
    assert engine.calls == ["GET /images/../containers%3Fx%3Dy/json"]


@pytest.mark.parametrize(
    ("status", "out", "err", "why"),
    [
        (0, '{"valid": false}', "", "OpenClaw refuses the configuration: it names no reason"),
        (1, '{"valid": true}', "", "OpenClaw refuses the configuration: it names no reason"),
        (0, '{"valid": "false"}', "", "OpenClaw refuses the configuration: it names no reason"),
        (0, '{"issues": "all"}', "", "OpenClaw refuses the configuration: it names no reason"),
        (
            1,
            '{"issues": [1, {"path": "a", "message": "b\\u001b[2J"}, {}]}',
            "",
            r"OpenClaw refuses the configuration: a: b\x1b[2J; None: None",
        ),
        (125, "", "Unable\nto find image", "OpenClaw could not validate its configuration (status 125): to find image"),
        (0, "[]", "", "OpenClaw could not validate its configuration (status 0): []"),
        (0, "null", "\x1b[2J", r"OpenClaw could not validate its configuration (status 0): \x1b[2J"),
        (0, "", "", "OpenClaw could not validate its configuration (status 0): no message"),
        (0, "[" * 100_000, "", f"OpenClaw could not validate its configuration (status 0): {'[' * 500}..."),
    ],
)
def test_what_the_validating_image_says_is_not_trusted(
    engine: Engine, want: Want, status: int, out: str, err: str, why: str
) -> None:
    want("good")
    engine.said = Done(("docker",), status, out, err)
    with pytest.raises(Refusal) as refusal:
        change("apply")
    assert str(refusal.value) == why
    assert refusal.value.status == release.REFUSED
    assert not release.RELEASES.exists()
    assert engine.runs("rm") == 1  # which is `run --rm`


def test_what_openclaw_says_is_shown_without_secrets(engine: Engine, want: Want) -> None:
    want("good")
    secret = "glpat-" + "d" * 20
    for said in (json.dumps({"issues": [{"path": "a", "message": f"not {secret}"}]}), f"not {secret}"):
        engine.said = Done(("docker",), 1, said, "")
        with pytest.raises(Refusal, match=r"(a|status 1\)): not") as refusal:
            change("apply")
        assert secret not in str(refusal.value)


def test_few_of_many_issues_are_told(engine: Engine, want: Want) -> None:
    want("good")
    issues = [{"path": str(number), "message": "x" * 1000} for number in range(1000)]
    engine.said = Done(("docker",), 1, json.dumps({"valid": False, "issues": issues}), "")
    with pytest.raises(Refusal) as refusal:
        change("apply")
    assert len(str(refusal.value)) < 2200
    assert "9: x" in str(refusal.value)
    assert "10: x" not in str(refusal.value)


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (OVERDUE, "^OpenClaw did not finish validating its configuration within 1 s$"),
        (FLOODED, r"^OpenClaw could not validate its configuration \(status 256\): it wrote more than 5 bytes$"),
    ],
)
def test_a_validating_container_that_does_not_end_is_removed(engine: Engine, want: Want, status: int, why: str) -> None:
    want("good")
    engine.said = Done(("docker",), status, "", "it wrote more than 5 bytes")
    with pytest.raises(Refusal, match=why):
        change("apply")
    assert engine.calls[-1] == f"rm --force clawkeep-validate-{os.getpid()}"


def test_a_docker_command_that_fails_is_named_with_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    for done, words in (
        (Done((), 1, "", "first\nlast\x07\n\n"), r"last\x07"),
        (Done((), OVERDUE, "", "first"), "it did not end in time"),
        (Done((), 1, "out", ""), "out"),
    ):
        monkeypatch.setattr(release, "attempt", lambda *_, done=done, **__: done)
        with pytest.raises(Refusal) as refusal:
            release.docker("compose", "--project-name", "x")
        assert str(refusal.value) == f"`docker compose --project-name` failed: {words}"


def test_a_container_without_labels_is_another_one(engine: Engine, want: Want) -> None:
    want("good")
    change("apply")
    assert engine.container
    engine.container["Config"]["Labels"] = None
    assert release.status(release.Options(1000, 1, 1, 5))["as_proven"] is False


# --- the gateway's answer ---------------------------------------------------------------------------------------------


class Gateway:
    """A server on loopback that says `parts`, one after the other, to whoever asks."""

    def __init__(self, *parts: bytes, forever: bytes = b"", family: int = socket.AF_INET) -> None:
        self.parts, self.forever = parts, forever
        self.asked: list[bytes] = []
        self.over = threading.Event()
        self.listening = socket.create_server(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), family=family)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    @property
    def port(self) -> int:
        return int(self.listening.getsockname()[1])

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = self.listening.accept()
                with line, contextlib.suppress(OSError):
                    self.asked.append(line.recv(65536))
                    for part in self.parts:
                        line.sendall(part)
                    while self.forever and not self.over.wait(0.02):
                        line.sendall(self.forever)

    def close(self) -> None:
        self.over.set()
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        self.thread.join(10)


@pytest.fixture
def serve() -> Iterator[Callable[..., Gateway]]:
    made: list[Gateway] = []

    def start(*parts: bytes, **options: Any) -> Gateway:
        made.append(Gateway(*parts, **options))
        return made[-1]

    yield start
    for gateway in made:
        gateway.close()


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., bool]:
    """The real question, with little patience."""
    monkeypatch.undo()
    monkeypatch.setattr(release, "ANSWER_SECONDS", 0.5)

    def ask(*bindings: tuple[Any, Any]) -> bool:
        rows = [{"HostIp": address, "HostPort": str(port)} for address, port in bindings]
        return release.answers({"HostConfig": {"PortBindings": {"18789/tcp": rows}}})

    return ask


EVERY = "0.0.0.0"  # noqa: S104 - as Docker tells it
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_a_gateway_that_answers_with_200_is_healthy(
    serve: Callable[..., Gateway], answers: Callable[..., bool]
) -> None:
    gateway = serve(GOOD)
    assert answers(("127.0.0.1", gateway.port))
    assert gateway.asked[0].startswith(b"GET /healthz HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"ok\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000,
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\xff" * 100,
        b"",
    ],
)
def test_any_other_answer_is_none(serve: Callable[..., Gateway], answers: Callable[..., bool], said: bytes) -> None:
    assert not answers(("127.0.0.1", serve(said).port))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(serve: Callable[..., Gateway], answers: Callable[..., bool], status: int) -> None:
    """Root would ask any service of loopback in the gateway's place."""
    other = serve(GOOD)
    to = f"HTTP/1.1 {status} Go\r\nLocation: http://127.0.0.1:{other.port}/\r\nContent-Length: 0\r\n\r\n"
    assert not answers(("127.0.0.1", serve(to.encode()).port))
    assert other.asked == []


def test_a_proxy_of_the_environment_is_not_asked(
    serve: Callable[..., Gateway], answers: Callable[..., bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(GOOD)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    assert not answers(("127.0.0.1", serve(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n").port))
    assert proxy.asked == []


@pytest.mark.parametrize(
    ("start", "forever"),
    [
        pytest.param(b"", b"H", id="status line"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", b"X", id="header"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n", b"x", id="body with a length"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", b"x", id="body without an end"),
        pytest.param(b"", b"HTTP/1.1 100 Continue\r\n\r\n", id="endless patience asked for"),
    ],
)
def test_an_answer_that_comes_byte_by_byte_ends_in_time(
    serve: Callable[..., Gateway], answers: Callable[..., bool], start: bytes, forever: bytes
) -> None:
    """Each byte comes well within a socket's own time limit."""
    gateway = serve(start, forever=forever)
    result: list[bool] = []
    asking = threading.Thread(target=lambda: result.append(answers(("127.0.0.1", gateway.port))), daemon=True)
    asking.start()
    asking.join(30)
    assert result == [False]


def test_a_body_without_end_is_not_read_to_its_end(serve: Callable[..., Gateway], answers: Callable[..., bool]) -> None:
    gateway = serve(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (1 << 16), forever=b"x")
    assert answers(("127.0.0.1", gateway.port))


def test_every_published_address_has_to_answer(serve: Callable[..., Gateway], answers: Callable[..., bool]) -> None:
    good, bad = serve(GOOD), serve(b"HTTP/1.1 500 Oops\r\n\r\n")
    assert answers(("127.0.0.1", good.port), ("127.0.0.1", good.port))
    assert not answers(("127.0.0.1", good.port), ("127.0.0.1", bad.port))
    assert not answers(("127.0.0.1", bad.port), ("127.0.0.1", good.port))
    assert not answers()
    assert not release.answers({"HostConfig": {"PortBindings": None}})
    assert not release.answers({"HostConfig": {"PortBindings": {"18789/tcp": None}}})


def test_an_address_of_either_family_is_asked(serve: Callable[..., Gateway], answers: Callable[..., bool]) -> None:
    four, six = serve(GOOD), serve(GOOD, family=socket.AF_INET6)
    assert answers(("::1", six.port), ("::", six.port), (EVERY, four.port), ("", four.port))
    assert len(six.asked) == 2
    assert len(four.asked) == 2


def test_what_is_no_address_is_not_looked_up(serve: Callable[..., Gateway], answers: Callable[..., bool]) -> None:
    gateway = serve(GOOD)
    assert not answers(("localhost", gateway.port))
    assert not answers(("127.0.0.1", "http"))
    assert not answers(("127.0.0.1", 99999))
    assert not answers(("127.0.0.1", ""))
    assert gateway.asked == []


# --- command line -----------------------------------------------------------------------------------------------------


def start(monkeypatch: pytest.MonkeyPatch, *argv: str) -> int:
    monkeypatch.setattr(sys, "argv", ["clawkeep-release", *argv])
    with pytest.raises(SystemExit) as end:
        release.main()
    assert isinstance(end.value.code, int)
    return end.value.code


def test_an_answer_is_json_and_status_0(
    want: Want, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    want("good")
    assert start(monkeypatch, "apply", "--health-seconds=5") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["changed"], told["release"], told["message"]) == (True, 1, "healthy after 0 s")
    assert start(monkeypatch, "apply") == 0
    assert json.loads(capsys.readouterr().out) == {
        "changed": False,
        "release": 1,
        "seconds": 0,
        "message": "in force and unchanged",
    }
    assert start(monkeypatch, "start") == 0
    assert json.loads(capsys.readouterr().out)["message"] == "started"
    assert start(monkeypatch, "status") == 0
    assert json.loads(capsys.readouterr().out)["current"] == 1


def test_a_refusal_is_one_sentence_and_its_status(
    engine: Engine, want: Want, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(monkeypatch, "rollback") == 1
    assert capsys.readouterr() == (
        "",
        "clawkeep-release: there is no previous proven release to go back to\n",
    )
    want("broken")
    engine.broken = {"broken"}
    assert start(monkeypatch, "apply") == 4
    assert start(monkeypatch, "explode") == 2
    assert start(monkeypatch, "--version") == 0


def test_the_options_reach_the_change(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[release.Options] = []
    monkeypatch.setattr(release, "change", lambda _, options: seen.append(options))
    start(monkeypatch, "apply")
    start(monkeypatch, "apply", "--uid=1", "--health-seconds=2.5", "--validate-seconds=3", "--keep=4")
    assert seen == [release.Options(1000, 120, 300, 5), release.Options(1, 2.5, 3, 4)]
