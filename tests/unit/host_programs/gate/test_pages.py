# ruff: noqa: S105, S106 - the passwords are made up
"""What the gate answers: who is let in, what the refused learn, and that no answer is another site's doing."""

from __future__ import annotations

import re
import sqlite3
import threading
import urllib.parse

import pytest

from clawkeep_host.gate import pages, passwords, server
from clawkeep_host.gate.pages import COOKIE, FORM_COOKIE, SESSION_COOKIE, Answer, Gate
from clawkeep_host.gate.passwords import hashed

from .bench import GOOD, ONE, OTHER, OWN, SETTINGS, Bench, csrf_of, values

Costs = list[tuple[int, int, int]]
FIXED = (
    ("Content-Security-Policy", pages.POLICY),
    ("Cache-Control", "no-store"),
)
TOKEN = "[A-Za-z0-9_-]{43}"


def shown(answer: Answer) -> str:
    """What a page says, with its tokens as `...`."""
    main = answer.body.partition("<main>")[2].partition("</main>")[0]
    return re.sub('(name="csrf" value=")[^"]+', r"\1...", main)


FORM = (
    '<form method="post" action="/login" autocomplete="on"><input type="hidden" name="csrf" value="...">'
    '<label>Name<input name="user" autocomplete="username" autocapitalize="none" required autofocus></label>'
    '<label>Password<input name="password" type="password" autocomplete="current-password" required></label>'
    "<button>Log in</button></form>"
)


def form_with(alert: str) -> str:
    return f'<h1>Log in</h1><p role="alert">{alert}</p>{FORM}'


# the login


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_login_page_is_a_form_that_may_be_neither_framed_nor_kept(bench: Bench, method: str) -> None:
    answer = bench.ask(method, "/login")
    assert (answer.status, shown(answer)) == (200, f"<h1>Log in</h1>{FORM}")
    assert answer.headers[:2] == FIXED
    ((name, value),) = answer.headers[2:]
    assert name == "Set-Cookie"
    assert re.fullmatch(f"{FORM_COOKIE}={TOKEN}; {COOKIE}", value)
    assert "<title>Log in</title>" in answer.body
    assert "<script" not in answer.body


def test_the_policy_and_the_cookies_are_the_strictest() -> None:
    assert pages.POLICY == (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    assert COOKIE == "Path=/; Secure; HttpOnly; SameSite=Strict"
    assert (SESSION_COOKIE, FORM_COOKIE) == ("__Host-clawkeep", "__Host-clawkeep-form")


def test_a_login_opens_and_nothing_else_does(bench: Bench) -> None:
    assert bench.auth("") == 401
    assert bench.auth(f"{SESSION_COOKIE}={'A' * 43}") == 401
    answer = bench.login()
    assert (answer.status, answer.body) == (303, "")
    location, cache, session, form = answer.headers
    assert location == ("Location", "/")
    assert cache == ("Cache-Control", "no-store")
    assert re.fullmatch(f"{SESSION_COOKIE}={TOKEN}; {COOKIE}", session[1])
    assert form == ("Set-Cookie", f"{FORM_COOKIE}=; {COOKIE}; Max-Age=0")
    assert bench.auth(session[1].partition(";")[0]) == 204


def test_nginx_learns_who_it_is(bench: Bench) -> None:
    assert bench.ask("GET", "/auth", cookie=bench.session()) == Answer(403)  # it has not said for which method
    assert bench.ask("GET", "/auth", cookie=bench.session(), x_gate_method="GET") == Answer(
        204, (("X-Gate-User", "anna"),)
    )
    assert bench.ask("GET", "/auth", x_gate_method="GET") == Answer(401)


def test_logins_are_logged_with_name_and_address(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.login(password="wrong")
    cookie = bench.session()
    body = urllib.parse.urlencode({"csrf": csrf_of(bench.ask("GET", "/gate/session", cookie=cookie))}).encode()
    bench.ask("POST", "/gate/logout", cookie=cookie, body=body, **OWN)
    assert capsys.readouterr().out.splitlines() == [
        f'login refused for "anna" from {ONE}',
        f"login of anna from {ONE}",
        "logout of anna",
    ]


@pytest.mark.parametrize(
    ("user", "password"),
    [("anna", "wrong"), ("bert", GOOD), ("", GOOD), ("ANNA", GOOD), ("anna", ""), ("anna", GOOD + " " * 1024)],
)
def test_who_is_refused_learns_nothing(bench: Bench, cheap: Costs, user: str, password: str) -> None:
    answer = bench.login(user, password)
    assert (answer.status, cheap) == (401, [(15, 8, 3)])  # one hash for everybody, user or not
    assert shown(answer) == form_with("Name or password is wrong, or this account is locked.")
    assert answer.headers[:2] == FIXED
    assert [name for name, _ in answer.headers] == ["Content-Security-Policy", "Cache-Control", "Set-Cookie"]


def test_a_locked_user_is_refused_like_any_other(bench: Bench, cheap: Costs) -> None:
    bench.store.set_locked("anna", True)
    answer = bench.login()
    assert (answer.status, cheap) == (401, [(15, 8, 3)])
    assert shown(answer) == form_with("Name or password is wrong, or this account is locked.")


@pytest.mark.parametrize(("length", "status"), [(1024, 303), (1025, 401)])
def test_a_password_has_a_longest_length(bench: Bench, length: int, status: int) -> None:
    bench.store.set_password("bert", hashed("x" * 1024), new=True)
    assert bench.login("bert", "x" * length).status == status


def test_a_user_who_is_locked_while_the_password_is_hashed_does_not_come_in(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(password: str, stored: str) -> bool:
        bench.store.set_locked("anna", True)
        return passwords.matches(password, stored)

    monkeypatch.setattr(pages, "matches", slow)
    assert bench.login().status == 401
    assert bench.store.rows() == []


def test_the_session_that_a_browser_brings_is_never_taken_over(bench: Bench) -> None:
    planted = f"{SESSION_COOKIE}={'B' * 43}"
    fresh = values(bench.login(more=f"; {planted}"), "Set-Cookie")[0].partition(";")[0]
    assert fresh != planted
    assert bench.auth(planted) == 401
    again = values(bench.login(more=f"; {fresh}"), "Set-Cookie")[0].partition(";")[0]
    assert again != fresh
    assert (bench.auth(fresh), bench.auth(again)) == (401, 204)


def test_an_address_that_has_to_wait_is_told_for_how_long(bench: Bench) -> None:
    assert [bench.login(password="wrong").status for _ in range(6)] == [401] * 5 + [429]
    bench.clock.now += 0.5
    answer = bench.login()
    assert (answer.status, shown(answer)) == (429, form_with("Too many attempts. Please wait."))
    assert values(answer, "Retry-After") == ["300"]
    bench.clock.now += 298.5
    assert values(bench.login(), "Retry-After") == ["2"]
    assert bench.login(client=OTHER).status == 303
    bench.clock.now += 1
    assert bench.login().status == 303


def test_a_right_password_is_not_judged_while_its_address_waits(bench: Bench, cheap: Costs) -> None:
    for _ in range(5):
        bench.login(password="wrong")
    cheap.clear()
    assert bench.login().status == 429
    assert cheap == []


def test_misshapen_names_have_one_limit_together(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    found = [bench.login("A" * number, client=f"198.51.100.{number}").status for number in range(1, 42)]
    assert found == [401] * 40 + [429]
    assert capsys.readouterr().out.splitlines()[0] == 'login refused for "" from 198.51.100.1'
    assert bench.login("bert", client="198.51.100.77").status == 401


class Held:
    """A hash that waits to be let go, and counts how many wait and how many did at once."""

    def __init__(self) -> None:
        self.go, self.changed = threading.Event(), threading.Condition()
        self.now = self.most = 0

    def __call__(self, _password: str, _stored: str) -> bool:
        with self.changed:
            self.now += 1
            self.most = max(self.most, self.now)
            self.changed.notify_all()
        assert self.go.wait(30)
        with self.changed:
            self.now -= 1
        return False


class Watched(threading.BoundedSemaphore):
    """The places at the login; each one that is taken is told."""

    def __init__(self, places: int) -> None:
        super().__init__(places)
        self.taken = threading.Semaphore(0)

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        got = super().acquire(blocking, timeout)
        if got:
            self.taken.release()
        return got


def test_a_crowd_at_the_login_is_sent_away_and_not_counted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashing is what costs: those who wait for it may not take every thread from those who have a session."""
    held, places = Held(), Watched(pages.LOGINS_AT_ONCE)
    monkeypatch.setattr(pages, "matches", held)
    monkeypatch.setattr(bench.gate, "_logins", places)
    cookie = f"{SESSION_COOKIE}={bench.store.open('anna', 600)}"
    found: list[int] = []

    def one(number: int) -> None:
        found.append(bench.login(f"crowd-{number}", client=f"198.51.100.{number}").status)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert places.taken.acquire(timeout=30)
    with held.changed:
        assert held.changed.wait_for(lambda: held.now == 2, 30)
    answer = bench.login(client=OTHER)
    assert (answer.status, shown(answer)) == (
        503,
        form_with("Too many people log in just now. Please try again."),
    )
    assert values(answer, "Retry-After") == ["1"]
    assert bench.auth(cookie) == 204
    with sqlite3.connect(bench.path) as db:
        counts = dict(db.execute("SELECT key, count FROM attempts"))
    assert (counts["user anna"], counts[f"net {OTHER}"], counts["user crowd-1"]) == (0, 0, 1)
    held.go.set()
    for thread in threads:
        thread.join()
    assert (found, held.most) == ([401] * 8, 2)
    # It was not counted, and there is room again.
    assert [bench.login(password="wrong", client=OTHER).status for _ in range(6)] == [401] * 5 + [429]


def test_at_most_eight_log_in_at_once(bench: Bench) -> None:
    taken = [bench.gate._logins.acquire(blocking=False) for _ in range(9)]
    assert taken == [True] * 8 + [False]
    assert bench.login().status == 503
    bench.gate._logins.release()
    assert bench.login().status == 303


def test_a_login_that_breaks_makes_room(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_password: str, _stored: str) -> bool:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(pages, "matches", broken)
        for number in range(20):
            with pytest.raises(MemoryError):
                bench.login(client=f"198.51.100.{number}")
    assert bench.login().status == 303


def test_the_room_at_the_login_is_far_from_all_there_is() -> None:
    assert pages.HASHES_AT_ONCE * 32 <= 128  # MB, of the 256 that the unit has
    assert pages.LOGINS_AT_ONCE * 4 <= server.AT_ONCE


# origins and forms


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "https://agent.example.evil.example"},
        {"origin": "https://agentxexample"},
        {"origin": "http://agent.example"},
        {"origin": "https://agent.example:443"},
        {"origin": "HTTPS://AGENT.EXAMPLE"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": ""},
    ],
)
def test_another_origin_changes_nothing(bench: Bench, headers: dict[str, str]) -> None:
    cookie = bench.session()
    given = {"origin": SETTINGS.origin, **headers}
    answer = bench.login(**given)
    assert (answer.status, shown(answer)) == (403, "<h1>Refused</h1><p>This form was sent from another site.</p>")
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", ""):
        assert bench.auth(cookie, method, **given) == 403
    assert bench.auth(cookie, x_gate_upgrade="websocket", **given) == 403
    assert bench.auth(cookie, **given) == 204  # a plain read
    assert bench.auth(cookie, "HEAD", **given) == 204


def test_the_own_origin_may_post_and_upgrade(bench: Bench) -> None:
    cookie = bench.session()
    assert bench.auth(cookie, "POST", origin=SETTINGS.origin) == 204
    assert bench.auth(cookie, x_gate_upgrade="websocket", origin=SETTINGS.origin, sec_fetch_site="same-origin") == 204
    assert bench.auth(cookie, "POST") == 403
    assert bench.auth(cookie, "POST", sec_fetch_site="same-origin") == 403


def test_a_form_needs_this_browsers_cookie_and_is_no_older_than_an_hour(bench: Bench) -> None:
    cookie, token = bench.form()
    fields = urllib.parse.urlencode({"csrf": token, "user": "anna", "password": GOOD}).encode()

    def post(brought: str) -> Answer:
        return bench.ask("POST", "/login", body=fields, cookie=brought, **OWN)

    assert post("").status == 403
    assert post(bench.form()[0]).status == 403
    assert post(f"{cookie}; {cookie}").status == 403
    bench.clock.now += 3600
    late = post(cookie)
    assert (late.status, shown(late)) == (403, form_with("The form is too old. Please try again."))
    assert values(late, "Set-Cookie") == [f"{cookie}; {COOKIE}"]
    bench.clock.now -= 3601
    assert post(cookie).status == 403  # of the future
    bench.clock.now += 3600
    assert post(cookie).status == 303


def test_a_form_that_was_refused_works_again(bench: Bench) -> None:
    cookie, _ = bench.form()
    page = bench.ask("GET", "/login", cookie=cookie)
    assert values(page, "Set-Cookie") == [f"{cookie}; {COOKIE}"]
    fields = urllib.parse.urlencode({"csrf": csrf_of(page), "user": "anna", "password": GOOD}).encode()
    assert bench.ask("POST", "/login", body=fields, cookie=cookie, **OWN).status == 303


@pytest.mark.parametrize("planted", ["", "x", "A" * 42, "A" * 44, "é" * 43, "A" * 42 + '"'])
def test_a_form_cookie_that_is_none_is_replaced(bench: Bench, planted: str) -> None:
    (given,) = values(bench.ask("GET", "/login", cookie=f"{FORM_COOKIE}={planted}"), "Set-Cookie")
    assert re.fullmatch(f"{FORM_COOKIE}={TOKEN}; {COOKIE}", given)
    assert planted == "" or f"={planted};" not in given


def test_a_form_of_another_gate_is_none(bench: Bench) -> None:
    cookie, token = bench.form()
    bench.gate = Gate(SETTINGS, bench.store, bench.clock)
    fields = urllib.parse.urlencode({"csrf": token, "user": "anna", "password": GOOD}).encode()
    assert bench.ask("POST", "/login", body=fields, cookie=cookie, **OWN).status == 403


@pytest.mark.parametrize("change", ["", "1", "1.", ".", "x.y", "1000000.", "9999999999999.0", "é.é", "1000000é."])
def test_a_form_token_that_is_none_is_refused(bench: Bench, change: str) -> None:
    cookie, _ = bench.form()
    fields = urllib.parse.urlencode({"csrf": change, "user": "anna", "password": GOOD}).encode()
    assert bench.ask("POST", "/login", body=fields, cookie=cookie, **OWN).status == 403


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"\xff\xfe", 400),
        (b"csrf=1&csrf=2", 400),
        (b"csrf=1&csrf=", 400),
        (b"&".join(b"f%d=1" % number for number in range(9)), 400),
        (b"&".join(b"f%d=1" % number for number in range(8)), 403),
        (b"user=%ff%fe", 400),
        (b"", 403),
        (b"csrf=" + b"1" * 4000, 403),
        (b"csrf=%00.%0d%0a", 403),
    ],
)
def test_a_misshapen_form_is_refused(bench: Bench, body: bytes, status: int) -> None:
    answer = bench.ask("POST", "/login", body=body, cookie=bench.form()[0], **OWN)
    assert answer.status == status
    if status == 400:
        assert shown(answer) == "<h1>Refused</h1><p>That is not the form of this page.</p>"


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/x-www-form-urlencoded", 303),
        ("application/x-www-form-urlencoded; charset=UTF-8", 303),
        ("application/x-www-form-urlencoded ;charset=UTF-8", 303),
        ("application/json", 400),
        ("multipart/form-data", 400),
        ("text/plain", 400),
        ("", 400),
    ],
)
def test_a_form_has_one_type(bench: Bench, kind: str, status: int) -> None:
    assert bench.login(**{"content-type": kind}).status == status


def test_a_form_without_a_type_is_refused(bench: Bench) -> None:
    assert bench.ask("POST", "/login", origin=SETTINGS.origin).status == 400


def test_a_form_without_fields_is_a_wrong_login(bench: Bench) -> None:
    cookie, token = bench.form()
    body = urllib.parse.urlencode({"csrf": token}).encode()
    assert bench.ask("POST", "/login", body=body, cookie=cookie, **OWN).status == 401


@pytest.mark.parametrize("user", ["anna\r\nSet-Cookie: x=1", "<script>alert(1)</script>", "a" * 500, "../etc", "é"])
def test_what_a_client_writes_is_not_said_again(bench: Bench, user: str, capsys: pytest.CaptureFixture[str]) -> None:
    answer = bench.login(user, "wrong")
    said = answer.body + "".join(f"{k}{v}" for k, v in answer.headers) + capsys.readouterr().out
    assert user not in said
    assert not any("\r" in value or "\n" in value for _, value in answer.headers)


def test_every_cookie_has_all_attributes(bench: Bench) -> None:
    cookie = bench.session()
    answers = [
        bench.ask("GET", "/login"),
        bench.login(password="wrong"),
        bench.login(),
        bench.ask("POST", "/gate/logout"),
    ]
    body = urllib.parse.urlencode({"csrf": csrf_of(bench.ask("GET", "/gate/session", cookie=cookie))}).encode()
    answers.append(bench.ask("POST", "/gate/logout", cookie=cookie, body=body, **OWN))
    found = [line for answer in answers for line in values(answer, "Set-Cookie")]
    assert len(found) == 6
    for line in found:
        name, *attributes = line.split("; ")
        assert name.startswith("__Host-")
        assert attributes[:4] == ["Path=/", "Secure", "HttpOnly", "SameSite=Strict"]
        assert attributes[4:] in ([], ["Max-Age=0"])


# one's own session


def test_a_session_has_a_page_with_two_ways_out(bench: Bench) -> None:
    cookie = bench.session()
    bench.clock.now += 61
    answer = bench.ask("GET", "/gate/session", cookie=cookie)
    button = '<input type="hidden" name="csrf" value="..."><p><button>{}</button></p></form>'
    assert (answer.status, answer.headers) == (200, FIXED)
    assert shown(answer) == (
        "<h1>Your session</h1><p>anna, for 478 more minutes at most.</p>"
        '<form method="post" action="/gate/logout">' + button.format("Log out") +
        '<form method="post" action="/gate/revoke">' + button.format("Log out everywhere")
    )  # fmt: skip


def test_without_a_session_the_page_leads_to_the_login(bench: Bench) -> None:
    assert bench.ask("GET", "/gate/session") == Answer(303, (("Location", "/login"), ("Cache-Control", "no-store")))


@pytest.mark.parametrize("path", ["/gate/logout", "/gate/revoke"])
def test_a_logout_without_a_session_leads_to_the_login(bench: Bench, path: str) -> None:
    gone = ("Set-Cookie", f"{SESSION_COOKIE}=; {COOKIE}; Max-Age=0")
    assert bench.ask("POST", path) == Answer(303, (("Location", "/login"), ("Cache-Control", "no-store"), gone))


@pytest.mark.parametrize("path", ["/gate/logout", "/gate/revoke"])
def test_a_logged_out_session_is_refused_on_replay(bench: Bench, path: str) -> None:
    cookie = bench.session()
    token = csrf_of(bench.ask("GET", "/gate/session", cookie=cookie))
    for wrong in ("", "0" * 64, "é" * 64, token[:-1]):
        body = urllib.parse.urlencode({"csrf": wrong}).encode()
        answer = bench.ask("POST", path, cookie=cookie, body=body, **OWN)
        assert (answer.status, shown(answer)) == (403, "<h1>Refused</h1><p>This form was sent from another site.</p>")
    body = urllib.parse.urlencode({"csrf": token}).encode()
    assert bench.ask("POST", path, cookie=cookie, body=body, **{**OWN, "origin": "null"}).status == 403
    assert bench.ask("POST", path, cookie=cookie, body=body, origin=SETTINGS.origin).status == 403  # no form
    assert bench.auth(cookie) == 204
    gone = ("Set-Cookie", f"{SESSION_COOKIE}=; {COOKIE}; Max-Age=0")
    assert bench.ask("POST", path, cookie=cookie, body=body, **OWN) == Answer(
        303, (("Location", "/login"), ("Cache-Control", "no-store"), gone)
    )
    assert bench.auth(cookie) == 401


@pytest.mark.parametrize(
    ("path", "left"), [("/gate/logout", [False, True, True]), ("/gate/revoke", [False, False, True])]
)
def test_a_logout_ends_one_session_or_all_of_a_user_and_nobody_elses(bench: Bench, path: str, left: list[bool]) -> None:
    tokens = [bench.store.open(user, 600) for user in ("anna", "anna", "bert")]
    cookie = f"{SESSION_COOKIE}={tokens[0]}"
    body = urllib.parse.urlencode({"csrf": csrf_of(bench.ask("GET", "/gate/session", cookie=cookie))}).encode()
    assert bench.ask("POST", path, cookie=cookie, body=body, **OWN).status == 303
    assert [bench.store.session(token) is not None for token in tokens] == left


def test_a_cookie_that_is_there_twice_is_nobodys(bench: Bench) -> None:
    cookie = bench.session()
    assert bench.auth(f"other=1; {cookie} ;more=2") == 204
    assert bench.auth(f"{cookie}; {cookie}") == 401
    assert bench.auth(f"{cookie}; {SESSION_COOKIE}=") == 401
    assert bench.auth(cookie.replace("__Host-", "")) == 401
    assert bench.auth(cookie.replace("=", "=x")) == 401
    assert bench.auth(f"{cookie}x") == 401


# other places


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/gate/nothing", 404),
        ("GET", "/", 404),
        ("GET", "/login/", 404),
        ("GET", "", 404),
        ("DELETE", "/login", 405),
        ("POST", "/auth", 405),
        ("HEAD", "/auth", 405),
        ("GET", "/gate/logout", 405),
        ("GET", "/gate/revoke", 405),
        ("POST", "/gate/session", 405),
    ],
)
def test_an_unknown_place_or_method_is_nothing(bench: Bench, method: str, path: str, status: int) -> None:
    answer = bench.ask(method, path, body=b"", cookie=bench.session(), **OWN)
    assert (answer.status, answer.headers) == (status, FIXED)
    assert shown(answer) == "<h1>Not here</h1><p>There is nothing here.</p>"
