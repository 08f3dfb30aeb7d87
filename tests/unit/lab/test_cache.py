"""Products of the cache are whole or not there."""

import os
from pathlib import Path

import pytest

from clawkeep.lab import cache


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAWKEEP_CACHE", str(tmp_path / "cache"))


def _write(folder: Path) -> None:
    (folder / "it").write_text("whole")


def test_a_product_is_built_once() -> None:
    first = cache.product("thing-1", _write)
    assert (first / "it").read_text() == "whole"
    assert cache.product("thing-1", lambda _: pytest.fail("built twice")) == first


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit, ValueError])
def test_an_interrupted_build_leaves_nothing(end: type[BaseException]) -> None:
    def interrupted(folder: Path) -> None:
        _write(folder)
        raise end

    with pytest.raises(end):
        cache.product("thing-1", interrupted)
    assert [p.name for p in cache.home().iterdir()] == [".lock"]


def test_what_a_killed_builder_left_is_removed_by_the_next() -> None:
    left = cache.home() / "building-killed"
    left.mkdir(parents=True)
    _write(left)
    cache.product("thing-1", _write)
    assert not left.exists()


def test_products_of_a_kind_that_nobody_uses_are_forgotten() -> None:
    old, used, other = (cache.product(name, _write) for name in ("thing-1", "thing-2", "other-1"))
    for unused in (old, other):
        os.utime(unused, (0, 0))
    cache.product("thing-3", _write)
    assert not old.exists()
    assert used.exists()
    assert other.exists()
