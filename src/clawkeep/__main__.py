"""`python -m clawkeep`: how the schedule, the drills and the benchmarks call the command line."""

from __future__ import annotations

from clawkeep.cli.app import main

main()
