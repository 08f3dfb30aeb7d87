"""Mutate the code that runs as root and the code that judges, and tell which mutants no test notices.

usage: scripts/mutate.py [--sample N] [--fresh] [MODULE ...]

MODULE is a path below src such as clawkeep_host/kill.py, or a pattern; without one everything is mutated. Results are
kept in .mutate/: what has not changed is not tried again. docs/guides/mutation.md says how to read the table.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import fcntl
import fnmatch
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / ".mutate"
GUIDE = ROOT / "docs/guides/mutation.md"
APART = "CLAWKEEP_MUTATE_APART"  # set in the namespaces that mutants run in
AT_ONCE = 2000  # names of mutants in one command line
# What mutmut 3.8 notes of a mutant: the exit status of its tests, or a number of its own.
KILLED = {1, 3, 24, -24, 36, 152, 255, -9, -11}  # a failed test, one that never ends, one that dies of it
UNTESTED = {5, 33}


@dataclass(frozen=True)
class Area:
    """Modules, and the tests among which mutmut finds those that reach a mutant."""

    name: str
    modules: tuple[str, ...]
    tests: tuple[str, ...]
    options: tuple[str, ...] = ()


AREAS = (
    Area(
        "host",
        ("src/clawkeep_host/*",),
        ("tests/unit/host_programs", "tests/unit/logs", "tests/unit/evidence"),
    ),
    Area(
        "judging",
        ("src/clawkeep/subjects/*", "src/clawkeep/netfilter/*"),
        ("tests/unit",),
        # Minutes each, and about other rooms. The replay of recorded worlds would take half a minute for each mutant.
        tuple(
            f"--ignore=tests/unit/{name}"
            for name in ("test_replay.py", "lab", "report", "roles", "host_programs", "engine", "register")
        ),
    ),
)

# What a mutated module finds as mutmut when a test starts it in a process of its own.
STAND_IN = '''\
"""Run the mutant that the environment names; mutmut itself is not installed for this interpreter."""

import functools
import os

MutantDict = dict


def wrap_in_trampoline(mutants, is_classmethod=False):
    """Forward calls to the mutant under test, or to the original."""

    def wrap(function):
        @functools.wraps(function)
        def chosen(*args, **kwargs):
            module, _, name = os.environ.get("MUTANT_UNDER_TEST", "").rpartition(".")
            mutant = mutants.get(name) if module == function.__module__ else None
            mutant = mutant or mutants["_mutmut_orig"]
            if is_classmethod:
                return getattr(args[0], mutant.__name__)(*args[1:], **kwargs)
            return mutant(*args, **kwargs)

        return chosen

    return wrap
'''

# Mutated programs of root would act on this machine. They get no network, no daemon's socket, process ids of their own
# and a file system of which they can write this one folder.
NAMESPACES = """\
echo 20000 >/proc/sys/kernel/ns_last_pid # tests invent low ones, which shall be nobody's
mount --make-rprivate /
mount -t tmpfs none /run
mkdir /run/kept
mount --bind "$1" /run/kept
for folder in /*; do
    case $folder in
        /dev | /proc | /run) continue ;;
    esac
    [ -d "$folder" ] && [ ! -L "$folder" ] || continue
    mount --bind "$folder" "$folder"
    mount -o remount,bind,ro "$folder"
done
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount --bind /run/kept "$1"
ip link set lo up
shift
exec "$@"
"""

GENERATE = """\
from mutmut import __main__ as tool

tool.set_mutant_under_test("mutant_generation")
tool.copy_src_dir()
tool.copy_also_copy_files()
tool.setup_source_paths()
tool.create_mutants(2)
"""


@dataclass(frozen=True)
class Module:
    """A module's mutants by name, with mutmut's note of how each ended (None: not tried yet)."""

    path: str
    notes: dict[str, int | None]

    def sample(self, size: int | None) -> list[str]:
        """All mutants, or so many of them by a lot that always falls the same way."""
        names = sorted(self.notes)
        if size is None or size >= len(names):
            return names
        return sorted(random.Random(self.path).sample(names, size))  # noqa: S311 (no secret)


@dataclass(frozen=True)
class Survivor:
    """A mutant that no test noticed: where, the lines it takes, and those it puts there."""

    path: str
    line: int
    function: str
    before: str
    after: str
    reached: bool

    def accepted(self, table: str) -> bool:
        """Whether a row of the guide gives a reason why it may live."""
        after = self.after.replace("|", "\\|")  # as Markdown has it inside a table
        return f"| `{self.path}` | `{self.function}` | `{after}` |" in table


@dataclass(frozen=True)
class Score:
    """How many mutants of a module were tried, lived though tests reach them, and are reached by none."""

    name: str
    mutants: int
    survived: int
    unreached: int

    @property
    def cells(self) -> tuple[str, ...]:
        """Its line of the table."""
        killed = self.mutants - self.survived - self.unreached
        numbers = (self.mutants, killed, self.survived, self.unreached)
        return (self.name, *map(str, numbers), f"{killed / self.mutants:.0%}")


class Tree:
    """A copy of the checkout for one area, in which mutmut works and keeps its results."""

    def __init__(self, area: Area) -> None:
        """Name the folders; `refresh` fills them."""
        self.area = area
        self.folder = KEPT / area.name
        self.mutants = self.folder / "mutants"
        self.log = KEPT / f"{area.name}.log"
        self.stamp = KEPT / f"{area.name}.content"
        self.unfit = KEPT / f"{area.name}.unfit.json"

    def refresh(self, *, fresh: bool) -> list[str]:
        """Bring the checkout's files; give the tests that cannot be used here.

        Where code, tests or settings have changed, mutants that were not killed will be tried again.
        """
        if fresh:
            shutil.rmtree(self.folder, ignore_errors=True)
        files = {path: (ROOT / path).read_bytes() for path in checkout_files()}
        project = files["pyproject.toml"]
        files["pyproject.toml"] += self._settings(files, []).encode()
        files |= {"src/mutmut/__init__.py": b"", "src/mutmut/mutation/__init__.py": b""}
        files["src/mutmut/mutation/trampoline.py"] = STAND_IN.encode()
        for name, content in files.items():
            place(self.folder / name, content)
        for path in [path for path in self.folder.rglob("*") if path.is_file() or path.is_symlink()]:
            name = path.relative_to(self.folder).as_posix().removeprefix("mutants/")
            if name.removesuffix(".meta").removesuffix(".spans") not in files and name != "mutmut-stats.json":
                path.unlink()
        code = [(name, content) for name, content in sorted(files.items()) if name.startswith(("src/", "tests/", "py"))]
        digest = hashlib.sha256(repr(code).encode()).hexdigest()
        if not self.stamp.exists() or self.stamp.read_text(encoding="ascii") != digest:
            (self.mutants / "mutmut-stats.json").unlink(missing_ok=True)
            for meta in self._metas():
                forget_survivors(meta)
            self.generate()
            self.unfit.write_text(json.dumps(self._unfit()), encoding="utf-8")
            place(self.stamp, digest.encode())
        left_out: list[str] = json.loads(self.unfit.read_text(encoding="utf-8"))
        place(self.folder / "pyproject.toml", project + self._settings(files, left_out).encode())
        return left_out

    def generate(self) -> None:
        """Write the mutants of every module that has changed, and bring the tests."""
        self.run(sys.executable, "-c", GENERATE)

    def _unfit(self) -> list[str]:
        """The tests that fail where nothing is mutated yet: those that read the sources, or pack them and run them."""
        cache = KEPT / "cache"
        shutil.rmtree(cache, ignore_errors=True)
        argv = [sys.executable, "-m", "pytest", "--rootdir=.", "-q"]
        argv += ["-o", f"cache_dir={cache}", *self.area.options, *self.area.tests]
        with self.log.open("wb") as log:
            environment = self._environment() | {"PYTHONPATH": str(self.mutants / "src")}
            subprocess.run(argv, cwd=self.mutants, env=environment, stdout=log, stderr=log, check=False)
        failed = cache / "v/cache/lastfailed"
        return sorted(json.loads(failed.read_text(encoding="utf-8"))) if failed.exists() else []

    def _settings(self, files: Iterable[str], left_out: Sequence[str]) -> str:
        tops = {path.partition("/")[0] for path in files} - {"src", "tests", "pyproject.toml"}
        deselected = [f"--deselect={name}" for name in left_out]
        settings = {
            "source_paths": ["src"],
            "only_mutate": self.area.modules,
            "also_copy": sorted(tops),
            "use_git_change_detection": False,
            "pytest_add_cli_args": ["-p", "no:cacheprovider", *self.area.options, *deselected],
            "pytest_add_cli_args_test_selection": self.area.tests,
        }
        return "\n[tool.mutmut]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())

    def run(self, *argv: str) -> int:
        """Run a command in the tree and give its status, negative for a signal.

        Its output goes to the terminal or to the log. A mutant may end its process group, so it gets one of its own.
        """
        with self.log.open("wb") as log:
            shown = None if sys.stdout.isatty() else log
            ended = subprocess.run(
                argv,
                cwd=self.folder,
                env=self._environment(),
                stdout=shown,
                stderr=shown,
                start_new_session=True,
                check=False,
            )
        if ended.returncode > 0:
            sys.exit(f"mutate: mutmut ended with status {ended.returncode}, see {self.log}")
        return ended.returncode

    def try_out(self, names: Sequence[str]) -> None:
        """Have mutmut try the mutants that are not tried yet; one that ends mutmut itself is found by halving."""
        for start in range(0, len(names), AT_ONCE):
            untried = self._untried(names[start : start + AT_ONCE])
            if not untried or self.run(sys.executable, "-m", "mutmut", "run", *untried) == 0:
                continue
            left = self._untried(untried)
            if len(untried) == len(left) == 1:
                self._note_killed(left[0])
                continue
            self.try_out(left[: len(left) // 2])
            self.try_out(left[len(left) // 2 :])

    def _untried(self, names: Sequence[str]) -> list[str]:
        notes: dict[str, int | None] = {}
        for module in self.modules(["*"]):
            notes |= module.notes
        return [name for name in names if notes[name] is None]

    def _note_killed(self, name: str) -> None:
        for meta in self._metas():
            known = json.loads(meta.read_text(encoding="utf-8"))
            if name in known["exit_code_by_key"]:
                known["exit_code_by_key"][name] = -signal.SIGKILL
                meta.write_text(json.dumps(known), encoding="utf-8")

    def _metas(self) -> list[Path]:
        return sorted((self.mutants / "src").rglob("*.meta"))

    @staticmethod
    def _environment() -> dict[str, str]:
        for name in ("home", "tmp"):
            (KEPT / name).mkdir(exist_ok=True)
        own = {"HOME": str(KEPT / "home"), "TMPDIR": str(KEPT / "tmp"), "PYTHONDONTWRITEBYTECODE": "1"}
        return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | own

    def modules(self, wanted: Sequence[str]) -> list[Module]:
        """The modules of the area that match one of the patterns, with the results so far."""
        found = []
        for meta in self._metas():
            path = meta.relative_to(self.mutants / "src").as_posix().removesuffix(".meta")
            notes = json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"]
            if notes and any(fnmatch.fnmatch(path, pattern) for pattern in wanted):
                found.append(Module(path, notes))
        return found

    def survivors(self, module: Module, names: Sequence[str]) -> list[Survivor]:
        """What these mutants change."""
        from mutmut.mutation.diff_apply import get_diff_for_mutant

        source = (self.folder / "src" / module.path).read_text(encoding="utf-8")
        with contextlib.chdir(self.folder):
            diffs = {name: get_diff_for_mutant(name, path=f"src/{module.path}").splitlines()[2:] for name in names}
        found = []
        for name, diff in diffs.items():
            function = re.sub(r"__mutmut_\d+$", "", name.rpartition(".")[2]).replace("xǁ", "", 1).replace("ǁ", ".")
            before, after = (" ".join(line[1:].strip() for line in diff if line[0] == sign) for sign in "-+")
            reached = module.notes[name] not in UNTESTED
            function = function.removeprefix("x_")
            found.append(Survivor(module.path, line_of(source, function, diff), function, before, after, reached))
        return sorted(found, key=lambda one: one.line)


def checkout_files() -> list[str]:
    """The files of the checkout, committed or not."""
    argv = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for path in listed.split("\0") if path and (ROOT / path).is_file()]


def place(path: Path, content: bytes) -> None:
    """Write a file unless it is so already: mutmut tells by its age whether it has changed."""
    if not path.is_file() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def forget_survivors(meta: Path) -> None:
    """Have mutants tried again that lived when the tests or other modules were different."""
    known = json.loads(meta.read_text(encoding="utf-8"))
    notes = known["exit_code_by_key"]
    known["exit_code_by_key"] = {name: note if note in KILLED else None for name, note in notes.items()}
    meta.write_text(json.dumps(known), encoding="utf-8")


def line_of(source: str, function: str, diff: Sequence[str]) -> int:
    """The line of the source that a mutant changes first; `diff` counts from the function's first one."""
    owner, _, name = function.rpartition(".")
    body: list[ast.stmt] = ast.parse(source).body
    if owner:
        body = next(node.body for node in body if isinstance(node, ast.ClassDef) and node.name == owner)
    start = next(node.lineno for node in body if isinstance(node, ast.FunctionDef) and node.name == name)
    hunk = re.match(r"@@ -(\d+)", diff[0])
    ahead = next(index for index, line in enumerate(diff[1:]) if line[0] in "-+")
    guess = start - 1 + (int(hunk[1]) if hunk else 1) + ahead
    taken = next((line[1:].strip() for line in diff[1:] if line[0] == "-"), None)
    alike = [number for number, line in enumerate(source.splitlines(), 1) if line.strip() == taken and number >= start]
    return min(alike, key=lambda number: abs(number - guess), default=guess)


def table(scores: Sequence[Score]) -> str:
    """All scores and their sum, in columns."""
    total = Score(
        "total", *(sum(getattr(one, name) for one in scores) for name in ("mutants", "survived", "unreached"))
    )
    lines = [
        ("module", "mutants", "killed", "survived", "unreached", "score"),
        *(one.cells for one in (*scores, total)),
    ]
    width = max(len(line[0]) for line in lines)
    return "\n".join(line[0].ljust(width) + "".join(cell.rjust(11) for cell in line[1:]) for line in lines)


def apart() -> None:
    """As root, begin again in namespaces of our own."""
    if os.geteuid() != 0 or os.environ.get(APART):
        return
    argv = [
        "unshare",
        "--mount",
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "bash",
        "-euc",
        NAMESPACES,
        "mutate",
    ]
    argv += [str(KEPT), sys.executable, *sys.argv]
    os.execvpe(argv[0], argv, {**os.environ, APART: "1"})  # noqa: S606 (an argv of our own)


def main() -> None:
    """Mutate, and print the table and the survivors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", metavar="MODULE")
    parser.add_argument("--sample", type=int, metavar="N", help="at most so many mutants of each module")
    parser.add_argument("--fresh", action="store_true", help="forget all results of before")
    options = parser.parse_args()
    wanted = options.modules or ["*"]
    KEPT.mkdir(exist_ok=True)
    apart()
    lock = (KEPT / "lock").open("w", encoding="ascii")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit("mutate: another one is at work in this checkout")
    accepted = GUIDE.read_text(encoding="utf-8") if GUIDE.exists() else ""
    scores: list[Score] = []
    left_out: list[str] = []
    living: list[Survivor] = []
    paths = checkout_files()
    for area in AREAS:
        own = [path.removeprefix("src/") for pattern in area.modules for path in fnmatch.filter(paths, pattern)]
        if not any(fnmatch.filter(own, pattern) for pattern in wanted):
            continue
        tree = Tree(area)
        left_out += tree.refresh(fresh=options.fresh)
        tree.generate()
        chosen = {module.path: module.sample(options.sample) for module in tree.modules(wanted)}
        tree.try_out([name for names in chosen.values() for name in names])
        for module in tree.modules(wanted):
            names = chosen[module.path]
            survivors = tree.survivors(module, [name for name in names if module.notes[name] not in KILLED])
            reached = sum(one.reached for one in survivors)
            scores.append(Score(module.path, len(names), reached, len(survivors) - reached))
            living += [one for one in survivors if not one.accepted(accepted)]
    if not scores:
        sys.exit(f"mutate: no module below src is {' or '.join(wanted)}")
    print(table(scores))
    if left_out:
        functions = sorted({name.partition("[")[0] for name in left_out})
        print("\nTests that cannot be used, since they read the sources or pack them:", *functions, sep="\n    ")
    if living:
        print("\nSurvivors without a reason in docs/guides/mutation.md:")
    for one in living:
        print(f"{one.path}:{one.line} {one.function}{'' if one.reached else ' (no test gets here)'}")
        print(f"    - {one.before}\n    + {one.after}")


if __name__ == "__main__":
    main()
