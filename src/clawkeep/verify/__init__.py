"""Judging: the suite run over observed hosts, exceptions and attestations, the report, and drift."""
