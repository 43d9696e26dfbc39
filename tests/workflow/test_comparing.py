from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bmopt.bench.difference import Tolerance
from bmopt.errors import DataError, ModelError, OutputError, UsageError
from bmopt.workflow import comparing_layers
from bmopt.workflow.comparing import CompareOptions, Comparison, compare_models
from bmopt.workflow.compiling import CompileResult
from bmopt.workflow.samples import SampleOptions
from tests.workflow.demo_runs import DEMO, write_text_model

SCALED = """
g (float[N, 4] x) => (float[N, 4] y) {{ c = Constant<value_float = {}>()  y = Mul(x, c) }}
"""
TWO = "g (float[N, 4] x) => (float[N, 4] p, float[N, 4] q) { p = Neg(x)  q = Abs(x) }"
CHAIN = """
g (float[2] x) => (float[2] y) {{
  a = Relu(x)  k = Constant<value_float = {}>()  b = Add(a, k)  c = Neg(b)  y = Exp(c)
}}
"""


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    """Two models, the second of which answers 1.5 times what the first one does."""
    return saved(tmp_path, "a", SCALED.format(2.0)), saved(tmp_path, "b", SCALED.format(3.0))


def saved(folder: Path, name: str, body: str) -> str:
    return str(write_text_model(folder / f"{name}.onnx", body))


def compared(a: str, b: str | None, **options: Any) -> Comparison:
    return compare_models(a, b, CompareOptions(**options))


def test_differences_are_those_of_the_arithmetic(pair: tuple[str, str]) -> None:
    found = compared(*pair, data="random:5", batch_size=2)
    (output,) = found.outputs
    assert (found.samples, output.elements, output.outside) == (5, 20, 20)
    assert output.max_rel == pytest.approx(1 / 3)
    assert output.sqnr_db == pytest.approx(20 * math.log10(3), abs=1e-4)
    assert output.cosine == pytest.approx(1.0)
    assert output.argmax == 1.0
    assert found.is_equal is None


@pytest.mark.parametrize(("rtol", "equal"), [(0.34, True), (0.33, False)])
def test_a_tolerance_makes_a_verdict(pair: tuple[str, str], rtol: float, equal: bool) -> None:
    assert compared(*pair, tolerance=Tolerance(rtol=rtol)).is_equal is equal


def test_batches_make_no_difference(pair: tuple[str, str]) -> None:
    one, two = (compared(*pair, batch_size=size, data="random:7") for size in (1, 7))
    assert one.outputs[0].max_abs == two.outputs[0].max_abs
    assert one.outputs[0].mean_abs == pytest.approx(two.outputs[0].mean_abs)


def test_a_model_equals_itself_on_another_way_to_it(pair: tuple[str, str]) -> None:
    found = compared(pair[0], f"ort:{pair[0]}", tolerance=Tolerance())
    assert found.is_equal
    assert found.a["digest"] == found.b["digest"]
    assert (found.a["kind"], found.b["kind"]) == ("onnx", "engine")


def test_an_artifact_against_its_source(demo: CompileResult) -> None:
    samples = SampleOptions(limit=40)
    options = CompareOptions(str(DEMO.val), samples, layers=True, any_host=True)
    found = compare_models(str(demo.artifact), str(DEMO.model), options)
    assert found.samples == 40
    decibels = found.outputs[0].sqnr_db
    assert decibels is not None
    assert 10 < decibels < math.inf
    assert found.outputs[0].argmax is not None
    assert found.outputs[0].argmax > 0.9
    layers = {layer.name: layer for layer in found.layers}
    assert len(layers) > 5
    assert "logits" in layers
    assert all(layer.sqnr_db is not None and layer.sqnr_db > 10 for layer in found.layers)


def test_layers_show_where_models_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing_layers, "_CHUNK_BYTES", 1)
    a, b = saved(tmp_path, "a", CHAIN.format(0.5)), saved(tmp_path, "b", CHAIN.format(0.25))
    found = compared(a, b, layers=True, tolerance=Tolerance(atol=1e-6))
    assert [(layer.name, layer.is_within) for layer in found.layers] == [
        ("a", True),
        ("b", False),
        ("c", False),
        ("y", False),
    ]
    assert found.layers[1].max_abs == pytest.approx(0.25)


def test_a_folded_normalisation_has_its_counterpart(tmp_path: Path) -> None:
    norm = """
    g (float[1, 1, 2, 2] x) => (float[1, 1, 2, 2] y) <float[1, 1, 1, 1] w = {2},
      float[1] s = {3}, float[1] o = {1}, float[1] m = {0.5}, float[1] v = {1}> {
      c = Conv(x, w)  n = BatchNormalization<epsilon = 0.0>(c, s, o, m, v)  y = Relu(n)
    }
    """
    folded = """
    g (float[1, 1, 2, 2] x) => (float[1, 1, 2, 2] y) <float[1, 1, 1, 1] w = {6},
      float[1] o = {-0.5}> { c = Conv(x, w, o)  y = Relu(c) }
    """
    a, b = saved(tmp_path, "a", folded), saved(tmp_path, "b", norm)
    for one, other, name in ((a, b, "c / n"), (b, a, "n / c"), (b, b, "c")):
        found = compared(one, other, layers=True, tolerance=Tolerance(atol=1e-5))
        assert found.layers[0].name == name
        assert all(layer.is_within for layer in found.layers)


def test_a_quantised_tensor_is_looked_at_behind_its_pair(tmp_path: Path) -> None:
    """The Relu that the unsigned pair stands for is gone; what is read is the same."""
    real = "g (float[4] x) => (float[4] y) { n = Neg(x)  a = Relu(n)  y = Abs(a) }"
    pairs = """
    g (float[4] x) => (float[4] y) <float s = {0.01}, uint8 z = {0}> {
      a = Neg(x)  q = QuantizeLinear(a, s, z)  d = DequantizeLinear(q, s, z)  y = Abs(d)
    }
    """
    a, b = saved(tmp_path, "a", pairs), saved(tmp_path, "b", real)
    found = compared(a, b, layers=True, tolerance=Tolerance(atol=0.0051))
    assert [(layer.name, layer.is_within) for layer in found.layers] == [("a", True), ("y", True)]


def test_nan_and_infinities_are_counted(tmp_path: Path) -> None:
    a = saved(tmp_path, "a", "g (float[8] x) => (float[8] y) { y = Log(x) }")
    b = saved(tmp_path, "b", "g (float[8] x) => (float[8] y) { p = Abs(x)  y = Log(p) }")
    (output,) = compared(a, b, tolerance=Tolerance(atol=1e9), data="random:4").outputs
    assert output.nan[0] > 0
    assert output.nan[1] == 0
    assert output.outside == output.unmatched == output.nan[0]


def test_outputs_pair_by_name_and_else_by_order(tmp_path: Path) -> None:
    body = "g (float[2] x) => (float[2] {0}, float[2] {1}) {{ {0} = {2}(x)  {1} = {3}(x) }}"
    a = saved(tmp_path, "a", body.format("p", "q", "Neg", "Abs"))
    b = saved(tmp_path, "b", body.format("r", "s", "Neg", "Abs"))
    c = saved(tmp_path, "c", body.format("q", "s", "Abs", "Neg"))
    exact = Tolerance()
    assert [o.name for o in compared(a, b, tolerance=exact).outputs] == ["p / r", "q / s"]
    assert compared(a, b, tolerance=exact).is_equal
    found = compared(a, c, tolerance=exact)
    assert [o.name for o in found.outputs] == ["q"]
    assert found.lone == {"p": "A", "s": "B"}
    assert found.outputs[0].is_within
    assert not found.is_equal


def test_stored_inputs_and_outputs_are_used_again(pair: tuple[str, str], tmp_path: Path) -> None:
    path = tmp_path / "golden.npz"
    first = compared(*pair, save=path, data="random:5", batch_size=2)
    again = compared(*pair, load=path)
    assert again.outputs == first.outputs
    assert again.samples == 5
    same = compared(pair[0], None, load=path, tolerance=Tolerance())
    assert same.is_equal
    assert same.b["digest"] == first.a["digest"]
    other = compared(pair[1], None, load=path)
    assert other.outputs[0].max_rel == pytest.approx(0.5)
    with np.load(path) as archive:
        np.testing.assert_allclose(archive["2/a/y"], archive["2/inputs/x"] * 2)
        assert json.loads(archive["meta.json"])["sizes"] == [2, 2, 1]


def test_half_precision_inputs_are_fed_the_same_samples(tmp_path: Path) -> None:
    body = "g ({0}[2] x) => ({0}[2] y) {{ y = Abs(x) }}"
    a, b = (saved(tmp_path, t, body.format(t)) for t in ("float16", "float"))
    (output,) = compared(a, b, tolerance=Tolerance(rtol=1e-3)).outputs
    assert output.is_within
    assert output.dtypes == ("float16", "float32")


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ("g (float[N, 4] z) => (float[N, 4] y) { y = Abs(z) }", r"'x' .* missing; 'z' is missing"),
        ("g (float[N, 5] x) => (float[N, 5] y) { y = Abs(x) }", r"4\] against float32 \[N, 5\]"),
        ("g (float[4] x) => (float[4] y) { y = Abs(x) }", r"against float32 \[4\]"),
        ("g (int32[N, 4] x) => (int32[N, 4] y) { y = Abs(x) }", r"against int32 \[N, 4\]"),
    ],
)
def test_models_with_other_inputs_are_named(
    pair: tuple[str, str], tmp_path: Path, body: str, named: str
) -> None:
    with pytest.raises(ModelError, match=rf"a\.onnx and .* have different inputs: .*{named}"):
        compared(pair[0], saved(tmp_path, "other", body))


def test_the_fixed_axes_of_either_model_are_fed(pair: tuple[str, str], tmp_path: Path) -> None:
    fixed = saved(tmp_path, "fixed", SCALED.format(2.0).replace("N", "3"))
    assert compared(pair[0], fixed, tolerance=Tolerance(), data="random:2").is_equal


def test_shapes_are_those_of_the_samples(pair: tuple[str, str]) -> None:
    found = compared(*pair, data="random:2", shapes=("x:3x4",))
    assert found.outputs[0].elements == 24
    with pytest.raises(UsageError, match="--shapes: no input 'z'"):
        compared(*pair, shapes=("z:3x4",))


def test_bad_options_are_refused(pair: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="compare two models"):
        compared(pair[0], None)
    golden = tmp_path / "golden.npz"
    compared(*pair, save=golden)
    with pytest.raises(UsageError, match="--layers needs two models"):
        compared(pair[0], None, load=golden, layers=True)
    with pytest.raises(DataError, match="no such file"):
        compared(*pair, data="none.npz")
    with pytest.raises(OutputError):
        compared(*pair, save=golden / "x.npz")


def test_models_with_nothing_in_common_are_refused(pair: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no output in common: A has y, B has p, q"):
        compared(pair[0], saved(tmp_path, "two", TWO))
    other = SCALED.format(2.0).replace("y", "other")
    with pytest.raises(ModelError, match="compute no tensors of the same name"):
        compared(pair[0], saved(tmp_path, "named", other), layers=True)


def test_files_that_were_not_stored_are_refused(pair: tuple[str, str], tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with pytest.raises(DataError, match="no such file"):
        compared(*pair, load=path)
    path.write_bytes(b"PK")
    with pytest.raises(DataError, match="is damaged, or was not written by"):
        compared(*pair, load=path)
    np.savez(path, x=np.zeros(3))
    with pytest.raises(DataError, match="was not written by bmopt compare --save"):
        compared(*pair, load=path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("meta.json", '{"bmopt_comparison": 9, "sizes": []}')
    with pytest.raises(DataError, match="version 9"):
        compared(*pair, load=path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("meta.json", '{"bmopt_comparison": 1, "sizes": []}')
    with pytest.raises(DataError, match="has no samples"):
        compared(*pair, load=path)


def test_stored_inputs_of_another_model_are_refused(pair: tuple[str, str], tmp_path: Path) -> None:
    golden = tmp_path / "golden.npz"
    compared(*pair, save=golden)
    with pytest.raises(DataError):
        compared(str(DEMO.model), None, load=golden)


def test_no_file_is_left_behind_a_failed_run(pair: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no output in common"):
        compared(pair[0], saved(tmp_path, "two", TWO), save=tmp_path / "out.npz")
    assert not list(tmp_path.glob("*out.npz*"))
