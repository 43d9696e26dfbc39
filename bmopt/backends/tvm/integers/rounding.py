"""Arithmetic in float32 that rounds where ONNX Runtime's does, so that ties fall the same way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tvm import tirx

from bmopt.backends.tvm.integers import emitting
from bmopt.backends.tvm.integers.machine import Machine
from bmopt.backends.tvm.integers.native import Buffer, Expr

_LARGE = 2.0**100
"""Divisors between this and its inverse leave the steps of a division room."""
_ALL_ONES = 0x7FFFFF


def product(value: Expr, factor: Expr, lanes: int) -> Expr:
    """Return a float32 product that is rounded before anything is added to it.

    Without the fence a code generator makes one instruction of a product and a sum, which rounds
    once.
    """
    return _call("llvm.arithmetic.fence", lanes, value * factor)


def dequantised(value: Expr, zero: int, scale: float, lanes: int) -> Expr:
    """Return the real value, in float32, of a stored one."""
    whole = emitting.cast(value, "int32", lanes) - emitting.splat(zero, "int32", lanes)
    factor = emitting.splat(scale, "float32", lanes)
    return product(emitting.cast(whole, "float32", lanes), factor, lanes)


def quotient(value: Expr, divisor: float, lanes: int, machine: Machine) -> Expr:
    """Return float32 ``value / divisor``, correctly rounded.

    With fused multiply-adds, a product with the inverse is corrected by its own remainder, which
    takes three instructions rather than the cycles of a division: Markstein, Computation of
    elementary functions on the IBM RISC System/6000 processor, 1990, theorem 7; the inverse has
    to be rounded correctly, and the divisor's bits must not all be ones.
    """
    by = np.float32(divisor)
    is_plain = int(by.view(np.int32)) & _ALL_ONES != _ALL_ONES and 1 / _LARGE < by < _LARGE
    spread = emitting.splat(float(by), "float32", lanes)
    if not machine.has_fma or not is_plain:
        return tirx.div(value, spread)
    inverse = emitting.splat(float(np.float32(1) / by), "float32", lanes)
    near = product(value, inverse, lanes)
    back = emitting.splat(-float(by), "float32", lanes)
    rest = _call("llvm.fma", lanes, near, back, value)
    return _call("llvm.fma", lanes, rest, inverse, near)


def scaled(
    total: Expr, scaling: Sequence[Buffer], channel: Expr, lanes: int, machine: Machine
) -> Expr:
    """Return a product's sums as float32 steps.

    Args:
        total: Sums in int32.
        scaling: Scale per output channel, and where there is one an offset.
        channel: The first of the sums'.
        lanes: Sums.
        machine: What is computed with.
    """
    factor, *offsets = (emitting.load(buffer, channel, lanes) for buffer in scaling)
    steps = emitting.cast(total, "float32", lanes)
    if not offsets:
        return steps * factor
    if not machine.has_fma:
        return steps * factor + offsets[0]
    return _call("llvm.fma", lanes, steps, factor, offsets[0])


def _call(name: str, lanes: int, *arguments: Expr) -> Expr:
    dtype, suffix = ("float32", "f32") if lanes == 1 else (f"float32x{lanes}", f"v{lanes}f32")
    return tirx.call_llvm_pure_intrin(dtype, f"{name}.{suffix}", *arguments)
