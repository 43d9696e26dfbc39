"""Forms of standard ops that an engine may lack, against ONNX Runtime's own kernels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bmopt.optimizer.passes.decompose_ops import DecomposeOps
from tests.rewriting import check_pass, parse, run_plain


def _resize(attributes: str, shape: str, out: str, *, opset: int = 18) -> object:
    given = f"float[4] s = {{{shape}}}" if "." in shape else f"int64[4] s = {{{shape}}}"
    reads = "x, , s" if "." in shape else "x, , , s"
    return parse(
        f"g (float[1, 2, 5, 6] x) => (float[{out}] y) <{given}> "
        f"{{ y = Resize <{attributes}> ({reads}) }}",
        opset,
    )


_COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")


@pytest.mark.parametrize(
    ("method", "coordinates"),
    list(itertools.product(("nearest", "linear", "cubic"), _COORDINATES)),
)
@pytest.mark.parametrize("scales", ["1.0, 1.0, 0.7, 2.3", "1.0, 1.0, 1.3, 0.55"])
def test_scales_that_are_not_the_ratio(method: str, coordinates: str, scales: str) -> None:
    text = f'mode = "{method}", coordinate_transformation_mode = "{coordinates}"'
    model = _resize(text, scales, "1, 2, H, W")
    assert check_pass(DecomposeOps(), model).modified  # type: ignore[arg-type]
    assert "Resize" not in {node.op_type for node in model.graph}  # type: ignore[attr-defined]


@pytest.mark.parametrize("how", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
def test_nearest(how: str) -> None:
    text = (
        f'mode = "nearest", nearest_mode = "{how}", coordinate_transformation_mode = "asymmetric"'
    )
    model = _resize(text, "1.0, 1.0, 1.7, 0.6", "1, 2, H, W")
    assert check_pass(DecomposeOps(), model).modified  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["linear", "cubic"])
@pytest.mark.parametrize("sizes", ["1, 2, 3, 4", "1, 2, 9, 3"])
def test_antialiased(method: str, sizes: str) -> None:
    model = _resize(f'mode = "{method}", antialias = 1', sizes, sizes)
    assert check_pass(DecomposeOps(), model, tolerance=1e-3).modified  # type: ignore[arg-type]


def test_cubic_without_the_outside() -> None:
    model = _resize('mode = "cubic", exclude_outside = 1', "1, 2, 9, 3", "1, 2, 9, 3")
    assert check_pass(DecomposeOps(), model).modified  # type: ignore[arg-type]


@pytest.mark.parametrize("sizes", ["1, 2, 10, 12", "1.0, 1.0, 2.0, 2.0"])
def test_what_every_engine_has_stays(sizes: str) -> None:
    model = _resize('mode = "linear"', sizes, "1, 2, 10, 12")
    outcome = check_pass(DecomposeOps(), model)  # type: ignore[arg-type]
    assert not outcome.modified
    assert not outcome.refusals


_FORMS = {
    "OneHot": "(int64[2, 3] x) => (float[2, 3, 4] y) <float d = {4}, float[2] v = {0.5, 2}> "
    "{ y = OneHot (x, d, v) }",
    "OneHot in front": "(int64[2, 3] x) => (float[4, 2, 3] y) <int64 d = {4}, float[2] v = "
    "{0.5, 2}> { y = OneHot <axis = 0> (x, d, v) }",
    "OneHot of int32": "(int32[2, 3] x) => (float[2, 4, 3] y) <int32 d = {4}, float[2] v = "
    "{5, 2}> { y = OneHot <axis = 1> (x, d, v) }",
    "Pow of two types": "(float[2, 3] x) => (float[2, 3] y) <int64 e = {3}> { y = Pow (x, e) }",
    "Pow of whole numbers": "(int64[2, 3] x) => (int64[2, 3] y) <int64 e = {3}> "
    "{ y = Pow (x, e) }",
    "LayerNormalization": "(float[2, 3, 4] x, float[3, 4] s, float[3, 4] b) => "
    "(float[2, 3, 4] y, float[2, 1, 1] m, float[2, 1, 1] i) "
    "{ y, m, i = LayerNormalization <axis = 1> (x, s, b) }",
}


@pytest.mark.parametrize("name", _FORMS)
def test_forms(name: str) -> None:
    model = parse("g " + _FORMS[name])
    before = {node.op_type for node in model.graph}
    assert check_pass(DecomposeOps(), model).modified
    assert name.startswith("Pow of two") or before.isdisjoint(n.op_type for n in model.graph)


def test_root_mean_square_along_two_axes() -> None:
    text = "g (float[2, 3, 4] x, float[3, 4] s) => (float[2, 3, 4] y) "
    model = parse(text + "{ y = RMSNormalization <axis = 1> (x, s) }", 23)
    assert check_pass(DecomposeOps(), model).modified


@pytest.mark.parametrize(("negative", "positive"), [(0, 1), (1, 0)])
def test_one_infinity(negative: int, positive: int) -> None:
    model = parse(
        "g (float[4] x) => (bool[4] y) { y = IsInf "
        f"<detect_negative = {negative}, detect_positive = {positive}> (x) }}"
    )
    feeds = {"x": np.array([1, np.inf, -np.inf, np.nan], np.float32)}
    (want,) = run_plain(model, feeds)
    assert check_pass(DecomposeOps(), model).modified
    np.testing.assert_array_equal(run_plain(model, feeds)[0], want)


@pytest.mark.parametrize(
    "text",
    [
        "(float[2, 3] x) => (bool[2, 3] y) { y = IsInf (x) }",
        "(float[2, 3] x, float[3] e) => (float[2, 3] y) { y = Pow (x, e) }",
        "(float[2, 3] x, float[3] s) => (float[2, 3] y) { y = LayerNormalization (x, s) }",
    ],
)
def test_plain_forms_stay(text: str) -> None:
    outcome = check_pass(DecomposeOps(), parse("g " + text), compare=False)
    assert not outcome.modified
    assert not outcome.refusals
