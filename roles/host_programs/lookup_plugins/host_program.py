"""Make the host programs, on the controller, from this checkout's src/clawkeep_host."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from ansible import constants
from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = r"""
name: host_program
author: Clawkeep
short_description: Make a file of the host programs on the controller
description:
  - Writes the archive or a program's wrapper, as C(clawkeep_host.package) of this checkout makes them, into Ansible's
    local temporary folder, which Ansible removes at its end.
  - The same sources give the same bytes on every machine, so a second run changes nothing.
options:
  _terms:
    description: C(archive), or names of programs.
    required: true
"""

EXAMPLES = r"""
- name: Install the kill command's wrapper
  ansible.builtin.copy:
    src: "{{ lookup('host_program', 'clawkeep-kill') }}"
    dest: /usr/local/sbin/clawkeep-kill
    owner: root
    group: root
    mode: "0755"
"""

RETURN = r"""
_raw:
  description: Paths on the controller, one for each term.
  type: list
  elements: path
"""

PACKAGE = "clawkeep_host"
SOURCES = Path(__file__).resolve().parents[3] / "src"


class LookupModule(LookupBase):
    """The lookup, as Ansible finds it."""

    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[str]:
        """The path of a file for each term; raises AnsibleLookupError for a term that is no program."""
        self.set_options(var_options=variables, direct=kwargs)
        with _package() as package:
            return [str(_written(_content(package, term), term)) for term in terms]


def _content(package: ModuleType, term: str) -> bytes:
    if term == "archive":
        made: bytes = package.archive()
        return made
    if term not in package.PROGRAMS:
        raise AnsibleLookupError(f"there is no host program {term}: name one of {', '.join(package.PROGRAMS)}")
    text: str = package.wrapper(term)
    return text.encode()


def _written(content: bytes, name: str) -> Path:
    """A file named by its content, for all hosts of the play; it appears whole, for each host has a fork of its own."""
    folder = Path(constants.DEFAULT_LOCAL_TMP)
    path = folder / f"{PACKAGE}-{name}-{hashlib.sha256(content).hexdigest()[:16]}"
    if not path.exists():
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            file.write(content)
        Path(file.name).replace(path)
    return path


@contextlib.contextmanager
def _package() -> Iterator[ModuleType]:
    """The checkout's own `clawkeep_host.package`: not one that is installed here, nor one imported before."""
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == PACKAGE}
    sys.path.insert(0, str(SOURCES))
    try:
        module = importlib.import_module(f"{PACKAGE}.package")
        if Path(str(module.__file__)) != SOURCES / PACKAGE / "package.py":
            raise ImportError(f"what was found is {module.__file__}")
        yield module
    except ImportError as problem:
        raise AnsibleLookupError(f"{SOURCES / PACKAGE} cannot be read: {problem}") from problem
    finally:
        sys.path.remove(str(SOURCES))
        for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
            del sys.modules[name]
        sys.modules.update(before)
