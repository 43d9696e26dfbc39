"""Functions, factories and ONNX Runtime's readers."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnxruntime.quantization import CalibrationDataReader

from bmopt.core.dataset import InputSpec
from bmopt.data.feeds import FeedDataset
from bmopt.data.open import open_dataset
from bmopt.errors import DataError, OutputError

SPEC = InputSpec("x", "float32", ("N", 2))
# The second name is one of numpy.savez' own arguments.
PAIR = [SPEC, InputSpec("file", "int64", ())]


class Countdown(CalibrationDataReader):
    """Three feeds, once."""

    def __init__(self, start: int = 3) -> None:
        self.left = start

    def get_next(self) -> dict[str, Any] | None:
        self.left -= 1
        return None if self.left < 0 else {"x": np.full((1, 2), self.left), "file": self.left}


def module(folder: Path, name: str, body: str) -> None:
    (folder / f"{name}.py").write_text("import numpy as np\n" + body)


def test_function_is_called_anew_and_may_give_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    body = (
        "def feeds():\n    for i in range(3):\n        yield {'x': np.ones((2, 2)) * i}, [i, i]\n"
    )
    module(tmp_path, "bmopt_samples_a", body)
    dataset = open_dataset("bmopt_samples_a:feeds", [SPEC])
    assert (dataset.size, dataset.has_labels) == (6, True)
    for _ in range(2):
        batches = list(dataset.batches(64))
        assert [b.feeds["x"][0, 0] for b in batches] == [0, 1, 2]
        assert [b.feeds["x"].dtype.name for b in batches] == ["float32"] * 3
        assert np.array_equal(batches[2].labels, [2, 2])
    assert open_dataset("bmopt_samples_a:feeds", [SPEC], limit=3).size == 4


def test_function_fingerprint_follows_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    body = "def one():\n    yield {'x': np.ones((1, 2))}\ntwo = one\n"
    module(tmp_path, "bmopt_samples_b", body)
    first = open_dataset("bmopt_samples_b:one", [SPEC]).fingerprint
    assert open_dataset("bmopt_samples_b:two", [SPEC]).fingerprint != first
    module(tmp_path, "bmopt_samples_b", body + "# changed\n")
    assert open_dataset("bmopt_samples_b:one", [SPEC]).fingerprint != first


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("bmopt_no_such:f", "bmopt_no_such: cannot be imported"),
        ("bmopt_samples_c:f", "has no function 'f'"),
        ("bmopt_samples_c:number", "has no function 'number'"),
        ("bmopt_samples_c:empty", "yields no samples"),
        ("bmopt_samples_c:wrong", "feed 0: feeds y, but the model wants x"),
        ("bmopt_samples_c:array", "feed 0: is a ndarray; yield a dict"),
        ("bmopt_samples_c:shape", "feed 0, 'x': gives [1, 3], but input 'x' wants [N, 2]"),
        ("bmopt_samples_c:nan", "feed 0, 'x': 2 of 2 values are NaN"),
        ("bmopt_samples_c:hot", "feed 0: labels must be class indices"),
        ("bmopt_samples_c:nothing", "gives a NoneType; give feeds or a reader"),
    ],
)
def test_refuses_functions_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bmopt_samples_c.py").write_text(
        "import numpy as np\n"
        "number = 3\n"
        "def empty(): return []\n"
        "def wrong(): yield {'y': np.ones((1, 2))}\n"
        "def array(): yield np.ones((1, 2))\n"
        "def shape(): yield {'x': np.ones((1, 3))}\n"
        "def nan(): yield {'x': np.full((1, 2), np.nan)}\n"
        "def hot(): yield {'x': np.ones((1, 2))}, [0.5]\n"
        "def nothing(): pass\n"
    )
    monkeypatch.delitem(__import__("sys").modules, "bmopt_samples_c", raising=False)
    with pytest.raises(DataError) as caught:
        open_dataset(spec, [SPEC])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_refuses_feeds_of_which_only_some_have_labels() -> None:
    def feeds() -> Iterator[Any]:
        yield {"x": np.ones((1, 2))}, [1]
        yield {"x": np.ones((1, 2))}

    with pytest.raises(DataError, match="feed 1: only some feeds come with labels"):
        list(open_dataset(feeds, [SPEC]).batches(1))


@pytest.mark.parametrize("factory", [Countdown, lambda: [{"x": np.ones((3, 2)), "file": 1}]])
def test_factory_is_read_anew(factory: Callable[[], Any]) -> None:
    dataset = open_dataset(factory, PAIR)
    assert dataset.size == 3
    first, second = ([b.feeds["x"] for b in dataset.batches(1)] for _ in range(2))
    assert len(first) == len(second)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_factory_fingerprint_is_of_what_it_gives() -> None:
    def feeds(value: float) -> Callable[[], list[dict[str, Any]]]:
        return lambda: [{"x": np.full((1, 2), value)}]

    prints = [open_dataset(feeds(v), [SPEC]).fingerprint for v in (1.0, 1.0, 2.0)]
    assert prints[0] == prints[1] != prints[2]


def test_reader_is_spooled_and_its_folder_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dataset = open_dataset(Countdown(), PAIR)
    assert len(os.listdir(tmp_path)) == 1  # noqa: PTH208
    for _ in range(2):
        assert [b.feeds["x"][0, 1] for b in dataset.batches(8)] == [2, 1, 0]
        assert [int(b.feeds["file"]) for b in dataset.batches(8)] == [2, 1, 0]
    assert dataset.fingerprint == open_dataset(Countdown(), PAIR).fingerprint
    assert dataset.fingerprint != open_dataset(Countdown(2), PAIR).fingerprint
    assert isinstance(dataset, FeedDataset)
    del dataset
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_reader_limit_and_refusals_leave_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert open_dataset(Countdown(), PAIR, limit=2).size == 2
    with pytest.raises(DataError, match="Countdown: yields no samples"):
        open_dataset(Countdown(0), PAIR)
    with pytest.raises(DataError, match="Countdown, feed 0: feeds file, x, but"):
        open_dataset(Countdown(), [SPEC])
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_a_spool_that_cannot_be_written_is_an_output_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(OutputError, match="cannot spool the samples"):
        open_dataset(Countdown(), PAIR)
