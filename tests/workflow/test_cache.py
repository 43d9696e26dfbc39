from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest

from bmopt.workflow import cache as module
from bmopt.workflow.cache import Cache, clear_cache


class Counter:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> str:
        self.count += 1
        return f"grüße {self.count}\n"


def test_a_text_is_made_once(cache_folder: Path) -> None:
    make = Counter()
    assert Cache().text(make, "step", model="a") == "grüße 1\n"
    assert Cache().text(make, "step", model="a") == "grüße 1\n"
    assert Cache(cache_folder).text(make, "step", model="a") == "grüße 1\n"
    assert make.count == 1


def test_other_inputs_are_other_entries() -> None:
    make = Counter()
    cache = Cache()
    for inputs in ({"model": "a"}, {"model": "b"}, {"model": "a", "limit": 3}):
        cache.text(make, "step", **inputs)
    cache.text(make, "other step", model="a")
    assert make.count == 4


def test_other_versions_are_other_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Cache().path("step")
    monkeypatch.setattr(module, "versions", lambda: {"numpy": "0"})
    assert Cache().path("step") != before


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b"other text", b"a" * 64 + b"\ntext"])
def test_a_damaged_entry_is_made_again(damage: bytes) -> None:
    make, cache = Counter(), Cache()
    cache.text(make, "step")
    cache.path("step").write_bytes(damage)
    assert cache.text(make, "step") == "grüße 2\n"
    assert cache.text(make, "step") == "grüße 2\n"


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    make = Counter()
    cache = Cache(tmp_path / "file" / "cache")
    assert cache.text(make, "step") == "grüße 1\n"
    assert cache.text(make, "step") == "grüße 2\n"


def test_a_cache_that_cannot_be_read_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    cache, make = Cache(), Counter()
    cache.text(make, "step")

    def refuse(*_: object, **__: object) -> NoReturn:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    assert cache.text(make, "step") == "grüße 2\n"


def test_clearing_deletes_entries_only(cache_folder: Path) -> None:
    cache = Cache()
    cache.text(Counter(), "step")
    cache.text(Counter(), "step", n=1)
    stored = cache.path("optimize").with_suffix(".onnx")
    stored.parent.mkdir(parents=True)
    stored.write_bytes(b"12345")
    (cache_folder / "mine.txt").write_text("mine")
    (cache_folder / "step" / "ab").mkdir(exist_ok=True)
    (cache_folder / "step" / "ab" / "mine.txt").write_text("mine")
    (cache_folder / "empty").mkdir()
    assert clear_cache() == 5 + 2 * (64 + 1 + len("grüße 1\n".encode()))
    left = {path.relative_to(cache_folder).as_posix() for path in cache_folder.rglob("*")}
    assert left == {"mine.txt", "empty", "step", "step/ab", "step/ab/mine.txt"}


def test_clearing_an_empty_or_missing_cache(cache_folder: Path) -> None:
    assert clear_cache() == 0
    cache_folder.mkdir()
    assert clear_cache(cache_folder) == 0


def test_clearing_deletes_the_engines_that_an_engine_keeps_there(cache_folder: Path) -> None:
    key = "ab" + "0" * 62
    engines = cache_folder / "ort-tensorrt" / "ab" / key
    engines.mkdir(parents=True)
    (engines / "graph_sm90.engine").write_bytes(b"12345")
    (engines / "cache_sm90.timing").write_bytes(b"123")
    assert clear_cache() == 8
    assert list(cache_folder.iterdir()) == []
    engines.mkdir(parents=True)
    (engines / "graph_sm90.profile").write_bytes(b"1")
    (engines / "mine.txt").write_text("mine")
    assert clear_cache() == 1
    assert (engines / "mine.txt").is_file()
