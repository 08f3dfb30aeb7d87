"""What Clawkeep's roles install on a host: programs that run there as root or as an account of their own.

Standard library only, Python 3.9 or newer. The package goes over as one archive, and a thin wrapper in /usr/local/sbin
starts each program (role `host_programs`). Parts of it also travel with the collector, which reads the same host.
"""

from __future__ import annotations
