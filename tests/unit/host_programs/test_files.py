"""clawkeep_host.files: whole files, locks, and a walk that a hostile owner of the tree cannot lead astray."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from clawkeep_host import files
from clawkeep_host.command import Refusal
from clawkeep_host.files import Entry, Walk

ROOT = os.geteuid() == 0
as_root = pytest.mark.skipif(not ROOT, reason="needs root")
LONG = "d" * 250


def paths(walk: Walk) -> list[str]:
    return [entry.path for entry in walk]


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def at(root: Path, path: str) -> Iterator[Entry]:
    """The one entry, while the walk stands on it."""
    for entry in Walk(root):
        if entry.path == path:
            yield entry


def deep(root: Path, levels: int, name: str = "d") -> None:
    """Folders inside each other, however long their path gets."""
    folder = os.open(root, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=folder)
        folder, former = os.open(name, os.O_RDONLY, dir_fd=folder), folder
        os.close(former)
    os.close(os.open("last", os.O_CREAT, dir_fd=folder))
    os.close(folder)


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """An empty folder, removed by a tool that knows no longest path."""
    root = tmp_path / "tree"
    root.mkdir()
    yield root
    subprocess.run(["rm", "-rf", str(root)], check=True)


# --- the walk -----------------------------------------------------------------------------------------------------


def test_a_walk_names_the_root_and_everything_below_it_folders_first(tree: Path) -> None:
    (tree / "b").mkdir()
    (tree / "b" / "c").mkdir()
    (tree / "b" / "c" / "f").touch()
    (tree / "a").touch()
    (tree / "b" / "z").touch()
    walk = Walk(tree)
    assert paths(walk) == [".", "a", "b", "b/c", "b/c/f", "b/z"]
    assert walk.complete
    assert walk.left_out == []


def test_an_entry_tells_what_it_is_and_where(tree: Path) -> None:
    (tree / "folder").mkdir(mode=0o750)
    (tree / "folder" / "file").write_text("text")
    (tree / "link").symlink_to("folder")
    found = {entry.path: (entry.name, entry.is_folder, entry.is_link) for entry in Walk(str(tree))}
    assert found == {
        ".": (".", True, False),
        "folder": ("folder", True, False),
        "folder/file": ("file", False, False),
        "link": ("link", False, True),
    }
    for entry in at(tree, "folder/file"):
        assert entry.status == os.lstat(tree / "folder" / "file")
        assert os.fstat(entry.parent).st_ino == (tree / "folder").stat().st_ino
        assert os.stat(entry.name, dir_fd=entry.parent).st_ino == entry.status.st_ino
        assert Path(entry.handle).read_text() == "text"


def test_a_link_is_an_entry_and_never_followed(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").touch()
    (tree / "to_folder").symlink_to(outside)
    (tree / "to_file").symlink_to(outside / "secret")
    (tree / "to_nothing").symlink_to("nowhere")
    assert paths(Walk(tree)) == [".", "to_file", "to_folder", "to_nothing"]


@pytest.mark.parametrize("make", [Path.touch, lambda path: path.symlink_to("/etc"), os.mkfifo, lambda _: None])
def test_only_a_folder_can_be_walked(tmp_path: Path, make: Callable[[Path], None]) -> None:
    root = tmp_path / "root"
    make(root)
    with pytest.raises(OSError):
        paths(Walk(root))


def test_a_folder_that_becomes_a_link_while_it_is_looked_at_leads_nowhere(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "hers").touch()
    (tree / "folder").mkdir()
    (tree / "folder" / "his").touch()
    seen = []
    for entry in Walk(tree):
        seen.append(entry.path)
        if entry.path == "folder":
            (tree / "folder").rename(tree / "zz")
            (tree / "folder").symlink_to(outside)
    assert seen == [".", "folder", "folder/his"]


def test_a_change_hits_what_was_looked_at_and_not_what_took_its_name(tree: Path) -> None:
    (tree / "one").touch(mode=0o644)
    (tree / "other").touch(mode=0o644)
    for entry in at(tree, "one"):
        (tree / "other").rename(tree / "one")
        entry.limit(0o600, os.geteuid())
        assert stat.S_IMODE(os.fstat(entry.descriptor).st_mode) == 0o600
    assert stat.S_IMODE((tree / "one").stat().st_mode) == 0o644


def test_what_vanishes_is_no_entry_and_the_walk_is_still_complete(tree: Path) -> None:
    for name in ("a", "b"):
        (tree / name).touch()
    walk = Walk(tree)
    seen = []
    for entry in walk:
        seen.append(entry.path)
        if entry.path == "a":
            (tree / "b").unlink()
    assert seen == [".", "a"]
    assert walk.complete


def test_a_folder_that_is_removed_while_it_is_looked_at_is_empty(tree: Path) -> None:
    (tree / "a").mkdir()
    (tree / "b").touch()
    walk = Walk(tree)
    seen = []
    for entry in walk:
        seen.append(entry.path)
        if entry.path == "a":
            (tree / "a").rmdir()
    assert seen == [".", "a", "b"]
    assert walk.complete


def test_names_that_are_no_text_come_back_as_they_are(tree: Path) -> None:
    raw = b"caf\xe9\n\x1b"
    (tree / os.fsdecode(raw)).touch()
    assert [os.fsencode(path) for path in paths(Walk(tree))] == [b".", raw]


def test_paths_longer_than_any_system_call_takes_are_walked(tree: Path) -> None:
    deep(tree, 20, LONG)
    found = {entry.path: entry.status.st_mode for entry in Walk(tree)}
    assert len(found) == 22
    assert stat.S_ISREG(found["/".join([LONG] * 20 + ["last"])])


def test_a_tree_too_deep_is_walked_to_the_bound_and_told(tree: Path) -> None:
    deep(tree, 4)
    walk = Walk(tree, depth=4)
    assert paths(walk)[-1] == "d/d/d/d"
    assert walk.left_out == [("d/d/d/d", "it lies deeper than 4 folders")]
    assert not walk.complete
    walk = Walk(tree, depth=5)
    assert paths(walk)[-1] == "d/d/d/d/last"
    assert walk.complete


def test_a_tree_too_big_is_walked_to_the_bound_and_told(tree: Path) -> None:
    for folder in ("a", "b"):
        (tree / folder).mkdir()
        for number in range(3):
            (tree / folder / str(number)).touch()
    walk = Walk(tree, entries=8)
    assert len(paths(walk)) == 9
    assert walk.complete
    walk = Walk(tree, entries=7)
    assert len(paths(walk)) == 8
    assert walk.left_out == [("b", "the tree has more than the 7 entries that are looked at")]
    assert not walk.complete


def test_a_folder_with_more_names_than_the_bound_is_not_read_to_its_end(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        (tree / str(number)).touch()
    read = []
    scandir = os.scandir

    class Counted:
        def __init__(self, folder: int) -> None:
            self.inner = scandir(folder)

        def __enter__(self) -> Iterator[os.DirEntry[str]]:
            return self.names()

        def __exit__(self, *_: object) -> None:
            self.inner.close()

        def names(self) -> Iterator[os.DirEntry[str]]:
            for found in self.inner:
                read.append(found.name)
                yield found

    monkeypatch.setattr(os, "scandir", Counted)
    assert len(paths(Walk(tree, entries=4))) == 5
    assert len(read) == 5


def test_only_the_first_of_many_complaints_are_kept_and_all_are_counted(tree: Path) -> None:
    for number in range(files.TOLD + 5):
        (tree / str(number)).mkdir()
        (tree / str(number) / "below").touch()
    walk = Walk(tree, depth=1)
    assert len(paths(walk)) == files.TOLD + 6
    assert len(walk.left_out) == files.TOLD
    assert walk.omitted == files.TOLD + 5


def test_a_folder_that_cannot_be_opened_is_told(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "closed").mkdir()
    (tree / "closed" / "below").touch()
    (tree / "open").mkdir()
    (tree / "open" / "below").touch()
    real = os.open

    def refusing(path: str, flags: int, *, dir_fd: int | None = None) -> int:
        closed = path == "." and dir_fd is not None and os.fstat(dir_fd).st_ino == (tree / "closed").stat().st_ino
        if closed and not flags & os.O_PATH:
            raise PermissionError(13, "Permission denied")
        return real(path, flags, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", refusing)
    walk = Walk(tree)
    assert paths(walk) == [".", "closed", "open", "open/below"]
    assert walk.left_out == [("closed", "Permission denied")]
    assert not walk.complete


FEW = """
import resource, sys
from clawkeep_host.files import Walk
resource.setrlimit(resource.RLIMIT_NOFILE, (30, 30))
walk = Walk(sys.argv[1])
print(len([entry.path for entry in walk]), walk.complete, walk.left_out[0][1])
"""


def test_a_walk_that_runs_out_of_descriptors_says_so(tree: Path) -> None:
    deep(tree, 100)
    done = subprocess.run([sys.executable, "-c", FEW, tree], capture_output=True, text=True, check=True)
    seen, complete, *left_out = done.stdout.split(maxsplit=2)
    assert 20 < int(seen) < 30
    assert complete == "False"
    assert left_out == ["Too many open files\n"]


def test_a_walk_keeps_nothing_open_however_it_ends(tree: Path) -> None:
    deep(tree, 5)
    before = open_descriptors()
    paths(Walk(tree))
    assert open_descriptors() == before
    walk = Walk(tree)
    for entry in walk:
        if entry.path == "d/d/d":
            break
    assert open_descriptors() == before
    assert not walk.complete
    paths(Walk(tree, depth=2))
    assert open_descriptors() == before


MOUNTS = """
import os, pathlib, sys
from clawkeep_host.command import Refusal
from clawkeep_host.files import Walk
tree = sys.argv[1]
for walk in (Walk(tree), Walk(tree, enter_mounts=True)):
    print(*[entry.path + "*" * entry.mounted for entry in walk], walk.complete)
for entry in Walk(tree):
    if entry.path in ("bind", "file", "own"):
        try:
            entry.limit(0o700, 0)
            print("limited", entry.path)
        except Refusal as refusal:
            print(refusal)
"""


@as_root
def test_what_is_mounted_in_the_tree_is_left_alone_also_when_it_is_of_the_same_file_system(
    tree: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "hers").touch()
    for name in ("bind", "own", "tmpfs"):
        (tree / name).mkdir()
    (tree / "file").touch()
    script = 'mount --bind "$2" "$1/bind"; mount --bind "$2/hers" "$1/file"; mount -t tmpfs none "$1/tmpfs"; shift 2'
    within = ["unshare", "--mount", "sh", "-euc", f'{script}; exec "$@"', "sh"]
    done = subprocess.run(
        [*within, tree, outside, sys.executable, "-c", MOUNTS, tree],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        ". bind* file* own tmpfs* True",
        ". bind* bind/hers* file* own tmpfs* True",
        "bind is a mount",
        "file is a mount",
        "limited own",
    ]


@as_root
def test_a_link_is_given_away_itself(tree: Path) -> None:
    (tree / "target").touch()
    (tree / "link").symlink_to("target")
    for entry in at(tree, "link"):
        entry.give(1000, 1001)
    assert ((tree / "link").lstat().st_uid, (tree / "link").lstat().st_gid) == (1000, 1001)
    assert (tree / "target").stat().st_uid == 0


def test_a_link_has_no_mode_to_limit(tree: Path) -> None:
    (tree / "target").touch(mode=0o644)
    (tree / "link").symlink_to("target")
    for entry in at(tree, "link"):
        with pytest.raises(OSError, match="not supported"):
            entry.limit(0o600, os.geteuid())
    assert stat.S_IMODE((tree / "target").stat().st_mode) == 0o644


@as_root
@pytest.mark.parametrize("kind", ["file", "fifo", "socket", "link"])
def test_a_second_name_of_somebody_elses_file_is_neither_given_away_nor_changed(tree: Path, kind: str) -> None:
    """Where fs.protected_hardlinks is off, the agent may have linked /etc/shadow into its tree."""
    host = tree.parent / "host"
    if kind == "file":
        host.touch(mode=0o640)
    elif kind == "fifo":
        os.mkfifo(host, 0o640)
    elif kind == "link":
        host.symlink_to("nowhere")
    else:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(host))
    os.link(host, tree / "mine", follow_symlinks=False)
    before = host.lstat()
    for entry in at(tree, "mine"):
        for change in (partial(entry.give, 1000, 1000), partial(entry.limit, 0o600, 1000)):
            with pytest.raises(Refusal, match=r"^mine is a file of uid 0 that has another name too$"):
                change()
    assert (host.lstat().st_uid, host.lstat().st_mode) == (0, before.st_mode)


@as_root
def test_the_accounts_own_file_may_have_two_names(tree: Path) -> None:
    (tree / "one").touch(mode=0o644)
    os.chown(tree / "one", 1000, 0)
    (tree / "two").hardlink_to(tree / "one")
    for entry in at(tree, "one"):
        entry.give(1000, 1000)
        entry.limit(0o600, 1000)
    assert ((tree / "two").stat().st_gid, stat.S_IMODE((tree / "two").stat().st_mode)) == (1000, 0o600)


@as_root
@pytest.mark.parametrize("kind", [stat.S_IFCHR, stat.S_IFBLK])
def test_a_device_is_given_to_nobody(tree: Path, kind: int) -> None:
    os.mknod(tree / "disk", kind | 0o600, os.makedev(1, 3))
    for entry in at(tree, "disk"):
        with pytest.raises(Refusal, match=r"^disk is a device$"):
            entry.give(1000, 1000)
    assert (tree / "disk").stat().st_uid == 0


# --- whole files ----------------------------------------------------------------------------------------------------


def test_a_file_is_replaced_as_a_whole_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o666)
    with path.open() as reader:
        files.write(path, "new \N{SNOWMAN}", 0o640)
        assert reader.read() == "old"
    assert path.read_text(encoding="utf-8") == "new \N{SNOWMAN}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    files.write(path, b"\xff")
    assert path.read_bytes() == b"\xff"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert names_in(tmp_path) == ["file"]


def test_a_file_is_never_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("untouched")
    (tmp_path / ".file.new").symlink_to("victim")
    (tmp_path / "file").symlink_to("victim")
    files.write(tmp_path / "file", "new")
    assert (tmp_path / "victim").read_text() == "untouched"
    assert not (tmp_path / "file").is_symlink()


def test_a_file_that_cannot_be_written_leaves_the_old_one_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "old"
    assert names_in(tmp_path) == ["file"]


@as_root
def test_a_file_is_given_to_its_owner(tmp_path: Path) -> None:
    files.write(tmp_path / "file", "text", 0o400, 1000)
    found = (tmp_path / "file").stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1000, 1000, 0o400)


# --- locks ----------------------------------------------------------------------------------------------------------


def test_a_lock_is_held_by_one_and_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "POLL_SECONDS", 0)
    path = tmp_path / "lock"
    refused = pytest.raises(Refusal, match=r"^another clawkeep-x is at work$")
    with files.lock(path, "clawkeep-x"), refused, files.lock(path, "clawkeep-x", 0.01):
        pytest.fail("two hold it")
    with files.lock(path, "clawkeep-x", 0):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_lock_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock"
    other = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(other, fcntl.LOCK_EX)
    monkeypatch.setattr("clawkeep_host.files.time.sleep", lambda _: os.close(other))
    with files.lock(path, "clawkeep-x", 60):
        pass


def test_a_lock_is_no_way_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to("elsewhere")
    with pytest.raises(OSError, match="symbolic link"), files.lock(tmp_path / "lock", "x"):
        pytest.fail("followed")
    assert not (tmp_path / "elsewhere").exists()


@pytest.fixture
def inner(tmp_path: Path) -> Path:
    """A root of root's own as a container's is, with a volume of somebody else's, and a file outside of it."""
    (tmp_path / "outside").write_text("of the host")
    root = tmp_path / "root"
    for folder in ("etc", "run", "volume/deep"):
        (root / folder).mkdir(parents=True)
    for path in (tmp_path, root, *root.rglob("*")):
        path.chmod(0o755)
    (root / "etc/real").write_text("of the container")
    (root / "volume/plain").write_text("of the agent")
    if ROOT:
        os.chown(root / "volume", 1000, 1000)
    return root


@as_root
@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("etc/link", "real"),
        ("etc/link", "/etc/real"),
        ("run/link", "../etc/real"),
        ("run/link", "/../../../etc/real"),
        ("link", "etc/../etc/./real"),
    ],
)
def test_roots_own_links_are_followed_below_the_root(inner: Path, link: str, target: str) -> None:
    (inner / link).symlink_to(target)
    assert files.content_beneath(inner, link, 100) == b"of the container"


@as_root
@pytest.mark.parametrize("target", ["../../outside", "/../outside", "../../../../../../outside", "/outside"])
def test_no_link_leads_out_of_the_root(inner: Path, target: str) -> None:
    (inner / "etc/link").symlink_to(target)
    with pytest.raises(FileNotFoundError):
        files.content_beneath(inner, "etc/link", 100)


@as_root
@pytest.mark.parametrize("path", ["volume/link", "volume/folder/real", "etc/behind"])
def test_a_link_that_somebody_else_may_have_put_there_is_not_followed(inner: Path, path: str) -> None:
    (inner / "volume/link").symlink_to("/etc/real")
    (inner / "volume/folder").symlink_to("../etc")
    (inner / "etc/behind").symlink_to("../volume/link")
    os.lchown(inner / "volume/link", 0, 0)  # whoever owns the folder can move root's own link there
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        files.content_beneath(inner, path, 100)
    assert files.content_beneath(inner, "volume/plain", 100) == b"of the agent"


@as_root
@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777])
def test_a_folder_that_others_may_write_to_has_no_links_of_roots_own(inner: Path, mode: int) -> None:
    (inner / "etc/link").symlink_to("real")
    (inner / "etc").chmod(mode)
    with pytest.raises(OSError, match="Too many levels"):
        files.content_beneath(inner, "etc/link", 100)


@as_root
def test_a_folder_of_roots_below_somebody_elses_is_not_roots_alone(inner: Path) -> None:
    (inner / "volume/deep/link").symlink_to("/etc/real")
    with pytest.raises(OSError, match="Too many levels"):
        files.content_beneath(inner, "volume/deep/link", 100)


@as_root
def test_links_in_a_circle_end(inner: Path) -> None:
    (inner / "etc/a").symlink_to("b")
    (inner / "etc/b").symlink_to("/etc/a")
    before = open_descriptors()
    with pytest.raises(OSError, match="Too many levels"):
        files.content_beneath(inner, "etc/a", 100)
    assert open_descriptors() == before


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder", "device"])
def test_what_is_no_regular_file_is_never_opened(tmp_path: Path, kind: str) -> None:
    """Opening a pipe waits for a writer, and opening some devices does something."""
    path = tmp_path / "it"
    listener = socket.socket(socket.AF_UNIX)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        listener.bind(str(path))
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    with listener, pytest.raises(OSError, match="it is no regular file"):
        files.content(path, 10)
    if kind != "device":
        with pytest.raises(OSError, match="it is no regular file"):
            files.content_beneath(tmp_path, "it", 10)


def test_a_file_without_end_is_read_to_the_limit(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    assert files.content(tmp_path / "sparse", 5) == bytes(5)
    assert files.content_beneath(tmp_path, "sparse", 5) == bytes(5)


def test_a_file_of_the_kernels_is_read_to_its_end() -> None:
    assert b"\nUid:" in files.content("/proc/self/status", 100_000)
