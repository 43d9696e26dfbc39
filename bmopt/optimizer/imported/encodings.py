"""Encodings as they stand in a quantised graph: read, checked, applied to constants."""

from __future__ import annotations

import dataclasses
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir

from bmopt.core.imported import ImportedRange
from bmopt.core.runner import Array
from bmopt.core.scheme import StoredType
from bmopt.errors import QuantizationError
from bmopt.optimizer.imported.constants import known_array

FLOAT8: StoredType = "float8e4m3fn"

LIMITS = {
    FLOAT8: (-448, 448),
    "int4": (-8, 7),
    "uint4": (0, 15),
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-(1 << 15), (1 << 15) - 1),
    "uint16": (0, (1 << 16) - 1),
    "int32": (-(1 << 31), (1 << 31) - 1),
}
"""Stored type -> its smallest and largest number."""

ACTIVATION_TYPES = (FLOAT8, "int8", "uint8")


@dataclasses.dataclass(frozen=True, eq=False)
class Encoding:
    """``real = scale * (stored - zero)``, one pair for all or one per index of an axis.

    What is stored are integers, or float8, of which everything that is said of integers holds.

    Attributes:
        dtype: Name of the stored type, a key of ``LIMITS``.
        scale: float32, a scalar or one per index of ``axis``.
        zero: int64, of the same shape.
        axis: The axis; None where there is one scale.
    """

    dtype: str
    scale: Array
    zero: Array
    axis: int | None

    @property
    def is_symmetric(self) -> bool:
        """Whether every zero point is the middle of the type."""
        low, high = LIMITS[self.dtype]
        return bool((self.zero == (low + high + 1) // 2).all())

    def agrees(self, other: Encoding) -> bool:
        """Whether both give the same integers the same meaning."""
        return np.array_equal(self.scale, other.scale) and np.array_equal(self.zero, other.zero)

    def along(self, values: Array, rank: int) -> Array:
        """Return ``scale`` or ``zero`` so that it broadcasts against a tensor of ``rank``."""
        shape = [1] * rank
        if self.axis is not None:
            shape[self.axis % rank] = -1
        return values.reshape(shape)

    def quantized(self, real: Array) -> Array:
        """Return the integers of ``real``: rounded half to even, saturated; 4 bits in 8."""
        scale, zero = self.along(self.scale, real.ndim), self.along(self.zero, real.ndim)
        low, high = LIMITS[self.dtype]
        steps: Array = real.astype(np.float32) / scale
        if self.dtype == FLOAT8:
            # Its steps are its own: the conversion rounds to them.
            return (steps + zero).clip(low, high).astype(numpy_type(FLOAT8))
        carrier = {"int4": "int8", "uint4": "uint8"}.get(self.dtype, self.dtype)
        return (np.rint(steps) + zero).clip(low, high).astype(carrier)

    def dequantized(self, integers: Array) -> Array:
        """Return the float32 numbers that ``integers`` stand for."""
        scale = self.along(self.scale, integers.ndim)
        product: Array = self.centred(integers).astype(np.float32) * scale
        return product

    def centred(self, integers: Array) -> Array:
        """Return ``integers`` without their zero point, as int64 or float32."""
        exact = np.float32 if self.dtype == FLOAT8 else np.int64
        difference: Array = integers.astype(exact) - self.along(self.zero, integers.ndim)
        return difference

    def as_range(self) -> ImportedRange:
        """Return the encoding of an activation."""
        scale, zero = float(self.scale), int(self.zero)
        low, high = LIMITS[self.dtype]
        return ImportedRange(self.dtype, scale, zero, scale * (low - zero), scale * (high - zero))


def refuse(node: ir.Node, problem: str, advice: str) -> QuantizationError:
    """Return the error for a node that cannot be imported."""
    return QuantizationError(f"node {node.name!r} ({node.op_type}) {problem}; {advice}")


def read_encoding(
    model: ir.Model,
    node: ir.Node,
    *,
    scale: int,
    dtype: str | None = None,
    axis: int | None = None,
) -> Encoding:
    """Return the encoding whose scale and zero point are inputs of ``node``.

    Args:
        model: Where the node is from.
        node: The node.
        scale: Index of the scale; the zero point, where there is one, follows it.
        dtype: Type of the integers where no zero point tells.
        axis: Axis of the scales where there are several.

    Raises:
        QuantizationError: Scales that are computed at run time, not positive, blocked or not
            float32, or a type that is neither an integer of 4 to 32 bits nor float8 E4M3.
    """
    scales = known_array(_input(node, scale), model)
    zero_value = _input(node, scale + 1)
    zeros = known_array(zero_value, model)
    if scales is None or (zero_value is not None and zeros is None):
        raise refuse(node, "computes its scale at run time", "quantise with constant scales")
    if scales.dtype != np.float32:
        raise refuse(
            node,
            f"has {scales.dtype} scales",
            "export the model with float32 or float16 as its float type",
        )
    stored = dtype if zeros is None else type_name(zeros.dtype)
    if stored not in LIMITS:
        raise refuse(node, f"stores {stored}", "quantise it to INT8, or compile the float model")
    if node.attributes.get_int("block_size", 0) or (scales.size > 1 and scales.ndim != 1):
        raise refuse(node, "has blocked scales", "quantise per tensor or per channel")
    if not (np.isfinite(scales) & (scales > 0)).all():
        raise refuse(node, "has a scale that is not positive", "export the model again")
    single = scales.size == 1
    given = np.zeros(scales.shape, np.int64) if zeros is None else zeros.astype(np.int64)
    zero = np.broadcast_to(given.reshape(-1), scales.size)
    return Encoding(
        dtype=stored,
        scale=scales.reshape(()) if single else scales,
        zero=zero.reshape(()) if single else zero,
        axis=None if single else axis,
    )


def _input(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None


def type_name(dtype: np.dtype[Any]) -> str:
    """Return the key of ``LIMITS`` for an element type, for other types a similar name."""
    return dtype.name.replace("_", "")


def numpy_type(name: str) -> np.dtype[Any]:
    """Return the element type of which ``type_name`` is ``name``."""
    return np.dtype(ml_dtypes.float8_e4m3fn if name == FLOAT8 else name)


def type_of(value: ir.Value | None) -> str | None:
    """Return the name of the element type of ``value``, None where it is unknown."""
    if value is None or value.dtype is None:
        return None
    return type_name(value.dtype.numpy())


def require_fit(node: ir.Node, encoding: Encoding, constant: Array) -> None:
    """Raise ``QuantizationError`` unless a constant has as many channels as there are scales."""
    if encoding.axis is None:
        return
    sizes = constant.shape
    if not sizes or sizes[encoding.axis % len(sizes)] != encoding.scale.size:
        raise refuse(
            node,
            f"has {encoding.scale.size} scales along axis {encoding.axis} of a constant of "
            f"shape {list(sizes)}",
            "export the model again",
        )


def require_activation(node: ir.Node, encoding: Encoding) -> None:
    """Raise ``QuantizationError`` unless ``encoding`` is one that an activation may have."""
    if encoding.axis is not None:
        raise refuse(
            node, "quantises an activation per channel", "quantise activations per tensor"
        )
    if encoding.dtype not in ACTIVATION_TYPES:
        raise refuse(
            node,
            f"quantises an activation to {encoding.dtype}",
            "quantise activations to int8, uint8 or float8 E4M3",
        )
