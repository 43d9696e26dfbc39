from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmopt.bench.agreement import Agreement
from bmopt.bench.detection_agreement import SameDetections
from bmopt.bench.metric import RIGHT, Metric, Rows
from bmopt.bench.metric_text import metric_text, parse_metric
from bmopt.core.runner import Array
from bmopt.errors import UsageError

Outputs = dict[str, Array]

GENERATOR = np.random.default_rng(29)


def rows(text: str, expected: Outputs, actual: Outputs, size: int) -> tuple[Metric, Rows]:
    metric = parse_metric(text).bound(expected, size)
    return metric, metric.beside(expected, actual, None, size)


def agreed(expected: Outputs, actual: Outputs, size: int, text: str = "agreement") -> float:
    metric, found = rows(text, expected, actual, size)
    return metric.estimator(found).value()


def detections(count: int = 3) -> Outputs:
    """Return that many well separated boxes on each of two images."""
    corners = np.arange(count)[None, :, None] * 10.0 + np.array([0.0, 0.0, 8.0, 8.0])
    boxes = np.repeat(corners, 2, axis=0).astype(np.float32)
    scores = np.full((2, count), 0.9, np.float32) - 0.1 * np.arange(count, dtype=np.float32)
    return {"boxes": boxes, "labels": np.ones((2, count), np.int64), "scores": scores}


def test_classes_decide_where_there_are_scores() -> None:
    scores = GENERATOR.normal(size=(10, 4)).astype(np.float32)
    other = scores.copy()
    other[:3] *= -1
    expected = {"ids": np.arange(10), "scores": scores, "aux": -scores}
    metric, found = rows("agreement", expected, {**expected, "scores": other, "aux": scores}, 10)
    assert found[RIGHT].tolist() == [False] * 3 + [True] * 7
    assert metric.estimator(found).value() == 0.7
    assert agreed(expected, {**expected, "aux": scores}, 10) == 1.0
    assert agreed(expected, {**expected, "aux": scores}, 10, "agreement:output=aux") == 0.0
    assert agreed({"y": scores}, {"y": other.reshape(10, 4, 1, 1)}, 10) == 0.7
    assert agreed({"y": scores}, {"y": scores[:, :3]}, 10) == 0.0
    assert agreed({"y": scores}, {"y": np.full_like(scores, np.nan)}, 10) == 0.0


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_a_sequence_counts_its_positions(dtype: type) -> None:
    scores = GENERATOR.normal(size=(4, 5, 3)).astype(dtype)
    other = scores.copy()
    other[0, 0] = -other[0, 0]
    other[1, :2] = -other[1, :2]
    found = rows("agreement", {"y": scores}, {"y": other}, 4)[1]
    assert found["same"].tolist() == [[0.8], [0.6], [1.0], [1.0]]
    assert agreed({"y": scores}, {"y": other}, 4) == pytest.approx(0.85)
    lost = scores.copy()
    lost[0, 0, 2] = np.nan
    assert agreed({"y": scores}, {"y": lost}, 4) == pytest.approx(0.95)


def test_the_class_axis_of_pixels_and_of_what_is_asked_for() -> None:
    scores = GENERATOR.normal(size=(2, 5, 4, 6)).astype(np.float32)
    other = scores.copy()
    other[0, :, 0, 0] *= -1
    assert agreed({"y": scores}, {"y": other}, 2) == pytest.approx(1 - 1 / 48)
    image = scores[:, :3]
    with pytest.raises(UsageError, match="agreement: no output '' holds decisions"):
        Agreement().bound({"y": image}, 2)
    assert agreed({"y": image}, {"y": other[:, :3]}, 2, "agreement:axis=1") < 1.0
    turned = np.moveaxis(scores[:, :, 0], 1, 2)
    text = "agreement:axis=1"
    assert rows(text, {"y": turned}, {"y": turned}, 2)[1]["same"].tolist() == [[1.0], [1.0]]


def test_values_that_are_decisions_must_be_equal_and_the_worst_output_decides() -> None:
    expected = {
        "id": np.arange(12).reshape(4, 3),
        "flag": np.array([True, False, True, True]),
        "text": np.array(["a", "b", "c", "d"], dtype=object),
        "value": np.ones((4, 1), np.float32),
    }
    actual = {
        **expected,
        "id": np.where(np.arange(12).reshape(4, 3) < 2, -1, expected["id"]),
        "text": np.array(["a", "x", "y", "d"]),
    }
    found = rows("agreement", expected, actual, 4)[1]
    assert found["same"].shape == (4, 3)
    assert found["same"].mean(axis=0) == pytest.approx([10 / 12, 1.0, 0.5])
    assert agreed(expected, actual, 4) == 0.5
    assert agreed(expected, {**expected, "id": expected["id"][:, :2]}, 4) == 0.0
    assert agreed(expected, {k: v for k, v in expected.items() if k != "flag"}, 4) == 0.0


def test_one_sample_may_come_without_an_axis_of_its_own() -> None:
    tokens = np.array([3, 1, 4, 1])
    assert agreed({"y": tokens}, {"y": np.array([3, 1, 4, 2])}, 1) == 0.75
    with pytest.raises(UsageError, match="holds decisions"):
        Agreement().bound({"y": tokens}, 2)


@given(seed=st.integers(0, 2**31), size=st.integers(1, 6), steps=st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_a_model_agrees_with_itself_on_any_resample(seed: int, size: int, steps: int) -> None:
    generator = np.random.default_rng(seed)
    outputs = {"y": generator.normal(size=(size, steps, 3)), "id": generator.integers(0, 9, size)}
    metric, found = rows("agreement", outputs, outputs, size)
    counts = generator.integers(1, 5, (4, size)).astype(np.float64)
    assert metric.estimator(found).values(counts).tolist() == [1.0] * 4


def test_detectors_are_found_and_share_boxes() -> None:
    expected = detections()
    metric, found = rows("agreement", expected, expected, 2)
    assert isinstance(metric, Agreement)
    assert isinstance(metric.rule, SameDetections)
    assert found["shared"].tolist() == found["seen"].tolist() == [1.0, 1.0]
    moved = {name: array.copy() for name, array in expected.items()}
    moved["boxes"][0, 0] += 5.0
    # One of three is elsewhere: two pairs of six.
    assert rows("agreement", expected, moved, 2)[1]["shared"].tolist() == [4 / 6, 1.0]
    named = {**expected, "labels": expected["labels"] + np.array([[0, 1, 0], [0, 0, 0]])}
    assert agreed(expected, named, 2) == pytest.approx((4 / 6 + 1) / 2)
    weak = {**expected, "scores": expected["scores"] - np.float32(0.25)}
    # 0.9, 0.8, 0.7 became 0.65, 0.55, 0.45.
    assert agreed(expected, weak, 2) == pytest.approx(4 / 5)
    assert agreed(expected, weak, 2, "agreement:threshold=0.4") == 1.0


def test_order_of_detections_and_their_number_do_not_matter() -> None:
    expected = detections()
    turned = {name: array[:, ::-1] for name, array in expected.items()}
    assert agreed(expected, turned, 2) == 1.0
    more = detections(4)
    more["scores"][:, 3] = 0.1
    assert agreed(expected, more, 2) == 1.0
    more["scores"][:, 3] = 0.6
    assert agreed(expected, more, 2) == pytest.approx(6 / 7)
    single = {name: array[0] for name, array in expected.items()}
    fewer = {name: array[:2] for name, array in single.items()}
    assert agreed(single, fewer, 1) == pytest.approx(4 / 5)


def test_images_on_which_neither_finds_anything_do_not_count() -> None:
    expected = detections()
    expected["scores"][1] = 0.0
    found = rows("agreement", expected, expected, 2)[1]
    assert (found["shared"].tolist(), found["seen"].tolist()) == ([1.0, 0.0], [1.0, 0.0])
    nothing = {**expected, "scores": np.zeros((2, 3), np.float32)}
    assert agreed(expected, nothing, 2) == 0.0
    assert math.isnan(agreed(nothing, nothing, 2))


@pytest.mark.parametrize("layout", ["per class", "no classes", "float classes", "cxcywh"])
def test_other_layouts_of_detectors(layout: str) -> None:
    expected, text = detections(), "agreement"
    if layout == "per class":
        several = np.stack([expected["scores"], 0.2 * expected["scores"]], axis=2)
        expected = {"boxes": expected["boxes"], "scores": several}
    elif layout == "no classes":
        del expected["labels"]
    elif layout == "float classes":
        expected["labels"] = expected["labels"].astype(np.float32)
    else:
        first, second = expected["boxes"][..., :2], expected["boxes"][..., 2:]
        expected["boxes"] = np.concatenate([(first + second) / 2, second - first], axis=2)
        text = "agreement:format=cxcywh"
    moved = {name: array.copy() for name, array in expected.items()}
    moved["boxes"][0, 0, 0] += 20.0
    assert agreed(expected, expected, 2, text) == 1.0
    assert agreed(expected, moved, 2, text) == pytest.approx((4 / 6 + 1) / 2)


def test_options_round_trip_and_are_checked() -> None:
    text = "agreement:axis=1,threshold=0.25"
    assert metric_text(parse_metric(text)) == text
    bound = parse_metric("agreement").bound({"y": np.zeros((2, 3), np.float32)}, 2)
    assert metric_text(bound) == "agreement"
    for bad, message in (
        ("agreement:format=yx", "format=yx: choose one of xyxy"),
        ("agreement:axis=-1", "axis=-1: count axes from the first"),
        ("agreement:rule=x", "'rule=x' is no option of agreement"),
    ):
        with pytest.raises(UsageError, match=message):
            parse_metric(bad)
