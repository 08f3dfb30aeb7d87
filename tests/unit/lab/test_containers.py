"""The container images: pinned contents, and an archive that Docker reads."""

import hashlib
import json
import os
import tarfile
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from clawkeep.lab import containers

LOCK = json.loads(files("clawkeep.lab").joinpath("openclaw/package-lock.json").read_text())


def test_openclaw_and_its_node_are_pinned_exactly() -> None:
    wanted = json.loads(files("clawkeep.lab").joinpath("openclaw/package.json").read_text())["dependencies"]
    assert wanted["openclaw"] == containers.OPENCLAW_VERSION
    for name, version in wanted.items():
        assert LOCK["packages"][f"node_modules/{name}"]["version"] == version


def test_every_package_of_the_lock_is_pinned_by_its_hash() -> None:
    packages = {path: facts for path, facts in LOCK["packages"].items() if path}
    unpinned = [path for path, facts in packages.items() if not facts.get("integrity") and not facts.get("inBundle")]
    assert unpinned == []


def test_every_ingredient_is_part_of_the_key() -> None:
    recipe = containers.OPENCLAW
    changed = [
        replace(recipe, packages=(*recipe.packages, "socat")),
        replace(recipe, config={**recipe.config, "User": "root"}),
        replace(recipe, inputs=(b"another lock file",)),
        replace(recipe, name="clawkeep/openclaw:1"),
    ]
    keys = {recipe.key, *(c.key for c in changed)}
    assert len(keys) == len(changed) + 1


def test_the_gateway_runs_as_nobody_special() -> None:
    assert containers.OPENCLAW.config["User"] == "node"


def test_the_archive_names_its_image_by_the_hash_of_its_configuration(tmp_path: Path) -> None:
    layer = tmp_path / "layer.tar"
    with tarfile.open(layer, "w"):
        pass
    image_id = containers._archive(containers.PROBE, layer, tmp_path / "image.tar")
    with tarfile.open(tmp_path / "image.tar") as archive:
        manifest = json.load(archive.extractfile("manifest.json") or layer.open("rb"))
        config = (archive.extractfile(manifest[0]["Config"]) or layer.open("rb")).read()
    assert image_id == f"sha256:{hashlib.sha256(config).hexdigest()}"
    assert manifest[0]["RepoTags"] == [containers.PROBE.name]
    diff_id = hashlib.sha256(layer.read_bytes()).hexdigest()
    assert json.loads(config)["rootfs"]["diff_ids"] == [f"sha256:{diff_id}"]


def test_setuid_and_setgid_bits_are_stripped(tmp_path: Path) -> None:
    program, folder, link = tmp_path / "su", tmp_path / "mail", tmp_path / "link"
    program.touch()
    program.chmod(0o4755)
    folder.mkdir()
    folder.chmod(0o2775)
    link.symlink_to("/nowhere")
    containers._strip_privileges(tmp_path)
    assert program.stat().st_mode & 0o7777 == 0o755
    assert folder.stat().st_mode & 0o7777 == 0o775
    assert os.path.lexists(link)
