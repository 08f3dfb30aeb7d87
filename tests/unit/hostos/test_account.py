"""HST-02: what the accounts' evidence must and must not show."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from clawkeep.base.verdict import Unmeasured
from clawkeep.subjects.host.account import Accounts

from .world import World, account, asked, command, said

CONFINED = """\
Id=openclaw-task@clawkeep.service
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
MemoryDenyWriteExecute=no
RestartPreventExitStatus=78
"""


def _everything(accounts: Accounts) -> list[str]:
    return [
        *accounts.privileges(1000),
        *accounts.sudo_rights(1000),
        *accounts.writes(),
        *accounts.schedules(),
        *accounts.lasting_sessions(1000),
        *accounts.loose_units(),
        *accounts.loose_processes(),
    ]


def _agent(**changes: object) -> Callable[[World], object]:
    return lambda world: world["facts"]["accounts"][1].update(changes)


def _unit(properties: str) -> Callable[[World], object]:
    def change(world: World) -> None:
        world["facts"]["agent-units"] = ["openclaw-task@.service"]
        world["commands"]["agent-unit-properties"] = command(properties)

    return change


def _process(cgroup: str, *, safe: bool) -> Callable[[World], object]:
    row = {"pid": 5, "name": "node", "cgroup": cgroup, "no-new-privs": safe, "contained": False}
    return lambda world: world["facts"]["agent-processes"].append(row)


def _schedule(text: str, status: int) -> Callable[[World], object]:
    answers = {"crontab": {"present": True, "status": status, "says": text}, "at": {"present": False}}
    return lambda world: said(world, "agent-experiments", schedule=answers)


def test_the_good_account_has_no_complaint() -> None:
    assert _everything(asked(Accounts)) == []
    assert _everything(asked(Accounts, _unit(CONFINED))) == []
    assert _everything(asked(Accounts, _unit(f"{CONFINED}ReadWritePaths=/var/lib/x /run/etc -/tmp/usr\n"))) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (_agent(**{"shell": "/bin/bash"}), "openclaw has the login shell /bin/bash"),
        (_agent(login="set"), "can log in with a password"),
        (_agent(login="empty"), "can log in with an empty password"),
        (_agent(groups=["docker"]), "openclaw is in the groups docker"),
        (_agent(gid=2000, group="ops"), "openclaw shares its primary group ops"),
        (lambda w: w["facts"]["accounts"].append(account("debian", 1000)), "uid 1000 has 2 accounts"),
        (
            lambda w: w["commands"].update(
                {
                    "sudo-list": command(
                        "User openclaw may run the following commands on lab:\n  (root) NOPASSWD: /bin/x"
                    )
                }
            ),
            "sudo lets openclaw run (root) NOPASSWD: /bin/x",
        ),
        (
            lambda w: said(w, "agent-experiments", writes={"/etc": "ok"}),
            "the agent's account can write to /etc",
        ),
        (_schedule("no crontab for openclaw", 1), "may use crontab"),
        (_schedule("", 0), "may use crontab"),
        (lambda w: w["facts"]["lingering"].append("openclaw"), "openclaw lingers"),
        (lambda w: w["facts"]["user-units"].append("/home/openclaw/x.service"), "/home/openclaw/x.service is a unit"),
        (
            _process("/user.slice/user-1000.slice/user@1000.service/app.slice/x", safe=True),
            "under the agent's user manager",
        ),
        (_process("/user.slice/user-2000.slice/session-3.scope", safe=False), "runs on the host in /user.slice"),
        (_unit(CONFINED.replace("ProtectSystem=strict", "ProtectSystem=no")), "(ProtectSystem=no)"),
        (_unit(CONFINED.replace("NoNewPrivileges=yes", "NoNewPrivileges=no")), "(NoNewPrivileges=no)"),
        (_unit(CONFINED.replace("ProtectHome=yes", "ProtectHome=no")), "(ProtectHome=no)"),
        (_unit(CONFINED.replace("Execute=no", "Execute=yes")), "which Node's compiler needs"),
        *(
            (_unit(f"{CONFINED}ReadWritePaths=/var/lib/x {path}\n"), f"may write to {path} (ReadWritePaths)")
            for path in ("/", "//etc", "-/etc/systemd", "+-/usr/local/bin", "/home", "/lib64", "/srv/../etc")
        ),
        (_unit(CONFINED.replace("=78", "=")), "started again after exit status 78"),
    ],
)
def test_each_weakness_is_told(change: Callable[[World], object], complaint: str) -> None:
    complaints = _everything(asked(Accounts, change))
    assert len(complaints) == 1
    assert complaint in complaints[0]


def test_somebody_elses_lingering_is_not_the_agents() -> None:
    assert _everything(asked(Accounts, lambda world: world["facts"]["lingering"].append("ops"))) == []


def test_a_host_without_sudo_grants_nothing() -> None:
    def change(world: World) -> None:
        world["facts"]["sudo-present"] = False
        world["commands"].pop("sudo-list")

    assert asked(Accounts, change).sudo_rights(1000) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w["facts"].update(accounts=[]),
        lambda w: w["facts"]["accounts"].pop(1),
        _agent(login="unknown"),
        lambda w: w["commands"].update({"sudo-list": command("Sorry, try again.", status=1)}),
        lambda w: w["commands"].pop("agent-experiments"),
        lambda w: said(w, "agent-experiments", state={"path": "", "write": "ENOENT"}),
        lambda w: said(w, "agent-experiments", writes={}),
        lambda w: said(w, "agent-experiments", writes={"/etc": "ENOENT"}),
        lambda w: said(w, "agent-experiments", **{"writes-as-root": {"/etc": "EROFS", "/etc/cron.d": "EROFS"}}),
        _schedule("segmentation fault", 139),
        _unit("Id=other.service"),
        lambda w: w["facts"].pop("agent-units"),
        lambda w: w["facts"].update({"agent-processes": [{"pid": 1}]}),
    ],
)
def test_what_was_not_measured_never_passes(change: Callable[[World], object]) -> None:
    with pytest.raises(Unmeasured):
        _everything(asked(Accounts, change))
