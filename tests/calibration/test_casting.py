from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir
import pytest

from bmopt.calibration.casting import make_cast_plan
from bmopt.core.cast_plan import CastPlan, HalfType
from bmopt.core.ranges import TensorRange
from tests.casting import converted, require_close
from tests.optimizer.literals import weights
from tests.quantizing import CONV_NET, entry, named, table_of


def plan(
    model: ir.Model,
    ranges: Mapping[str, TensorRange | None] | None = None,
    dtype: HalfType = "float16",
    keep_float: tuple[str, ...] = (),
) -> CastPlan:
    table = None if ranges is None else table_of(model, ranges)
    return make_cast_plan(model, dtype, table=table, keep_float=keep_float, model_digest="m" * 64)


def make(model: ir.Model, keep_float: tuple[str, ...], *, keep_io: bool = True) -> CastPlan:
    return make_cast_plan(
        model, "float16", table=None, keep_float=keep_float, keep_io=keep_io, model_digest="m" * 64
    )


def one(body: str, *, x: str = "2,3", y: str = "2,3", constants: str = "") -> ir.Model:
    inits = f"<{constants}>" if constants else ""
    return named(f"g (float[{x}] x) => (float[{y}] y) {inits} {{ {body} }}")


def test_a_network_in_range_is_all_half() -> None:
    model = named(CONV_NET)
    found = plan(model, {})
    assert found == CastPlan("m" * 64, "float16", {}, True)
    require_close(model, found)


def test_a_tensor_beyond_keeps_exactly_its_nodes() -> None:
    model = one("a = Neg(x) b = Mul(a, a) c = Sqrt(b) y = Tanh(c)")
    found = plan(model, {"b": entry(0, 1e5), "c": entry(0, 320)})
    assert found.float_nodes == {
        "b": "tensor 'b' reaches 1e+05, the limit is 3.275e+04",
        "c": "tensor 'b' reaches 1e+05, the limit is 3.275e+04",
    }
    require_close(model, found)
    assert plan(model, {"b": entry(0, 1e5)}, "bfloat16").float_nodes == {}
    assert plan(model).float_nodes == {}


def test_infinities_are_representable_and_tiny_tensors_are_not() -> None:
    model = one("a = Neg(x) b = Exp(a) y = Tanh(b)")
    assert plan(model, {"a": entry(-1, 1, infinities=3)}).float_nodes == {}
    reasons = plan(model, {"b": entry(0, 2e-5)}).float_nodes
    assert set(reasons) == {"b", "y"}
    assert "stays below 2e-05" in reasons["b"]
    assert plan(model, {"b": entry(0, 0)}).float_nodes == {}


@pytest.mark.parametrize("pattern", ["b", "op:Exp", "?"])
def test_what_the_user_wants_stays(pattern: str) -> None:
    model = one("aa = Neg(x) b = Exp(aa) yy = Tanh(b) y = Neg(yy)")
    found = plan(model, {}, keep_float=(pattern,)).float_nodes
    assert found["b"] == "kept in float32 as asked"
    assert "aa" not in found


def test_constants_beyond_the_format() -> None:
    model = one("a = Mul(x, k) y = Exp(a)", constants="float k = {1000000}")
    assert plan(model).float_nodes == {"a": "constant 'k' holds 1e+06, beyond float16"}
    assert plan(model, dtype="bfloat16").float_nodes == {}
    filled = named(
        "g (int64[1] s) => (float[N] y) { c = ConstantOfShape<value=float[1]{1e-9}>(s) y = Exp(c)}"
    )
    assert plan(filled).float_nodes == {"c": "it fills in 1e-09, which float16 has not"}


LOWEST = "float k = {-3.4e38}"
MASK = "m = Greater(x, z) w = Where(m, x, k)"
ZERO = "float z = {0}"


@pytest.mark.parametrize(
    ("body", "floats"),
    [
        (f"{MASK} y = Softmax(w)", set()),
        (f"{MASK} r = Reshape(w, s) t = Add(r, x) y = Softmax(t)", set()),
        ("m = Greater(x, z) f = Cast<to=1>(m) a = Mul(f, k) b = Add(x, a) y = Softmax(b)", set()),
        (f"{MASK} y = Exp(w)", {"w", "y"}),
        (f"{MASK} e = Exp(w) s2 = Softmax(w) y = Add(e, s2)", {"w", "e", "s2"}),
    ],
)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_masks_before_a_softmax_are_clamped(body: str, floats: set[str], dtype: HalfType) -> None:
    model = one(body, constants=f"{LOWEST}, {ZERO}, int64[2] s = {{2, 3}}")
    low = entry(-3.4e38, 1.0)
    ranges = dict.fromkeys(("w", "r", "t", "a", "b"), low)
    named_here = {node.outputs[0].name for node in model.graph}
    table = {name: found for name, found in ranges.items() if name in named_here}
    assert set(plan(model, table, dtype).float_nodes) == floats


def test_scores_beyond_are_no_mask() -> None:
    model = one(f"{MASK} y = Softmax(w)", constants=f"{LOWEST}, {ZERO}")
    assert set(plan(model, {"w": entry(-3.4e38, 5e4)}).float_nodes) == {"w", "y"}


NORMALISE = "q = Mul(x, x) m = ReduceMean<axes=[-1]>(q) e = Add(m, k) r = Sqrt(e) y = Div(x, r)"


def test_an_epsilon_that_would_become_zero_keeps_its_chain() -> None:
    model = one(NORMALISE, constants="float k = {1e-12}")
    reasons = plan(model, {}).float_nodes
    assert set(reasons) == {"e", "r", "y"}
    assert set(reasons.values()) == {"it guards a division with a number that float16 has not"}
    assert plan(one(NORMALISE, constants="float k = {1e-5}"), {}).float_nodes == {}
    assert plan(model, {}, "bfloat16").float_nodes == {}


def test_a_guard_by_maximum_and_one_that_guards_nothing() -> None:
    guarded = one(
        "n = ReduceL2<axes=[1]>(x) m = Max(n, k) y = Div(x, m)", constants="float k = {1e-12}"
    )
    assert set(plan(guarded, {}).float_nodes) == {"m", "y"}
    idle = one("a = Add(x, k) y = Tanh(a)", constants="float k = {1e-12}")
    assert plan(idle).float_nodes == {"a": "constant 'k' would become zero"}


def test_small_numbers_among_weights_do_not_matter() -> None:
    model = one(
        "h = MatMul(x, w) y = Add(h, b)",
        y="2,2",
        constants=("float[3,2] w = {1, 1e-12, 1, 1, 1, 1}, float[2] b = {1e-12, 1}"),
    )
    assert plan(model, {}).float_nodes == {}


def test_arithmetic_of_indices_stays() -> None:
    model = named(
        "g (float[5] x, float[100,4] t) => (float[5,4] y) <float k = {99}> { a = Sigmoid(x) "
        "b = Mul(a, k) c = Floor(b) i = Cast<to=7>(c) g = Gather(t, i) y = Neg(g) }"
    )
    assert plan(model, {}).float_nodes == dict.fromkeys(
        ("b", "c", "i"), "its result becomes an integer"
    )


def test_large_integers_and_large_angles() -> None:
    model = named(
        "g (int64[5] p) => (float[5] y) <float k = {0.5}> "
        "{ f = Cast<to=1>(p) a = Mul(f, k) s = Sin(a) h = Sigmoid(f) y = Add(s, h) }"
    )
    small = {"f": entry(0, 10), "a": entry(0, 5)}
    assert plan(model, small).float_nodes == {}
    assert set(plan(model, {"f": entry(0, 30), "a": entry(0, 20)}).float_nodes) == {"f", "a", "s"}
    assert set(plan(model).float_nodes) == {"f", "a", "s"}
    large = plan(model, {"f": entry(0, 5000), "a": entry(0, 10)}).float_nodes
    assert large["h"] == "it reads integers beyond 2048, which are not exact"
    assert set(large) == {"f", "a", "h"}


@pytest.mark.parametrize(
    ("body", "y", "ranges", "reason"),
    [
        ("y = ReduceL2<axes=[1],keepdims=1>(x)", "2,1", {"x": 200}, "it squares values up to 200"),
        ("y = ReduceL2<axes=[1],keepdims=1>(x)", "2,1", {"x": 100}, None),
        ("y = LpNormalization(x)", "2,3", {"x": 300}, "it squares values up to 300"),
        ("y = CumSum(x, axis)", "2,3", {}, "it adds up in order, and counts to 2048 only"),
        ("y = ReduceMean<axes=[1]>(x)", "2,1", {"y": 2e4}, "it sums 3 values to 6e+04"),
        ("y = ReduceMean<axes=[1]>(x)", "2,1", {"y": 1e4}, None),
        ("y = LayerNormalization(x, s)", "2,3", {"x": 3e4}, None),
        ("y = LayerNormalization<stash_type=10>(x, s)", "2,3", {"x": 3e4}, "it squares"),
    ],
)
def test_interiors(body: str, y: str, ranges: dict[str, float], reason: str | None) -> None:
    model = one(body, y=y, constants="int64 axis = {1}, float[3] s = {1, 1, 1}")
    found = plan(model, {name: entry(-size, size) for name, size in ranges.items()})
    assert (reason or "") in found.float_nodes.get("y", "")
    assert bool(found.float_nodes) == (reason is not None)


def test_pools_sum_up_their_window() -> None:
    model = one("p = GlobalAveragePool(x) y = Tanh(p)", x="N,3,64,64", y="N,3,1,1")
    reasons = plan(model, {"p": entry(0, 10)}).float_nodes
    assert reasons == {"p": "it sums 4096 values to 4.096e+04 before it divides"}
    assert plan(model, {"p": entry(0, 5)}).float_nodes == {}


def norm(opset: int, variance: str, epsilon: str = "1e-5") -> ir.Model:
    inits = ", ".join([weights("s", (1,)), weights("b", (1,)), weights("m", (1,))])
    return named(
        f"g (float[N,1,4] x) => (float[N,1,4] y) <{inits}, float[1] v = {{{variance}}}> "
        f"{{ y = BatchNormalization<epsilon={epsilon}>(x, s, b, m, v) }}",
        opset,
    )


def test_a_batch_norm_keeps_its_parameters_where_the_opset_lets_it() -> None:
    assert plan(norm(15, "1e-9", "1e-12")).float_nodes == {}
    assert "variance" in plan(norm(13, "1e-6", "1e-6")).float_nodes["y"]
    assert "epsilon" in plan(norm(13, "1", "1e-12")).float_nodes["y"]
    assert "beyond" in plan(norm(13, "100000")).float_nodes["y"]
    assert plan(norm(13, "1")).float_nodes == {}


def test_coordinates_stay() -> None:
    model = named(
        "g (float[1,2,4,4] x, float[1,4,4,2] p) => (float[1,2,4,4] y) <float k = {0.5}> "
        "{ a = Relu(x) b = Mul(p, k) y = GridSample(a, b) }"
    )
    assert plan(model, {}).float_nodes == dict.fromkeys(("b", "y"), "it reads coordinates")


def test_ops_that_tensorrt_lacks_in_bfloat16() -> None:
    model = one("a = Mish(x) y = HardSwish(a)")
    model.graph.opset_imports[""] = 18
    assert plan(model, dtype="bfloat16").float_nodes == {
        "a": "TensorRT has no bfloat16 Mish",
        "y": "TensorRT has no bfloat16 HardSwish",
    }
    assert plan(model).float_nodes == {}


def test_movers_between_float32_nodes_stay_with_them() -> None:
    model = one(
        "r = Identity(x) a = Exp(r) b = Transpose(a) c = Exp(b) d = Transpose(c) y = Tanh(d)"
    )
    found = plan(model, {}, keep_float=("a", "c")).float_nodes
    assert set(found) == {"r", "a", "b", "c"}, "the input is float32, what reads c is not"
    assert found["b"] == "its neighbours stay in float32"
    assert len(require_close(model, make(model, ("a", "c"))).graph) == 8
    inside = make(model, ("a", "c"), keep_io=False).float_nodes
    assert set(inside) == {"a", "b", "c"}


def test_what_a_dequantised_tensor_can_reach() -> None:
    model = named(
        "g (float[2] x) => (float[2] y) <float s = {800}, int8 z = {0}> "
        "{ q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) y = Sqrt(d) }"
    )
    reason = "tensor 'd' reaches 1.024e+05, the limit is 3.275e+04"
    assert plan(model).float_nodes == {"d": reason, "y": reason}


def test_a_dq_stays_with_a_reader_that_stays() -> None:
    model = named(
        "g (float[1,2] x) => (float[1,2] y) <float s = {0.1}, int8 z = {0}, int8[2,2] w = "
        "{1, 2, 3, 4}> { v = DequantizeLinear(w, s, z) h = MatMul(x, v) y = Neg(h) }"
    )
    found = plan(model, {"h": entry(0, 1e5)})
    assert set(found.float_nodes) == {"v", "h", "y"}
    assert found.float_nodes["v"] == "its neighbours stay in float32"


def test_nodes_in_bodies_are_planned_too() -> None:
    model = named(
        "g (bool q, float[2] x) => (float[2] y) <float k = {1e6}> { y = If (q) <"
        "then_branch = t () => (float[2] a) { a = Mul(x, k) }, "
        "else_branch = e () => (float[2] b) { b = Celu(x) }> }"
    )
    found = plan(model)
    assert found.float_nodes == {
        "a": "constant 'k' holds 1e+06, beyond float16",
        "b": "ONNX has no float16 Celu",
    }
    converted(model, found)
