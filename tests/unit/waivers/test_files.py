"""A file that cannot be used is told with file and line, every mistake of it at once, and ends before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from clawkeep.base.errors import NotInOrder
from clawkeep.verify import exceptions, waivers

from .conftest import waivers as text


def refused(tmp_path: Path, content: str | bytes) -> str:
    path = tmp_path / "waivers.yml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(NotInOrder) as raised:
        waivers.load(path)
    said = str(raised.value)
    assert "\n" not in said
    return said.replace(str(path), "F")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("schema: 1\nwaivers: [\n", "F:3:1: it is not YAML that can be read here: "),
        ("schema: 1\nwaivers:\n  - a: b\n c: d\n", "F:4:2: it is not YAML that can be read here: "),
        ("schema: 1\nwaivers: []\n---\nschema: 1\n", "F:3:1: it is not YAML that can be read here: "),
        ("schema: 1\nwaivers: &all []\nx: *all\n", "F:3:4: it is not YAML that can be read here: anchors and aliases"),
        ("schema: 1\nwaivers: \x00\n", "F: it is not YAML that can be read here: unacceptable character"),
        (b"schema: 1\n\xff\n", "F:2: it is not UTF-8"),
        ("[" * 100_000, "F: it is not YAML that can be read here: it is nested too deeply"),
        ("", "F:1: it must begin with `schema: 1`"),
        ("- a\n", "F:1: it must begin with `schema: 1`"),
        ("# nothing\nwaivers: []\n", "F:2: `schema: 1` is missing"),
        ("waivers: []\nschema: 2\n", "F:2: schema 2 was written for a later Clawkeep: update this one"),
        ("schema: one\n", "F:1: this Clawkeep knows schema 1 only"),
        ("schema: [1]\n", "F:1: this Clawkeep knows schema 1 only"),
        (f"schema: {'9' * 5000}\n", "F:1: this Clawkeep knows schema 1 only"),
        ("schema: 1\nwaiver: []\n", "F:2: the key 'waiver' is unknown: the file holds schema and waivers"),
        ("schema: 1\nwaivers: {a: b}\n", "F:2: waivers must be a list"),
        ("schema: 1\nwaivers:\n  - NET-01\n", "F:3: an entry is a mapping"),
        ("schema: 1\nschema: 1\n", "F:2: the key 'schema' is there twice"),
        ("schema: 1\nwaivers:\n- control: a\n  control: b\n", "F:4: the key 'control' is there twice"),
        ("schema: 1\nwaivers:\n- ? [a]\n  : b\n", "F:3: a key must be a word"),
    ],
)
def test_a_file_that_is_no_waiver_file(tmp_path: Path, content: bytes | str, sentence: str) -> None:
    assert refused(tmp_path, content).startswith(sentence)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"expires": ""}, "F:3: expires: it is missing"),
        ({"owner": "null"}, "F:6: owner: it is empty"),
        ({"reason": "'  '"}, "F:5: reason: it is empty"),
        ({"reason": "[a]"}, "F:5: reason: "),
        ({"reason": "x" * 1001}, "F:5: reason: "),
        ({"ticket_url": "x"}, "F:12: ticket_url: this key is unknown"),
        ({"scope": "alpha"}, "F:4: scope: "),
        ({"scope": "{}"}, "F:4: scope: name exactly one of host, group and tier"),
        ({"scope": "{host: alpha, tier: tier1_x}"}, "F:4: scope: name exactly one of host, group and tier"),
        ({"scope": "{site: here}"}, "F:4: scope.site: this key is unknown"),
        ({"scope": "{host: [alpha]}"}, "F:4: scope.host: "),
        ({"expires": "2026-02-30"}, "F:10: expires: there is no such day in the calendar (it is '2026-02-30')"),
        ({"expires": "2026-13-01"}, "F:10: expires: there is no such day"),
        ({"expires": "0000-01-01"}, "F:10: expires: there is no such day"),
        ({"expires": "2026-12-01T00:00:00Z"}, "F:10: expires: a date is YYYY-MM-DD, without a time or a time zone"),
        ({"expires": "2026-12-01 00:00:00 +13:00"}, "F:10: expires: a date is YYYY-MM-DD, without a time or a time"),
        ({"expires": "2026-12-01+13:00"}, "F:10: expires: a date is YYYY-MM-DD, without a time or a time zone"),
        ({"expires": "1.12.2026"}, "F:10: expires: a date is YYYY-MM-DD"),
        ({"expires": "20261201"}, "F:10: expires: a date is YYYY-MM-DD"),
        ({"expires": "2026-W49-2"}, "F:10: expires: a date is YYYY-MM-DD"),
        ({"expires": "never"}, "F:10: expires: a date is YYYY-MM-DD"),
        ({"expires": "2026-١٢-01"}, "F:10: expires: "),
    ],
)
def test_an_entry_that_is_no_waiver(tmp_path: Path, changes: dict[str, str], sentence: str) -> None:
    assert refused(tmp_path, text(changes)).startswith(sentence)


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    said = refused(tmp_path, text({"owner": "null"}, {}, {"expires": "soon", "ticket": ""}))
    assert [part.split(": ")[0:2] for part in said.split("; ")] == [
        ["F:6", "owner"],
        ["F:21", "ticket"],
        ["F:27", "expires"],
    ]


def test_values_are_the_text_that_is_written(tmp_path: Path) -> None:
    path = tmp_path / "waivers.yml"
    path.write_text(text({"ticket": "0123", "owner": "yes", "reason": ">-\n      two\n      lines"}))
    (waiver,) = waivers.load(path)
    assert (waiver.ticket, waiver.owner, waiver.reason) == ("0123", "yes", "two lines")


@pytest.mark.parametrize("content", ["schema: 1\n", "schema: 1\nwaivers:\n", "schema: 1\nwaivers: []\n"])
def test_no_waiver_is_a_good_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "waivers.yml"
    path.write_text(content)
    assert waivers.load(path) == ()


def test_where_the_files_lie(tmp_path: Path) -> None:
    assert exceptions.read(tmp_path) == exceptions.Files()
    (tmp_path / "waivers.yml").write_text(text({}))
    for inventory in (tmp_path, tmp_path / "hosts.yml"):
        assert len(exceptions.read(inventory).waivers) == 1
    assert exceptions.read(None) == exceptions.Files()
    with pytest.raises(NotInOrder, match="there is no file"):
        exceptions.read(tmp_path, tmp_path / "others.yml")
    with pytest.raises(NotInOrder, match="there is no file"):
        exceptions.read(tmp_path, None, tmp_path / "others.yml")
    with pytest.raises(NotInOrder, match="cannot be read: Is a directory"):
        exceptions.read(tmp_path, tmp_path)


def test_a_link_that_leads_nowhere_is_not_no_waivers(tmp_path: Path) -> None:
    (tmp_path / "waivers.yml").symlink_to("nowhere")
    with pytest.raises(NotInOrder, match="there is no file"):
        exceptions.read(tmp_path)


def test_a_file_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clawkeep.site.dated_entries.FILE_CAP", 10)
    assert "is larger than" in refused(tmp_path, text({}))
