"""Verification that runs by itself, keeps what it found, tells people, and shouts when it has stopped.

A control node (role `verifier`) has one folder, its state:

    schedule.json      the ledger: when the schedule was set up, its last attempts, what the watch saw
    runs/NAME/         one attempt: report/, evidence/, log.txt
    metrics/*.prom     Prometheus textfiles

`clawkeep schedule run` and `clawkeep schedule stale` are called by two systemd timers that watch each other.
"""
