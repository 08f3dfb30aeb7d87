"""`python -m clawkeep.cli`: how the schedule and the tests call the command line."""

from __future__ import annotations

from clawkeep.cli.app import main

main()
