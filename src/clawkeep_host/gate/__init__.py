"""The session gate of the browser entry: nginx asks it who is behind a request before it passes anything on.

`server` answers nginx on a unix socket and is the command line; `pages` decides, `store` remembers users, sessions and
failed attempts, `passwords` hashes and judges passwords.
"""

from __future__ import annotations
