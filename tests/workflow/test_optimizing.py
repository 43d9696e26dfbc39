from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest

from bmopt.errors import BmoptError, ModelError, OutputError, PassError, UsageError
from bmopt.workflow.optimizing import optimize_model
from tests.workflow.demo_runs import DEMO


def test_a_model_is_rewritten_and_checked(tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    seen: list[str] = []
    report = optimize_model(
        DEMO.model, out, pipeline="fold-batch-norm", on_pass=lambda name, _: seen.append(name)
    )
    onnx.checker.check_model(str(out), full_check=True)
    assert seen == ["fold-batch-norm"]
    assert report.nodes_after == len(onnx.load(out).graph.node) < report.nodes_before
    assert report.size_after == out.stat().st_size
    assert report.log.verification.verdict == "equivalent"
    assert report.to_dict()["nodes_before"] == report.nodes_before


def test_the_check_can_be_left_out(tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    report = optimize_model(DEMO.model, out, pipeline="fold-batch-norm", verify=False)
    assert report.log.verification.verdict == "not verified"


def test_the_models_text_comes_with_every_pass(tmp_path: Path) -> None:
    texts: list[str] = []
    optimize_model(
        DEMO.model,
        tmp_path / "out.onnx",
        pipeline="fold-batch-norm,drop-dead",
        on_pass=lambda _, text: texts.append(text),
        want_text=True,
    )
    assert len(texts) == 2
    assert all("Conv" in text and "BatchNormalization" not in text for text in texts)


def test_shapes_are_fixed(tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    optimize_model(DEMO.model, out, pipeline="drop-dead", shapes=["image:3x1x16x16"])
    axes = onnx.load(out).graph.input[0].type.tensor_type.shape.dim
    assert [axis.dim_value for axis in axes] == [3, 1, 16, 16]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"source": Path("none.onnx")}, ModelError),
        ({"pipeline": "fold-nothing"}, PassError),
        ({"pipeline": "quantize"}, PassError),
        ({"shapes": ("image:1",)}, UsageError),
        ({"shapes": ("image",)}, UsageError),
        ({"out": DEMO.model}, UsageError),
        ({"out": DEMO.model / "out.onnx"}, OutputError),
    ],
)
def test_bad_input_ends_in_one_line(
    tmp_path: Path, options: dict[str, Any], error: type[BmoptError]
) -> None:
    before = DEMO.model.read_bytes()
    arguments = {"source": DEMO.model, "out": tmp_path / "out.onnx", "pipeline": "drop-dead"}
    with pytest.raises(error) as caught:
        optimize_model(**{**arguments, **options})
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    assert DEMO.model.read_bytes() == before
