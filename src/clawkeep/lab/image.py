"""The host's disk: a Debian tree, furnished as the lab's host, with its kernel beside it for a direct boot."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from clawkeep.lab import cache, containers, debian, guest, tools
from clawkeep.lab.containers import Built, Image
from clawkeep.lab.progress import step

DISK_SIZE = "10G"
_CONTAINERS = "containers.json"
_PRELOAD = "preload.sh"
_APPARMOR_FEATURES = "apparmor-features"


@dataclass(frozen=True)
class HostImage:
    """Everything a machine boots from, in one folder of the cache to which nothing ever writes."""

    folder: Path

    @property
    def disk(self) -> Path:
        """The root disk, a qcow2."""
        return self.folder / "disk.qcow2"

    @property
    def kernel(self) -> Path:
        """The kernel of that disk."""
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """Its initial file system."""
        return self.folder / "initrd.img"

    @property
    def containers(self) -> tuple[Image, ...]:
        """The container images in the disk's Docker, OpenClaw's first."""
        return tuple(Image(**facts) for facts in json.loads((self.folder / _CONTAINERS).read_text()))


def ensure() -> HostImage:
    """The image from the cache; the parts whose inputs have changed are built first (about four minutes for all)."""
    tools.need(*tools.FOR_IMAGE)
    images = tuple(containers.build(recipe) for recipe in containers.RECIPES)
    tree = cache.product(f"tree-{_tree_key()}", _build_tree)
    recipe = cache.source("guest.py", "topology.py", "image.py", _PRELOAD, _APPARMOR_FEATURES)
    key = cache.key(tree.name, *(i.id for i in images), recipe)
    return HostImage(cache.product(f"host-{key}", lambda into: _build_host(into, tree, images)))


def _tree_key() -> str:
    return cache.key(*sorted(set(guest.PACKAGES)), *guest.INITRAMFS_MODULES, *debian.SOURCES, cache.source("debian.py"))


def _build_tree(folder: Path) -> None:
    """Install the packages. Kept apart from the furnishing, which changes more often."""
    modules = " ".join(guest.INITRAMFS_MODULES)
    initramfs = (
        '--essential-hook=mkdir -p "$1"/etc/initramfs-tools/conf.d && '
        'printf "MODULES=list\\nCOMPRESS=zstd\\n" > "$1"/etc/initramfs-tools/conf.d/lab && '
        f'printf "%s\\n" {modules} > "$1"/etc/initramfs-tools/modules'
    )
    with step("installing Debian for the lab host"):
        debian.bootstrap(folder / "tree.tar", guest.PACKAGES, variant="minbase", hooks=[initramfs])


def _build_host(folder: Path, tree: Path, images: tuple[Built, ...]) -> None:
    root = folder / "root"
    root.mkdir()
    with step("furnishing the lab host"):
        archive = f"--file={tree / 'tree.tar'}"
        tools.run(["tar", "--extract", "--xattrs", "--xattrs-include=*", archive, f"--directory={root}"])
        _furnish(root)
    script, features = (Path(__file__).with_name(name) for name in (_PRELOAD, _APPARMOR_FEATURES))
    with step("loading the container images into the lab host"):
        isolated = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]
        archives = [str(i.archive) for i in images]
        tools.run([*isolated, "sh", str(script), str(root), str(features), *archives])
    with step("writing the lab host's disk"):
        for name in ("vmlinuz", "initrd.img"):
            shutil.copyfile((root / name).resolve(), folder / name)
        raw = folder / "disk.raw"
        tools.run(["mke2fs", "-q", "-t", "ext4", "-L", "lab", "-m", "1", "-d", str(root), str(raw), DISK_SIZE])
        shutil.rmtree(root)
        tools.run(["qemu-img", "convert", "-O", "qcow2", str(raw), str(folder / "disk.qcow2")])
        raw.unlink()
    facts = [{"name": i.name, "id": i.id} for i in images]
    (folder / _CONTAINERS).write_text(json.dumps(facts, indent=2) + "\n")


def _furnish(root: Path) -> None:
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    for file in guest.files():
        path = root / file.path.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text)
        path.chmod(file.mode)
    uid = str(guest.ADMIN_UID)
    _chroot(root, "useradd", "--uid", uid, "--user-group", "--create-home", "--shell", "/bin/bash", guest.ADMIN)
    _chroot(root, "passwd", "--lock", "root")
    _chroot(root, "systemctl", "--quiet", "disable", *_known(root, guest.DISABLED_UNITS))
    _chroot(root, "systemctl", "--quiet", "enable", *guest.ENABLED_UNITS)
    _chroot(root, "systemctl", "--quiet", "mask", *guest.MASKED_UNITS)
    # An empty machine id makes every start a first start, which resets the units to the vendor's presets.
    (root / "etc/machine-id").unlink(missing_ok=True)
    _chroot(root, "systemd-machine-id-setup")


def _known(root: Path, units: tuple[str, ...]) -> list[str]:
    """Those of `units` that the tree has, as a unit or as a System V script."""
    places = ("usr/lib/systemd/system", "etc/systemd/system")
    return [u for u in units if any(os.path.lexists(root / place / u) for place in places)]


def _chroot(root: Path, *argv: str) -> None:
    tools.run(["chroot", str(root), *argv])
