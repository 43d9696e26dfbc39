"""Add, Mul, pooling, concatenation and functions of one tensor as integer kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from bmopt.backends.tvm.integers.borders import Layout
from bmopt.backends.tvm.integers.chains import Chain
from bmopt.backends.tvm.integers.elementwise import Binary, Table
from bmopt.backends.tvm.integers.emitting import Output
from bmopt.backends.tvm.integers.kernel import Kernel
from bmopt.backends.tvm.integers.machine import Machine
from bmopt.backends.tvm.integers.placing import Part, Placing
from bmopt.backends.tvm.integers.pooling import MeanPool
from bmopt.backends.tvm.integers.products import window_of
from bmopt.backends.tvm.integers.reading import Encoding, Stored
from bmopt.backends.tvm.integers.window import Window, stored_channels

Found = tuple[Kernel, Layout]
Floats = npt.NDArray[np.float64]


def follower_kernel(
    node: ir.Node, sources: Sequence[Stored], encoding: Encoding, chain: Chain, machine: Machine
) -> Found | None:
    """Return the kernel of a node whose inputs are all stored, None where there is none."""
    output = encoding.output(machine, chain.low, chain.high)
    if node.op_type in ("Add", "Mul") and len(sources) == 2:
        return _binary(node, sources[0], sources[1], encoding.scale, output, machine)
    if node.op_type in ("AveragePool", "GlobalAveragePool"):
        return _mean(node, sources[0], encoding.scale, output, machine)
    if node.op_type == "Concat":
        return _concat(node, sources, encoding, output, machine)
    function = _functions(node).get(node.op_type)
    return None if function is None else table(sources[0], encoding, chain, function, machine)


def _binary(
    node: ir.Node, a: Stored, b: Stored, step: float, output: Output, machine: Machine
) -> Found | None:
    if a.layout.pixels < b.layout.pixels:
        a, b = b, a
    is_spread = b.layout.pixels == 1 < a.layout.pixels
    matches = is_spread or a.layout.dims == b.layout.dims
    if not matches or len(a.layout.dims) != len(b.layout.dims) or a.layout.depth != b.layout.depth:
        return None
    if a.layout.channels != b.layout.channels:
        return None
    op: Literal["+", "*"] = "+" if node.op_type == "Add" else "*"
    scales = (a.encoding.scale, b.encoding.scale)
    zeros = (a.zero(machine), b.zero(machine))
    layout = a.layout
    spec = Binary(op, layout.pixels, layout.channels, is_spread, zeros, scales, step, output)
    values = (a.value, b.value)
    return Kernel(spec, (), layout.size, output.dtype, values), layout


def _mean(
    node: ir.Node, source: Stored, step: float, output: Output, machine: Machine
) -> Found | None:
    if len(source.layout.dims) != 3:
        return None
    window: Window | None = Window(source.size, source.size)
    if node.op_type == "AveragePool":
        kernel = tuple(node.attributes.get_ints("kernel_shape", []))
        window = window_of(node, source, kernel)
    if window is None:
        return None
    counts = _counts(window, bool(node.attributes.get_int("count_include_pad", 0)))
    scale = (source.encoding.scale / step / counts).astype(np.float32).reshape(-1)
    layout = Layout((source.layout.depth, *window.out), source.layout.channels)
    spec = MeanPool(window, layout.channels, source.zero(machine), output)
    return Kernel(spec, (scale,), layout.size, output.dtype), layout


def _counts(window: Window, are_pads_counted: bool) -> Floats:
    """Return per output pixel how many elements the mean is over."""
    axes = [_counted(window, axis, are_pads_counted) for axis in (0, 1)]
    return axes[0][:, None] * axes[1][None, :]


def _counted(window: Window, axis: int, are_pads_counted: bool) -> Floats:
    size, before, after = window.size[axis], window.pads[axis], window.pads[axis + 2]
    low, high = (-before, size + after) if are_pads_counted else (0, size)
    starts = np.arange(window.out[axis]) * window.strides[axis] - before
    taps = np.arange(window.kernel[axis]) * window.dilations[axis]
    at = starts[:, None] + taps[None, :]
    counts: Floats = ((at >= low) & (at < high)).sum(axis=1).astype(np.float64)
    return np.maximum(counts, 1.0)


def _concat(
    node: ir.Node,
    sources: Sequence[Stored],
    encoding: Encoding,
    output: Output,
    machine: Machine,
) -> Found | None:
    rank = len(sources[0].layout.dims)
    axis = node.attributes.get_int("axis", 1) % (rank + 1)
    if any(len(s.layout.dims) != rank or s.size != sources[0].size for s in sources):
        return None
    if axis != (1 if rank == 3 else rank):
        return None
    depth = sum(s.layout.depth for s in sources)
    channels = max(stored_channels(depth), 16)
    parts, to = [], 0
    for source in sources:
        size = (*source.size, source.layout.channels)
        count = (*source.size, source.layout.depth)
        zero, scale = source.zero(machine), source.encoding.scale
        part = Part(size, (0, 0, 0), (1, 1, 1), count, (0, 0, to), zero, scale, encoding.scale)
        parts.append(part)
        to += source.layout.depth
    dims = sources[0].layout.dims
    layout = Layout((depth, *dims[1:]) if rank == 3 else (*dims[:-1], depth), channels)
    spec = Placing(tuple(parts), (*sources[0].size, channels), output)
    return Kernel(spec, (), layout.size, output.dtype), layout


def table(
    source: Stored,
    encoding: Encoding,
    chain: Chain,
    function: Callable[[Floats], Floats],
    machine: Machine,
) -> Found:
    """Return the kernel of a function of one stored tensor."""
    low, high = np.iinfo(source.encoding.dtype).min, np.iinfo(source.encoding.dtype).max
    # In float32, operation by operation as in the graph, for ties to fall the same way.
    steps = (np.arange(low, high + 1) - source.encoding.zero).astype(np.float32)
    real = (steps * np.float32(source.encoding.scale)).astype(np.float64)
    result = np.clip(function(real), chain.low, chain.high).astype(np.float32)
    limits = np.iinfo(encoding.dtype)
    rounded = np.rint(result / np.float32(encoding.scale))
    whole = np.clip(rounded + encoding.zero, limits.min, limits.max)
    stored = whole - encoding.zero + encoding.stored_zero(machine)
    layout = source.layout
    constants = (stored.astype(machine.stored),)
    return Kernel(Table(layout.size), constants, layout.size, machine.stored), layout


def _functions(node: ir.Node) -> dict[str, Callable[[Floats], Floats]]:
    get = node.attributes.get_float
    alpha = get("alpha", 0.2 if node.op_type == "HardSigmoid" else 0.01)
    beta = get("beta", 0.5)
    return {
        "HardSigmoid": lambda x: np.clip(alpha * x + beta, 0, 1),
        "HardSwish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
        "LeakyRelu": lambda x: np.where(x < 0, alpha * x, x),
        "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
        "Tanh": np.tanh,
    }
