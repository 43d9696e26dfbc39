"""Conv, Gemm and MatMul of Q/DQ graphs as integer kernels."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from bmopt.backends.tvm.integers import convolution, depthwise
from bmopt.backends.tvm.integers.borders import Layout
from bmopt.backends.tvm.integers.convolution import Convolution
from bmopt.backends.tvm.integers.depthwise import Depthwise
from bmopt.backends.tvm.integers.emitting import Output
from bmopt.backends.tvm.integers.kernel import Kernel
from bmopt.backends.tvm.integers.machine import BLOCK, Machine
from bmopt.backends.tvm.integers.reading import Stored, bias_of, weight_of
from bmopt.backends.tvm.integers.window import Window
from bmopt.graph.values import is_op

Floats = npt.NDArray[np.float64]

_LIMIT = 2**31 - 1
_CLOSE = 1e-3
"""Part of a step of the sums by which a bias may differ from an integer."""
_FOUR = 4


@dataclasses.dataclass(frozen=True)
class Operands:
    """A product's constants, as of a convolution.

    Attributes:
        weights: ``[O, I / groups, kh, kw]``.
        scales: Per output channel.
        bias: Real values per output channel.
        groups: Groups of channels.
        window: Over the image.
        dims: The result's axes behind the batch.
    """

    weights: npt.NDArray[np.int8]
    scales: Floats
    bias: Floats
    groups: int
    window: Window
    dims: tuple[int, ...]


def operands(node: ir.Node, source: Stored, bias: ir.Value | None) -> Operands | None:
    """Return the constants of a product of ``source``, None where no kernel computes it.

    ``bias`` is one that a node behind it adds.
    """
    if is_op(node, "Conv"):
        return _conv(node, source)
    if is_op(node, "Gemm"):
        return _gemm(node, source)
    return _matmul(node, source, bias) if is_op(node, "MatMul") else None


def _conv(node: ir.Node, source: Stored) -> Operands | None:
    found = weight_of(node.inputs[1], 0)
    if found is None or found[0].ndim != 4 or len(source.layout.dims) != 3:
        return None
    weights, scales = found
    bias = bias_of(node.inputs[2] if len(node.inputs) > 2 else None, len(weights))
    window = window_of(node, source, weights.shape[2:])
    groups = node.attributes.get_int("group", 1)
    if bias is None or window is None or weights.shape[1] * groups != source.layout.depth:
        return None
    return Operands(weights, scales, bias, groups, window, (len(weights), *window.out))


def window_of(node: ir.Node, source: Stored, kernel: tuple[int, ...]) -> Window | None:
    """Return the window of a Conv or pooling node over a stored image, None where it has none."""
    attributes = node.attributes
    auto = attributes.get_string("auto_pad", "NOTSET")
    if len(kernel) != 2 or len(source.layout.dims) != 3 or auto not in ("NOTSET", "VALID"):
        return None
    pads = list(attributes.get_ints("pads", [0] * 4)) if auto == "NOTSET" else [0] * 4
    strides = attributes.get_ints("strides", [1, 1])
    dilations = attributes.get_ints("dilations", [1, 1])
    window = Window(
        source.size,
        (kernel[0], kernel[1]),
        (strides[0], strides[1]),
        (dilations[0], dilations[1]),
        (pads[0], pads[1], pads[2], pads[3]),
        bool(attributes.get_int("ceil_mode", 0)),
    )
    return window if min(*window.out, *window.pads, 1) >= 0 and min(window.out) > 0 else None


def _gemm(node: ir.Node, source: Stored) -> Operands | None:
    attributes = node.attributes
    unscaled = attributes.get_float("alpha", 1.0) == attributes.get_float("beta", 1.0) == 1.0
    if not unscaled or attributes.get_int("transA", 0) != 0 or len(source.layout.dims) != 1:
        return None
    is_transposed = attributes.get_int("transB", 0)
    found = weight_of(node.inputs[1], 0 if is_transposed else 1)
    if found is None:
        return None
    weights = found[0] if is_transposed else found[0].T
    bias = bias_of(node.inputs[2] if len(node.inputs) > 2 else None, len(weights))
    return None if bias is None else _matrix(weights, found[1], bias, source)


def _matmul(node: ir.Node, source: Stored, added: ir.Value | None) -> Operands | None:
    found = weight_of(node.inputs[1], 1)
    if found is None or found[0].ndim != 2 or len(source.layout.dims) > 2:
        return None
    bias = bias_of(added, found[0].shape[1])
    return None if bias is None else _matrix(found[0].T, found[1], bias, source)


def _matrix(
    weights: npt.NDArray[np.int8],
    scales: Floats,
    bias: Floats,
    source: Stored,
) -> Operands | None:
    if weights.shape[1] != source.layout.depth:
        return None
    dims = (*source.layout.dims[:-1], len(weights))
    window = Window(source.size, (1, 1))
    return Operands(weights[:, :, None, None], scales, bias, 1, window, dims)


def product_kernel(
    found: Operands, source: Stored, output: Output, step: float, machine: Machine
) -> tuple[Kernel, Layout] | None:
    """Return the kernel of a product whose result is written in steps of ``step``.

    None where sums may be beyond 32 bits.
    """
    sums = source.encoding.scale * found.scales
    totals = found.weights.astype(np.int64).sum(axis=(1, 2, 3))
    span = 256.0 * np.abs(found.weights.astype(np.int64)).sum(axis=(1, 2, 3))
    if np.any(2 * span > _LIMIT):
        return None
    bias, offset = _bias(found.bias, sums, _LIMIT - 2 * span)
    start = bias - source.zero(machine) * totals
    channels = -(-len(found.weights) // BLOCK) * BLOCK
    vectors = [start.astype(np.int32), (sums / step).astype(np.float32)]
    vectors += [] if offset is None else [(offset / step).astype(np.float32)]
    layout = Layout(found.dims, channels)
    spec: Depthwise | Convolution
    if _is_depthwise(found, source):
        spec, weights = _depthwise(found, channels, source.zero(machine), output, machine)
    else:
        spec, weights = _dense(found, source, output, machine)
    spec = dataclasses.replace(spec, has_offset=offset is not None)
    constants = (weights, *(_filled(one, channels) for one in vectors))
    return Kernel(spec, constants, layout.size, output.dtype), layout


def _bias(bias: Floats, sums: Floats, room: Floats) -> tuple[Floats, Floats | None]:
    """Return a bias as steps of the integer ``sums``; or none, and what is added in float.

    ``room`` is how large each may be beside the products.
    """
    steps = np.rint(bias / np.where(sums > 0, sums, np.inf))
    if np.all(np.abs(bias - steps * sums) <= _CLOSE * sums) and np.all(np.abs(steps) <= room):
        return steps, None
    return np.zeros_like(bias), bias


def _dense(
    found: Operands, source: Stored, output: Output, machine: Machine
) -> tuple[Convolution, npt.NDArray[np.int8]]:
    """Return what is computed in blocks of channels, and the weights as it reads them."""
    weights = convolution.packed(found.weights, found.groups, machine)
    is_narrow = machine.group == _FOUR and convolution.are_narrow(weights)
    exact = machine.for_weights(are_narrow=is_narrow)
    if exact.group != machine.group:
        weights = convolution.packed(found.weights, found.groups, exact)
    starts, reads = convolution.grouped_reads(found.weights, found.groups, exact)
    zero, channels = source.zero(machine), source.layout.channels
    return Convolution(found.window, channels, zero, starts, reads, output, is_narrow), weights


def _depthwise(
    found: Operands, channels: int, zero: int, output: Output, machine: Machine
) -> tuple[Depthwise, npt.NDArray[np.int8]]:
    """Return what is computed channel by channel, and the weights as it reads them."""
    spec = Depthwise(found.window, channels, zero, output)
    weights = depthwise.packed_rows(found.weights, channels)
    is_exact = machine.dot == "vpdpbusd" or convolution.are_narrow(weights)
    has_rows = found.window.kernel[0] > 1 and found.window.kernel[1] <= depthwise.UNROLLED
    if has_rows and machine.dot in ("vpdpbusd", "vpmaddubsw") and is_exact:
        return dataclasses.replace(spec, together=4), weights
    return spec, depthwise.packed(found.weights, channels)


def _is_depthwise(found: Operands, source: Stored) -> bool:
    alone = found.groups == len(found.weights) and found.weights.shape[1] == 1
    return alone and found.groups > 1 and source.layout.channels % BLOCK == 0


def _filled(values: npt.NDArray[np.generic], count: int) -> npt.NDArray[np.generic]:
    return np.concatenate([values, np.zeros(count - len(values), values.dtype)])
