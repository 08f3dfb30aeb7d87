"""The error that a person gets to read."""


class ClawkeepError(Exception):
    """Something that a person must put right before anything can be measured: one sentence with its remedy.

    The command line prints the sentence and ends with status 2, without a traceback.
    """
