"""What acts while it measures: turns of the agents, connects and marks, canaries and probes from inside.

The rest of the collector only reads.
"""
