from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from bmopt.bench.bootstrap import paired_bootstrap
from bmopt.bench.detection_metrics import MeanAveragePrecision
from bmopt.bench.label_files import load_labels
from bmopt.bench.metric_text import METRIC_KINDS, metric_text, parse_metric
from bmopt.bench.packing import packed, unpacked
from bmopt.errors import DataError, UsageError

CODE = """
import numpy as np
def closeness(outputs, labels):
    return -abs(outputs["y"] - labels)
def margin(outputs, labels):
    return outputs["y"]
margin.lower_is_better = True
def spread(outputs, labels):
    return np.std(outputs["y"])
spread.whole = True
def broken(outputs, labels):
    return outputs["nix"]
def shapeless(outputs, labels):
    return 3.0
number = 3
"""


@pytest.fixture
def _code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_metrics.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_metrics", raising=False)


@pytest.mark.parametrize(
    "text",
    [
        *METRIC_KINDS,
        "top1:output=y",
        "f1:micro",
        "f1:output=y,binary,positive=3,threshold=0.25",
        "map:boxes=b,scores=s,format=cxcywh,scale=640.0,offset=-1",
        "wer:vocab=v.txt,blank=28,layout=tnv",
        "mse:labels=targets.npy",
    ],
)
def test_text_round_trips(text: str) -> None:
    assert metric_text(parse_metric(text)) == text
    assert parse_metric(metric_text(parse_metric(text))) == parse_metric(text)


def test_fractions_are_numbers() -> None:
    assert parse_metric("map:scale=1/640") == MeanAveragePrecision(scale=1 / 640)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("top2", "did you mean top"),
        ("accuracy", "choose one of top1, top5, .* or write module:function"),
        ("top1:3", "'3' is no option of top1; it has labels, output"),
        ("f1:averge=micro", "'averge=micro' is no option of f1"),
        ("f1:binary,positive=first", "'positive=first' is no number"),
        ("map:scale=1/0", "'scale=1/0' is no number"),
        ("no_such_module_here:f", "no_such_module_here cannot be imported"),
        ("math:nix", "module math has no function 'nix'"),
    ],
)
def test_bad_text_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_metric(text)


@pytest.mark.usefixtures("_code")
def test_a_function_gives_a_score_per_sample() -> None:
    metric = parse_metric("my_metrics:closeness")
    assert (metric.name, metric.higher_is_better) == ("my_metrics:closeness", True)
    assert not parse_metric("my_metrics:margin").higher_is_better
    outputs = {"y": np.array([1.0, 5.0])}
    rows = metric.bound(outputs, 2).score(outputs, np.array([1.0, 3.0]), 2)
    assert rows["score"].tolist() == [0.0, -2.0]
    assert metric.estimator(rows).value() == -1.0
    assert metric_text(metric) == "my_metrics:closeness"


@pytest.mark.usefixtures("_code")
def test_a_whole_function_is_called_again_on_resamples() -> None:
    metric = parse_metric("my_metrics:spread")
    values = np.random.default_rng(1).normal(size=50)
    pair = [metric.estimator(metric.score({"y": y}, None, 50)) for y in (values, 2 * values)]
    assert pair[1].value() == pytest.approx(2 * values.std())
    found = paired_bootstrap(*pair, fraction=metric.is_fraction)
    assert found is not None
    assert found.resamples == 200
    assert 0 < found.change.low < values.std() < found.change.high
    assert found.relative is not None
    assert found.relative.low == pytest.approx(1.0)
    with pytest.raises(UsageError, match="output 'y' has no row per sample"):
        metric.bound({"y": np.zeros(3)}, 2)


@pytest.mark.usefixtures("_code")
def test_a_function_that_fails_is_named() -> None:
    outputs = {"y": np.zeros(2)}
    with pytest.raises(DataError, match=r"my_metrics:broken: failed \(KeyError\('nix'\)\)"):
        parse_metric("my_metrics:broken").score(outputs, None, 2)
    with pytest.raises(DataError, match=r"shapeless: returned shape \[\] for 2 samples"):
        parse_metric("my_metrics:shapeless").score(outputs, None, 2)
    with pytest.raises(UsageError, match="has no function 'number'"):
        parse_metric("my_metrics:number")


def test_label_files(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(3))
    np.savez(tmp_path / "b.npz", labels=np.arange(4.0), other=np.zeros(1))
    np.savez(tmp_path / "c.npz", only=np.arange(2))
    (tmp_path / "d.txt").write_text("one text\n\nthree\n")
    for name, column in (("e", "1\n2"), ("f", "1\n2.5"), ("g", "1\ntwo words")):
        (tmp_path / f"{name}.csv").write_text(f"label\n{column}\n")
    found = {path.name[0]: load_labels(str(path)).tolist() for path in tmp_path.iterdir()}
    assert found == {
        "a": [0, 1, 2],
        "b": [0.0, 1.0, 2.0, 3.0],
        "c": [0, 1],
        "d": ["one text", "", "three"],
        "e": [1, 2],
        "f": [1.0, 2.5],
        "g": ["1", "two words"],
    }


def test_bad_label_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", x=np.zeros(1), y=np.zeros(1))
    np.save(tmp_path / "none.npy", np.zeros(0))
    (tmp_path / "bad.npy").write_text("nonsense")
    (tmp_path / "bad.csv").write_text("file,class\na,1\n")
    for name, message in (
        ("two.npz", "has no array 'labels'; it has x, y"),
        ("none.npy", "holds no labels"),
        ("bad.npy", "labels cannot be read"),
        ("missing.npy", "labels cannot be read"),
        ("bad.csv", "has no column 'label'"),
        ("x.xml", "labels come in .npy, .npz, .txt, .csv files"),
    ):
        with pytest.raises(DataError, match=message):
            load_labels(str(tmp_path / name))


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).reshape(2, 3),
        np.array([0.5, np.nan], ">f4"),
        np.array([[True, False], [True, True]]),
        np.array(["a", "bc"]),
    ],
)
def test_packing_loses_nothing(array: np.ndarray) -> None:
    again = unpacked(packed(array))
    assert again.shape == array.shape
    np.testing.assert_array_equal(again.astype(array.dtype), array)
