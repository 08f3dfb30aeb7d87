"""Broken worlds: what is done to a host to break a promise, and what the evidence then says.

A sabotage is declared once, in tests/sabotage/<family>/<stem>.yml. `campaign` commits it in the lab; the change that
it made to the good evidence is kept beside it as a small JSON Patch, so that the suite is proved to have teeth
without a host.
"""
