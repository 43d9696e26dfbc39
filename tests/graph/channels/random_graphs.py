"""Random networks made of what channels have to pass, and their results."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from bmopt.optimizer.passes.infer_shapes import InferShapes

BLOCKS = (
    "conv",
    "norm",
    "residual",
    "depthwise",
    "grouped",
    "concat",
    "split",
    "squeeze-excite",
    "shuffle",
    "pixel-shuffle",
    "pad-channels",
    "transposed",
    "pool",
    "slice",
    "prelu",
    "group-norm",
    "norm-over-all",
)


@dataclasses.dataclass
class Net:
    """A network under construction; ``value`` is its last tensor, ``[batch, channels, 6, 6]``."""

    rng: np.random.Generator
    batch: int | str = 2
    nodes: list[ir.Node] = dataclasses.field(default_factory=list)
    values: dict[str, ir.Value] = dataclasses.field(default_factory=dict)
    value: str = "x"
    channels: int = 3

    def __post_init__(self) -> None:
        shape = ir.Shape([self.batch, 3, 6, 6])
        self.values["x"] = ir.val("x", dtype=ir.DataType.FLOAT, shape=shape)

    def constant(self, array: np.ndarray) -> str:
        name = f"c{len(self.values)}"
        self.values[name] = ir.val(name, const_value=ir.tensor(array, name=name))
        return name

    def weights(self, *shape: int) -> str:
        size = max(1, int(np.prod(shape[1:])))
        values = self.rng.standard_normal(shape) / np.sqrt(size)
        return self.constant(values.astype(np.float32))

    def numbers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def add(self, op: str, *inputs: str, outputs: int = 1, **attributes: object) -> str:
        index = len(self.nodes)
        names = [f"v{index}_{i}" if i else f"v{index}" for i in range(outputs)]
        made = [self.values.setdefault(name, ir.val(name)) for name in names]
        read = [self.values[name] for name in inputs]
        node = ir.node(op, read, attributes, outputs=made, name=f"n{index}")  # type: ignore[arg-type]
        self.nodes.append(node)
        return names[0]

    def conv(self, source: str, into: int, out: int, size: int = 3, group: int = 1) -> str:
        pads = [size // 2] * 4
        weight, bias = self.weights(out, into // group, size, size), self.weights(out)
        return self.add("Conv", source, weight, bias, group=group, pads=pads)

    def model(self, output: str, shape: Sequence[int | str]) -> ir.Model:
        last = self.values[output]
        last.type, last.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(shape)
        graph = ir.Graph(
            [self.values["x"]],
            [last],
            nodes=self.nodes,
            initializers=[one for one in self.values.values() if one.const_value is not None],
            opset_imports={"": 17},
            name="net",
        )
        model = ir.Model(graph, ir_version=8)
        InferShapes()(model)
        return model


def _conv(net: Net) -> None:
    out = int(net.rng.integers(2, 7)) * 2
    net.value = net.add("Relu", net.conv(net.value, net.channels, out))
    net.channels = out


def _norm(net: Net) -> None:
    few = [
        net.constant(net.rng.uniform(0.5, 2.0, net.channels).astype(np.float32)) for _ in "abcd"
    ]
    net.value = net.add("BatchNormalization", net.value, *few)


def _residual(net: Net) -> None:
    inner = net.add("Relu", net.conv(net.value, net.channels, 6))
    net.value = net.add("Add", net.value, net.conv(inner, 6, net.channels))


def _depthwise(net: Net) -> None:
    times = int(net.rng.integers(1, 3))
    out = net.channels * times
    net.value = net.add("Sigmoid", net.conv(net.value, net.channels, out, group=net.channels))
    net.channels = out


def _grouped(net: Net) -> None:
    net.value = net.conv(net.value, net.channels, 8, size=1)
    net.value = net.add("Relu", net.conv(net.value, 8, 12, group=2))
    net.channels = 12


def _concat(net: Net) -> None:
    other = net.conv(net.value, net.channels, 5, size=1)
    net.value = net.add("Concat", net.value, other, axis=1)
    net.channels += 5


def _split(net: Net) -> None:
    first = max(1, net.channels // 3)
    left = net.add("Split", net.value, net.numbers(first, net.channels - first), outputs=2, axis=1)
    other = net.conv(f"{left}_1", net.channels - first, first, size=1)
    net.value = net.add("Mul", left, other)
    net.channels = first


def _squeeze_excite(net: Net) -> None:
    pooled = net.add("GlobalAveragePool", net.value)
    inner = net.add("Relu", net.conv(pooled, net.channels, 4, size=1))
    gate = net.add("Sigmoid", net.conv(inner, 4, net.channels, size=1))
    net.value = net.add("Mul", net.value, gate)


def _shuffle(net: Net) -> None:
    net.value = net.conv(net.value, net.channels, 8, size=1)
    apart = net.add("Reshape", net.value, net.numbers(0, 2, 4, 6, 6))
    turned = net.add("Transpose", apart, perm=[0, 2, 1, 3, 4])
    net.value = net.add("Reshape", turned, net.numbers(0, 8, 6, 6))
    net.channels = 8


def _pixel_shuffle(net: Net) -> None:
    wide = net.conv(net.value, net.channels, 12, size=1)
    large = net.add("DepthToSpace", wide, blocksize=2, mode=str(net.rng.choice(["DCR", "CRD"])))
    net.value = net.add("MaxPool", large, kernel_shape=[2, 2], strides=[2, 2])
    net.channels = 3


def _pad_channels(net: Net) -> None:
    padded = net.add("Pad", net.value, net.numbers(0, 1, 0, 0, 0, 2, 0, 0))
    out = net.channels + 3
    net.value = net.add("Add", padded, net.conv(net.value, net.channels, out))
    net.channels = out


def _transposed(net: Net) -> None:
    weight, bias = net.weights(net.channels, 6, 3, 3), net.weights(6)
    net.value = net.add("ConvTranspose", net.value, weight, bias, pads=[1, 1, 1, 1])
    net.channels = 6


def _pool(net: Net) -> None:
    net.value = net.add("AveragePool", net.value, kernel_shape=[3, 3], pads=[1, 1, 1, 1])


def _slice(net: Net) -> None:
    left = max(1, net.channels - 2)
    bounds = (net.numbers(1 if net.channels > 1 else 0), net.numbers(9999), net.numbers(1))
    net.value = net.conv(net.add("Slice", net.value, *bounds), max(1, net.channels - 1), left)
    net.channels = left


def _prelu(net: Net) -> None:
    net.value = net.add("PRelu", net.value, net.weights(net.channels, 1, 1))


def _group_norm(net: Net) -> None:
    """Write GroupNormalization as torch's exporter does."""
    net.value = net.conv(net.value, net.channels, 8, size=1)
    _normed(net, 8, 4)


def _norm_over_all(net: Net) -> None:
    _normed(net, net.channels, 1)


def _normed(net: Net, channels: int, groups: int) -> None:
    apart = net.add("Reshape", net.value, net.numbers(0, groups, -1))
    ones, zeros = (net.constant(np.full(groups, x, np.float32)) for x in (1, 0))
    same = net.add("InstanceNormalization", apart, ones, zeros)
    back = net.add("Reshape", same, net.numbers(0, channels, 6, 6))
    net.value = net.add("Mul", back, net.weights(channels, 1, 1))
    net.channels = channels


_MAKERS: dict[str, Callable[[Net], None]] = dict(
    zip(
        BLOCKS,
        (
            _conv, _norm, _residual, _depthwise, _grouped, _concat, _split, _squeeze_excite,
            _shuffle, _pixel_shuffle, _pad_channels, _transposed, _pool, _slice, _prelu,
            _group_norm, _norm_over_all,
        ),
        strict=True,
    )
)  # fmt: skip


def picture_net(blocks: Sequence[str], seed: int, batch: int | str = 2) -> ir.Model:
    """Return a convolutional network of these blocks with a classifier of 4 classes."""
    net = Net(np.random.default_rng(seed), batch=batch)
    _conv(net)
    for block in blocks:
        _MAKERS[block](net)
    small = net.add("MaxPool", net.value, kernel_shape=[3, 3], strides=[3, 3])
    flat = net.add("Flatten", small)
    weight, bias = net.weights(4, net.channels * 4), net.weights(4)
    return net.model(net.add("Gemm", flat, weight, bias, transB=1), (batch, 4))


ATTENTIONS = ("apart", "packed", "folded", "sized", "einsum")


def attention_net(
    heads: int, size: int, seed: int, kind: str = "apart", batch: int | str = 2
) -> ir.Model:
    """Return a block of attention over 6 tokens of 18 numbers, and an MLP behind it.

    Args:
        heads: How many heads there are.
        size: How many numbers each has.
        seed: Of the weights.
        kind: ``"apart"``: query, key and value have a layer each; ``"packed"``: they share one;
            ``"folded"``: they do, and heads are folded into the batch, as torch's
            MultiheadAttention does; ``"sized"``: as ``"apart"``, with sizes that the graph
            computes; ``"einsum"``: as ``"packed"``, with Einsum in the place of MatMul;
            ``"grouped"``: two heads of the query share one of key and value.
        batch: The first axis of the input.
    """
    net = Net(np.random.default_rng(seed), batch=batch)
    tokens = net.add("Reshape", net.value, net.numbers(-1, 6, 18))
    makers = {"folded": _folded, "packed": _packed, "einsum": _packed, "sized": _sized,
              "grouped": _grouped_queries}  # fmt: skip
    query, key, value = makers.get(kind, _apart)(net, tokens, heads, size)
    mix = _by_einsum if kind == "einsum" else _by_matmul
    flat = net.add("Reshape", mix(net, query, key, value), net.numbers(-1, heads * size))
    dense = net.add("Gemm", flat, net.weights(heads * size, 18), net.weights(18))
    out = net.add("Add", tokens, net.add("Reshape", dense, net.numbers(-1, 6, 18)))
    hidden = net.add("MatMul", out, net.weights(18, 20))
    hidden = net.add("Erf", net.add("Add", hidden, net.weights(20)))
    return net.model(net.add("MatMul", hidden, net.weights(20, 3)), (batch, 6, 3))


def _projected(net: Net, tokens: str, width: int) -> str:
    product = net.add("MatMul", tokens, net.weights(18, width))
    return net.add("Add", product, net.weights(width))


def _apart(net: Net, tokens: str, heads: int, size: int) -> list[str]:
    """Return three projections, ``[batch, heads, 6, size]``."""
    found = []
    for _ in "qkv":
        flat = _projected(net, tokens, heads * size)
        split = net.add("Reshape", flat, net.numbers(0, 0, heads, size))
        found.append(net.add("Transpose", split, perm=[0, 2, 1, 3]))
    return found


def _sized(net: Net, tokens: str, heads: int, size: int) -> list[str]:
    """Split by one vector of sizes, which the graph computes from other tensors' shapes."""
    one, two, zero = net.numbers(1), net.numbers(2), net.numbers(0)
    shape = net.add("Shape", tokens)
    flats = [_projected(net, tokens, heads * size) for _ in "qkv"]
    rows = net.add("Slice", shape, zero, two, zero, one)
    target = net.add("Concat", rows, net.numbers(heads, size), axis=0)
    splits = [net.add("Reshape", flat, target) for flat in flats]
    # The channels of one, counted by the graph, say how many another has.
    again = net.add("Reshape", splits[0], net.add("Shape", splits[1]))
    return [net.add("Transpose", one, perm=[0, 2, 1, 3]) for one in (again, *splits[1:])]


def _grouped_queries(net: Net, tokens: str, heads: int, size: int) -> list[str]:
    query, _, _ = _apart(net, tokens, heads, size)
    found = [query]
    for one in _apart(net, tokens, heads // 2, size)[:2]:
        apart = net.add("Unsqueeze", one, net.numbers(2))
        twice = net.add("Expand", apart, net.numbers(1, 1, 2, 1, 1))
        found.append(net.add("Reshape", twice, net.numbers(-1, heads, 6, size)))
    return found


def _by_matmul(net: Net, query: str, key: str, value: str) -> str:
    scores = net.add("MatMul", query, net.add("Transpose", key, perm=[0, 1, 3, 2]))
    mixed = net.add("MatMul", net.add("Softmax", scores, axis=-1), value)
    return net.add("Transpose", mixed, perm=[0, 2, 1, 3])


def _by_einsum(net: Net, query: str, key: str, value: str) -> str:
    scores = net.add("Einsum", query, key, equation="bhqd,bhkd->bhqk")
    weights = net.add("Softmax", scores, axis=-1)
    return net.add("Einsum", weights, value, equation="bhqk, bhkd -> bqhd")


def _packed(net: Net, tokens: str, heads: int, size: int) -> list[str]:
    flat = net.add("Reshape", tokens, net.numbers(-1, 18))
    made = net.add("Gemm", flat, net.weights(18, 3 * heads * size), net.weights(3 * heads * size))
    split = net.add("Reshape", made, net.numbers(-1, 6, 3, heads, size))
    turned = net.add("Transpose", split, perm=[2, 0, 3, 1, 4])
    return [net.add("Gather", turned, net.constant(np.array(i)), axis=0) for i in range(3)]


def _folded(net: Net, tokens: str, heads: int, size: int) -> list[str]:
    first = net.add("Transpose", tokens, perm=[1, 0, 2])
    made = _projected(net, first, 3 * heads * size)
    split = net.add("Reshape", made, net.numbers(1, 6, -1, 3, heads * size))
    turned = net.add("Squeeze", net.add("Transpose", split, perm=[3, 1, 2, 0, 4]), net.numbers(3))
    found = []
    for index in range(3):
        one = net.add("Gather", turned, net.constant(np.array(index)), axis=0)
        inner = net.add("Reshape", one, net.numbers(6, -1, size))
        batched = net.add("Transpose", inner, perm=[1, 0, 2])
        found.append(net.add("Reshape", batched, net.numbers(-1, heads, 6, size)))
    return found


def answers(model: ir.Model) -> np.ndarray:
    """Return what ONNX Runtime makes of a model's random input, without optimising it."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    data = ir.to_proto(model).SerializeToString()
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(7).standard_normal((2, 3, 6, 6)).astype(np.float32)
    found: np.ndarray = session.run(None, {"x": x})[0]
    return found
