from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bmopt.core.ranges import METHODS, RangeTable
from bmopt.errors import BmoptError, DataError, ModelError, OutputError, PassError, UsageError
from bmopt.graph.model_digest import model_digest
from bmopt.graph.model_io import load_model
from bmopt.workflow.ranging import calibrate_model
from tests.workflow.demo_runs import DEMO

CALIB = str(DEMO.calib)


def test_a_table_is_written(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "ranges.json"
    table = calibrate_model(DEMO.model, CALIB, out, limit=40)
    assert RangeTable.from_json(out.read_text()) == table
    assert table.samples == 40
    table.require_model(model_digest(load_model(DEMO.model)))
    found = table.tensors["image"]
    assert set(found.affine) == set(METHODS)
    assert found.low == pytest.approx((0 - 0.3) / 0.35, rel=1e-4)


def test_the_table_belongs_to_the_pipelines_result(tmp_path: Path) -> None:
    plain = calibrate_model(DEMO.model, CALIB, tmp_path / "a.json", limit=8)
    folded = calibrate_model(
        DEMO.model, CALIB, tmp_path / "b.json", limit=8, pipeline="fold-batch-norm"
    )
    assert folded.model != plain.model
    assert len(folded.tensors) < len(plain.tensors)


def test_the_batch_size_changes_no_extreme(tmp_path: Path) -> None:
    one, many = (
        calibrate_model(DEMO.model, CALIB, tmp_path / "r.json", limit=20, batch_size=size)
        for size in (1, 7)
    )
    for name, entry in one.tensors.items():
        assert entry.low == pytest.approx(many.tensors[name].low, rel=1e-4, abs=1e-5)
        assert entry.high == pytest.approx(many.tensors[name].high, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"source": Path("none.onnx")}, ModelError),
        ({"data": "none.npz"}, DataError),
        ({"data": "random:x"}, UsageError),
        ({"pipeline": "fold-nothing"}, PassError),
        ({"shapes": ("nothing:1x1",)}, UsageError),
        ({"out": DEMO.model / "ranges.json"}, OutputError),
    ],
)
def test_bad_input_ends_in_one_line(
    tmp_path: Path, options: dict[str, Any], error: type[BmoptError]
) -> None:
    arguments = {"source": DEMO.model, "data": CALIB, "out": tmp_path / "r.json", "limit": 8}
    with pytest.raises(error) as caught:
        calibrate_model(**{**arguments, **options})
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_channels_are_watched_where_asked(tmp_path: Path) -> None:
    table = calibrate_model(
        DEMO.model, str(DEMO.calib), tmp_path / "r.json", limit=4, channels=["image:1"]
    )
    channels = table.tensors["image"].channels
    assert channels is not None
    assert (channels.axis, len(channels.ranges)) == (1, 1)
    assert channels.ranges[0].affine == table.tensors["image"].affine


@pytest.mark.parametrize("entry", ["image", "image:", "image:x", ":1"])
def test_channels_of_another_form_are_refused(tmp_path: Path, entry: str) -> None:
    with pytest.raises(UsageError, match="TENSOR:AXIS"):
        calibrate_model(DEMO.model, str(DEMO.calib), tmp_path / "r.json", channels=[entry])
    assert not (tmp_path / "r.json").exists()
