"""The part of the collection that concerns the host itself: engine, sshd, kernel, accounts, estate and break glass."""

from __future__ import annotations

import threading
import traceback
from typing import Callable

from clawkeep.collector import accounts, breakglass, engine, estate, instance, kernel, sshd
from clawkeep.collector.recorder import Recorder


def collect(rec: Recorder) -> None:
    """Gather the subjects beside one another; one that breaks is named and costs only itself."""

    def guard(name: str, part: Callable[[Recorder], None]) -> None:
        try:
            part(rec)
        except Exception as problem:
            where = traceback.extract_tb(problem.__traceback__)[-1]
            rec.problem("host." + name, "the collector's %s broke at line %s: %s" % (name, where.lineno, problem))

    parts = {
        "accounts": accounts.collect,
        "breakglass": breakglass.collect,
        "engine": engine.collect,
        "estate": estate.collect,
        "instance": instance.collect,
        "kernel": kernel.collect,
        "sshd": sshd.collect,
    }
    threads = [threading.Thread(target=guard, args=item, daemon=True) for item in parts.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
