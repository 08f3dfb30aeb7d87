# ruff: noqa: S106 - the password is made up
"""The gate's server on a real socket, and its command line."""

from __future__ import annotations

import argparse
import getpass
import grp
import io
import json
import os
import pwd
import socket
import sqlite3
import stat
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clawkeep_host.command import Refusal
from clawkeep_host.gate import server
from clawkeep_host.gate.pages import COOKIE, SESSION_COOKIE, USER, Answer, Gate, Request
from clawkeep_host.gate.passwords import hashed, matches
from clawkeep_host.gate.server import Server
from clawkeep_host.gate.store import Settings, Store, digest_of
from clawkeep_host.version import version

from .bench import GOOD, OWN, SETTINGS, Bench, csrf_of

FORM_TYPE = "Content-Type: application/x-www-form-urlencoded\r\n"


class Wire:
    """A running server and a raw way to it."""

    def __init__(self, path: Path, gate: Gate) -> None:
        self.server = Server(str(path), gate)
        self.path = str(path)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def send(self, text: str) -> str:
        """The whole answer to what is sent, up to the end of the connection."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(self.path)
            connection.sendall(text.encode("latin-1"))
            answer = b""
            while block := connection.recv(65536):
                answer += block
            return answer.decode()


class Echo:
    """In place of the gate: says what it was asked, and remembers it."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.answer_with: Callable[[Request], Answer] = lambda _: Answer(200, (("X-One", "1"), ("X-One", "2")), "yes ✓")

    def answer(self, request: Request) -> Answer:
        self.asked.append(request)
        return self.answer_with(request)


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def wire(tmp_path: Path, echo: Echo) -> Iterator[Wire]:
    made = Wire(tmp_path / "gate.sock", echo)  # type: ignore[arg-type]
    yield made
    made.close()


YES = "X-One: 1\r\nX-One: 2\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 7\r\n\r\n"


def test_a_request_is_handed_over_as_nginx_sent_it(wire: Wire, echo: Echo) -> None:
    head = "POST /login?next=/x HTTP/1.0\r\nHost: agent.example\r\nX-Real-IP: FD5E:C1A0:78:0::2\r\nCoOkIe: a=1\r\n"
    assert wire.send(f"{head}Content-Length: 5\r\n\r\nab=cdX") == f"HTTP/1.0 200 OK\r\n{YES}yes ✓"
    headers = {
        "host": "agent.example",
        "x-real-ip": "FD5E:C1A0:78:0::2",
        "cookie": "a=1",
        "content-length": "5",
    }
    assert echo.asked == [Request("POST", "/login", headers, "fd5e:c1a0:78::2", b"ab=cd")]


def test_head_has_the_headers_alone(wire: Wire) -> None:
    assert wire.send("HEAD /login HTTP/1.0\r\n\r\n") == f"HTTP/1.0 200 OK\r\n{YES}"


def test_a_client_without_an_address_is_one_that_nobody_knows(wire: Wire, echo: Echo) -> None:
    wire.send("GET /login HTTP/1.0\r\n\r\n")
    assert (echo.asked[0].client, echo.asked[0].body) == ("?", b"")


def test_a_204_has_no_body_and_no_type(wire: Wire, echo: Echo) -> None:
    echo.answer_with = lambda _: Answer(204, (("X-Gate-User", "anna"),))
    assert wire.send("GET /auth HTTP/1.0\r\n\r\n") == "HTTP/1.0 204 No Content\r\nX-Gate-User: anna\r\n\r\n"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_every_usual_method_is_the_gates_to_answer(wire: Wire, echo: Echo, method: str) -> None:
    assert wire.send(f"{method} /x HTTP/1.0\r\n\r\n").startswith("HTTP/1.0 200 OK\r\n")
    assert [one.method for one in echo.asked] == [method]


EMPTY = "\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 0\r\n\r\n"
BAD, LARGE = f"HTTP/1.0 400 Bad Request{EMPTY}", f"HTTP/1.0 413 Request Entity Too Large{EMPTY}"


@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        *((f"{name}: 1\r\n{name.upper()}: 1\r\n", BAD) for name in server.SINGLE),
        ("Transfer-Encoding: chunked\r\n", BAD),
        ("Content-Length: x\r\n", BAD),
        ("Content-Length: -1\r\n", BAD),
        ("Content-Length: \r\n", BAD),
        ("Content-Length: 1 1\r\n", BAD),
        ("Content-Length: ²\r\n", BAD),
        ("Content-Length: 1000000000\r\n", BAD),
        ("Content-Length: 4097\r\n", LARGE),
        ("Content-Length: 999999999\r\n", LARGE),
    ],
)
def test_headers_that_could_mean_two_things_are_refused(wire: Wire, echo: Echo, headers: str, answer: str) -> None:
    assert wire.send(f"POST /login HTTP/1.0\r\n{headers}\r\n") == answer
    assert echo.asked == []


def test_the_headers_that_may_not_be_there_twice_are_those_that_decide() -> None:
    assert set(server.SINGLE) == {
        "content-length", "content-type", "cookie", "origin", "sec-fetch-site", "x-real-ip",
    }  # fmt: skip


def test_a_form_has_a_largest_size(wire: Wire, echo: Echo) -> None:
    body = "x" * 4096
    assert wire.send(f"POST /login HTTP/1.0\r\nContent-Length: 4096\r\n\r\n{body}").startswith("HTTP/1.0 200 OK")
    assert echo.asked[0].body == body.encode()


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("BREW /<script> HTTP/1.0", f"HTTP/1.0 501 Not Implemented{EMPTY}"),
        ("<script> /x HTTP/1.0", f"HTTP/1.0 501 Not Implemented{EMPTY}"),
        ("GET /<script> HTTP/9", ""),  # of no version that has headers
        ("nonsense<script>", ""),
    ],
)
def test_what_is_no_request_is_not_repeated(wire: Wire, echo: Echo, line: str, answer: str) -> None:
    assert wire.send(f"{line}\r\n\r\n") == answer
    assert echo.asked == []


def test_a_request_that_breaks_is_one_line_and_the_next_is_answered(
    wire: Wire, echo: Echo, capsys: pytest.CaptureFixture[str]
) -> None:
    def breaking(_: Request) -> Answer:
        raise ZeroDivisionError("secret")

    good = echo.answer_with
    echo.answer_with = breaking
    assert wire.send("GET /secret HTTP/1.0\r\n\r\n") == ""
    echo.answer_with = good
    assert wire.send("GET /x HTTP/1.0\r\n\r\n").startswith("HTTP/1.0 200")
    assert capsys.readouterr() == ("", "a request broke: ZeroDivisionError\n")


def test_a_client_that_has_gone_is_not_told_of(wire: Wire, echo: Echo, capsys: pytest.CaptureFixture[str]) -> None:
    def gone(_: Request) -> Answer:
        raise BrokenPipeError

    echo.answer_with = gone
    assert wire.send("GET /x HTTP/1.0\r\n\r\n") == ""
    assert capsys.readouterr() == ("", "")


def test_more_requests_than_there_is_room_for_wait(tmp_path: Path, echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "AT_ONCE", 2)
    changed, go = threading.Condition(), threading.Event()
    now, most = 0, 0

    def held(_: Request) -> Answer:
        nonlocal now, most
        with changed:
            now += 1
            most = max(most, now)
            changed.notify_all()
        assert go.wait(30)
        with changed:
            now -= 1
        return Answer(200)

    echo.answer_with = held
    wire = Wire(tmp_path / "gate.sock", echo)  # type: ignore[arg-type]
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(wire.send("GET /x HTTP/1.0\r\n\r\n"))) for _ in range(6)]
    for thread in threads:
        thread.start()
    with changed:
        assert changed.wait_for(lambda: now == 2, 30)
    go.set()
    for thread in threads:
        thread.join()
    wire.close()
    assert [answer[:15] for answer in found] == ["HTTP/1.0 200 OK"] * 6
    assert most == 2


def test_a_thread_that_cannot_be_started_takes_no_room(
    tmp_path: Path, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "AT_ONCE", 1)
    made = Server(str(tmp_path / "gate.sock"), echo)  # type: ignore[arg-type]
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", lambda _: (_ for _ in ()).throw(RuntimeError("no more threads")))
        for _ in range(2):
            with pytest.raises(RuntimeError):
                made.process_request(None, None)
    made.server_close()
    assert made._slots.acquire(blocking=False)


def test_the_room_is_bounded_and_an_idle_client_has_an_end(wire: Wire) -> None:
    assert wire.server._slots._value == 64
    assert (wire.server.daemon_threads, wire.server.request_queue_size) == (True, 128)
    assert server.Handler.timeout == 15


def test_a_socket_that_was_left_is_replaced(tmp_path: Path, echo: Echo) -> None:
    (tmp_path / "gate.sock").write_text("left")
    wire = Wire(tmp_path / "gate.sock", echo)  # type: ignore[arg-type]
    assert wire.send("GET /x HTTP/1.0\r\n\r\n").startswith("HTTP/1.0 200")
    wire.close()


def test_a_whole_login_over_the_socket(tmp_path: Path, cheap: list[tuple[int, int, int]]) -> None:
    bench = Bench(tmp_path / "gate.sqlite")
    wire = Wire(tmp_path / "gate.sock", bench.gate)
    form_cookie, token = bench.form()
    body = f"csrf={token}&user=anna&password={GOOD.replace(' ', '+')}"
    own = f"Origin: {SETTINGS.origin}\r\nCookie: {form_cookie}\r\nX-Real-IP: 10.78.0.60\r\n"
    answer = wire.send(f"POST /login HTTP/1.0\r\n{FORM_TYPE}{own}Content-Length: {len(body)}\r\n\r\n{body}")
    wire.close()
    assert answer.startswith("HTTP/1.0 303 See Other\r\nLocation: /\r\n")
    assert f"Set-Cookie: {SESSION_COOKIE}=" in answer
    assert cheap


# serving


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch) -> list[Server]:
    """What `serve` would serve for ever."""
    served: list[Server] = []
    monkeypatch.setattr(Server, "serve_forever", lambda self: served.append(self))
    return served


def test_the_socket_is_nginxs_to_connect_to_and_nobody_elses(
    tmp_path: Path, serving: list[Server], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[tuple[Path, int, int]] = []
    monkeypatch.setattr(os, "chown", lambda *words: given.append(words))
    monkeypatch.setattr(grp, "getgrnam", lambda name: types.SimpleNamespace(gr_gid={"www-data": 33}[name]))
    path = tmp_path / "gate.sock"
    store = Store(tmp_path / "gate.sqlite", SETTINGS)
    server.serve(SETTINGS, store, path)
    assert given == [(path, -1, 33)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert capsys.readouterr().out == "the gate is ready\n"
    (made,) = serving
    assert (made.gate.settings, made.gate.store) == (SETTINGS, store)
    made.server_close()


@pytest.mark.parametrize("problem", [KeyError, PermissionError])
def test_without_nginxs_group_the_gate_serves_all_the_same(
    tmp_path: Path, serving: list[Server], monkeypatch: pytest.MonkeyPatch, problem: type[Exception]
) -> None:
    def missing(_: str) -> None:
        raise problem

    monkeypatch.setattr(grp, "getgrnam", missing)
    server.serve(SETTINGS, Store(tmp_path / "gate.sqlite", SETTINGS), tmp_path / "gate.sock")
    serving[0].server_close()


class Log(io.StringIO):
    """A stream that keeps what was written until it is told to pass it on, as a pipe to the journal does."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = ""

    def flush(self) -> None:
        self.passed = self.getvalue()


def test_what_is_logged_is_in_the_journal_at_once(
    tmp_path: Path, serving: list[Server], monkeypatch: pytest.MonkeyPatch, cheap: list[tuple[int, int, int]]
) -> None:
    bench, out, err = Bench(tmp_path / "gate.sqlite"), Log(), Log()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    server.serve(SETTINGS, bench.store, tmp_path / "gate.sock")
    assert out.passed == "the gate is ready\n"
    bench.login(password="wrong")
    assert out.passed.endswith('login refused for "anna" from 10.78.0.60\n')
    cookie = bench.session()
    assert out.passed.endswith("login of anna from 10.78.0.60\n")
    body = f"csrf={csrf_of(bench.ask('GET', '/gate/session', cookie=cookie))}".encode()
    bench.ask("POST", "/gate/logout", cookie=cookie, body=body, **OWN)
    assert out.passed.endswith("logout of anna\n")
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        serving[0].handle_error(None, None)
    assert err.passed == "a request broke: ZeroDivisionError\n"
    serving[0].server_close()
    assert cheap


# the account


def test_root_becomes_the_gates_account_groups_first(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[str, object]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(pwd, "getpwnam", lambda name: types.SimpleNamespace(pw_uid=901, pw_gid=902, name=name))
    for name in ("setgroups", "setgid", "setuid"):
        monkeypatch.setattr(os, name, lambda value, name=name: done.append((name, value)))
    server.become_gate()
    assert done == [("setgroups", []), ("setgid", 902), ("setuid", 901)]


def test_another_account_stays_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for name in ("setgroups", "setgid", "setuid"):
        monkeypatch.setattr(os, name, lambda _: pytest.fail("it changed"))
    server.become_gate()


def test_without_the_account_nothing_is_done_as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(server, "ACCOUNT", "nobody-has-this-name")
    with pytest.raises(Refusal, match="there is no account nobody-has-this-name: roll out role reverse_proxy first"):
        server.become_gate()


# the command line


class Line:
    """The command line in a temporary place, as the gate's own account would run it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.config, self.state = folder / "gate.json", folder / "gate.sqlite"
        self.config.write_text(json.dumps(vars(SETTINGS)))
        self._patch, self._capsys = monkeypatch, capsys
        self.became = 0
        monkeypatch.setattr(server, "become_gate", self._become)

    def _become(self) -> None:
        self.became += 1

    def __call__(self, *words: str, stdin: str = "") -> tuple[int, str, str]:
        """Exit status, output and complaints."""
        argv = ["clawkeep-gate", "--config", str(self.config), "--state", str(self.state), *words]
        self._patch.setattr(sys, "argv", argv)
        self._patch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as ended:
            server.main()
        out, err = self._capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err

    @property
    def store(self) -> Store:
        return Store(self.state, SETTINGS)


@pytest.fixture
def line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    cheap: list[tuple[int, int, int]],
) -> Iterator[Line]:
    assert cheap == []
    former = os.umask(0)
    yield Line(tmp_path, monkeypatch, capsys)
    os.umask(former)


def test_users_are_added_listed_locked_and_removed(line: Line) -> None:
    assert line("user", "list") == (0, "\n", "")
    assert line("user", "add", "anna", stdin=f"{GOOD}\n") == (0, "anna: add done\n", "")
    assert line("user", "add", "bert", stdin=f"{GOOD}!") == (0, "bert: add done\n", "")
    assert line("user", "lock", "bert") == (0, "bert: lock done\n", "")
    assert line("user", "list") == (0, "anna\nbert (locked)\n", "")
    assert line("user", "unlock", "bert") == (0, "bert: unlock done\n", "")
    assert line("user", "remove", "anna") == (0, "anna: remove done\n", "")
    assert line("user", "list") == (0, "bert\n", "")
    assert line.became == 8


def test_the_password_is_the_line_that_was_read(line: Line) -> None:
    line("user", "add", "anna", stdin=f" {GOOD} X\nmore\n")
    stored = line.store.stored_hash("anna")
    assert stored
    assert hashed("x").split("$")[:4] == stored.split("$")[:4]
    assert matches(f" {GOOD} X", stored)
    line("user", "passwd", "anna", stdin=f"{GOOD} too\n")
    changed = line.store.stored_hash("anna")
    assert changed
    assert matches(f"{GOOD} too", changed)


@pytest.mark.parametrize(
    ("words", "stdin", "why"),
    [
        (("user", "add", "Anna"), GOOD, "a name is a letter and up to 31 of a-z, 0-9, _ and -"),
        (("user", "lock", "a" * 33), GOOD, "a name is a letter and up to 31 of a-z, 0-9, _ and -"),
        (("user", "add", "clawkeep.probe"), GOOD, "a name is a letter and up to 31 of a-z, 0-9, _ and -"),
        (("user", "add", "anna"), "short", "this password is not taken: it has 5 characters, and 14 are the least"),
        (
            ("user", "add", "anna"),
            "anna anna anna anna 12 34",
            "this password is not taken: it is made of common words",
        ),
        (("user", "add", "carl"), GOOD, "carl exists already; nothing was changed"),
        (("user", "passwd", "bert"), GOOD, "bert is nobody; nothing was changed"),
        (("user", "lock", "bert"), "", "bert is nobody; nothing was changed"),
        (("user", "unlock", "bert"), "", "bert is nobody; nothing was changed"),
        (("user", "remove", "bert"), "", "bert is nobody; nothing was changed"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(line: Line, words: tuple[str, ...], stdin: str, why: str) -> None:
    line("user", "add", "carl", stdin=GOOD)
    status, out, err = line(*words, stdin=stdin)
    assert (status, out) == (1, "")
    assert err.startswith(f"clawkeep-gate: {why}")
    assert err.count("\n") == 1
    assert line("user", "list") == (0, "carl\n", "")


def test_a_long_line_is_no_password(line: Line) -> None:
    status, _, err = line("user", "add", "anna", stdin="Tr7-ovK!pe2#Lm" * 1000)
    assert (status, "longer than 1024 bytes" in err) == (1, True)


def test_no_more_is_read_than_a_password_could_be(monkeypatch: pytest.MonkeyPatch) -> None:
    endless = io.StringIO("x" * 10000)
    monkeypatch.setattr(sys, "stdin", endless)
    assert server.ask_password() == "x" * 4096
    assert endless.tell() == 4096


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def at_a_terminal(monkeypatch: pytest.MonkeyPatch, *typed: str) -> list[str]:
    """Somebody types; the prompts that were shown."""
    shown: list[str] = []
    lines = iter(typed)

    def typing(prompt: str) -> str:
        shown.append(prompt)
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(getpass, "getpass", typing)
    return shown


def test_a_terminal_is_asked_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = at_a_terminal(monkeypatch, GOOD, GOOD)
    assert server.ask_password() == GOOD
    assert shown == ["New password: ", "Again: "]


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ((GOOD, "other"), "the two are not the same; nothing was changed"),
        ((GOOD,), "no password was given; nothing was changed"),
        ((), "no password was given; nothing was changed"),
    ],
)
def test_a_terminal_without_two_equal_passwords_is_refused(
    monkeypatch: pytest.MonkeyPatch, typed: tuple[str, ...], why: str
) -> None:
    at_a_terminal(monkeypatch, *typed)
    with pytest.raises(Refusal) as refused:
        server.ask_password()
    assert str(refused.value) == why


def test_sessions_are_revoked_of_one_or_all(line: Line) -> None:
    for user in ("anna", "anna", "bert", server.PROBE):
        line.store.open(user, 600)
    assert line("revoke", "anna") == (0, "2 sessions ended\n", "")
    assert line("probe-end") == (0, "1 sessions ended\n", "")
    assert line("revoke") == (0, "1 sessions ended\n", "")


@pytest.mark.parametrize(
    ("words", "seconds"),
    [((), 60), (("--seconds", "5"), 5), (("--seconds", "301"), 300), (("--seconds", "0"), 1), (("--seconds", "-9"), 1)],
)
def test_a_test_session_is_nobodys_and_short(line: Line, words: tuple[str, ...], seconds: int) -> None:
    status, out, err = line("probe-session", *words)
    assert (status, err) == (0, "")
    ((user, created, _, ends),) = line.store.rows()
    assert (user, round(ends - created, 3)) == ("clawkeep.probe", seconds)
    assert not USER.fullmatch(user)
    assert line.store.session(out.strip())


def test_the_report_says_what_is_in_force_and_no_secret(line: Line) -> None:
    store = line.store
    store.set_password("anna", hashed(GOOD), new=True)
    for name, stored in (("bert", "$apr1$abc$def"), ("carl", "md5$1$1$1$1$1"), ("dora", "scrypt$9")):
        store.set_password(name, stored, new=True)
    store.set_locked("bert", True)
    token = store.open("anna", 600)
    status, out, err = line("report")
    assert (status, err) == (0, "")
    said = json.loads(out)
    (session,) = said.pop("sessions")
    assert (0 <= session["age"] < 60, 0 <= session["unused"] < 60, 540 < session["left"] <= 600) == (True,) * 3
    assert said == {
        "settings": {**vars(SETTINGS), "peer_networks": ["10.78.0.0/24", "fd5e:c1a0:78::/64"]},
        "users": 4,
        "locked": 1,
        "schemes": ["other", "scrypt$15$8$3"],
        "password_least": 14,
        "cookie": COOKIE,
    }
    assert not any(secret in out for secret in ("anna", token, digest_of(token)))


def test_ages_in_the_report_are_rounded(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "gate.sqlite")
    token = bench.store.open("anna", 600)
    bench.clock.now += 10
    assert bench.store.session(token)
    found = server.report(SETTINGS, bench.store, bench.clock.now + 2.26)
    assert found["sessions"] == [{"age": 12.3, "unused": 2.3, "left": 587.7}]


def test_the_gate_serves_with_its_settings(line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Settings, Path]] = []

    def serve(settings: Settings, store: Store, path: Path) -> None:
        assert store.users() == []
        seen.append((settings, path))

    monkeypatch.setattr(server, "serve", serve)
    assert line("serve", "--socket", str(tmp_path / "gate.sock")) == (0, "", "")
    assert line("serve") == (0, "", "")
    assert seen == [(SETTINGS, tmp_path / "gate.sock"), (SETTINGS, Path("/run/clawkeep-gate/gate.sock"))]


def test_files_of_the_gate_are_its_own(line: Line) -> None:
    line("user", "list")
    assert os.umask(0) == 0o077


def test_the_places_are_the_roles() -> None:
    options = server.arguments().parse_args(["report"])
    assert options == argparse.Namespace(
        command="report", config=Path("/etc/clawkeep/gate/gate.json"), state=Path("/var/lib/clawkeep-gate/gate.sqlite")
    )
    given = server.arguments().parse_args(["--config", "/a", "--state", "/b", "serve", "--socket", "/c"])
    assert (given.config, given.state, given.socket) == (Path("/a"), Path("/b"), Path("/c"))
    assert (server.ACCOUNT, server.WEB_GROUP) == ("clawkeep-gate", "www-data")


@pytest.mark.parametrize(
    ("break_it", "why"),
    [
        (lambda line: line.config.unlink(), "[Errno 2] No such file or directory: "),
        (lambda line: line.config.write_text("{}"), "idle must be a whole number above 0"),
        (lambda line: line.state.write_text("no database" * 100), "file is not a database"),
        (lambda line: line.state.symlink_to("/etc/passwd"), "[Errno 40] "),
    ],
)
def test_a_gate_that_cannot_begin_says_so_in_one_sentence(
    line: Line, break_it: Callable[[Line], None], why: str
) -> None:
    break_it(line)
    status, out, err = line("report")
    assert (status, out) == (1, "")
    assert err.startswith("clawkeep-gate: ")
    assert why in err
    assert err.count("\n") == 1


def test_a_state_that_is_in_use_for_long_is_one_sentence(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: object) -> None:
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(Store, "revoke", busy)
    assert line("revoke") == (1, "", f"clawkeep-gate: {line.state}: database is locked\n")


@pytest.mark.parametrize(
    "words", [(), ("user",), ("user", "add"), ("serve", "now"), ("probe-session", "--seconds", "x")]
)
def test_a_command_that_is_none_is_a_usage_error(line: Line, words: tuple[str, ...]) -> None:
    status, out, err = line(*words)
    assert (status, out) == (2, "")
    assert err.startswith("usage: clawkeep-gate")
    assert line.became == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("--help",),
            """The session gate of the browser entry.
            serve answer nginx
            user people who may log in
            revoke end the sessions of one person, or all
            report what is in force, as JSON, without secrets
            probe-session print the token of a test session that nobody logged in for
            probe-end end all test sessions""",
        ),
        (
            ("user", "--help"),
            """add add a person; the password is asked for
            passwd set another password and end the person's sessions
            lock let nobody in under this name, and end its sessions
            unlock undo a lock
            remove forget a person
            list names, and whether locked""",
        ),
    ],
)
def test_the_help_tells_each_command(
    line: Line, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], told: str
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    status, out, _ = line(*words)
    said = [" ".join(one.split()) for one in out.splitlines()]
    assert status == 0
    assert [one for one in map(str.strip, told.splitlines()) if one not in said] == []


def test_the_version_is_the_packages(line: Line) -> None:
    assert line("--version") == (0, f"clawkeep-gate {version()}\n", "")
