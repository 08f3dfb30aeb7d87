# ruff: noqa: S106, ARG001, E501
"""The session gate: what it lets in, what it refuses, and that its clock and its counts cannot be got around."""

from __future__ import annotations

import json
import re
import sqlite3
import threading
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from .tools import load

gate = load("reverse_proxy", "clawkeep-gate")
SETTINGS = gate.Settings("https://agent.example", idle=1800, absolute=28800, attempts=5, window=60, lockout=300)
GOOD = "violet tractor hums 47 lullabies"
OWN = {"origin": SETTINGS.origin, "content-type": "application/x-www-form-urlencoded"}
ONE, OTHER = "10.78.0.60", "10.78.0.61"


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """A gate with one user, and a browser's way to it."""

    def __init__(self, path: Path) -> None:
        self.clock = Clock()
        self.path = path
        self.store = gate.Store(path, SETTINGS, self.clock)
        self.gate = gate.Gate(SETTINGS, self.store, self.clock)
        self.store.set_password("anna", gate.hashed(GOOD), new=True)

    def ask(self, method: str, path: str, *, client: str = ONE, body: bytes = b"", **headers: str) -> Any:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.gate.answer(gate.Request(method, path, given, client, body))

    def form(self) -> tuple[str, str]:
        """The form's cookie and token."""
        page = self.ask("GET", "/login")
        cookie = values(page, "Set-Cookie")[0].partition(";")[0]
        return cookie, re.search(r'name="csrf" value="([^"]+)"', page.body).group(1)  # type: ignore[union-attr]

    def login(
        self, user: str = "anna", password: str = GOOD, *, client: str = ONE, more: str = "", **headers: str
    ) -> Any:
        cookie, token = self.form()
        fields = urllib.parse.urlencode({"csrf": token, "user": user, "password": password}).encode()
        given = {**OWN, "cookie": cookie + more, **headers}
        return self.gate.answer(gate.Request("POST", "/login", given, client, fields))

    def session(self) -> str:
        """The cookie of a fresh session."""
        return values(self.login(), "Set-Cookie")[0].partition(";")[0]

    def auth(self, cookie: str, method: str = "GET", **headers: str) -> int:
        return self.ask("GET", "/auth", cookie=cookie, x_gate_method=method, **headers).status  # type: ignore[no-any-return]


def values(answer: Any, name: str) -> list[str]:
    return [value for key, value in answer.headers if key == name]


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """A hash that costs nothing; what was asked of it is kept, so that equal work can be seen."""
    asked: list[bytes] = []

    def fake(password: str, salt: bytes, log_n: int, r: int, p: int) -> bytes:
        asked.append(salt)
        return gate.hashlib.sha256(salt + password.encode("utf-8", "surrogatepass")).digest()  # type: ignore[no-any-return]

    monkeypatch.setattr(gate, "scrypt", fake)
    return asked


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "gate.sqlite")


def test_a_login_opens_and_nothing_else_does(bench: Bench) -> None:
    assert bench.auth("") == 401
    assert bench.auth(f"{gate.SESSION_COOKIE}={'A' * 43}") == 401
    answer = bench.login()
    assert answer.status == 303
    assert bench.auth(values(answer, "Set-Cookie")[0].partition(";")[0]) == 204


@pytest.mark.parametrize(
    ("user", "password"), [("anna", "wrong"), ("bert", GOOD), ("", GOOD), ("ANNA", GOOD), ("anna", "")]
)
def test_who_is_refused_learns_nothing(bench: Bench, cheap: list[bytes], user: str, password: str) -> None:
    reference = bench.login("anna", "another wrong one")
    cheap.clear()
    answer = bench.login(user, password)
    assert (answer.status, len(cheap)) == (401, 1)  # one hash for everybody, user or not
    strip = re.compile(r'value="[^"]+"')
    assert strip.sub("", answer.body) == strip.sub("", reference.body)


def test_a_locked_user_is_refused_like_any_other(bench: Bench, cheap: list[bytes]) -> None:
    bench.store.set_locked("anna", True)
    cheap.clear()
    answer = bench.login()
    assert (answer.status, len(cheap)) == (401, 1)


def test_the_session_that_a_browser_brings_is_never_taken_over(bench: Bench) -> None:
    planted = f"{gate.SESSION_COOKIE}={'B' * 43}"
    answer = bench.login(more=f"; {planted}")
    fresh = values(answer, "Set-Cookie")[0].partition(";")[0]
    assert fresh != planted
    assert bench.auth(planted) == 401
    again = values(bench.login(more=f"; {fresh}"), "Set-Cookie")[0].partition(";")[0]
    assert again != fresh
    assert (bench.auth(fresh), bench.auth(again)) == (401, 204)


def test_a_logged_out_session_is_refused_on_replay(bench: Bench) -> None:
    cookie = bench.session()
    page = bench.ask("GET", "/gate/session", cookie=cookie)
    token = re.search(r'name="csrf" value="([^"]+)"', page.body).group(1)  # type: ignore[union-attr]
    for wrong in ("", "0" * 64, "é" * 64):
        body = urllib.parse.urlencode({"csrf": wrong}).encode()
        assert bench.ask("POST", "/gate/logout", cookie=cookie, body=body, **OWN).status == 403
    assert bench.auth(cookie) == 204
    body = urllib.parse.urlencode({"csrf": token}).encode()
    assert bench.ask("POST", "/gate/logout", cookie=cookie, body=body, **OWN).status == 303
    assert bench.auth(cookie) == 401


def test_log_out_everywhere_ends_all_of_a_user_and_nobody_elses(bench: Bench) -> None:
    bench.store.set_password("bert", gate.hashed(GOOD), new=True)
    first, second, other = bench.store.open("anna"), bench.store.open("anna"), bench.store.open("bert")
    cookie = f"{gate.SESSION_COOKIE}={first}"
    body = urllib.parse.urlencode({"csrf": bench.store.session(first).csrf}).encode()
    assert bench.ask("POST", "/gate/revoke", cookie=cookie, body=body, **OWN).status == 303
    assert [bench.store.session(token) is None for token in (first, second, other)] == [True, True, False]
    assert bench.store.revoke() == 1
    assert bench.store.session(other) is None


def test_a_session_ends_when_it_is_idle(bench: Bench) -> None:
    cookie = bench.session()
    bench.clock.now += SETTINGS.idle - 1
    assert bench.auth(cookie) == 204
    bench.clock.now += SETTINGS.idle
    assert bench.auth(cookie) == 401


def test_use_does_not_renew_a_session_beyond_its_end(bench: Bench) -> None:
    cookie = bench.session()
    for _ in range(SETTINGS.absolute // 600 - 1):
        bench.clock.now += 600
        assert bench.auth(cookie) == 204
    bench.clock.now += 600
    assert bench.auth(cookie) == 401


def test_a_shorter_limit_counts_for_sessions_that_began_before_it(bench: Bench) -> None:
    token = bench.store.open("anna")
    bench.clock.now += 700
    shorter = gate.Settings(SETTINGS.origin, 600, 600, 5, 60, 300)
    assert gate.Store(bench.path, shorter, bench.clock).session(token) is None


def test_a_clock_that_went_back_ends_sessions(bench: Bench) -> None:
    cookie = bench.session()
    bench.clock.now -= 3600
    assert bench.auth(cookie) == 401


def test_a_test_session_lives_no_longer_than_it_was_given(bench: Bench) -> None:
    token = bench.store.open(gate.PROBE, 5)
    bench.clock.now += 4
    assert bench.store.session(token) is not None
    bench.clock.now += 1
    assert bench.store.session(token) is None
    assert not gate.USER.fullmatch(gate.PROBE)


def test_a_new_password_and_a_lock_end_sessions(bench: Bench) -> None:
    one = bench.store.open("anna")
    bench.store.set_password("anna", gate.hashed(GOOD), new=False)
    two = bench.store.open("anna")
    bench.store.set_locked("anna", True)
    assert (bench.store.session(one), bench.store.session(two)) == (None, None)


def test_an_address_is_locked_out_and_the_right_password_with_it(bench: Bench) -> None:
    assert [bench.login(password="wrong").status for _ in range(6)] == [401] * 5 + [429]
    locked = bench.login()
    assert locked.status == 429
    assert int(values(locked, "Retry-After")[0]) <= SETTINGS.lockout + 1
    assert bench.login(client=OTHER).status == 303
    bench.clock.now += SETTINGS.lockout - 1
    assert bench.login().status == 429
    bench.clock.now += 1
    assert bench.login().status == 303


def test_attempts_that_are_far_apart_lock_nobody(bench: Bench) -> None:
    for _ in range(12):
        assert bench.login(password="wrong").status == 401
        bench.clock.now += SETTINGS.window / 4


def test_an_ipv6_network_is_one_address(bench: Bench) -> None:
    found = [bench.login(password="wrong", client=f"fd5e:c1a0:78::{n:x}").status for n in range(1, 7)]
    assert found == [401] * 5 + [429]
    assert bench.login(client="fd5e:c1a0:78:1::1").status == 303
    assert gate.network_of("::ffff:10.78.0.60") == "10.78.0.60"
    assert gate.network_of("anything") == "?"


def test_a_name_is_locked_over_all_addresses_but_not_for_its_owner(bench: Bench) -> None:
    assert bench.login(client=ONE).status == 303  # the owner's address is known from now on
    found = [bench.login(password="wrong", client=f"10.99.{n}.1").status for n in range(21)]
    assert found == [401] * 20 + [429]
    assert bench.login(client="10.99.200.1").status == 429
    assert bench.login(client=ONE).status == 303


def test_a_name_that_is_nobodys_is_locked_in_the_same_way(bench: Bench) -> None:
    found = [bench.login("ghost", "wrong", client=f"10.99.{n}.1").status for n in range(21)]
    assert found == [401] * 20 + [429]


def test_many_attempts_at_once_are_counted_before_they_are_judged(bench: Bench) -> None:
    found: list[int] = []
    start = threading.Barrier(24)

    def one() -> None:
        start.wait()
        found.append(bench.login(password="wrong").status)

    threads = [threading.Thread(target=one) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [401] * 5 + [429] * 19


def test_a_lock_outlives_a_restart(bench: Bench) -> None:
    for _ in range(5):
        bench.login(password="wrong")
    store = gate.Store(bench.path, SETTINGS, bench.clock)
    assert store.reserve("anna", ONE) > 0


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
    ],
)
def test_another_origin_changes_nothing(bench: Bench, headers: dict[str, str]) -> None:
    cookie = bench.session()
    given = {"origin": SETTINGS.origin, **headers}
    assert bench.login(**given).status == 403
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", ""):
        assert bench.auth(cookie, method, **given) == 403
    assert bench.auth(cookie, x_gate_upgrade="websocket", **given) == 403
    assert bench.auth(cookie, **given) == 204  # a plain read


def test_the_own_origin_may_post_and_upgrade(bench: Bench) -> None:
    cookie = bench.session()
    assert bench.auth(cookie, "POST", origin=SETTINGS.origin) == 204
    assert bench.auth(cookie, x_gate_upgrade="websocket", origin=SETTINGS.origin, sec_fetch_site="same-origin") == 204
    assert bench.auth(cookie, "POST") == 403


def test_a_form_needs_this_browsers_cookie_and_is_no_older_than_an_hour(bench: Bench) -> None:
    cookie, token = bench.form()
    fields = urllib.parse.urlencode({"csrf": token, "user": "anna", "password": GOOD}).encode()

    def post(brought: str, body: bytes = fields) -> int:
        return bench.ask("POST", "/login", body=body, cookie=brought, **OWN).status  # type: ignore[no-any-return]

    assert post("") == 403
    assert post(bench.form()[0]) == 403
    assert post(f"{cookie}; {cookie}") == 403
    bench.clock.now += 3600
    assert post(cookie) == 403
    bench.clock.now -= 1
    assert post(cookie) == 303


@pytest.mark.parametrize(
    "body",
    [b"\xff\xfe", b"csrf=1&csrf=2", b"a=1&" * 20, b"user=%ff%fe", b"", b"csrf=" + b"1" * 4000, b"csrf=%00.%0d%0a"],
)
def test_a_misshapen_form_is_refused(bench: Bench, body: bytes) -> None:
    assert bench.ask("POST", "/login", body=body, cookie=bench.form()[0], **OWN).status in (400, 403)
    other = {**OWN, "content-type": "application/json"}
    assert bench.ask("POST", "/login", body=b"{}", **other).status == 400


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
    body = urllib.parse.urlencode({"csrf": bench.store.session(cookie.partition("=")[2]).csrf}).encode()
    answers.append(bench.ask("POST", "/gate/logout", cookie=cookie, body=body, **OWN))
    found = [line for answer in answers for line in values(answer, "Set-Cookie")]
    assert len(found) >= 6
    for line in found:
        assert line.startswith("__Host-")
        assert {"Path=/", "Secure", "HttpOnly", "SameSite=Strict"} <= {part.strip() for part in line.split(";")}
        assert "Domain" not in line


def test_neither_passwords_nor_tokens_are_kept(bench: Bench) -> None:
    token = bench.session().partition("=")[2]
    kept = bench.path.read_bytes()
    assert token.encode() not in kept
    assert GOOD.encode() not in kept
    assert gate.digest_of(token).encode() in kept
    assert bench.path.stat().st_mode & 0o777 == 0o600


def test_the_report_holds_no_secret_and_no_name(bench: Bench) -> None:
    token = bench.store.open("anna")
    said = json.dumps(gate.report(SETTINGS, bench.store, bench.clock()))
    assert "anna" not in said
    assert token not in said
    assert gate.digest_of(token) not in said
    assert json.loads(said)["schemes"] == ["scrypt$15$8$3"]
    sqlite3.connect(bench.path, isolation_level=None).execute("UPDATE users SET hash = '$apr1$abc$def'")
    assert gate.report(SETTINGS, bench.store, bench.clock())["schemes"] == ["other"]


@pytest.mark.parametrize(
    "password",
    [
        "short", "a" * 40, "password1234567", "P@ssw0rdP@ssw0rd", "correcthorsebatterystaple", "abcdefghijklmnop", "123456789012345",
        "qwertyuiopasdf", "annaannaannaanna1", "changeme-changeme", "Summer2026Summer!", "x" * 2000,
    ],
)  # fmt: skip
def test_a_weak_password_is_not_taken(password: str) -> None:
    assert gate.weakness(password, "anna")


@pytest.mark.parametrize("password", [GOOD, "Tr7-ovK!pe2#Lmq9", "мост идёт через реку"])
def test_a_good_password_is_taken(password: str) -> None:
    assert gate.weakness(password, "anna") == ""


@pytest.mark.parametrize(
    "stored",
    ["", "x", "$apr1$a$b", "scrypt$1$8$3$00$00", "scrypt$15$8$99$00$00", "scrypt$15$8$3$zz$zz", "md5$1$1$1$1$1"],
)
def test_a_hash_of_another_kind_matches_nothing(stored: str) -> None:
    assert not gate.matches("anything", stored)


@pytest.mark.parametrize(
    "change",
    [
        {"origin": "http://a.example"},
        {"origin": "https://a.example/x"},
        {"idle": 0},
        {"idle": True},
        {"idle": 99999},
        {"window": "60"},
    ],
)
def test_settings_that_mean_nothing_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "gate.json"
    path.write_text(json.dumps(vars(SETTINGS) | change))
    with pytest.raises(ValueError):
        gate.Settings.load(path)


def test_an_unknown_place_or_method_is_nothing(bench: Bench) -> None:
    assert bench.ask("GET", "/gate/nothing").status == 404
    assert bench.ask("DELETE", "/login").status == 405
    assert bench.ask("GET", "/gate/session").status == 303
