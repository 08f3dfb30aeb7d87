"""Tell that a service of the schedule ended before it could tell anything itself: crashed, killed, out of time."""

from __future__ import annotations

from collections.abc import Mapping

from clawkeep.base.errors import ClawkeepError
from clawkeep.schedule.config import Config
from clawkeep.schedule.notice import Level, Notice
from clawkeep.schedule.tell import tell
from clawkeep.site import ledger


def told_already(config: Config, invocation: str) -> bool:
    """Whether that start of a service is in the ledger: then it came far enough to tell people by itself."""
    try:
        known = ledger.read(config.ledger)
    except ClawkeepError:
        return False
    starts = {known.watch.invocation, *(attempt.invocation for attempt in known.attempts)}
    return bool(invocation) and invocation in starts


def notice(node: str, unit: str, environ: Mapping[str, str]) -> Notice:
    """The message; `environ` has what systemd says of the failed unit (MONITOR_*, since systemd 251)."""
    result = environ.get("MONITOR_SERVICE_RESULT", "unknown")
    code, status = environ.get("MONITOR_EXIT_CODE", "?"), environ.get("MONITOR_EXIT_STATUS", "?")
    lines = [
        f"{unit} ended with result {result} ({code} {status}) and could not tell why",
        f"read `journalctl -u {unit}` on {node}",
    ]
    data = {"node": node, "unit": unit, "result": result, "exit_code": code, "exit_status": status}
    return Notice.of(Level.ERROR, f"{node}: {unit} failed ({result})", lines, data)


def raise_alarm(config: Config, unit: str, environ: Mapping[str, str]) -> dict[str, str] | None:
    """Tell people, unless the unit did so; by channel why that failed, None when nothing was to tell."""
    if told_already(config, environ.get("MONITOR_INVOCATION_ID", "")):
        return None
    return tell(config, notice(config.node, unit, environ))
