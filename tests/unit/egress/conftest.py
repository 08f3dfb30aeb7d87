"""The role templates' renderer, for these tests too."""

from tests.unit.roles.conftest import render

__all__ = ["render"]
