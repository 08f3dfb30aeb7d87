"""Empty files with a random name, laid into directories of the host while a probe looks for them in a container.

They are made and removed through a descriptor of their directory, found without a link that somebody else than root
may have put there: their places lie in homes and in the agent's own volumes. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
from typing import Dict, List

from clawkeep_host import files

MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Canaries:
    """The files, from the beginning to the end of a `with`; `planted` are the directories that took one."""

    def __init__(self, sensitive: List[str], workspaces: List[str]) -> None:
        """Choose the name; the places are directories."""
        self.name = ".clawkeep-canary-" + os.urandom(6).hex()
        self.places = {"sensitive": sensitive, "workspaces": workspaces}
        self._folders: Dict[str, int] = {}

    @property
    def planted(self) -> List[str]:
        """The directories that took one."""
        return list(self._folders)

    def __enter__(self) -> "Canaries":
        """Lay them; a directory that takes none (a read-only /boot) is left out."""
        for directory in dict.fromkeys([*self.places["sensitive"], *self.places["workspaces"]]):
            with contextlib.suppress(OSError):
                self._plant(directory)
        return self

    def _plant(self, directory: str) -> None:
        folder = files.pin_beneath("/", directory)
        try:
            made = os.open(self.name, MAKE, 0o600, dir_fd=folder)
        except OSError:
            os.close(folder)
            raise
        self._folders[directory] = folder
        try:
            os.fchmod(made, 0o644)  # the agent reads the one in its workspace, whatever our umask
        finally:
            os.close(made)

    def __exit__(self, *_: object) -> None:
        """Take all of them away again."""
        for folder in self._folders.values():
            with contextlib.suppress(OSError):
                os.unlink(self.name, dir_fd=folder)
            os.close(folder)
