"""How a measurement ends: the statuses of the report, and the exceptions by which a test names them."""

from enum import StrEnum


class Status(StrEnum):
    """One control's outcome on one host. Values are part of the report's contract."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    WAIVED = "waived"
    NOT_APPLICABLE = "not_applicable"
    NOT_REQUIRED = "not_required"
    MANUAL = "manual"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"


class Verdict(Exception):
    """Base of the outcomes that are neither a pass nor a violation; `str(verdict)` is one sentence."""

    status: Status


class Unmeasured(Verdict):
    """The host could not be asked: a tool is missing, a command failed, a probe had no control experiment."""

    status = Status.INCONCLUSIVE


class NotApplicable(Verdict):
    """The control has no subject on this host, and the sentence says why."""

    status = Status.NOT_APPLICABLE


class Manual(Verdict):
    """What can be measured holds; the rest needs a person's dated attestation."""

    status = Status.MANUAL
