"""Sabotages that edit a copy of the gate find what they edit, and the copy is the one that the wrapper then starts."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from clawkeep.base import repo
from clawkeep.sabotage import world
from clawkeep_host import package
from clawkeep_host.version import sources

COPY = "/run/clawkeep-broken"
EDITING = {
    stem: sabotage
    for stem, sabotage in world.load(repo.find(Path(__file__)).sabotages).items()
    if f"{COPY}/clawkeep_host/gate/" in sabotage.do
}


def test_there_are_such_sabotages() -> None:
    assert len(EDITING) >= 4


@pytest.mark.parametrize("stem", EDITING)
def test_one_line_of_one_module_is_another(tmp_path: Path, stem: str) -> None:
    archive, copy, wrapper = tmp_path / "clawkeep_host.zip", tmp_path / "broken", tmp_path / "clawkeep-gate"
    archive.write_bytes(package.archive())
    wrapper.write_text(package.wrapper("clawkeep-gate"))
    script = "\n".join(line for line in EDITING[stem].do.splitlines() if not line.startswith("systemctl"))
    for there, here in ((COPY, copy), (f"{package.FOLDER}/clawkeep-gate", wrapper)):
        script = script.replace(there, str(here))
    script = script.replace(f"--extract {package.ARCHIVE}", f"--extract {archive}")
    subprocess.run(["bash", "-euo", "pipefail", "-c", script], check=True)
    assert f'sys.path.insert(0, "{copy}")' in wrapper.read_text()
    changed = []
    for name, content in sources().items():
        before, after = content.decode().splitlines(), (copy / name).read_text().splitlines()
        compile((copy / name).read_text(), name, "exec")
        assert len(before) == len(after)
        changed += [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
    assert len(changed) == 1
