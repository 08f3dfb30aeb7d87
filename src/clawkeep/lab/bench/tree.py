"""The files of the lab's OpenClaw image, unpacked once, and its configuration."""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clawkeep.lab import cache, containers, tools
from clawkeep.lab.containers import Built
from clawkeep.lab.progress import step

_UNPACK = 'tar --extract --to-stdout --file="$0" layer.tar | tar --extract --numeric-owner --directory="$1"'


@dataclass(frozen=True)
class Tree:
    """An image: its id, the folder of its files, and what its configuration says of the process."""

    image: Built
    root: Path
    config: dict[str, Any]


def unpacked() -> Tree:
    """The lab's OpenClaw image as a folder; built and unpacked first where need be."""
    image = containers.build(containers.OPENCLAW)

    def make(folder: Path) -> None:
        with step("unpacking the image for the bench"):
            tools.run(["bash", "-o", "pipefail", "-c", _UNPACK, str(image.archive), str(folder)])

    root = cache.product(f"bench-tree-{image.id.removeprefix('sha256:')[:12]}", make)
    return Tree(image, root, _config(image.archive))


def _config(archive: Path) -> dict[str, Any]:
    """Docker's `config` object of the one image in an archive of `docker save`."""
    with tarfile.open(archive) as saved:
        (manifest,) = _json(saved, "manifest.json")
        config: dict[str, Any] = _json(saved, manifest["Config"])["config"]
    return config


def _json(saved: tarfile.TarFile, name: str) -> Any:
    member = saved.extractfile(name)
    assert member is not None, f"{name} is no file"  # noqa: S101 - the archive is of our own making
    return json.load(member)
