"""The command line starts at once: what a sub-command needs is imported when it is called, and not before."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from clawkeep.base.errors import ClawkeepError
from clawkeep.cli import controls, lab
from clawkeep.cli.app import COMMANDS
from clawkeep.cli.lazy import Lazy

SLOW = {"_pytest", "ansible", "clawkeep.subjects", "cryptography", "jinja2", "pytest", "testinfra"}
BORDERS = {"pydantic", "yaml"}

# In an interpreter of its own: which of the modules named first did the rest of the arguments bring in?
SCRIPT = """
import sys
unwanted, sys.argv = set(sys.argv[1].split(",")), ["clawkeep", *sys.argv[2:]]
from clawkeep.cli.app import main
try:
    main()
except SystemExit as ended:
    print(sorted(unwanted & set(sys.modules)), ended.code or 0, file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (("--version",), SLOW | BORDERS),
        (("--help",), SLOW | BORDERS),
        (("controls", "list"), SLOW),
        (("controls", "--help"), SLOW),
    ],
)
def test_what_is_slow_to_import_is_not_imported_unasked(arguments: tuple[str, ...], unwanted: set[str]) -> None:
    argv = [sys.executable, "-c", SCRIPT, ",".join(unwanted), *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.stderr == "[] 0\n"


@pytest.mark.parametrize("command", [*COMMANDS, controls.SHOW, lab.SABOTAGE], ids=lambda one: str(one.name))
def test_the_line_in_the_help_is_how_the_commands_own_help_begins(command: Lazy) -> None:
    own = command.load().help.split("\n\n")[0]
    assert " ".join(own.split()) == command.help


def test_the_help_names_every_command_with_its_line(clawkeep: Callable[..., tuple[int, str, str]]) -> None:
    shown = " ".join(clawkeep("--help")[1].replace("│", " ").split())
    for command in COMMANDS:
        assert f" {command.name} {command.help} " in shown


def test_what_a_command_needs_and_is_not_there_is_named_with_the_extra_that_brings_it() -> None:
    with pytest.raises(ClawkeepError, match=r"^the zoo needs no\.such: install it with `pip install -e '\.\[zoo\]'`$"):
        Lazy("zoo", "clawkeep.cli.zoo", "Animals.", needs=("sys", "no.such")).load()
