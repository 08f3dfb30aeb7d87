"""Sub-commands that are imported when they are called, so that the command line starts at once."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from clawkeep.base.errors import ClawkeepError


class Lazy(TyperCommand):
    """A sub-command that is a name and its line in the help until it is called: then its module is imported.

    The module has `app`, a Typer of its own. What it `needs` beyond Clawkeep's own dependencies comes with the extra
    of the command's name.
    """

    def __init__(self, name: str, module: str, line: str, needs: Sequence[str] = ()) -> None:
        """Keep where the command is, without going there."""
        super().__init__(name, help=line)
        self.module = module
        self.needs = needs

    def load(self) -> Any:
        """The command itself; raises ClawkeepError when what it needs is not installed."""
        for missing in (needed for needed in self.needs if not _installed(needed)):
            raise ClawkeepError(f"the {self.name} needs {missing}: install it with `pip install -e '.[{self.name}]'`")
        command = typer.main.get_command(importlib.import_module(self.module).app)
        command.name = self.name
        return command

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Have the command itself read its arguments; from here on it takes this one's place."""
        return self.load().make_context(info_name, args, parent, **extra)


def group(*lazy: Lazy) -> type[TyperGroup]:
    """The class of a group that has these sub-commands, before those that it is given."""

    class Group(TyperGroup):
        def __init__(self, *, commands: Mapping[str, Any], **attributes: Any) -> None:
            super().__init__(commands={**{str(one.name): one for one in lazy}, **commands}, **attributes)

    return Group


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package around it
        return False
