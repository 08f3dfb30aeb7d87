"""What is expensive to build, kept under a key that is a hash of everything it was built from."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_TEMPORARY = "building-"
_KEPT = 7 * 24 * 3600  # seconds after its last use; labs that run longer than this start afresh some day


def home() -> Path:
    """The cache folder: $CLAWKEEP_CACHE, or ~/.cache/clawkeep."""
    return Path(os.environ.get("CLAWKEEP_CACHE") or Path.home() / ".cache" / "clawkeep").absolute()


def key(*inputs: str | bytes) -> str:
    """Twelve hex digits that change whenever any input, or the order of the inputs, changes."""
    digest = hashlib.sha256()
    for item in inputs:
        data = item.encode() if isinstance(item, str) else item
        digest.update(len(data).to_bytes(8, "big") + data)  # the length keeps ("ab", "c") and ("a", "bc") apart
    return digest.hexdigest()[:12]


def source(*modules: str) -> bytes:
    """The source text of modules of this package, as an input of `key`: a changed recipe is a new product."""
    return b"\0".join((Path(__file__).parent / m).read_bytes() for m in modules)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's build lock; waits for another builder, and never survives this process."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def product(name: str, build: Callable[[Path], None]) -> Path:
    """The finished folder `name` of the cache; `build` fills a temporary one that is renamed when it is complete.

    Interrupted builds leave nothing that could be taken for a product: what a killed builder left behind is removed
    by the next one, which holds the lock and so knows that nobody is building.
    """
    folder = home()
    finished = folder / name
    if finished.is_dir():
        os.utime(finished)  # when it was last used
        return finished
    with locked(folder):
        for left_over in folder.glob(f"{_TEMPORARY}*"):
            shutil.rmtree(left_over)
        if not finished.is_dir():
            temporary = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=folder))
            try:
                build(temporary)
                temporary.rename(finished)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        _forget(folder, name)
    return finished


def _forget(folder: Path, name: str) -> None:
    """Remove products of the same kind (the name before its key) that nobody has used for a while."""
    kind = name.rpartition("-")[0]
    for other in folder.glob(f"{kind}-*"):
        if other.name != name and time.time() - other.stat().st_mtime > _KEPT:
            shutil.rmtree(other)
