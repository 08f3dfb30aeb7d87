"""The subjects of logging: good evidence is green, each rule is seen red, and what is misshapen is not measured."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.roles.conftest import render as render  # the templates' own fixture

from clawkeep.base.verdict import Unmeasured
from clawkeep.collector.logs import UNITS
from clawkeep.evidence.document import HostEvidence
from clawkeep.subjects.host.audit import ABSENT, GUARDED, PROGRAMS, Audit, parse
from clawkeep.subjects.logs.log_agent import LogAgent
from clawkeep.subjects.logs.log_store import LogStore

STATE = "enabled 1\nfailure 1\npid 412\nrate_limit 0\nbacklog_limit 16384\nlost 0\nbacklog 0"
REFUSALS = [
    f"-a always,exit -F arch=b64 -S open,openat,openat2 -F exit={exit} -F uid=1000 -F key=clawkeep-refused"
    for exit in ("-EACCES", "-EPERM")
]
RULES = [
    *(f"-w {place} -p wa -k clawkeep" for place in GUARDED),
    "-a always,exit -F arch=b64 -S all -F dir=/var/lib/docker/volumes -F perm=wa -F key=clawkeep-files",
    *(
        f"-a always,exit -F arch=b64 -S all -F path={place} -F perm=rwxa -F uid=1000 -F key=clawkeep-system"
        for place in ("/etc/shadow", "/etc/ssh", "/etc/sudoers", "/etc/clawkeep", "/root", "/run/docker.sock")
    ),
    *REFUSALS,
    "-a always,exit -F arch=b64 -S execve,execveat -F uid=1000 -F key=clawkeep-run",
]
PLACES = dict.fromkeys([*GUARDED, "/etc/shadow", "/root", "/run/docker.sock"], "other")


def world(rules: Any = RULES, state: Any = STATE, **facts: Any) -> HostEvidence:
    names = {step: ["1000"] for step in ("made", "changed", "moved", "removed")}
    canary = {"agent": {"uid": 1000, "tried": "", "names": names}}
    canary["root"] = {"uid": 0, "tried": "", "names": {step: ["0"] for step in names}}
    commands = {
        "auditctl-rules": {"argv": ["auditctl", "-l"], "status": 0, "lines": rules},
        "auditctl-state": {"argv": ["auditctl", "-s"], "status": 0, "lines": state.splitlines()},
    }
    inside = {"schema": 1, "commands": commands, "facts": {"audit-places": PLACES, "audit-canary": canary} | facts}
    return HostEvidence("h", {"schema": 1, "host": "h", "inside": inside})


def all_of(host: HostEvidence, *, locked: bool = False) -> list[str]:
    audit = host.subject(Audit)
    return [
        *audit.asleep(locked=locked),
        *audit.lost(),
        *audit.silenced(),
        *audit.unguarded(),
        *audit.unwatched_volumes(),
        *audit.unheard(1000),
        *audit.unrecorded_runs(1000),
        *audit.unrecorded_changes(),
    ]


def test_good_audit_is_green() -> None:
    assert all_of(world()) == []


def test_the_archive_of_the_host_programs_is_guarded_where_the_host_has_it() -> None:
    said = [f"changes of {PROGRAMS} are not recorded: no audit rule watches it"]
    assert all_of(world(**{"audit-places": PLACES | {PROGRAMS: "directory"}})) == said
    assert all_of(world(**{"audit-places": PLACES | {PROGRAMS: ABSENT}})) == []
    watched = [*RULES, f"-w {PROGRAMS} -p wa -k clawkeep-own"]
    assert all_of(world(watched, **{"audit-places": PLACES | {PROGRAMS: "directory"}})) == []


@pytest.mark.parametrize(
    ("host", "said"),
    [
        (world(["No rules"]), "are not recorded"),
        (world(["-a never,exit -S all -F dir=/etc -F perm=wa", *RULES]), "leaves records out"),
        (world(state=STATE.replace("lost 0", "lost 3")), "lost 3"),
        (world(state=STATE.replace("pid 412", "pid 0")), "no audit daemon"),
        (world([one for one in RULES if one not in REFUSALS]), "refused to uid 1000"),
        (world([one.replace("/etc/shadow -F", "/etc/shadow -F success=1 -F") for one in RULES]), "some outcomes"),
        (world([one.replace("docker/volumes", "docker/volumes/w/_data") for one in RULES]), "made anew"),
        (world([one.replace("execve,", "fork,") for one in RULES]), "programs that uid 1000"),
    ],
)
def test_each_breach_is_told(host: HostEvidence, said: str) -> None:
    assert said in "\n".join(all_of(host))


def trial(who: str, **names: list[str]) -> dict[str, Any]:
    found = json.loads(json.dumps(world().inside.fact("audit-canary")))
    found[who]["names"].update(names)
    return {"audit-canary": found}


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (trial("agent", moved=[]), "moved by agent and no record"),
        (trial("agent", removed=["0"]), "removed by uid 1000 and recorded as uid 0"),
        (trial("root", made=["0", "1000"]), "made by uid 0 and recorded as uid 0, 1000"),
    ],
)
def test_a_step_without_its_record_is_told(facts: dict[str, Any], said: str) -> None:
    assert said in "\n".join(world(**facts).subject(Audit).unrecorded_changes())


def test_a_trial_that_could_not_be_made_is_not_measured() -> None:
    found = trial("agent")
    found["audit-canary"]["agent"]["tried"] = "Permission denied"
    with pytest.raises(Unmeasured, match="Permission denied"):
        world(**found).subject(Audit).unrecorded_changes()


def test_rules_by_system_call_leave_something_of_the_volumes_out() -> None:
    rule = (
        "-a always,exit -F arch=b64 -S open,openat,unlink,unlinkat -F dir=/var/lib/docker/volumes -F key=clawkeep-files"
    )
    assert world([rule]).subject(Audit).unwatched_volumes() == [
        "what the agent changes in /var/lib/docker/volumes is not recorded: no audit rule watches it"
    ]


def test_rules_that_stay_open_are_told_where_they_shall_be_locked() -> None:
    assert all_of(world(), locked=True) == [
        "the audit rules can be changed at any time: the tier locks them until the next boot"
    ]


@pytest.mark.parametrize("facts", [{"audit-canary": {}}, {"audit-canary": None}, {"audit-places": []}])
def test_misshapen_evidence_is_not_measured(facts: dict[str, Any]) -> None:
    with pytest.raises(Unmeasured):
        all_of(world(**facts))


@pytest.mark.parametrize("line", ["-a always,exit -F", "-q x", 'unbalanced "', "-F uid=1"])
def test_a_strange_rule_is_not_measured(line: str) -> None:
    with pytest.raises(Unmeasured):
        parse(line)


STARTED = "ExecStart={ argv[]=/usr/sbin/rsyslogd -n -f /etc/clawkeep/log/rsyslog.conf -i /run/clawkeep-log/pid ; }"
RUNNING = "\n\n".join(
    f"{STARTED if unit == 'clawkeep-log.service' else 'ExecStart={ argv[]=x ; }'}\n"
    f"Id={unit}\nActiveState=active\nUnitFileState=enabled"
    for unit in UNITS
)


def agent(render: Any, change: Any = lambda text: text, units: str = RUNNING) -> LogAgent:
    text = render(
        "log_agent",
        "etc/clawkeep/log/rsyslog.conf.j2",
        log_agent_collector="203.0.113.70:6514",
        log_agent_collector_name="siem.example",
    )
    check = {"argv": ["rsyslogd"], "status": 0, "lines": []}
    facts = {"log-agent-config": change(text).splitlines()}
    shown = {"argv": ["systemctl"], "status": 0, "lines": units.splitlines()}
    inside = {"schema": 1, "commands": {"log-agent-check": check, "log-units": shown}, "facts": facts}
    return HostEvidence("h", {"schema": 1, "host": "h", "inside": inside}).subject(LogAgent)


def agent_says(found: LogAgent) -> list[str]:
    loose = found.loose_transport("203.0.113.70:6514", "siem.example")
    return [*loose, *found.not_running(), *found.lossy_queue(), *found.unread(), *found.unredacted()]


def test_the_rendered_agent_is_green(render: Any) -> None:
    assert agent_says(agent(render)) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("siem.example", "other.example", "records go to"),
        ('persistStateInterval="0"', 'persistStateInterval="64"', "counts as read before"),
        (' persistStateAfterSubmission="on"', "", "counts as read before"),
        ('confirmMessages="on"', 'confirmMessages="off"', "count as gone"),
        ('queue.type="Disk"', 'queue.type="LinkedList"', "memory alone"),
        ('queue.type="Direct"', 'queue.type="LinkedList"', "not Direct"),
        ('queue.maxDiskSpace="512m"', "", "no limit"),
        ("/var/log/audit/audit.log", "/var/log/none", "is not read"),
        ("/var/spool/clawkeep-log/journal/*.jsonl", "/var/log/none", "journal/*.jsonl is not read"),
        ('action.resumeRetryCount="-1" action.resumeInterval="1" action.resumeIntervalMax', "x", "gives up"),
        ("/usr/local/sbin/clawkeep-log-redact", "/bin/cat", "without redaction"),
        ('\ncall ship', '\naction(type="omfwd" target="192.0.2.1" queue.type="Direct")\ncall ship', "omfwd"),
    ],
)  # fmt: skip
def test_each_weakening_of_the_agent_is_told(render: Any, old: str, new: str, said: str) -> None:
    found = agent(render, lambda text: text.replace(old, new))
    assert said in "\n".join(agent_says(found))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("/etc/clawkeep/log/rsyslog.conf", "/etc/rsyslog.conf", "the configuration that is judged"),
        ("-f /etc/clawkeep/log/rsyslog.conf", "-f /etc/clawkeep/log/rsyslog.conf.old", "the configuration"),
        ("ActiveState=active", "ActiveState=failed", "is failed"),
        ("UnitFileState=enabled", "UnitFileState=disabled", "does not start at boot"),
    ],
)
def test_an_agent_that_does_not_run_as_judged_is_told(render: Any, old: str, new: str, said: str) -> None:
    assert said in "\n".join(agent_says(agent(render, units=RUNNING.replace(old, new, 1))))


def store(modes: Any) -> LogStore:
    facts = {"arrived": {}, "modes": modes}
    siem = {"schema": 1, "commands": {}, "facts": facts}
    raw = {"schema": 1, "host": "h", "inside": {"schema": 1}, "vantages": {"siem": siem}}
    return HostEvidence("h", raw).subject(LogStore)


def test_a_store_that_others_can_read_is_told() -> None:
    assert store({"203.0.113.10": "0o700", "alerts.jsonl": "0o600"}).open_files() == []
    for mode in ("0o755", "0o701", "0o740"):
        assert len(store({"203.0.113.10": mode, "alerts.jsonl": "0o600"}).open_files()) == 1


@pytest.mark.parametrize("modes", [None, {}, [], {"x": "open"}, {"x": 448}])
def test_a_store_whose_modes_were_not_seen_is_not_measured(modes: Any) -> None:
    with pytest.raises(Unmeasured):
        store(modes).open_files()
