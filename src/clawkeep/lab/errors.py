"""What goes wrong in the lab."""

from clawkeep.base.errors import ClawkeepError


class LabError(ClawkeepError):
    """The lab cannot do what was asked: one sentence that says what the person at the terminal can do."""
