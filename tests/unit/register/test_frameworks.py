"""The frameworks' lists: as many ids as each framework has, each mapped or with one reason why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from clawkeep.base import repo
from clawkeep.base.errors import ClawkeepError
from clawkeep.register import coverage, frameworks, register
from clawkeep.register.register import Control, Proof, Severity

GOOD = """\
name: A framework
version: "1"
ids:
  "1.1": the first
  "1.2": the second
  "1.10": the tenth
  "2.1":
not_mapped:
  - {ids: ["1.2"], in_scope: true, reason: nobody does it}
  - {ids: ["2"], in_scope: false, reason: it is not about hosts}
"""


@pytest.fixture(scope="module")
def controls() -> dict[str, Control]:
    return register.load(repo.find(Path(__file__)).controls)


def control(name: str, proof: Proof, *ids: str) -> Control:
    return Control(name, "It holds", 1, Severity.HIGH, proof, True, "play", {"f": ids})


@pytest.mark.parametrize(
    ("key", "count"),
    [("cis_docker", 117), ("cis_controls", 153), ("nist_800_190", 24), ("owasp_asi", 10), ("openclaw", 139)],
)
def test_a_list_is_as_long_as_its_framework(key: str, count: int) -> None:
    assert len(frameworks.load()[key].ids) == count


def test_cis_controls_has_as_many_safeguards_in_each_control_as_the_framework() -> None:
    ids = frameworks.load()["cis_controls"].ids
    per_control = [sum(name.startswith(f"{n}.") for name in ids) for n in range(1, 19)]
    assert per_control == [5, 7, 14, 12, 6, 8, 7, 12, 7, 7, 5, 8, 11, 9, 7, 14, 9, 5]


def test_cis_docker_has_as_many_recommendations_in_each_section_as_the_framework() -> None:
    ids = frameworks.load()["cis_docker"].ids
    assert [sum(name.startswith(f"{n}.") for name in ids) for n in range(1, 8)] == [20, 18, 24, 12, 32, 2, 9]


@pytest.mark.parametrize("key", frameworks.NAMES)
def test_every_id_is_mapped_or_has_a_reason_and_never_both(key: str, controls: dict[str, Control]) -> None:
    found = coverage.of(frameworks.load()[key], controls)
    assert found.unexplained == ()
    assert found.stale == ()


@pytest.mark.parametrize("key", frameworks.NAMES)
def test_a_reason_speaks_of_controls_that_there_are(key: str, controls: dict[str, Control]) -> None:
    said = " ".join(gap.reason for gap in frameworks.load()[key].not_mapped)
    assert set(register.ID.findall(said)) <= controls.keys()


def test_a_framework_is_read_with_its_gaps(tmp_path: Path) -> None:
    path = tmp_path / "f.yml"
    path.write_text(GOOD)
    framework = frameworks.read(path)
    assert (framework.key, framework.name, framework.version) == ("f", "A framework", "1")
    assert framework.ids == {"1.1": "the first", "1.2": "the second", "1.10": "the tenth", "2.1": ""}
    assert [(gap.ids, gap.in_scope) for gap in framework.not_mapped] == [(("1.2",), True), (("2.1",), False)]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("name: A framework\n", "", "name: field required"),
        ("version", "verison", "verison: extra inputs|version: field required"),
        ('"1.2": the second', "1.2: the second", "ids.1.2.*: input should be a valid string"),
        ('"1.2": the second', '"1.1": the second', "1.1 stands there twice"),
        ('ids: ["2"]', 'ids: ["3"]', "not_mapped names 3, which is no id of it and begins none"),
        ('ids: ["2"]', 'ids: ["1"]', "gives two reasons for 1.2 under not_mapped"),
        ("reason: nobody does it", "reason: ''", "reason: "),
        ("not_mapped:", "not_mapped: [", "cannot be read as YAML"),
    ],
)
def test_a_malformed_list_is_one_sentence_with_its_file(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    path = tmp_path / "f.yml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(ClawkeepError, match=sentence) as raised:
        frameworks.read(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_coverage_counts_both_ways(tmp_path: Path) -> None:
    path = tmp_path / "f.yml"
    path.write_text(GOOD)
    some = {
        "NET-01": control("NET-01", Proof.AUTOMATED, "1.1"),
        "NET-02": control("NET-02", Proof.PLANNED, "1.1", "2.1"),
    }
    found = coverage.of(frameworks.read(path), some)
    assert {name: [c.id for c in who] for name, who in found.mapped.items()} == {
        "1.1": ["NET-01", "NET-02"],
        "2.1": ["NET-02"],
    }
    assert [gap.ids for gap in found.gaps] == [("1.2",)]
    assert found.unexplained == ("1.10",)
    assert found.stale == ("2.1",)
    assert (found.in_scope, found.missing, found.proved) == (4, 2, 1)


@pytest.mark.parametrize(("part", "whole", "said"), [(0, 3, "0 %"), (199, 200, "99 %"), (3, 3, "100 %"), (0, 0, "-")])
def test_only_all_of_it_is_a_hundred_per_cent(part: int, whole: int, said: str) -> None:
    assert coverage.percent(part, whole) == said
