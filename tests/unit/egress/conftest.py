"""The role templates' renderer, for this folder too."""

from tests.unit.roles.conftest import render

__all__ = ["render"]
