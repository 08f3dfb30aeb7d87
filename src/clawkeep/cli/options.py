"""Options that several sub-commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

InventoryPath = Annotated[
    Path, typer.Option("--inventory", "-i", metavar="INVENTORY", help="Ansible inventory: a file or a folder.")
]
