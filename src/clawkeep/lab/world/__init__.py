"""Stand-ins of the outside world: small programs, each run as `python -m clawkeep.lab.world.NAME` in its namespace."""
