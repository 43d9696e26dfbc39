"""Models with ops that TVM's importer lacks, through the workflow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from bmopt.core.target import Target
from bmopt.errors import BuildError
from bmopt.workflow.artifact import load_artifact
from bmopt.workflow.compiling import compile_model
from bmopt.workflow.recipe import Recipe
from tests.backends.tvm.installed import needs_tvm
from tests.rewriting import parse, random_feeds, run_plain

_HEADER = '<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>\n'


def _numbers(count: int, seed: int) -> str:
    values = np.random.default_rng(seed).standard_normal(count).round(3)
    return "{" + ", ".join(map(str, values)) + "}"


_MANY = f"""{_HEADER}
g (float[4, 1, 6] x, float[1, 2, 5, 5] p) => (float[4, 1, 1, 3] y, float[A, B, C, D] q, float[E, F, G] r)
<float[1, 9, 6] w = {_numbers(54, 0)}, float[1, 9, 3] u = {_numbers(27, 1)},
 float[2, 3, 3, 3] t = {_numbers(54, 2)}, int64 turns = {{3}}, bool on = {{1}}> {{
  y, h = GRU <hidden_size = 3> (x, w, u)
  c = ConvTranspose <strides = [2, 2], pads = [1, 1, 1, 1]> (p, t)
  q = com.microsoft.QuickGelu (c)
  m = com.microsoft.FusedMatMul <transB = 1, alpha = 0.5> (x, x)
  r = Loop <body = turn (int64 i, bool go, float[A1, B1, C1] a) => (bool go_on, float[A2, B2, C2] b) {{
    s = Add (a, a)
    b = Sin (s)
    go_on = Identity (go)
  }}> (turns, on, m)
}}
"""  # noqa: E501 - text of a graph


def _saved(text: str, folder: Path) -> tuple[Path, ir.Model]:
    model = parse(text)
    path = folder / "model.onnx"
    onnx.save(ir.to_proto(model), str(path))
    return path, model


@needs_tvm
def test_ops_that_the_importer_lacks_are_written_out(tmp_path: Path) -> None:
    path, model = _saved(_MANY, tmp_path)
    result = compile_model(path, Recipe(target="tvm-fp32", duration_s=0.0), tmp_path / "out")
    assert not [text for text in result.report["warnings"] if "scheduled as TVM does" in text]
    feeds = random_feeds(model, seed=3)
    with load_artifact(result.artifact, threads=1) as opened:
        assert not opened.is_stand_in
        got = opened.run(feeds)
    for name, want in zip(("y", "q", "r"), run_plain(model, feeds), strict=True):
        np.testing.assert_allclose(got[name], want, rtol=1e-4, atol=1e-4)


@needs_tvm
def test_a_dictionary_is_the_target_of_the_artifact(tmp_path: Path) -> None:
    path, _ = _saved(
        f"{_HEADER} g (float[1, 3] x) => (float[1, 3] y) {{ y = Celu (x) }}", tmp_path
    )
    box = tmp_path / "box.json"
    box.write_text('{"mtriple": "aarch64-linux-gnu", "kind": "llvm", "mcpu": "cortex-a55"}')
    recipe = Recipe(target=f"tvm-fp32:@{box}", duration_s=0.0)
    result = compile_model(path, recipe, tmp_path / "out")
    target = Target.parse(result.report["target"])
    assert target.dictionary == {
        "kind": "llvm",
        "mcpu": "cortex-a55",
        "mtriple": "aarch64-linux-gnu",
    }
    assert Target.parse(Recipe.from_toml(result.artifact / "recipe.toml").target) == target


def test_what_is_left_is_named_before_samples_are_run(tmp_path: Path) -> None:
    text = f"""{_HEADER}
    g (float[4, 4] x, float[T, 1, 2] s, float[1, 3, 2] w, float[1, 3, 3] r)
      => (float d, float[4, 4] i, float[T, 1, 1, 3] y) {{
      d = Det (x)
      i = com.microsoft.Inverse (x)
      y = RNN <hidden_size = 3> (s, w, r)
    }}"""
    path, _ = _saved(text, tmp_path)
    recipe = Recipe(
        target="tvm-int8:cortex-a53",
        calib="random:2",
        duration_s=0.0,
        shapes=("s:1x1x2:4x1x2:9x1x2",),
    )
    with pytest.raises(BuildError) as caught:
        compile_model(path, recipe, tmp_path / "out")
    told = str(caught.value)
    assert "\n" not in told
    assert "no Det" in told
    assert "no com.microsoft.Inverse" in told
    assert "no RNN, and it has an unknown number of steps" in told
    assert not (tmp_path / "out").exists()
