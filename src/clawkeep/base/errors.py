"""The errors that a person gets to read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command line raises and tells errors before it knows whether it needs pydantic
    from pydantic import ValidationError


class ClawkeepError(Exception):
    """Something that a person must put right before anything can be measured: one sentence with its remedy.

    The command line prints the sentence and ends with status 2, without a traceback.
    """


class NotInOrder(ClawkeepError):
    """A file of waivers or attestations that cannot be used: one sentence for each thing that is wrong in it.

    The command line prints each on a line of its own and ends with status 4.
    """

    def __init__(self, sentences: Iterable[str]) -> None:
        """Keep the sentences; `str()` joins them."""
        self.sentences = tuple(sentences)
        super().__init__("; ".join(self.sentences))


def sentence(problem: ValidationError) -> str:
    """The first thing that pydantic found wrong, as one sentence."""
    error = problem.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(step) for step in error["loc"]) or "it"
    shown = "" if error["type"] == "missing" else f" (it is {str(error['input'])[:80]!r})"
    return f"{where}: {error['msg'][:1].lower()}{error['msg'][1:]}{shown}"
