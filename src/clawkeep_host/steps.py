"""Steps that are all tried, each within its time, for programs that must not stop half-way."""

from __future__ import annotations

import syslog
import threading
import time
from collections.abc import Callable
from typing import Any

from clawkeep_host import system_log
from clawkeep_host.command import Refusal, printable
from clawkeep_host.redaction import redact_text

DISK_SECONDS = 10.0
SENTENCE = 4000  # characters of one about a failure


class Steps:
    """Tries one step after the other and keeps a sentence about each that failed.

    The system's log hears at once, under the name of `program`, which step failed; what a command or the engine said is
    for the operator alone. Without a program nothing is logged.
    """

    def __init__(self, program: str = "") -> None:
        """Begin without a failure."""
        self.program = program
        self.failures: list[str] = []
        self.unheard = ""  # why the log did not take a message

    def attempt(self, what: str, action: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """The result of `action`, or None when it failed, for whatever reason; `what` says so in a few words."""
        try:
            return action(*arguments, **options)
        except Exception as trouble:
            self.failed(what, trouble)
            return None

    def failed(self, what: str, why: object) -> None:
        """Keep that a step failed, without secrets, and log `what`."""
        told = isinstance(why, (Refusal, OSError, str))
        words = str(why) if told else f"{type(why).__name__}: {why}"
        self.failures.append(printable(redact_text(f"{what}: {words}"), SENTENCE))
        self.tell(f"failed: {what}")

    def tell(self, message: str) -> None:
        """Log a message without waiting, or remember that the log did not take it."""
        if not self.program:
            return
        try:
            system_log.tell(self.program, syslog.LOG_ALERT, message)
        except OSError as trouble:
            self.unheard = str(trouble)

    def conclude(self, what: str) -> list[str]:
        """Log the end of `what`; return a sentence about each failure, the log's own last."""
        self.tell(f"{what} ended, failed steps: {len(self.failures)}")
        return [*self.failures, *([f"the system's log was not told: {self.unheard}"] if self.unheard else [])]


class Disk:
    """Runs what touches a disk. One that hangs in the kernel, where no signal reaches, is left alone from then on."""

    def __init__(self, seconds: float = DISK_SECONDS) -> None:
        """`seconds` is what each action gets."""
        self._seconds = seconds
        self._hangs = False

    def do(self, action: Callable[..., Any], *arguments: Any) -> Any:
        """The result of `action`; raises what it raises, and Refusal when it does not end in time."""
        if self._hangs:
            raise Refusal("not tried, for the disk hangs")
        results: list[Any] = []
        troubles: list[Exception] = []

        def work() -> None:
            try:
                results.append(action(*arguments))
            except Exception as trouble:
                troubles.append(trouble)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(self._seconds)
        if troubles:
            raise troubles[0]
        if not results:
            self._hangs = True
            raise Refusal(f"the disk did not answer within {self._seconds:g} s")
        return results[0]


class Budget:
    """Seconds that several questions share: the next one gets what is left, and always enough for a quick answer."""

    LEAST = 2.0

    def __init__(self, seconds: float, each: float) -> None:
        """Begin to count; `each` is the most that one question gets."""
        self._end = time.monotonic() + seconds
        self._each = each

    def __call__(self) -> float:
        """The seconds for the next question."""
        return max(self.LEAST, min(self._each, self._end - time.monotonic()))
