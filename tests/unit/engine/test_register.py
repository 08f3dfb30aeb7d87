"""The register and the tiers: a malformed page or file is named with what is wrong in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tests.unit.engine.conftest import Checkout

from clawkeep.base.errors import ClawkeepError
from clawkeep.register import register, tiers


def test_a_page_declares_a_control(checkout: Checkout) -> None:
    control = register.read_page(checkout.page("NET-04", title="Every port binds loopback"))
    assert (control.id, control.title, control.tier) == ("NET-04", "Every port binds loopback", 1)
    assert control.severity is register.Severity.HIGH
    assert control.maps == {"cis_controls": ("4.4",)}
    assert control.module_prefix == "test_net_04_"
    assert "## Promise" in control.body


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("---\n", "", "must begin with front matter"),
        ("title: It holds", "title: [", "the front matter is not YAML"),
        ("title: It holds\n", "", "title: field required"),
        ("severity: high", "severity: dire", "severity: .*'dire'"),
        ("tier: 1", "tier: '1'", "tier: "),
        ("waivable: true", "waivable: maybe", "waivable: "),
        ("status: automated", "status: done", "status: "),
        ("cis_controls", "cis_contrls", "maps NET-04 to cis_contrls, which is no framework: they are cis_docker, "),
        ('"4.4"', '"4.44"', r"maps NET-04 to cis_controls 4\.44, which CIS Controls 8\.1 does not have"),
        ('"4.4"', '"4.4", "4.4"', "maps NET-04 to one id of cis_controls twice"),
        ("waivable: true", "waivable: true\nowner: me", "owner: extra inputs"),
        ("id: NET-04", "id: NET-05", "declares NET-05; a page is named after its control"),
    ],
)
def test_a_malformed_page_is_one_sentence(checkout: Checkout, old: str, new: str, sentence: str) -> None:
    path = checkout.page("NET-04")
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ClawkeepError) as raised:
        register.load(checkout.repo.controls)
    assert str(raised.value).startswith(str(path))
    assert re.search(sentence, str(raised.value))
    assert "\n" not in str(raised.value)


def test_an_empty_register_is_no_register(tmp_path: Path) -> None:
    with pytest.raises(ClawkeepError, match="has no page"):
        register.load(tmp_path)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, "there is no tier file"),
        ({"tier1_a.yml": "- x"}, "is not a mapping"),
        ({"tier1_a.yml": "tier: {name: a}"}, "with a rank of 1 or more"),
        ({"tier1_a.yml": "tier: {name: a, rank: true}"}, "with a rank of 1 or more"),
        ({"tier1_a.yml": "tier: {"}, "cannot be read as YAML"),
        ({"tier1_a.yml": "tier: {rank: 1}", "tier2_b.yml": "tier: {rank: 1}"}, "both have rank 1"),
    ],
)
def test_wrong_tier_files_are_one_sentence(tmp_path: Path, files: dict[str, Any], sentence: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ClawkeepError, match=sentence):
        tiers.load(tmp_path)


def test_tiers_come_in_order_of_rank_and_cannot_be_changed(tmp_path: Path) -> None:
    (tmp_path / "tier_a.yml").write_text("tier: {rank: 2}\nopenclaw_port: 2")
    (tmp_path / "tier_b.yml").write_text("tier: {rank: 1}")
    (tmp_path / "all.yml").write_text("x: 1")
    found = tiers.load(tmp_path)
    assert list(found) == ["tier_b", "tier_a"]
    assert found["tier_a"]["openclaw_port"] == 2
    with pytest.raises(TypeError):
        found["tier_a"].settings["openclaw_port"] = 3  # type: ignore[index]
    with pytest.raises(KeyError, match="no key of the tier file tier_b"):
        found["tier_b"]["openclaw_port"]
