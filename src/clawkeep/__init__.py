"""Provision OpenClaw hosts to a security tier, and prove that the tier holds."""

__version__ = "0.1.0"
