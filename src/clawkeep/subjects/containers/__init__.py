"""Containers and their engine: confinement, mounts, releases and the state of the agent."""
