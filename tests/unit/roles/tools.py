"""Roles' own programs as modules, to be tried with their folders in a temporary place."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from .conftest import ROOT


def load(role: str, name: str) -> ModuleType:
    """The program /usr/local/sbin/NAME of a role as a module, without leaving a compiled copy beside it."""
    path: Path = ROOT / "roles" / role / "files/usr/local/sbin" / name
    loader = importlib.machinery.SourceFileLoader(name.replace("-", "_"), str(path))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    sys.modules[loader.name] = module  # dataclasses look themselves up there
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = written
    return module
