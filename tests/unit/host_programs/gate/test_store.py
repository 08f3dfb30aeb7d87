"""What the gate remembers: users, sessions with both limits, and attempts that lock out nobody but who makes them."""

from __future__ import annotations

import itertools
import json
import random
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest

from clawkeep_host.gate import store as module
from clawkeep_host.gate.store import Settings, Store, digest_of, network_of

from .bench import ONE, OTHER, SETTINGS, Clock

OUTSIDE = replace(SETTINGS, peer_networks=())
STORED = "scrypt$15$8$3$00$00"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Store:
    found = Store(tmp_path / "gate.sqlite", SETTINGS, clock)
    found.set_password("anna", STORED, new=True)
    return found


def admit(store: Store, address: str, user: str = "anna", stored: str = STORED) -> str | None:
    """A right login."""
    assert store.reserve(user, address) == 0
    return store.admit(user, stored, address)


def attempts(path: Path) -> dict[str, int]:
    with sqlite3.connect(path) as db:
        return dict(db.execute("SELECT key, count FROM attempts"))


# settings


def write(path: Path, **changes: object) -> Path:
    raw = vars(SETTINGS) | changes
    path.write_text(json.dumps({name: value for name, value in raw.items() if value != "absent"}))
    return path


def test_settings_are_what_the_role_wrote(tmp_path: Path) -> None:
    assert Settings.load(write(tmp_path / "gate.json")) == SETTINGS
    assert Settings.load(write(tmp_path / "gate.json", peer_networks="absent")) == OUTSIDE
    least = {"idle": 1, "absolute": 1, "attempts": 1, "window": 1, "lockout": 1}
    assert Settings.load(write(tmp_path / "gate.json", **least)) == replace(SETTINGS, **least)  # type: ignore[arg-type]
    same = {"idle": 28800, "lockout": 60, "origin": "https://a"}
    assert Settings.load(write(tmp_path / "gate.json", **same)) == replace(SETTINGS, **same)  # type: ignore[arg-type]


Refused = tuple[dict[str, Any], str]
NO_NUMBERS: tuple[Any, ...] = (0, -1, True, 1.5, "60", None, "absent")
NUMBERLESS: list[Refused] = [
    ({name: value}, f"{name} must be a whole number above 0")
    for name in ("idle", "absolute", "attempts", "window", "lockout")
    for value in NO_NUMBERS
]
NO_ORIGINS: tuple[Any, ...] = (
    *("http://a.example", "https://a.example/x", "https://A.example", "https://", "https://a.", "https://a.example\n"),
    *("https://a.example:443", 1, None, "absent"),
)
ORIGINLESS: list[Refused] = [
    ({"origin": value}, "origin must be https:// and a lower-case name") for value in NO_ORIGINS
]
NO_NETWORKS: tuple[Any, ...] = (None, "10.0.0.0/8", {}, [1], ["10.0.0.0/8", None])
NETWORKLESS: list[Refused] = [
    ({"peer_networks": value}, "peer_networks must be a list of networks") for value in NO_NETWORKS
]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        *NUMBERLESS,
        *ORIGINLESS,
        *NETWORKLESS,
        ({"peer_networks": ["10.0.0.1/8"]}, "peer_networks: 10.0.0.1/8 has host bits set"),
        ({"peer_networks": ["vpn"]}, "peer_networks: 'vpn' does not appear to be an IPv4 or IPv6 network"),
        ({"idle": 28801}, "idle is longer than absolute"),
        ({"window": 301}, "lockout is shorter than window, so one address could lock out its neighbours"),
    ],
)
def test_settings_that_mean_nothing_are_refused(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    path = write(tmp_path / "gate.json", **change)
    with pytest.raises(ValueError) as refused:
        Settings.load(path)
    assert str(refused.value) == f"{path}: {why}"


@pytest.mark.parametrize(("text", "why"), [("[]", "it must be an object"), ("{", "it is not JSON: Expecting prop")])
def test_a_file_that_is_no_settings_is_refused(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "gate.json"
    path.write_text(text)
    with pytest.raises(ValueError) as refused:
        Settings.load(path)
    assert str(refused.value).startswith(f"{path}: {why}")


# the file


def test_the_file_is_its_owners_alone_whatever_it_was(tmp_path: Path, store: Store) -> None:
    path = tmp_path / "gate.sqlite"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o666)
    Store(path, SETTINGS)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [name for name, _, _ in store.users()] == ["anna"]


def test_a_link_in_the_files_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        Store(tmp_path / "link", SETTINGS)
    assert not (tmp_path / "elsewhere").exists()


def test_what_is_forgotten_is_overwritten(tmp_path: Path, store: Store) -> None:
    assert store.users() == [("anna", STORED, False)]
    store.remove("anna")
    assert STORED.encode() not in (tmp_path / "gate.sqlite").read_bytes()


def test_a_change_that_breaks_off_changes_nothing(store: Store) -> None:
    with pytest.raises(KeyError, match="anna"):
        store.set_password("anna", "other", new=True)
    assert store.users() == [("anna", STORED, False)]
    with pytest.raises(KeyError, match="bert"):
        store.set_password("bert", "other", new=False)
    assert store.users() == [("anna", STORED, False)]


class Full:
    """A database on a disk that is full: it refuses one statement once, and may have ended the change by itself."""

    def __init__(self, db: sqlite3.Connection, statement: str, *, ends: bool) -> None:
        self._db, self._statement, self._ends = db, statement, ends

    @property
    def in_transaction(self) -> bool:
        return self._db.in_transaction

    def execute(self, statement: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        if statement.startswith(self._statement):
            self._statement = "never again"
            if self._ends:
                self._db.execute("ROLLBACK")
            raise sqlite3.OperationalError("database or disk is full")
        return self._db.execute(statement, values)


@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize("statement", ["COMMIT", "INSERT"])
def test_a_full_disk_stops_one_change_and_not_those_after_it(store: Store, statement: str, ends: bool) -> None:
    store._db = Full(store._db, statement, ends=ends)  # type: ignore[assignment]
    with pytest.raises(sqlite3.OperationalError, match="disk is full"):
        store.open("anna", 600)
    assert store.rows() == []
    assert store.session(store.open("anna", 600))


# users


@pytest.mark.parametrize(
    "act", [lambda store: store.set_locked("bert", True), lambda store: store.remove("bert")], ids=["lock", "remove"]
)
def test_nobody_is_neither_locked_nor_removed(store: Store, act: Callable[[Store], None]) -> None:
    with pytest.raises(KeyError, match="bert"):
        act(store)


def test_a_locked_user_has_no_hash_until_unlocked(store: Store) -> None:
    assert store.stored_hash("anna") == STORED
    store.set_locked("anna", True)
    assert store.stored_hash("anna") is None
    assert store.users() == [("anna", STORED, True)]
    store.set_locked("anna", False)
    assert store.stored_hash("anna") == STORED
    assert store.stored_hash("bert") is None


ACTS: dict[str, Callable[[Store], None]] = {
    "passwd": lambda store: store.set_password("anna", STORED + "1", new=False),
    "lock": lambda store: store.set_locked("anna", True),
    "unlock": lambda store: store.set_locked("anna", False),
    "remove": lambda store: store.remove("anna"),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_sessions_end_with_what_they_began_by_and_nobody_elses_do(store: Store, act: Callable[[Store], None]) -> None:
    store.set_password("bert", STORED, new=True)
    hers, his = store.open("anna", 600), store.open("bert", 600)
    act(store)
    assert store.session(hers) is None
    assert store.session(his) is not None


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_an_address_that_was_the_owners_is_not_for_ever(store: Store, act: Callable[[Store], None]) -> None:
    """Whoever came in by a stolen password would keep guesses that no lock of the name stops."""
    store.set_password("bert", STORED, new=True)
    assert admit(store, ONE)
    assert admit(store, ONE, "bert")
    act(store)
    for number in range(40):
        store.reserve("anna", f"198.51.100.{number}")
        store.reserve("bert", f"203.0.113.{number}")
    assert store.reserve("anna", ONE) > 0
    assert store.reserve("bert", ONE) == 0


def test_to_unlock_a_user_lifts_the_lock_of_the_name(store: Store) -> None:
    for number in range(40):
        store.reserve("anna", f"198.51.100.{number}")
    assert store.reserve("anna", ONE) == SETTINGS.lockout
    store.set_locked("anna", False)
    assert store.reserve("anna", ONE) == 0


@pytest.mark.parametrize("act", [ACTS[name] for name in ("passwd", "lock", "remove")])
def test_a_login_that_was_overtaken_opens_nothing(store: Store, act: Callable[[Store], None]) -> None:
    """While a password is hashed, the user may be locked, removed or given another one."""
    assert store.reserve("anna", ONE) == 0
    act(store)
    assert store.admit("anna", STORED, ONE) is None
    assert store.rows() == []


# addresses


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.78.0.60", "10.78.0.60"),
        ("fd5e:c1a0:78::2", "fd5e:c1a0:78::2"),
        ("FD5E:C1A0:0078:0:0:0:0:2", "fd5e:c1a0:78::2"),
        ("::ffff:10.78.0.60", "10.78.0.60"),
        ("fe80::1%wg0", "fe80::1"),
        ("anything", "?"),
        ("", "?"),
        ("10.78.0.60/32", "?"),
    ],
)
def test_an_address_has_one_spelling(address: str, network: str) -> None:
    assert network_of(address) == network


# attempts


NUMBERS = itertools.count()


def waits(store: Store, address: str, count: int) -> list[float]:
    """Seconds to wait for each of some attempts, each under a name of its own."""
    return [store.reserve(f"nobody{next(NUMBERS)}", address) for _ in range(count)]


def test_an_address_is_locked_after_its_attempts_for_the_time_of_a_lock(store: Store, clock: Clock) -> None:
    assert waits(store, ONE, 6) == [0] * 5 + [300]
    clock.now += 299.5
    assert store.reserve("anna", ONE) == 0.5
    clock.now += 0.5
    assert waits(store, ONE, 6) == [0] * 5 + [300]


def test_attempts_count_together_for_the_time_of_a_window_and_no_longer(store: Store, clock: Clock) -> None:
    assert waits(store, ONE, 4) == [0] * 4
    clock.now += 59.5
    assert waits(store, ONE, 2) == [0, 300]
    assert waits(store, OTHER, 4) == [0] * 4
    clock.now += 60
    assert waits(store, OTHER, 6) == [0] * 5 + [300]


def test_what_has_to_wait_is_not_counted(tmp_path: Path, store: Store) -> None:
    waits(store, ONE, 9)
    assert store.reserve("anna", ONE) == 300
    found = attempts(tmp_path / "gate.sqlite")
    assert found[f"net {ONE}"] == 5
    assert "user anna" not in found
    assert len(found) == 6


def test_a_lock_outlives_a_restart(tmp_path: Path, clock: Clock, store: Store) -> None:
    waits(store, ONE, 5)
    assert Store(tmp_path / "gate.sqlite", SETTINGS, clock).reserve("anna", ONE) == 300


def test_peers_of_the_vpn_count_one_by_one(store: Store) -> None:
    """Each has one address of the same /64: all but one guess here, and she still comes in."""
    for peer in range(2, 60):
        assert waits(store, f"fd5e:c1a0:78::{peer:x}", 6) == [0] * 5 + [300]
        assert waits(store, f"10.78.0.{peer}", 6) == [0] * 5 + [300]
    assert admit(store, "fd5e:c1a0:78::3c")


def test_one_address_of_a_network_elsewhere_locks_out_no_other(store: Store) -> None:
    assert waits(store, "2001:db8:7::1", 6) == [0] * 5 + [300]
    assert store.reserve("anna", "2001:db8:7::2") == 0


@pytest.mark.parametrize(
    ("addresses", "most"),
    [
        ((f"2001:db8:7::{number:x}" for number in itertools.count(1)), 10),
        ((f"2001:db8:7:{number % 256:x}::{number:x}" for number in itertools.count(1)), 20),
    ],
    ids=["/64", "/56"],
)
def test_whoever_has_a_network_is_bounded_by_it(store: Store, addresses: Iterator[str], most: int) -> None:
    found = [store.reserve(f"nobody{number}", next(addresses)) for number in range(most + 1)]
    assert found == [0] * most + [300]


def test_networks_are_apart(store: Store) -> None:
    for number in range(1, 21):
        store.reserve(f"nobody{number}", f"2001:db8:7:{number:x}::1")
    assert store.reserve("anna", "2001:db8:7:ff::1") == 300  # the same /56
    assert store.reserve("anna", "2001:db8:7:100::1") == 0
    assert store.reserve("anna", "::1") == 0
    assert store.reserve("anna", "?") == 0


def test_without_peers_networks_neighbours_have_twice_the_attempts(tmp_path: Path, clock: Clock) -> None:
    store = Store(tmp_path / "other.sqlite", OUTSIDE, clock)
    assert waits(store, "fd5e:c1a0:78::2", 6) == [0] * 5 + [300]
    assert waits(store, "fd5e:c1a0:78::3", 6) == [0] * 5 + [300]
    assert store.reserve("anna", "fd5e:c1a0:78::4") == 300


@pytest.mark.parametrize(
    ("length", "peers"), [(128, ()), (128, ("2001:db8:7::/64",)), (64, ()), (56, ())], ids=["one", "peer", "/64", "/56"]
)
@pytest.mark.parametrize("lockout", [60, 300])
def test_nobody_is_locked_out_by_what_another_does(
    tmp_path: Path, clock: Clock, length: int, lockout: int, peers: tuple[str, ...]
) -> None:
    """Whoever has an address, a /64 or a /56 guesses for an hour at whatever times; his neighbours never wait."""
    settings = replace(SETTINGS, peer_networks=peers, lockout=lockout)
    store = Store(tmp_path / "other.sqlite", settings, clock)
    chance = random.Random(7)  # noqa: S311 - which guesses, not secrets
    base, own = 0x20010DB8000700000000000000000001, 128 - length
    beside = network_of(IPv6Address(base ^ (1 << own)).compressed)
    judged = 0
    for _ in range(800):
        clock.now += chance.choice((0, 0, 0, 0.5, 5, 55))
        address = IPv6Address(base ^ chance.randrange(1 << min(own, 66)))
        judged += store.reserve("anna", network_of(str(address))) == 0
        wait = store.reserve("bert", beside)
        assert wait == 0
        store.withdraw("bert", beside)
        assert store.reserve("anna", "198.51.100.7") == 0
        store.withdraw("anna", "198.51.100.7")
    assert judged > 50


def test_a_name_is_locked_over_all_addresses_but_not_for_its_owner(store: Store) -> None:
    assert admit(store, ONE)
    found = [store.reserve("anna", f"198.51.100.{number}") for number in range(41)]
    assert found == [0] * 40 + [300]
    assert store.reserve("anna", OTHER) == 300
    assert store.reserve("anna", ONE) == 0
    assert store.reserve("bert", OTHER) == 0


def test_an_owners_neighbours_are_not_the_owner(store: Store) -> None:
    """With the /64 in place of the address, no peer's guesses would have counted for the name."""
    assert admit(store, "fd5e:c1a0:78::2")
    found = [store.reserve("anna", f"fd5e:c1a0:78::{number:x}") for number in range(3, 44)]
    assert found == [0] * 40 + [300]
    assert store.reserve("anna", "fd5e:c1a0:78::2") == 0


def test_an_owner_is_forgotten_after_thirty_days(store: Store, clock: Clock) -> None:
    assert admit(store, ONE)
    clock.now += 30 * 86400
    for number in range(40):
        store.reserve("anna", f"198.51.100.{number}")
    assert store.reserve("anna", ONE) == 0
    clock.now += 1
    assert store.reserve("anna", ONE) == 299


def test_an_owner_of_the_future_is_none(store: Store, clock: Clock) -> None:
    assert admit(store, ONE)
    clock.now -= 1
    for number in range(40):
        store.reserve("anna", f"198.51.100.{number}")
    assert store.reserve("anna", ONE) == 300


def test_an_account_of_ones_own_earns_no_guesses(store: Store) -> None:
    store.set_password("mallory", STORED, new=True)
    found = [store.reserve("anna", ONE) for _ in range(4) if admit(store, ONE, "mallory")]
    assert found == [0] * 4
    assert admit(store, ONE, "mallory")
    assert [store.reserve("anna", ONE) for _ in range(2)] == [0, 300]


def test_right_logins_count_for_nothing(tmp_path: Path, store: Store) -> None:
    for _ in range(60):
        assert admit(store, "2001:db8:7::1")
    assert set(attempts(tmp_path / "gate.sqlite").values()) == {0}


def test_right_logins_of_a_known_owner_give_nobody_guesses_at_the_name(store: Store) -> None:
    for _ in range(10):
        assert admit(store, ONE)
    found = [store.reserve("anna", f"198.51.100.{number}") for number in range(20)]
    for _ in range(10):
        assert admit(store, ONE)
    found += [store.reserve("anna", f"203.0.113.{number}") for number in range(21)]
    assert found == [0] * 40 + [300]


def test_an_attempt_that_is_taken_back_lifts_the_lock_that_it_set(tmp_path: Path, store: Store) -> None:
    assert waits(store, ONE, 4) == [0] * 4
    assert store.reserve("ghost", ONE) == 0
    store.withdraw("ghost", ONE)
    assert waits(store, ONE, 2) == [0, 300]
    store.withdraw("ghost", OTHER)
    assert "net " + OTHER not in attempts(tmp_path / "gate.sqlite")


def test_no_count_falls_below_nothing(tmp_path: Path, store: Store) -> None:
    store.reserve("anna", ONE)
    for _ in range(3):
        store.withdraw("anna", ONE)
    assert attempts(tmp_path / "gate.sqlite") == {f"net {ONE}": 0, "user anna": 0}
    assert waits(store, ONE, 6) == [0] * 5 + [300]


def test_a_clock_that_went_back_lengthens_no_lock(store: Store, clock: Clock) -> None:
    assert waits(store, ONE, 5) == [0] * 5
    clock.now -= 86400
    assert store.reserve("anna", ONE) == 300
    clock.now += 300
    assert store.reserve("anna", ONE) == 0


def test_a_clock_that_went_back_begins_a_count_anew(store: Store, clock: Clock) -> None:
    assert waits(store, ONE, 4) == [0] * 4
    clock.now -= 86400
    assert waits(store, ONE, 6) == [0] * 5 + [300]


def test_a_shorter_lock_of_today_counts_for_one_that_began_before_it(
    tmp_path: Path, clock: Clock, store: Store
) -> None:
    waits(store, ONE, 5)
    shorter = Store(tmp_path / "gate.sqlite", replace(SETTINGS, lockout=100), clock)
    assert shorter.reserve("anna", ONE) == 100


def test_many_attempts_at_once_are_counted_before_they_are_judged(store: Store) -> None:
    found: list[float] = []
    start = threading.Barrier(24)

    def one() -> None:
        start.wait()
        found.append(store.reserve("anna", ONE))

    threads = [threading.Thread(target=one) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [0] * 5 + [300] * 19


def test_what_no_longer_counts_is_forgotten(tmp_path: Path, store: Store, clock: Clock) -> None:
    path = tmp_path / "gate.sqlite"
    waits(store, ONE, 5)
    clock.now += 59.5
    store.reserve("anna", OTHER)
    assert len(attempts(path)) == 8
    clock.now += 0.5  # the names' counts are over, the lock and what came later are not
    store.reserve("bert", OTHER)
    assert set(attempts(path)) == {f"net {ONE}", f"net {OTHER}", "user anna", "user bert"}
    clock.now += 240
    store.reserve("bert", OTHER)
    assert set(attempts(path)) == {f"net {OTHER}", "user bert"}


def test_a_flood_of_names_and_addresses_has_an_end_and_frees_nobody(
    tmp_path: Path, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT_ROWS", 20)
    waits(store, ONE, 5)
    for number in range(30):
        clock.now += 1
        store.reserve(f"ghost{number}", f"198.51.100.{number}")
    kept = attempts(tmp_path / "gate.sqlite")
    assert len(kept) == 20
    assert store.reserve("anna", ONE) == 270  # locks go last
    assert "net 198.51.100.29" in kept  # and of the rest, what is oldest goes first
    assert "net 198.51.100.0" not in kept


# sessions


def test_a_session_is_its_users_and_has_a_form_token_of_its_own(store: Store, clock: Clock) -> None:
    one, two = store.open("anna", 600), store.open("anna", 600)
    found, other = store.session(one), store.session(two)
    assert found
    assert other
    assert (found.user, found.created, found.ends) == ("anna", clock.now, clock.now + 600)
    assert len(found.csrf) == 64
    assert found.csrf != other.csrf
    assert store.session(one) == found
    assert found.csrf not in (one, digest_of(one))


def test_a_token_is_32_random_bytes_and_its_digest_alone_is_kept(tmp_path: Path, store: Store) -> None:
    tokens = [store.open("anna", 600) for _ in range(3)]
    kept = (tmp_path / "gate.sqlite").read_bytes()
    for token in tokens:
        assert module.TOKEN.fullmatch(token)
        assert token.encode() not in kept
        assert digest_of(token).encode() in kept
    assert len(set(tokens)) == 3


@pytest.mark.parametrize("token", ["", "A" * 43, "A" * 42, "é" * 43, "'; DROP TABLE sessions; --"])
def test_another_token_is_nobodys(store: Store, token: str) -> None:
    own = store.open("anna", 600)
    assert store.session(token) is None
    assert store.session(own + "A") is None
    assert store.session(own) is not None


def test_a_session_ends_when_it_is_idle(store: Store, clock: Clock) -> None:
    token = store.open("anna", 28800)
    clock.now += SETTINGS.idle - 0.5
    assert store.session(token)
    clock.now += SETTINGS.idle
    assert store.session(token) is None
    clock.now -= 60
    assert store.session(token) is None  # it is gone for good


def test_use_does_not_renew_a_session_beyond_its_end(store: Store, clock: Clock) -> None:
    token = admit(store, ONE)
    assert token
    for _ in range(SETTINGS.absolute // 600 - 1):
        clock.now += 600
        assert store.session(token)
    clock.now += 599.5
    assert store.session(token)
    clock.now += 0.5
    assert store.session(token) is None


def test_a_session_ends_after_the_seconds_it_was_given_or_the_limit(store: Store, clock: Clock) -> None:
    short, long = store.open("anna", 5), store.open("anna", 10**9)
    assert [ends - created for _, created, _, ends in store.rows()] == [5, SETTINGS.absolute]
    clock.now += 4.5
    assert store.session(short)
    clock.now += 0.5
    assert store.session(short) is None
    assert store.session(long)


def test_a_shorter_limit_counts_for_sessions_that_began_before_it(tmp_path: Path, store: Store, clock: Clock) -> None:
    token = store.open("anna", 28800)
    shorter = Store(tmp_path / "gate.sqlite", replace(SETTINGS, idle=600, absolute=600), clock)
    found = shorter.session(token)
    assert found
    assert found.ends == clock.now + 600
    clock.now += 599
    assert shorter.session(token)
    clock.now += 1
    assert shorter.session(token) is None


@pytest.mark.parametrize("used", [0, 100])
def test_a_clock_that_went_back_ends_sessions(store: Store, clock: Clock, used: int) -> None:
    token = store.open("anna", 600)
    clock.now += used
    assert store.session(token)
    clock.now -= 0.5
    assert store.session(token) is None


def test_a_clock_that_jumped_ahead_ends_sessions(store: Store, clock: Clock) -> None:
    token = store.open("anna", 600)
    clock.now += 10**9
    assert store.session(token) is None


def test_sessions_are_closed_one_by_one_by_user_or_all(store: Store) -> None:
    tokens = [store.open(user, 600) for user in ("anna", "anna", "bert", "carl")]
    store.close(tokens[0])
    store.close("nobody's")
    assert [store.session(token) is not None for token in tokens] == [False, True, True, True]
    assert store.revoke("anna") == 1
    assert store.revoke("anna") == 0
    assert [store.session(token) is not None for token in tokens] == [False, False, True, True]
    assert store.revoke() == 2
    assert store.rows() == []


def kept(path: Path) -> list[str]:
    with sqlite3.connect(path) as db:
        return [user for (user,) in db.execute("SELECT user FROM sessions ORDER BY created, user")]


def test_sessions_that_have_ended_are_forgotten(tmp_path: Path, store: Store, clock: Clock) -> None:
    path, began = tmp_path / "gate.sqlite", clock.now
    store.open("anna", 5)
    store.open("anne", 28800)
    clock.now += 4
    token = store.open("bert", 28800)
    assert kept(path) == ["anna", "anne", "bert"]
    clock.now += 1
    store.open("carl", 28800)
    assert kept(path) == ["anne", "bert", "carl"]
    clock.now = began + SETTINGS.idle
    assert store.session(token)
    store.reserve("dora", ONE)
    assert kept(path) == ["bert", "carl"]


def test_live_sessions_are_listed_with_their_times(store: Store, clock: Clock) -> None:
    began = clock.now
    token = store.open("anna", 7200)
    store.open("bert", 5)
    clock.now += 4
    assert store.session(token)
    anna, bert = ("anna", began, began + 4, began + 7200), ("bert", began, began, began + 5)
    assert store.rows() == [anna, bert]
    clock.now += 1
    assert store.rows() == [anna]
    clock.now = began + 3 + SETTINGS.idle
    assert store.rows() == [anna]
    clock.now += 1  # it has been idle for too long, and nobody has come since
    assert store.rows() == []
    clock.now = began + 3  # the clock went back
    assert store.rows() == [bert]
    clock.now = began - 1
    assert store.rows() == []


def test_sessions_are_listed_by_the_limits_of_today(tmp_path: Path, store: Store, clock: Clock) -> None:
    store.open("anna", 28800)
    shorter = Store(tmp_path / "gate.sqlite", replace(SETTINGS, idle=600, absolute=600), clock)
    assert shorter.rows() == [("anna", clock.now, clock.now, clock.now + 600)]
    clock.now += 600
    assert shorter.rows() == []
    assert len(store.rows()) == 1


def test_owners_addresses_that_are_no_longer_theirs_are_forgotten(tmp_path: Path, store: Store, clock: Clock) -> None:
    assert admit(store, ONE)
    clock.now += 30 * 86400 + 1
    store.reserve("bert", OTHER)
    with sqlite3.connect(tmp_path / "gate.sqlite") as db:
        assert db.execute("SELECT * FROM known").fetchall() == []


# at the same time


class Overtaken:
    """A clock whose first reader is overtaken, where it lets itself be: the next one reads a later time and is done
    with it before the first goes on."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.armed = False
        self.second = threading.Event()

    def __call__(self) -> float:
        self.now += 0.001
        read = self.now
        if self.armed:
            self.armed = False
            self.second.wait(0.5)
        return read


def both(clock: Overtaken, act: Callable[[], object]) -> None:
    """Act twice at the same time."""
    clock.armed = True
    first = threading.Thread(target=act)
    first.start()
    while clock.armed:
        pass
    second = threading.Thread(target=lambda: (act(), clock.second.set()))
    second.start()
    first.join()
    second.join()


def test_two_requests_at_the_same_time_end_no_session(tmp_path: Path) -> None:
    clock = Overtaken()
    store = Store(tmp_path / "gate.sqlite", SETTINGS, clock)
    token = store.open("anna", 60)
    both(clock, lambda: store.session(token))
    assert store.session(token) is not None


def test_two_attempts_at_the_same_time_count_twice(tmp_path: Path) -> None:
    clock = Overtaken()
    store = Store(tmp_path / "gate.sqlite", SETTINGS, clock)
    both(clock, lambda: store.reserve("anna", ONE))
    assert attempts(tmp_path / "gate.sqlite")[f"net {ONE}"] == 2
