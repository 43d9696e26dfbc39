"""ConvTranspose written as a convolution, against ONNX Runtime's own."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bmopt.optimizer.passes.split_deconvolutions import SplitDeconvolutions
from tests.rewriting import check_pass, parse, random_feeds, run_plain


def _text(
    attributes: str, kernel: tuple[int, ...], sizes: tuple[object, ...], groups: int = 1
) -> str:
    channels, outputs = 4, 6
    shape = (channels, outputs // groups, *kernel)
    values = np.random.default_rng(4).standard_normal(math.prod(shape)).round(3)
    weights = ", ".join(map(str, values))
    rank = ", ".join(f"y{i}" for i in range(len(sizes)))
    options = f"{attributes}, " if attributes else ""
    return f"""
    g (float[N, {channels}, {", ".join(map(str, sizes))}] x) => (float[M, O, {rank}] y)
    <float[{", ".join(map(str, shape))}] w = {{{weights}}},
     float[{outputs}] b = {{{", ".join(map(str, range(outputs)))}}}>
    {{ y = ConvTranspose <{options}group = {groups}> (x, w, b) }}"""


_CASES = [
    ("strides = [2, 2], pads = [1, 1, 1, 1]", (4, 4), (5, 6)),
    ("strides = [2, 2]", (2, 2), (5, 6)),
    ("strides = [2, 2], pads = [1, 1, 1, 1], output_padding = [1, 1]", (3, 3), (5, 6)),
    ("strides = [2, 3], pads = [0, 1, 2, 1]", (3, 4), (5, 6)),
    ("strides = [3, 3], output_padding = [2, 2]", (2, 2), (4, 3)),
    ("", (3, 3), (5, 6)),
    ("pads = [1, 1, 1, 1]", (3, 3), (5, 6)),
    ("pads = [2, 2, 2, 2]", (3, 3), (5, 6)),
    ("strides = [2, 2], dilations = [2, 2], pads = [1, 0, 1, 0]", (3, 2), (5, 6)),
    ("strides = [4, 4], pads = [6, 6, 6, 6]", (8, 8), (5, 6)),
    ("strides = [2, 2], pads = [5, 5, 5, 5]", (4, 4), (9, 9)),
    ('strides = [2, 2], auto_pad = "SAME_UPPER"', (3, 3), (5, 6)),
    ('strides = [2, 2], auto_pad = "SAME_LOWER"', (3, 3), (5, 6)),
    ('strides = [2, 2], auto_pad = "VALID"', (3, 3), (5, 6)),
    ("strides = [2, 2], output_shape = [10, 12]", (3, 3), (5, 6)),
    ("strides = [2]", (5,), (7,)),
    ("strides = [2, 2, 1]", (2, 3, 3), (3, 4, 3)),
]


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("case", _CASES, ids=lambda case: f"{case[0]} {case[1]}")
def test_same_result(case: tuple[str, tuple[int, ...], tuple[int, ...]], groups: int) -> None:
    model = parse(_text(*case, groups))
    assert check_pass(SplitDeconvolutions(), model).modified
    assert {node.op_type for node in model.graph} <= {"Conv", "Reshape", "Slice", "Transpose"}


def test_no_more_products_than_before() -> None:
    model = parse(_text("strides = [2, 2], pads = [1, 1, 1, 1]", (4, 4), (5, 6)))
    SplitDeconvolutions()(model)
    conv = next(node for node in model.graph if node.op_type == "Conv")
    weight = conv.inputs[1]
    assert weight is not None
    assert weight.shape is not None
    assert list(weight.shape) == [24, 4, 2, 2]


def test_any_batch() -> None:
    model = parse(_text("strides = [2, 2]", (3, 3), (5, 6)))
    feeds = {"x": np.concatenate([random_feeds(model)["x"]] * 2)}
    (want,) = run_plain(model, feeds)
    SplitDeconvolutions()(model)
    np.testing.assert_allclose(run_plain(model, feeds)[0], want, rtol=1e-4, atol=1e-4)


def test_unknown_sizes_are_refused() -> None:
    outcome = check_pass(
        SplitDeconvolutions(), parse(_text("strides = [2, 2]", (2, 2), ("H", "W")))
    )
    assert not outcome.modified
    assert "unknown size" in outcome.refusals[0].reason
