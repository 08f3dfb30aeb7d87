"""How a measurement ends: the statuses of the report, and the exceptions by which a test names them."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Question:
    """What a person is asked to attest: `digest` (`sha256:` and 64 hex digits) of what was measured, and for how many
    days an attestation of it stands."""

    digest: str
    days: int


class Manual(Verdict):
    """What can be measured holds; the rest needs a person's dated attestation, which answers `question`."""

    status = Status.MANUAL

    def __init__(self, sentence: str, question: Question | None = None) -> None:
        """Without a question no attestation can answer it: the control stays `manual`."""
        super().__init__(sentence)
        self.question = question
