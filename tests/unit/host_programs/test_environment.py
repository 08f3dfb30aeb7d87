"""`clawkeep_host.environment` leaves of environments their names; and the collector records nothing else of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.host_programs.planted import made

from clawkeep.base import repo
from clawkeep.collector.recorder import Recorder
from clawkeep_host import environment
from clawkeep_host.environment import DROPPED, KEPT, text_without_values, without_values

CHECKOUT = repo.find(Path(__file__))
PLAIN = "looks-like-nothing-" + made(6, "plain")


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ({"Env": [f"A={PLAIN}", "B", "C=", "D=x=y"]}, {"Env": [f"A={DROPPED}", "B", f"C={DROPPED}", f"D={DROPPED}"]}),
        ({"Env": ["TOKEN=[redacted]"]}, {"Env": ["TOKEN=[redacted]"]}),
        ({"Env": ["PATH=/bin"]}, {"Env": [f"PATH={DROPPED}"]}),  # nothing that judges reads it
        ({"environment": {"A": PLAIN, "B": None}}, {"environment": {"A": DROPPED, "B": None}}),
        ({"environment": {"A": "[redacted]", "B": 5}}, {"environment": {"A": "[redacted]", "B": DROPPED}}),
        ({"ENV": [f"A={PLAIN}"]}, {"ENV": [f"A={DROPPED}"]}),
        ({"Env": None}, {"Env": None}),
        ({"Env": [{"Env": ["A=b"]}, 5]}, {"Env": [{"Env": [f"A={DROPPED}"]}, 5]}),
        ({"environment": "production"}, {"environment": "production"}),
        (
            [{"Config": {"Env": ["A=b"], "Cmd": ["x", "A=b"]}}],
            [{"Config": {"Env": [f"A={DROPPED}"], "Cmd": ["x", "A=b"]}}],
        ),
        ({"Environments": ["A=b"], "Envelope": ["A=b"]}, {"Environments": ["A=b"], "Envelope": ["A=b"]}),
    ],
)
def test_of_an_environment_the_names_stay(value: Any, left: Any) -> None:
    assert without_values(value) == left


COMPOSE = f"""\
name: openclaw
services:
  gateway:
    image: x
    environment:
      # a comment
      OPENCLAW_OFFLINE: "1" # kept
      PATH: /bin
      "QUOTED": '{PLAIN}'
      PLAIN: {PLAIN} # with a comment

      NUMBER: 5
      MASKED: "[redacted]"
      HALF: "{PLAIN} [redacted]"
      BLOCK: |
        {PLAIN}
        more: {PLAIN}
      <<: *anchor
      LAST: {PLAIN}
    command: [gateway, run]
  other:
    environment:
    - NAME={PLAIN}
    - "QUOTED={PLAIN}"
    - PASSED_ON
    ports: []
  flow:
    environment: {{A: {PLAIN}, "B": "{PLAIN}, c", PATH: /bin}}
    command: [run]
  list:
    environment: ["A={PLAIN}",
      PATH=/bin]
    user: "1000"
"""


def test_a_compose_file_keeps_what_its_comparison_needs() -> None:
    left = text_without_values(COMPOSE)
    assert PLAIN not in left
    for line in COMPOSE.splitlines():
        if "PLAIN" not in line and PLAIN not in line and "anchor" not in line and "more" not in line:
            assert line.partition(":")[0].partition("=")[0] in left
    assert '      OPENCLAW_OFFLINE: "1" # kept\n      PATH: /bin\n' in left
    assert '      MASKED: "[redacted]"\n' in left
    found = yaml.safe_load(left)["services"]
    assert set(found["gateway"]["environment"]) == {
        *("OPENCLAW_OFFLINE", "PATH", "QUOTED", "PLAIN", "NUMBER", "MASKED", "HALF", "BLOCK", "LAST"),
    }
    assert (found["gateway"]["command"], found["flow"]["command"], found["list"]["user"]) == (
        ["gateway", "run"],
        ["run"],
        "1000",
    )
    assert [entry.partition("=")[0] for entry in found["other"]["environment"]] == ["NAME", "QUOTED", "PASSED_ON"]
    assert set(found["flow"]["environment"]) == {"A", "B", "PATH"}
    assert text_without_values(left) == left


def test_two_values_are_told_apart_and_equal_ones_are_not() -> None:
    """BGL-04 compares two files of one collection."""

    def shown(value: str) -> str:
        return text_without_values(f"a:\n  environment:\n    X: {value}\n")

    assert shown("one") == shown("one") != shown("two")
    assert re.search(r'X: "\[dropped [0-9a-f]{8}\]"', shown("one"))


def test_nobody_can_try_values_against_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    before = text_without_values("environment:\n  X: one\n")
    monkeypatch.setattr(environment, "_KEY", b"of another collection")
    assert text_without_values("environment:\n  X: one\n") != before


def test_of_a_unit_the_names_stay() -> None:
    unit = (
        f"[Service]\nEnvironment=A={PLAIN} \"B={PLAIN} x\" 'C=y'\nEnvironment=D=\\\n  E={PLAIN}\nExecStart=/bin/x A=b\n"
    )
    left = text_without_values(unit)
    assert PLAIN not in left
    assert left.splitlines()[1:3] == [
        f"Environment=A={DROPPED} B={DROPPED} C={DROPPED}",
        f"Environment=D={DROPPED} E={DROPPED}",
    ]
    assert left.endswith("\nExecStart=/bin/x A=b\n")
    assert text_without_values(f'Environment="A={PLAIN}\n') == f"Environment={DROPPED}\n"
    assert text_without_values("Environment=\n") == "Environment=\n"


@pytest.mark.parametrize(
    "text", ["PassEnvironment=A B", "permituserenvironment no", "environment: production", "x environment: y"]
)
def test_what_only_sounds_like_one_stays(text: str) -> None:
    assert text_without_values(text) == text


def test_the_roles_own_variables_are_those_that_are_kept() -> None:
    template = next((CHECKOUT.root / "roles/openclaw/templates").rglob("compose.yml.j2")).read_text(encoding="utf-8")
    section = re.search(r"^    environment:\n((?:      .*\n)+)", template, re.M)
    assert section
    names = re.findall(r"^      ([A-Z_0-9]+):", section[1], re.M)
    assert set(names) == KEPT


@pytest.mark.parametrize("tier", ["tier1_personal", "tier2_team"])
def test_recorded_compose_files_stay_as_they_are(tier: str) -> None:
    (path,) = (CHECKOUT.recorded / tier / "hosts").glob("*.json")
    releases = json.loads(path.read_bytes())["inside"]["facts"]["releases"]
    assert without_values(releases) == releases
    assert "environment:" in releases["in-use"]


def test_nothing_else_is_recorded() -> None:
    recorder = Recorder()
    inspected = {"Config": {"Env": [f"A={PLAIN}", f"MY_SECRET={PLAIN}"]}}
    recorder.note("fact", inspected)
    recorder.measure("measured", ["x"], lambda: [inspected])
    recorder.run("json", ["printf", "%s", json.dumps(inspected)], parse="json")
    result = recorder.run("text", ["printf", f"Environment=A={PLAIN}\\nx\\n"])
    kept = json.dumps([recorder.facts, recorder.commands["measured"]["json"], recorder.commands["json"]["json"]])
    assert PLAIN not in kept + json.dumps(recorder.commands["text"]["lines"]) + result.text
    assert recorder.facts["fact"] == {"Config": {"Env": [f"A={DROPPED}", "MY_SECRET=[redacted]"]}}


def test_a_section_that_nothing_ends_keeps_it_not_busy() -> None:
    for text in (
        "environment: {\n" + "a\n" * 300_000,
        "environment:\n" + " a: b\n" * 100_000,
        "Environment=" + "\\\n" * 300_000,
    ):
        assert text_without_values(text).count("\n") <= text.count("\n") + 1
