from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir
import pytest

from bmopt.calibration.placement_inputs import InputPlacement, place_inputs
from bmopt.core.ranges import TensorRange
from bmopt.core.scheme import FloatRules
from tests.optimizer.literals import batch_norm, in_type, weights
from tests.quantizing import CONV_NET, entry, inputs_scheme, named, table_of

W = weights("w", (8, 8, 3, 3))
CONV = "c = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(x, w)"


def graph(
    body: str, inits: str = W, data: str = "float[N,8,6,6] x", output: str = "float y"
) -> ir.Model:
    return named(f"g ({data}) => ({output}) <{inits}> {{ {body} }}")


def placed(
    model: ir.Model,
    ranges: Mapping[str, TensorRange | None] | None = None,
    rules: FloatRules | None = None,
    keep_float: Sequence[str] = (),
    precision: str = "int8",
) -> InputPlacement:
    table = table_of(model, ranges)
    return place_inputs(model.graph, table, inputs_scheme(precision, rules), keep_float)


def reads(found: InputPlacement) -> dict[str, tuple[int, ...]]:
    return {node.name or "": indices for node, indices in found.reads.items()}


def test_products_read_their_data_and_the_add_its_skip() -> None:
    found = placed(named(CONV_NET))
    assert reads(found) == {"c1": (0,), "c2": (0,), "c3": (0,), "a": (0,), "y": (0,)}
    assert not found.reasons


BLOCK = f"""s = Relu(x) {CONV.replace("(x", "(s")} a = Add(c, s)"""


@pytest.mark.parametrize(
    ("behind", "output", "reason"),
    [
        ("y = Relu(a)", "float y", ""),
        ("b = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(s, w) y = Add(a, b)", "float y", ""),
        ("f = Sigmoid(s) y = Add(a, f)", "float y", "something else reads its skip in float"),
        ("y = Relu(a)", "float s, float y", "its skip is an output of the model"),
    ],
)
def test_a_skip_that_is_written_in_float_anyway_stays_so(
    behind: str, output: str, reason: str
) -> None:
    found = placed(graph(f"{BLOCK} {behind}", output=output))
    assert found.reasons.get("a", "") == reason
    assert ("a" in reads(found)) is not bool(reason)


@pytest.mark.parametrize(
    ("body", "inits", "reason"),
    [
        ("y = MatMul(x, x)", "", "its weight is not constant"),
        ("y = MatMul(k, w)", f"{weights('w', (8, 8))}, {weights('k', (8, 8))}", "is constant"),
        ("y = MatMul(x, w)", weights("w", (6,)), "its weight is not a matrix"),
        ("y = MatMul(x, w)", "float[6,1] w = {1, 1, inf, 1, 1, 1}", "its weight holds infinities"),
    ],
)
def test_a_product_is_kept_with_the_reason(body: str, inits: str, reason: str) -> None:
    found = placed(graph(body, inits))
    assert not found.reads
    assert reason in found.reasons["y"]


@pytest.mark.parametrize(
    ("ranges", "reason"),
    [
        ({"x": None}, "no range for tensor 'x'"),
        ({"x": entry(0, 0)}, "tensor 'x' never left zero in calibration"),
        ({"x": entry(0, 1, 2)}, "tensor 'x' holds infinities"),
        ({"c": None}, ""),
    ],
)
def test_only_what_is_read_needs_a_range(
    ranges: Mapping[str, TensorRange | None], reason: str
) -> None:
    found = placed(graph(CONV + " y = Relu(c)"), ranges)
    assert found.reasons == ({"c": reason} if reason else {})


def test_half_precision_weights_are_no_business_of_ours() -> None:
    model = in_type(graph(CONV + " y = Relu(c)"), ir.DataType.FLOAT16)
    assert placed(model).reasons == {"c": "its weight is not float32"}


@pytest.mark.parametrize(
    ("body", "shape", "rules", "reason"),
    [
        ("Conv(x, w)", (4, 8, 1, 1), FloatRules(narrow_channels=8), "writes 4 channels a group"),
        ("Conv<group=2>(x, w)", (16, 4, 1, 1), FloatRules(narrow_channels=8), "reads 4 channels"),
        ("Conv<group=2>(x, w)", (16, 4, 1, 1), FloatRules(narrow_channels=4), ""),
        ("Conv<group=8>(x, w)", (8, 1, 1, 1), FloatRules(narrow_channels=8), ""),
        ("Conv<group=8>(x, w)", (8, 1, 1, 1), FloatRules(narrow_depthwise=9), "depthwise over 8"),
        ("ConvTranspose(x, w)", (8, 4, 1, 1), FloatRules(narrow_channels=8), "writes 4 channels"),
        ("ConvTranspose<group=2>(x, w)", (8, 8, 1, 1), FloatRules(narrow_channels=8), "reads 4"),
        ("Conv(x, w)", (8, 8, 1, 1), FloatRules(prefix=1), "so near the input"),
        ("Conv(x, w)", (8, 8, 1, 1), FloatRules(narrow_matrix=16, vectors=1), ""),
        ("MatMul(x, w)", (6, 15), FloatRules(narrow_matrix=6), ""),
        ("MatMul(x, w)", (6, 15), FloatRules(narrow_matrix=7), "its weight is only 6 wide"),
        ("MatMul(x, w)", (6, 1), FloatRules(vectors=1), "multiplies by a single column"),
        ("MatMul(x, w)", (6, 2), FloatRules(vectors=1), ""),
        ("MatMul(x, w)", (6, 2), FloatRules(small_product=577), "only 576 multiply-adds"),
    ],
)
def test_rules_go_by_shape(
    body: str, shape: tuple[int, ...], rules: FloatRules, reason: str
) -> None:
    model = graph(f"y = {body}", weights("w", shape), output="float[N,8,6,d] y")
    found = placed(model, rules=rules)
    assert bool(found.reads) is (not reason)
    assert found.reasons.get("y", "").startswith(reason)


@pytest.mark.parametrize(("rows", "kept"), [("1", True), ("N", False), ("2", False)])
def test_a_vector_is_a_single_row_that_is_known(rows: str, kept: bool) -> None:
    model = graph(
        "y = Gemm(x, w)", weights("w", (8, 4)), f"float[{rows},8] x", f"float[{rows},4] y"
    )
    found = placed(model, rules=FloatRules(vectors=1))
    assert found.reasons == ({"y": "multiplies a single row"} if kept else {})


@pytest.mark.parametrize(
    ("kernel", "precision", "kept"),
    [
        ((5, 5), "fp8", False),
        ((4, 8), "fp8", False),
        ((3, 11), "fp8", True),
        ((7, 7), "int8", False),
    ],
)
def test_float8_filters_are_small(kernel: tuple[int, int], precision: str, kept: bool) -> None:
    model = graph("y = Conv(x, w)", weights("w", (8, 8, *kernel)), "float[N,8,16,16] x")
    assert bool(placed(model, precision=precision).reasons) is kept


def test_what_the_user_keeps_counts_as_float_for_the_rest() -> None:
    found = placed(named(CONV_NET), keep_float=["c3"])
    assert reads(found) == {"c1": (0,), "c2": (0,), "y": (0,)}
    assert found.reasons["c3"] == "kept in float as asked"
    assert found.reasons["a"] == "no operand comes from a convolution in 8 bits alone"
    assert "a" not in reads(placed(named(CONV_NET), keep_float=["op:Add"]))


BRANCHES = f"{CONV} d = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(x, v) k = Concat<axis=1>(c, d)"
LAST = "y = Conv(k, u)"
INITS = f"{W}, {weights('v', (8, 8, 3, 3))}, {weights('u', (8, 16, 1, 1))}"


@pytest.mark.parametrize(
    ("tail", "reason"),
    [
        (LAST, ""),
        ("m = MaxPool<kernel_shape=[2,2]>(k) y = Conv(m, u)", ""),
        (f"{LAST} z = Sigmoid(k)", "something behind it reads floats"),
        ("y = Identity(k)", "something behind it reads floats"),
        ("m = MaxPool<kernel_shape=[2,2]>(k) y = Sigmoid(m)", "something behind it reads floats"),
        ("m, i = MaxPool<kernel_shape=[2,2]>(k) y = Conv(m, u) z = Shape(i)", "something behind"),
        ("j = Concat<axis=1>(k, x) y = Conv(j, u3)", ""),
    ],
)
def test_a_concat_reads_8_bits_where_all_behind_it_does(tail: str, reason: str) -> None:
    inits = f"{INITS}, {weights('u3', (8, 24, 1, 1))}"
    found = placed(graph(f"{BRANCHES} {tail}", inits))
    assert found.reasons.get("k", "").startswith(reason)
    assert reads(found).get("k") == (None if reason else (0, 1))


def test_a_concat_with_a_constant_stays() -> None:
    inits = f"{W}, {weights('v', (2, 8, 6, 6))}, {weights('u', (8, 16, 1, 1))}"
    found = placed(graph(f"{CONV} k = Concat<axis=1>(c, v) {LAST}", inits, "float[2,8,6,6] x"))
    assert found.reasons == {"k": "one operand is constant"}


def test_a_batch_norm_behind_a_convolution_is_part_of_it() -> None:
    body = f"{CONV} n = BatchNormalization(c, g, b, m, v) y = Add(x, n)"
    assert reads(placed(graph(body, f"{W}, {batch_norm(8)}"))) == {"c": (0,), "y": (0,)}
