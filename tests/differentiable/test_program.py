"""Every op in torch against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from bmopt.core.scheme import Scheme
from bmopt.differentiable.ops import OPS
from bmopt.differentiable.program import Program, unsupported
from tests.engine import PlainRunner
from tests.optimizer.literals import weights
from tests.quantizing import (
    CONV_NET,
    inputs_scheme,
    named,
    quantized,
    samples_for,
    scheme,
    sqnr_db,
)
from tests.rewriting import random_feeds

torch = pytest.importorskip("torch")

INITS = ", ".join(
    [
        *(weights("w", (6, 4, 3, 3)), weights("b", (6,)), weights("g", (4, 1, 3, 3))),
        *(weights("cu", (4, 6, 3, 3)), weights("cg", (4, 2, 3, 3))),
        *(weights("m", (8, 5)), weights("n", (5, 8)), weights("c", (5,)), weights("s", (8,))),
        *(
            weights("q", (4,)),
            weights("s4", (4,)),
            weights("z", (4,)),
            "float[4] v = {0.5, 1.5, 2, 3}",
        ),
        *("float lo = {-0.5}", "float hi = {0.75}", "float two = {2}"),
        *("int64[3] r = {0, 4, -1}", "int64[1] one = {1}", "int64[2] st = {1, 0}"),
        *("int64[2] en = {7, 1000}", "int64[2] ax = {2, 3}", "int64[2] sp = {2, 1}"),
        *("int64[8] pd = {0, 0, 1, 0, 0, 0, 2, 1}", "float sc = {0.05}", "uint8 zp = {7}"),
        *("int64[2,2] gi = {0, -1, 2, 2}", "int64[4] ex = {1, 3, 1, 1}"),
        *("int64[1] bs = {-3}", "int64[1] be = {-1}", "int64[1] neg = {-1}"),
        *("int64[2] sz = {1, 3}", "int64[3] three = {3, 3, 2}", "int64[1] st0 = {1}"),
        *("int64[1] ax2 = {2}", "int64 k1 = {1}", "int64 i0 = {0}", "int64 i1 = {1}"),
        *(
            "int64[1] far = {-1000}",
            "int8 zn = {-3}",
            "float[6] ws = {0.1, 0.2, 0.3, 0.1, 0.2, 0.3}",
        ),
    ]
)
BODIES = [
    "y = Conv<pads=[1,0,2,1], strides=[2,1]>(x, w, b)",
    'y = Conv<auto_pad="SAME_UPPER", strides=[2,2]>(x, w)',
    'y = Conv<auto_pad="SAME_LOWER", strides=[2,2]>(x, w)',
    'y = Conv<auto_pad="VALID", dilations=[2,2]>(x, w)',
    "y = Conv<group=4, pads=[1,1,1,1]>(x, g)",
    "y = MatMul(x, m)",
    "f = Flatten<axis=3>(x) y = Gemm<alpha=0.5, beta=2.0>(f, m, c)",
    "f = Flatten<axis=-1>(x) y = Gemm<transB=1>(f, n, c)",
    "y = Add(x, s)",
    "t = Sub(x, s) u = Mul(t, x) e = Exp(x) y = Div(u, e)",
    "e = Exp(x) t = Sqrt(e) u = Pow(t, two) n1 = Neg(u) y = Identity(n1)",
    "e = Erf(x) t = Tanh(e) u = Sigmoid(t) y = Relu(u)",
    "y = Clip(x, lo, hi)",
    "y = Clip(x, , hi)",
    "y = Clip(x)",
    "y = LeakyRelu<alpha=0.2>(x)",
    "y = PRelu(x, s)",
    "y = HardSigmoid<alpha=0.3, beta=0.4>(x)",
    "y = HardSwish(x)",
    "y = Softmax<axis=1>(x)",
    "y = LayerNormalization<axis=-1, epsilon=0.01>(x, s, s)",
    "y = BatchNormalization(x, q, z, q, v)",
    "y = MaxPool<kernel_shape=[3,2], pads=[1,0,1,1], strides=[2,2]>(x)",
    "y = MaxPool<kernel_shape=[2,2], dilations=[2,2]>(x)",
    "y = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], strides=[2,2]>(x)",
    "y = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=1>(x)",
    "y = GlobalAveragePool(x)",
    "y = ReduceMean<axes=[2,3], keepdims=0>(x)",
    "y = ReduceMean(x)",
    "y = GlobalMaxPool(x)",
    "t = ReduceMax<axes=[1]>(x) u = ReduceMin<axes=[3]>(x) y = Add(t, u)",
    "y = ReduceSum(x, ax)",
    "a = Abs(x) t = Add(a, two) l = Log(t) y = Reciprocal(t)",
    "l = Elu<alpha=0.7>(x) m1 = Softplus(x) y = Sum(l, m1, x)",
    "y = LogSoftmax<axis=1>(x)",
    "y = Gather<axis=2>(x, gi)",
    "k = Shape(x) l = Gather(k, i1) f = Cast<to=1>(l) y = Mul(x, f)",
    "t = ReduceMean<axes=[1]>(x) y = Expand(t, ex)",
    "y = Slice(x, bs, be, one)",
    "y = Slice(x, neg, far, one, neg)",
    "y = Reshape(x, r)",
    "t = Shape(x) fl = Flatten(x) y = Reshape(fl, t)",
    "t = Shape<start=1, end=-1>(x) k = ConstantOfShape<value = float[1] {2.5}>(t) y = Mul(k, two)",
    "t = ReduceMean<axes=[1]>(x) k = Shape(x) y = Expand(t, k)",
    "y = ConvTranspose<strides=[2,2], pads=[1,0,1,0], output_padding=[1,1]>(x, cu)",
    "y = ConvTranspose<group=2, dilations=[2,1]>(x, cg)",
    "y = Transpose<perm=[0,2,3,1]>(x)",
    "y = Transpose(x)",
    "y = Concat<axis=1>(x, x)",
    "t = Unsqueeze(x, one) y = Squeeze(t, one)",
    "y = Slice(x, st, en, ax, sp)",
    "y = Pad(x, pd, lo)",
    "y = Pad(x, pd)",
    "a, t = Split<axis=1>(x, sz) y = Mul(t, two)",
    "a, t, u = Split<axis=3>(x, three) j = Concat<axis=3>(u, a) y = Add(j, j)",
    "a, t = Split<axis=2>(x) y = Sub(a, t)",
    "k = Shape<start=1, end=2>(x) y = Slice(x, st0, k, ax2)",
    "d = DepthToSpace<blocksize=2>(x) y = Relu(d)",
    'd = DepthToSpace<blocksize=2, mode="CRD">(x) y = Relu(d)',
    "y = SpaceToDepth<blocksize=2>(x)",
    "y = Tile(x, ex)",
    "y = InstanceNormalization<epsilon=0.01>(x, q, s4)",
    "a = LpNormalization<axis=1, p=1>(x) b1 = LpNormalization(x) y = Add(a, b1)",
    "a = ReduceL1<axes=[1, 3]>(x) b1 = ReduceL2<axes=[2]>(x) y = Mul(a, b1)",
    'y = Einsum<equation="nchw,nkhw->nck">(x, x)',
    "a = Greater(x, lo) d = Less(x, hi) e = And(a, d) o = Not(e) y = Where(o, two, x)",
    "a = GreaterOrEqual(x, two) d = LessOrEqual(x, lo) e = Or(a, d) y = Cast<to=1>(e)",
    "a = Max(x, lo, s) t = Min(a, hi) y = Mean(t, x)",
    "k = Cast<to=7>(x) f = Cast<to=1>(k) e = Equal(f, lo) g1 = Cast<to=1>(e) y = Add(f, g1)",
    "t = Trilu(x, k1) u = Trilu<upper=0>(x) y = Add(t, u)",
    "k = Shape<start=1, end=2>(x) l = Squeeze(k) r1 = Range(i0, l, i1) y = Cast<to=1>(r1)",
    "a = Sin(x) t = Cos(x) u = Sign(x) y = Sum(a, t, u)",
    "a = Floor(x) t = Ceil(x) u = Round(x) y = Sum(a, t, u)",
    "a = Selu(x) u = Softsign(x) y = Sum(a, u)",
    "i = QuantizeLinear(x, sc, zp) y = DequantizeLinear(i, sc, zp)",
    "i = QuantizeLinear(x, sc, zn) j = Transpose(i) y = DequantizeLinear(j, sc, zn)",
]


def model_of(body: str, opset: int = 17) -> ir.Model:
    return named(f"g (float[2,4,8,8] x) => (float y) <{INITS}> {{ {body} }}", opset)


def same_as_the_engine(model: ir.Model) -> None:
    feeds = random_feeds(model)
    with PlainRunner(model) as runner:
        wanted = runner.run(feeds)["y"]
    assert unsupported(list(model.graph)) == ()
    tensors = {name: torch.from_numpy(array) for name, array in feeds.items()}
    found = Program(torch, list(model.graph)).run(tensors, {}, ["y"])["y"]
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found.numpy(), wanted, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("body", BODIES)
def test_an_op_computes_what_the_engine_does(body: str) -> None:
    same_as_the_engine(model_of(body))


def test_gelu_computes_what_the_engine_does() -> None:
    same_as_the_engine(model_of('t = Gelu(x) y = Gelu<approximate="tanh">(t)', 20))


def test_mish_and_group_normalization_compute_what_the_engine_does() -> None:
    same_as_the_engine(
        model_of("t = Mish(x) y = GroupNormalization<num_groups = 2>(t, q, s4)", 21)
    )


RESIZES = [
    (mode, way, nearest)
    for way in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
    for mode, nearest in (
        ("linear", "floor"),
        ("cubic", "floor"),
        ("nearest", "floor"),
        ("nearest", "ceil"),
        ("nearest", "round_prefer_floor"),
        ("nearest", "round_prefer_ceil"),
    )
    # Between aligned corners, what lies a hair beside an element is each engine's to round.
    if mode != "nearest" or way != "align_corners"
]


@pytest.mark.parametrize(("mode", "way", "nearest"), RESIZES)
@pytest.mark.parametrize("by", ["x, , up", "x, , down", "x, , , to"])
def test_resize_computes_what_the_engine_does(mode: str, way: str, nearest: str, by: str) -> None:
    text = f"""g (float[2,4,8,8] x) => (float y)
        <float[4] up = {{1, 1, 2, 3}}, float[4] down = {{1, 1, 0.5, 0.75}},
         int64[4] to = {{2, 4, 11, 1}}>
        {{ y = Resize<mode="{mode}", coordinate_transformation_mode="{way}",
           nearest_mode="{nearest}">({by}) }}"""
    same_as_the_engine(named(text, 17))


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", ["LSTM", "GRU<linear_before_reset=1>"])
@pytest.mark.parametrize("output", ["y", "_, y"])
def test_recurrent_layers_compute_what_the_engine_does(
    direction: str, op: str, output: str
) -> None:
    ways = 2 if direction == "bidirectional" else 1
    kind, _, more = op.strip(">").partition("<")
    gates = 4 if kind == "LSTM" else 3
    made = ", ".join([
        weights("w", (ways, gates * 3, 8)), weights("r", (ways, gates * 3, 3)),
        weights("b", (ways, gates * 6)), weights("h", (ways, 4, 3)),
    ])  # fmt: skip
    more = f", {more}" if more else ""
    text = f"""g (float[2,4,8] x) => (float y) <{made}>
        {{ {output.replace("_", "z")} = {kind}<hidden_size=3, direction="{direction}"{more}>
           (x, w, r, b, , h) }}"""
    same_as_the_engine(named(text, 17))


def test_reduce_mean_takes_its_axes_as_an_input() -> None:
    same_as_the_engine(model_of("y = ReduceMean(x, ax)", 18))


def test_every_op_is_tried() -> None:
    elsewhere = ("Gelu", "Mish", "GroupNormalization", "Resize", "LSTM", "GRU")
    bodies = " ".join([*BODIES, *elsewhere])
    assert [op for op in OPS if op not in bodies] == []


@pytest.mark.parametrize(
    ("body", "ops"),
    [
        ("y = Acos(x)", ("Acos",)),
        ("t = Mod<fmod=1>(x, s) u = Relu(t) y = Mod<fmod=1>(u, s)", ("Mod",)),
        ("y = ConvTranspose<pads=[1,0,0,0]>(x, cu)", ("ConvTranspose",)),
        ("y = MaxPool<kernel_shape=[3,3], strides=[2,2], ceil_mode=1>(x)", ("MaxPool",)),
        ('y = Pad<mode="reflect">(x, pd)', ("Pad",)),
        ("y, k = MaxPool<kernel_shape=[2,2]>(x)", ("MaxPool",)),
        ("t = Abs(s) y = Clip(x, lo, t)", ("Clip",)),
    ],
)
def test_other_ops_are_named(body: str, ops: tuple[str, ...]) -> None:
    assert unsupported(list(model_of(body).graph)) == ops


def test_gradients_pass_rounding_but_not_clipping() -> None:
    model = model_of("i = QuantizeLinear(x, sc, zp) y = DequantizeLinear(i, sc, zp)")
    x = torch.tensor([-9.0, 0.11, 9.0, 1000.0]).requires_grad_(True)
    Program(torch, list(model.graph)).run({"x": x}, {}, ["y"])["y"].sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [0, 1, 1, 0], rtol=1e-5)


def test_a_replaced_weight_is_read_where_it_is_replaced() -> None:
    model = model_of("t = Conv(x, w, b) y = Relu(t)")
    x, zeros = torch.ones(1, 4, 8, 8), torch.zeros(6, 4, 3, 3)
    found = Program(torch, list(model.graph)).run({"x": x}, {("t", 1): zeros}, ["y"])["y"]
    bias = model.graph.initializers["b"].const_value.numpy()
    np.testing.assert_allclose(found[0, :, 0, 0].numpy(), bias.clip(0))


def test_any_value_inside_can_be_asked_for() -> None:
    model = model_of("t = Relu(x) u = Neg(t) k = Exp(u) y = Add(k, t)")
    feeds = {"x": torch.ones(2, 4, 8, 8)}
    program = Program(torch, list(model.graph))
    names = ["t", "u", "k", "y"]
    together = program.run(feeds, {}, names)
    for name in names:
        assert (program.run(feeds, {}, [name])[name] == together[name]).all()


def test_what_stands_behind_a_node_is_read_in_its_place() -> None:
    model = model_of("t = Relu(x) y = Neg(t)")
    feeds = {"x": torch.ones(2, 4, 8, 8)}
    found = Program(torch, list(model.graph)).run(
        feeds, {}, ["t", "y"], behind={"t": lambda t: 3 * t}
    )
    assert float(found["t"].mean()) == 3
    assert float(found["y"].mean()) == -3


def test_statistics_follow_the_batches_in_training_only() -> None:
    model = model_of("y = BatchNormalization<momentum=0.75>(x, q, z, q, v)")
    names = ("q", "z", "v")
    known = {n: torch.from_numpy(model.graph.initializers[n].const_value.numpy()) for n in names}
    mean = known["q"].clone()
    model = model_of("y = BatchNormalization<momentum=0.75>(x, s4, z, q, v)")
    known["s4"] = torch.ones(4)
    program = Program(torch, list(model.graph), variables=known)
    x = torch.randn(64, 4, 8, 8, generator=torch.Generator().manual_seed(0)) + 5
    program.run({"x": x, **known}, {}, ["y"])
    assert (known["q"] == mean).all()
    found = program.run({"x": x, **known}, {}, ["y"], is_training=True)["y"]
    np.testing.assert_allclose(
        known["q"].numpy(), 0.75 * mean.numpy() + 0.25 * x.mean(dim=(0, 2, 3)).numpy(), rtol=1e-4
    )
    np.testing.assert_allclose(found.mean(dim=(0, 2, 3)).numpy(), known["z"].numpy(), atol=1e-4)


@pytest.mark.parametrize("wanted", [scheme(), inputs_scheme()], ids=["outputs", "inputs"])
def test_a_quantised_model_computes_what_the_engine_does(wanted: Scheme) -> None:
    model, _ = quantized(named(CONV_NET), wanted=wanted)
    feeds = samples_for(model, 8, seed=3)
    with PlainRunner(model) as runner:
        expected = runner.run(feeds)["y"]
    tensors = {name: torch.from_numpy(array) for name, array in feeds.items()}
    found = Program(torch, list(model.graph)).run(tensors, {}, ["y"])["y"].numpy()
    # A sum in another order may fall on the other side of a half now and then.
    assert sqnr_db(expected, found) > 50
