"""The errors that a person gets to read."""

from __future__ import annotations

from collections.abc import Iterable


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
