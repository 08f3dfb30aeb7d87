"""Host programs reach a host as one archive with a wrapper each, made from this checkout and from nothing else."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from ansible import constants
from ansible.errors import AnsibleLookupError

from clawkeep.subjects.host import audit
from clawkeep_host import package
from clawkeep_host.version import sources, version

from .conftest import ROLES, ROOT, read

ROLE = ROOT / "roles/host_programs"
PROGRAM = re.compile(r"/usr/local/sbin/(clawkeep-[a-z-]+)")
IMPORT = "ansible.builtin.import_role"
EACH_PROGRAM = pytest.mark.parametrize("program", package.PROGRAMS)


def imports(node: Any) -> Iterator[dict[str, Any]]:
    """Every task below `node` that imports the role, in blocks too."""
    for task in node or []:
        if (task.get(IMPORT) or {}).get("name") == "host_programs":
            yield task
        yield from imports(task.get("block"))


def installed(role: str) -> list[str]:
    """The programs that a role has installed."""
    found = [task for file in (ROOT / "roles" / role / "tasks").glob("*.yml") for task in imports(read(file))]
    return [name for task in found for name in task["vars"]["host_programs_names"]]


def texts(role: str) -> str:
    """What a role's tasks, variables and templates say, together."""
    folders = [ROOT / "roles" / role / name for name in ("tasks", "handlers", "vars", "templates")]
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


@pytest.fixture(name="lookup")
def _lookup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The role's plugin, loaded as Ansible does: by its file."""
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
    spec = importlib.util.spec_from_file_location("host_program", ROLE / "lookup_plugins/host_program.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def look_up(lookup: ModuleType, *terms: str) -> list[Path]:
    return [Path(path) for path in lookup.LookupModule().run(list(terms))]


def test_the_role_installs_where_the_wrappers_look() -> None:
    assert read(ROLE / "vars/main.yml") == {
        "__host_programs_archive": package.ARCHIVE,
        "__host_programs_folder": package.FOLDER,
    }


def test_each_program_is_installed_by_one_role() -> None:
    assert sorted(name for role in ROLES for name in installed(role)) == sorted(package.PROGRAMS)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_installs_the_programs_that_it_starts(role: str) -> None:
    assert set(PROGRAM.findall(texts(role))) - {"clawkeep-"} == set(installed(role))


@pytest.mark.parametrize("role", ROLES)
def test_no_role_copies_a_program_by_itself(role: str) -> None:
    assert not re.search(r"src: \"?usr/local/sbin", texts(role))


@pytest.mark.parametrize(
    ("role", "file", "handler"),
    [
        ("log_agent", "agent.yml", "Restart the log agent"),
        ("log_collector", "store.yml", "Restart the log store"),
        ("reverse_proxy", "gate.yml", "Restart the gate"),
    ],
)
def test_a_daemon_is_started_anew_with_its_program(role: str, file: str, handler: str) -> None:
    blocks = [task for task in read(ROOT / "roles" / role / "tasks" / file) if any(imports(task.get("block")))]
    assert [task["notify"] for task in blocks] == [handler]


def test_the_archive_is_the_package(lookup: ModuleType) -> None:
    (path,) = look_up(lookup, "archive")
    assert path.read_bytes() == package.archive()


@EACH_PROGRAM
def test_a_wrapper_is_the_packages(lookup: ModuleType, program: str) -> None:
    (path,) = look_up(lookup, program)
    assert path.read_text(encoding="utf-8") == package.wrapper(program)


def test_a_file_is_made_once_for_all_hosts(lookup: ModuleType, tmp_path: Path) -> None:
    first = look_up(lookup, "archive", "clawkeep-kill")
    made = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert look_up(lookup, "archive", "clawkeep-kill") == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == made
    assert sorted(made) == sorted(first)


def test_a_program_that_is_none_is_refused_by_name(lookup: ModuleType) -> None:
    with pytest.raises(AnsibleLookupError, match=r"no host program clawkeep-killl: name one of clawkeep-breakglass"):
        look_up(lookup, "clawkeep-killl")


def test_a_package_that_was_imported_before_is_neither_used_nor_lost(
    lookup: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = package.archive()
    stale = {name: ModuleType(name) for name in ("clawkeep_host", "clawkeep_host.package", "clawkeep_host.version")}
    for name, module in stale.items():
        vars(module).update(archive=lambda: b"stale", sources=dict, version=lambda: "stale")
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(sys, "path", ["/nonexistent", *sys.path])
    (path,) = look_up(lookup, "archive")
    assert path.read_bytes() == wanted
    assert {name: sys.modules[name] for name in stale} == stale
    assert sys.path[0] == "/nonexistent"


def test_a_checkout_without_the_package_is_told(lookup: ModuleType, tmp_path: Path) -> None:
    vars(lookup)["SOURCES"] = tmp_path
    known = dict(sys.modules)
    with pytest.raises(AnsibleLookupError, match="cannot be read"):
        look_up(lookup, "archive")
    assert sys.modules == known


def changed_package(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {**sources(), "clawkeep_host/more.py": b""}
    monkeypatch.setattr(package, "sources", lambda: files)
    monkeypatch.setattr(package, "current", lambda: "0.1.0+0123456789abcdef")


def test_another_archive_makes_every_wrapper_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: package.wrapper(name) for name in package.PROGRAMS}
    archive = package.archive()
    changed_package(monkeypatch)
    assert package.archive() != archive
    assert [name for name in package.PROGRAMS if package.wrapper(name) == before[name]] == []


def test_the_archive_names_its_version_and_holds_every_module() -> None:
    with zipfile.ZipFile(io.BytesIO(package.archive())) as archive:
        assert archive.comment.decode() == version()
        assert {name: archive.read(name) for name in archive.namelist()} == sources()


def test_the_archive_is_not_compressed() -> None:
    """Two builds of zlib compress differently, and a host's archive is compared with one that is built elsewhere."""
    with zipfile.ZipFile(io.BytesIO(package.archive())) as archive:
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_a_wrapper_without_its_archive_says_what_to_do(tmp_path: Path) -> None:
    program = tmp_path / "clawkeep-kill"
    program.write_text(package.wrapper("clawkeep-kill", archive=f"{tmp_path}/gone.zip"), encoding="utf-8")
    ended = subprocess.run([sys.executable, "-ISu", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"clawkeep-kill: {tmp_path}/gone.zip cannot be used, so run the playbook again:")
    assert len(ended.stderr.splitlines()) == 1


PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  handlers:
    - name: Start the daemon anew
      ansible.builtin.debug: {msg: started anew}
  tasks:
    - name: Install the daemon
      notify: Start the daemon anew
      tags: [LOG-05]
      block:
        - name: Install the daemon
          ansible.builtin.import_role: {name: host_programs, tasks_from: programs}
          vars: {host_programs_names: [clawkeep-kill]}
    - name: Install another program
      ansible.builtin.import_role: {name: host_programs, tasks_from: programs}
      vars: {host_programs_names: [clawkeep-vpn]}
      tags: [VPN-01]
"""


@pytest.fixture(name="run")
def _run(tmp_path: Path) -> SimpleNamespace:
    """Run a play that imports the role twice; its files go below a folder of the test."""
    (tmp_path / "play.yml").write_text(PLAY, encoding="utf-8")
    places = {
        "__host_programs_archive": f"{tmp_path}/lib/clawkeep/clawkeep_host.zip",
        "__host_programs_folder": f"{tmp_path}/sbin",
    }
    for folder in ("lib", "sbin"):
        (tmp_path / folder).mkdir()

    def play(*arguments: str) -> tuple[int, bool]:
        """How many tasks changed something, and whether the daemon was started anew."""
        argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-e", json.dumps(places)]
        environment = os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
        ended = subprocess.run(
            [*argv, *arguments, f"{tmp_path}/play.yml"], env=environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        (changed,) = re.findall(r"^localhost +: ok=\d+ +changed=(\d+) ", ended.stdout, re.MULTILINE)
        return int(changed), "started anew" in ended.stdout

    return SimpleNamespace(play=play, root=tmp_path)


def test_a_dry_run_on_a_fresh_host_tells_and_writes_nothing(run: SimpleNamespace) -> None:
    assert run.play("--check") == (6, True)
    assert sorted(path.name for path in run.root.rglob("*") if path.is_file()) == ["play.yml"]


@pytest.mark.skipif(os.geteuid() != 0, reason="the programs are root's, and only root can give a file to root")
def test_each_tag_brings_what_it_needs_and_a_daemon_starts_anew_with_its_archive(run: SimpleNamespace) -> None:
    assert run.play("--tags", "VPN-01") == (3, False)
    assert run.play("--tags", "BGL-05") == (1, True)
    modes = {
        path.name: (path.stat().st_uid, path.stat().st_gid, path.stat().st_mode & 0o7777)
        for path in (*run.root.glob("lib/*"), *run.root.glob("lib/*/*"), *run.root.glob("sbin/*"))
    }
    assert modes == {
        "clawkeep": (0, 0, 0o755),
        "clawkeep_host.zip": (0, 0, 0o644),
        "clawkeep-kill": (0, 0, 0o755),
        "clawkeep-vpn": (0, 0, 0o755),
    }
    # As after a play that broke off: an earlier role has brought the present archive, the daemon runs an older one.
    for path in run.root.glob("sbin/*"):
        path.write_text(path.read_text(encoding="utf-8").replace(version(), "0.1.0+00"), encoding="utf-8")
    assert run.play() == (2, True)
    assert run.play() == (0, False)


def test_audit_watches_the_archive_as_it_watches_the_wrappers() -> None:
    own = read(ROOT / "roles/audit/vars/main.yml")["__audit_watched"]["clawkeep-own"]
    assert {package.FOLDER, audit.PROGRAMS} <= set(own)
    assert Path(package.ARCHIVE).parent == Path(audit.PROGRAMS)
