"""What Q/DQ nodes say: encodings of activations, constant weights and biases behind DQ nodes."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from bmopt.backends.tvm.integers.borders import Layout
from bmopt.backends.tvm.integers.emitting import Output
from bmopt.backends.tvm.integers.machine import Machine
from bmopt.graph.values import constant_array, producer_of

_BYTES = {np.dtype(np.uint8): "uint8", np.dtype(np.int8): "int8"}


@dataclasses.dataclass(frozen=True)
class Encoding:
    """How a tensor is stored in the graph: one scale, one zero point.

    Attributes:
        scale: Scale.
        zero: Zero point, as a value of ``dtype``.
        dtype: ``uint8`` or ``int8``.
    """

    scale: float
    zero: int
    dtype: str

    def stored_zero(self, machine: Machine) -> int:
        """Return the zero point as a stored value."""
        return self.zero + machine.shift + (128 if self.dtype == "int8" else 0)

    def output(self, machine: Machine, low: float = -np.inf, high: float = np.inf) -> Output:
        """Return what a kernel writes; ``low`` and ``high`` limit the real values."""
        limits = np.iinfo(self.dtype)
        least, greatest = float(limits.min - self.zero), float(limits.max - self.zero)
        return Output(
            machine.stored,
            self.stored_zero(machine),
            min(max(least, low / self.scale), greatest),
            max(min(greatest, high / self.scale), least),
        )


@dataclasses.dataclass(frozen=True)
class Stored:
    """A quantised tensor between kernels.

    Attributes:
        value: What a kernel writes, in the rewritten graph.
        encoding: Of the graph.
        layout: Plain and as stored.
    """

    value: ir.Value
    encoding: Encoding
    layout: Layout

    def zero(self, machine: Machine) -> int:
        """Return the zero point as a stored value."""
        return self.encoding.stored_zero(machine)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        dims = self.layout.dims
        return (dims[1], dims[2]) if len(dims) == 3 else (1, self.layout.pixels)


def encoding_of(node: ir.Node) -> Encoding | None:
    """Return the encoding of a Q or DQ node, None where it is not of one constant scale."""
    scale = constant_array(node.inputs[1])
    given = node.inputs[2] if len(node.inputs) > 2 else None
    zero = np.zeros((), np.uint8) if given is None else constant_array(given)
    if scale is None or zero is None or scale.size != 1 or zero.size != 1:
        return None
    if zero.dtype not in _BYTES or scale.dtype != np.float32 or not scale.reshape(-1)[0] > 0:
        return None
    if any(node.attributes.get_int(name, 0) for name in ("block_size", "output_dtype")):
        return None
    return Encoding(float(scale.reshape(-1)[0]), int(zero.reshape(-1)[0]), _BYTES[zero.dtype])


def dims_of(value: ir.Value) -> tuple[int, ...] | None:
    """Return the axes behind the batch, None where they are not known or not one to three."""
    if value.shape is None or not 2 <= len(value.shape) <= 4:
        return None
    dims = value.shape[1:]
    sizes = tuple(d for d in dims if isinstance(d, int) and d > 0)
    return sizes if len(sizes) == len(dims) else None


def weight_of(
    value: ir.Value | None, axis: int
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float64]] | None:
    """Return a constant weight behind a DQ node: int8 without zero point, and scales.

    ``axis`` is that of the output channels; scales along another are not taken.
    """
    node = producer_of(value, "DequantizeLinear")
    raw, scale = (None, None) if node is None else map(constant_array, node.inputs[:2])
    if node is None or raw is None or scale is None or raw.dtype not in _BYTES:
        return None
    along = node.attributes.get_int("axis", 1) % raw.ndim
    if scale.size > 1 and (along != axis or scale.shape != (raw.shape[axis],)):
        return None
    given = constant_array(node.inputs[2]) if len(node.inputs) > 2 else None
    zeros = np.zeros(1, np.int32) if given is None else given.astype(np.int32).reshape(-1)
    shape = [-1 if a == axis else 1 for a in range(raw.ndim)]
    whole = raw.astype(np.int32) - zeros.reshape(shape if zeros.size > 1 else -1)
    if np.abs(whole).max(initial=0) > 128 or whole.max(initial=0) > 127:
        return None
    scales = np.broadcast_to(scale.astype(np.float64).reshape(-1), (raw.shape[axis],))
    return whole.astype(np.int8), scales


def bias_of(value: ir.Value | None, count: int) -> npt.NDArray[np.float64] | None:
    """Return a constant bias, in float or in int32 behind a DQ node, of ``count`` elements."""
    if value is None:
        return np.zeros(count)
    node = producer_of(value, "DequantizeLinear")
    raw = constant_array(value if node is None else node.inputs[0])
    if raw is None:
        return None
    bias = raw.astype(np.float64)
    if node is not None:
        scale = constant_array(node.inputs[1])
        zero = constant_array(node.inputs[2]) if len(node.inputs) > 2 else None
        if scale is None or (zero is not None and np.any(zero)):
            return None
        bias = bias * scale.astype(np.float64)
    if bias.size not in (1, count):
        return None
    return np.broadcast_to(bias.reshape(-1), (count,))
