"""HST-01: what sshd's evidence must and must not show."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from clawkeep.base.verdict import NotApplicable, Unmeasured
from clawkeep.collector.sshd import CONFIG, matching, options
from clawkeep.subjects.host.sshd import Sshd

from .world import SSHD, STARTED, World, asked, command


def _everything(sshd: Sshd) -> list[str]:
    return [
        *sshd.more_than_keys(),
        *sshd.unnamed_users(["root", "openclaw"]),
        *sshd.guessing_room(),
        *sshd.not_in_force(),
    ]


def _answer(old: str, new: str, key: str = "sshd-T/0/1") -> Callable[[World], object]:
    assert old in SSHD
    return lambda world: world["commands"].update({key: command(SSHD.replace(old, new))})


def _offer(text: str, status: int = 255) -> Callable[[World], object]:
    return lambda world: world["commands"].update({"ssh-offers/root": command("", status=status, stderr=text)})


def test_the_good_sshd_has_no_complaint() -> None:
    assert _everything(asked(Sshd)) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (_answer("passwordauthentication no", "passwordauthentication yes"), "sshd accepts passwords for ops"),
        (_answer("kbdinteractiveauthentication no", "kbdinteractiveauthentication yes"), "keyboard-interactive"),
        (_answer("permitrootlogin no", "permitrootlogin without-password", "sshd-T/0/0"), "sshd lets root in for root"),
        (_answer("permitemptypasswords no", "permitemptypasswords yes"), "empty passwords"),
        (_answer("gssapiauthentication no", "gssapiauthentication yes"), "Kerberos"),
        (_answer("maxauthtries 3", "maxauthtries 6"), "sshd allows 6 attempts"),
        (_answer("persourcepenalties crash:90 authfail:5", "persourcepenalties no"), "does not throttle"),
        (_answer("persourcepenalties crash:90 authfail:5\n", ""), "does not throttle"),
        (_answer("allowusers ops\n", ""), "admits every account"),
        (_answer("allowusers ops", "allowusers ops o*"), "whoever matches o*"),
        (_answer("allowusers ops", "allowusers ops@203.0.113.* openclaw"), "admits openclaw"),
        (_offer("root@127.0.0.1: Permission denied (publickey,password)."), "the running sshd offers password to root"),
        (_offer("", 0), "admits root without any credential"),
        (
            lambda w: w["facts"]["sshd-files"].append(
                {"path": "/etc/ssh/sshd_config.d/a.conf", "changed": STARTED + 2.5}
            ),
            "/etc/ssh/sshd_config.d/a.conf changed after sshd last read its settings",
        ),
    ],
)
def test_each_weakness_is_told(change: Callable[[World], object], complaint: str) -> None:
    complaints = _everything(asked(Sshd, change))
    assert len(complaints) == 1
    assert complaint in complaints[0]


def test_a_match_block_is_named() -> None:
    def change(world: World) -> None:
        world["commands"]["sshd-T/0/2"] = command(SSHD.replace("permitrootlogin no", "permitrootlogin yes"))
        spec = {"user": "root", "addr": "198.51.100.1"}
        world["facts"]["sshd-specs"].append({"why": "Match Address 198.51.100.0/24", "key": "sshd-T/0/2", "spec": spec})

    expected = "sshd lets root in for root from 198.51.100.1 (`Match Address 198.51.100.0/24`) (permitrootlogin yes)"
    assert _everything(asked(Sshd, change)) == [expected]


@pytest.mark.parametrize(
    ("root", "ops", "opened"),
    [
        ("publickey,keyboard-interactive", "publickey,keyboard-interactive", []),
        ("any", "any", ["root", "ops"]),
        ("publickey,keyboard-interactive", "any", ["ops"]),  # each connection by itself
        ("publickey", "publickey,keyboard-interactive", ["root"]),
        (
            "publickey,keyboard-interactive publickey",
            "publickey,password",
            ["root"],
        ),  # one way of two is enough to come in
        ("publickey,password keyboard-interactive,publickey", "keyboard-interactive,password", ["ops"]),
    ],
)
def test_a_second_factor_must_join_every_way_in(root: str, ops: str, opened: list[str]) -> None:
    def change(world: World) -> None:
        for key, methods in (("sshd-T/0/0", root), ("sshd-T/0/1", ops)):
            _answer("authenticationmethods any", f"authenticationmethods {methods}", key)(world)

    said = asked(Sshd, change).missing_factor()
    assert said == [f"a key alone opens sshd for {user} from 203.0.113.50 (AuthenticationMethods)" for user in opened]


def test_a_host_without_sshd_has_nothing_to_prove() -> None:
    with pytest.raises(NotApplicable):
        asked(Sshd, lambda world: world["facts"].update({"sshd-listeners": []}))


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w["facts"].pop("sshd-listeners"),
        lambda w: w["facts"]["tcp-answers"].append({"address": "::", "port": 2222, "owner": "/x", "says": "ssh"}),
        lambda w: w["facts"].update({"sshd-specs": []}),
        lambda w: w["facts"]["sshd-specs"][0].update(problem="Clawkeep does not know the criterion rdomain"),
        lambda w: w["commands"].update({"sshd-T/0/0": command("", status=255, stderr="no hostkeys available")}),
        lambda w: w["commands"].update({"sshd-T/0/0": command("port 22")}),
        lambda w: w["commands"].update({"sshd-units": command("Id=ssh.service\nActiveState=inactive")}),
        lambda w: w["commands"].update(
            {"sshd-units": command("Id=ssh.service\nActiveState=active\nStateChangeTimestamp=@²")}
        ),
        lambda w: w["facts"]["sshd-files"].append({"path": "/etc/ssh/x", "changed": 10**400}),
        _answer("maxauthtries 3", "maxauthtries ²"),
        lambda w: w["commands"].pop("ssh-offers/root"),
        _offer("ssh: connect to host 127.0.0.1 port 22: Connection refused"),
    ],
)
def test_what_was_not_measured_never_passes(change: Callable[[World], object]) -> None:
    with pytest.raises(Unmeasured):
        _everything(asked(Sshd, change))


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        ("Match User deploy,backup", {"user": "deploy"}),
        ("match Address !192.0.2.9,192.0.2.0/24 User root", {"addr": "192.0.2.1", "user": "root"}),
        ("Match Host *.example.org # ours", {"host": "x.example.org"}),
        ("Match LocalPort=2222", {"lport": "2222"}),
        ("Match all", {}),
    ],
)
def test_a_connection_is_made_up_for_a_match_block(line: str, changed: dict[str, str]) -> None:
    base, _ = matching("Match all", "ops")
    assert matching(line, "ops") == (base | changed, "")


def test_an_unknown_criterion_is_a_problem() -> None:
    assert matching("Match RDomain blue", "ops")[1] == "Clawkeep does not know the criterion rdomain"


@pytest.mark.parametrize(
    ("title", "flags"),
    [
        ("sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups", ([], CONFIG)),
        (
            "sshd: /usr/sbin/sshd -D -f /etc/ssh/other -o Port=2222 [listener] 0 of 10-100 startups",
            (["-f", "/etc/ssh/other", "-o", "Port=2222"], "/etc/ssh/other"),
        ),
        (
            "sshd: /usr/sbin/sshd -oPort=2222 -f/etc/ssh/other [listener] 0 of 10-100 startups",
            (["-o", "Port=2222", "-f", "/etc/ssh/other"], "/etc/ssh/other"),
        ),
    ],
)
def test_a_running_daemons_own_options_are_kept(title: str, flags: tuple[list[str], str]) -> None:
    assert options([title]) == flags
