"""The command line: the exit status of every ending, and one sentence for every mistake."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.conftest import CommandLine
from tests.unit.engine.conftest import Checkout, Observe

from clawkeep.base import repo
from clawkeep.base.clock import now
from clawkeep.evidence import store
from clawkeep.measure import transport

LOOKS = 'def test_it(evidence):\n    assert evidence.inside.fact("ports") == []\n'


@pytest.fixture(autouse=True)
def _here(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tier and two controls, the second proved from outside, in what the command line takes for its own checkout."""
    checkout.repo.tiers.mkdir(parents=True)
    (checkout.repo.tiers / "tier1_x.yml").write_text("tier: {name: x, rank: 1}\n")
    checkout.page("NET-01", title="It [holds]")
    checkout.page("NET-02")
    checkout.page("AGT-07", status="planned")
    checkout.test("NET-01", LOOKS)
    checkout.test(
        "NET-02", 'def test_it(evidence):\n    evidence.vantage("outside")\n', mark='@pytest.mark.vantage("outside")\n'
    )
    monkeypatch.setattr(repo, "find", lambda: checkout.repo)


@pytest.fixture
def bundle(tmp_path: Path, observe: Observe) -> Callable[..., Path]:
    def make(ports: list[str], **options: str) -> Path:
        folder = tmp_path / f"evidence{len(list(tmp_path.glob('evidence*')))}"
        store.save(folder, [observe(facts={"ports": ports}, outside={"schema": 1}, **options)], now())
        return folder

    return make


@pytest.mark.parametrize(
    ("ports", "options", "status"),
    [([], {}, 0), (["3000 is open"], {}, 1), ([], {"message": "ssh says no"}, 2)],
)
def test_recorded_evidence_ends_with_its_status(
    clawkeep: CommandLine,
    bundle: Callable[..., Path],
    tmp_path: Path,
    ports: list[str],
    options: dict[str, Any],
    status: int,
) -> None:
    ended, out, _ = clawkeep(
        "verify", "--control", "NET-01", "--evidence", bundle(ports, **options), "--report", tmp_path / "r"
    )
    assert ended == status
    assert f"exit status {status}" in out
    assert f"pass {int(status == 0)}" in out
    assert json.loads((tmp_path / "r" / "report.json").read_text())["exit_status"] == status
    assert (tmp_path / "r" / "junit.xml").exists()


def test_what_was_left_out_is_told_and_not_passed(clawkeep: CommandLine, bundle: Callable[..., Path]) -> None:
    ended, out, _ = clawkeep("verify", "--evidence", bundle([]), "--inside-only")
    assert ended == 0
    assert "left out, they need a vantage that was not asked for: NET-02" in out
    ended, _, err = clawkeep("verify", "--evidence", bundle([]), "--inside-only", "--control", "NET-02")
    assert ended == 2
    assert "a vantage that was not asked for" in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "say what to verify: either -i INVENTORY"),
        (("-i", "a", "--evidence", "b"), "say what to verify: either -i INVENTORY"),
        (("--evidence", "b", "--limit", "c"), "--limit and --save-evidence are for live hosts"),
        (("--evidence", "nowhere"), "nowhere is no evidence"),
        (("-i", "nowhere"), "there is no inventory nowhere"),
        (("-i", "nowhere", "--control", "NET-77"), "there is no control NET-77"),
        (("-i", "nowhere", "--control", "AGT-07"), "the control AGT-07 is planned"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(
    clawkeep: CommandLine, arguments: tuple[str, ...], sentence: str
) -> None:
    ended, out, err = clawkeep("verify", *arguments)
    assert (ended, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1


def test_an_unknown_option_is_status_2(clawkeep: CommandLine) -> None:
    assert clawkeep("verify", "--no-such-option")[0] == 2


def test_live_hosts_are_measured_kept_and_replayed(
    clawkeep: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = {"schema": 1, "identity": {"uid": 0}, "commands": {}, "facts": {"ports": []}, "problems": {}}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as package:
        package.writestr("clawkeep/__init__.py", "")
        package.writestr("clawkeep/collector/__init__.py", "")
        package.writestr("clawkeep/collector/__main__.py", f"print({json.dumps(document)!r})")
    monkeypatch.setattr(transport, "collector", buffer.getvalue)
    (tmp_path / "site" / "group_vars").mkdir(parents=True)
    (tmp_path / "site" / "group_vars" / "all.yml").write_text("site_name: here\n")
    hosts = {"up": {"ansible_connection": "local"}, "down": {"ansible_host": "127.0.0.1", "ansible_port": 1}}
    (tmp_path / "site" / "hosts.yml").write_text(json.dumps({"tier1_x": {"hosts": hosts}}))
    arguments = ("verify", "-i", tmp_path / "site", "--inside-only")
    ended, out, _ = clawkeep(*arguments, "--limit", "up", "--save-evidence", tmp_path / "kept")
    assert ended == 0
    assert clawkeep("verify", "--evidence", tmp_path / "kept", "--inside-only")[:2] == (0, out)
    ended, out, _ = clawkeep(*arguments)
    assert ended == 2
    assert "down is unreachable by ssh" in " ".join(out.split())
    assert "pass 1" in out
    ended, _, err = clawkeep(*arguments, "--limit", "up", "--save-evidence", tmp_path / "kept")
    assert ended == 2
    assert "is not empty" in err


def test_the_register_is_listed_and_shown(clawkeep: CommandLine) -> None:
    ended, out, _ = clawkeep("controls", "list")
    assert ended == 0
    assert "It [holds]" in out
    assert "planned" in out
    assert "## Promise" in clawkeep("controls", "show", "NET-01")[1]
    assert clawkeep("controls", "show", "NET-99")[0] == 2


@pytest.mark.parametrize(
    ("absent", "named"), [("aiosmtpd", "aiosmtpd"), ("qemu", "qemu.qmp"), ("qemu.qmp", "qemu.qmp")]
)
def test_without_its_extras_the_lab_says_how_to_get_them(absent: str, named: str) -> None:
    script = (
        f"import sys; sys.modules['{absent}'] = None; sys.argv = ['clawkeep', 'lab', 'up', '--x', 'tier1_personal'];"
        "from clawkeep.cli.app import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == f"clawkeep: the lab needs {named}: install it with `pip install -e '.[lab]'`\n"


def test_a_terminal_that_knows_few_characters_shows_the_summary(
    checkout: Checkout, bundle: Callable[..., Path]
) -> None:
    folder = bundle(["pörts → \u65e5"])
    script = (
        "import sys; from pathlib import Path; from clawkeep.base import repo; "
        f"repo.find = lambda: repo.Repo(Path({str(checkout.repo.root)!r})); "
        f"sys.argv = ['clawkeep', 'verify', '--control', 'NET-01', '--evidence', {str(folder)!r}]; "
        "from clawkeep.cli.app import main; main()"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (1, b"")
    assert b"p\\xf6rts" in done.stdout


def test_the_help_tells_the_exit_status(clawkeep: CommandLine) -> None:
    ended, out, _ = clawkeep("verify", "--help")
    assert ended == 0
    assert "something could not be measured" in " ".join(out.split())


def test_the_version_is_told(clawkeep: CommandLine) -> None:
    assert clawkeep("--version")[1].startswith("clawkeep ")
