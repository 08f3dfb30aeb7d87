"""The collector: sent to the managed host as a zip, run there once as root, prints one JSON document.

Standard library only, Python 3.9+: the managed host has no Clawkeep. Nothing here judges anything.
"""
