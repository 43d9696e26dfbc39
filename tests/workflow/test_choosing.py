"""Which ranges are chosen by trying them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bmopt.core.plan import QuantPlan
from bmopt.core.ranges import METHODS
from tests.workflow.demo_runs import compile_demo, write_text_model

TWO_LAYERS = """
g (float[N,32] x) => (float[N,16] y)
<float[32,48] a, float[48,16] b>
{
  h = MatMul (x, a)
  r = Relu (h)
  y = MatMul (r, b)
}
"""


@pytest.fixture
def outliers(tmp_path: Path) -> dict[str, Any]:
    """A model, and samples of which one has an element far off."""
    rng = np.random.default_rng(3)
    shapes = {"a": (32, 48), "b": (48, 16)}
    body = TWO_LAYERS
    for name, shape in shapes.items():
        values = ", ".join(f"{v:.5f}" for v in rng.normal(size=shape).ravel())
        text = f"float[{shape[0]},{shape[1]}] {name}"
        body = body.replace(text, f"{text} = {{{values}}}")
    samples = rng.normal(size=(128, 32)).astype(np.float32)
    samples[100, 3] = 400.0
    np.savez(tmp_path / "calib.npz", x=samples)
    np.savez(tmp_path / "val.npz", x=rng.normal(size=(256, 32)).astype(np.float32))
    return {
        "source": write_text_model(tmp_path / "model.onnx", body),
        "calib": str(tmp_path / "calib.npz"),
        "val": str(tmp_path / "val.npz"),
        "metric": "agreement",
        "placement": "all",
        "pipeline": "simplify",
        "calib_limit": 0,
    }


def test_auto_takes_ranges_that_an_outlier_does_not_widen(
    tmp_path: Path, outliers: dict[str, Any]
) -> None:
    plain = compile_demo(tmp_path / "a", **outliers, method="minmax", steps="none").report
    chosen = compile_demo(tmp_path / "b", **outliers, method="auto", steps="ranges").report
    sqnr = [one["accuracy"]["sqnr_db"]["y"] for one in (plain, chosen)]
    assert sqnr[1] > sqnr[0] + 10
    plan = QuantPlan.from_json((tmp_path / "b" / "plan.json").read_text())
    assert plan.method != "minmax"


def test_output_chooses_a_method_for_every_tensor(tmp_path: Path) -> None:
    result = compile_demo(tmp_path / "out", method="output", steps="ranges")
    plan = QuantPlan.from_json((tmp_path / "out" / "plan.json").read_text())
    assert plan.methods
    assert set(plan.methods.values()) <= set(METHODS)
    assert result.report["accuracy"]["agreement"] > 0.9


def test_without_the_step_auto_is_min_max(tmp_path: Path) -> None:
    compile_demo(tmp_path / "out", method="auto", steps="bias")
    plan = QuantPlan.from_json((tmp_path / "out" / "plan.json").read_text())
    assert (plan.method, plan.methods) == ("minmax", {})
