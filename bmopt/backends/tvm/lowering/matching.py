"""Which calls of an imported function the kernels beside this file run."""

from __future__ import annotations

import dataclasses

import numpy as np
import tvm
from tvm import tirx

from bmopt.backends.tvm.lowering.blocked import Halo
from bmopt.backends.tvm.lowering.conv_kernel import Window
from bmopt.backends.tvm.lowering.multiplying import (
    ProductCall,
    SoftmaxCall,
    product_call,
    softmax_call,
)
from bmopt.backends.tvm.lowering.packing import Floats
from bmopt.backends.tvm.lowering.reading import (
    Call,
    Var,
    fixed,
    floats,
    imported_kernel,
    is_image,
    is_var,
    known,
    numbers,
    op_name,
    same_size,
    shape_of,
)
from bmopt.backends.tvm.lowering.steps import BINARY, UNARY, Function, Scalar, Step
from bmopt.backends.tvm.lowering.stmts import Native

_MOST_SELECTED = 1 << 16


@dataclasses.dataclass(frozen=True)
class ConvCall:
    """A convolution, or what is computed as one.

    Attributes:
        source: Its input.
        weight: Its weights, ``O I/g H W``.
        window: Its window.
        halo: The padding that its input needs.
        groups: Its groups.
    """

    source: Var
    weight: Floats
    window: Window
    halo: Halo
    groups: int = 1


@dataclasses.dataclass(frozen=True)
class PoolCall:
    """A pool.

    Attributes:
        source: Its input.
        window: Its window.
        after: Padding below and to the right.
        largest: Whether it takes the largest.
        counts_padding: Whether a mean is over the padding too.
    """

    source: Var
    window: Window
    after: tuple[int, int] = (0, 0)
    largest: bool = False
    counts_padding: bool = False


@dataclasses.dataclass(frozen=True)
class StepsCall:
    """Steps on one tensor."""

    source: Var
    steps: tuple[Step, ...]


@dataclasses.dataclass(frozen=True)
class BinaryCall:
    """A binary operation whose operands are given as they are."""

    op: str
    operands: tuple[Native, Native]


Matched = ConvCall | PoolCall | StepsCall | BinaryCall | ProductCall | SoftmaxCall


class Matcher:
    """Recognises calls of one function."""

    def __init__(self, mod: Native, definitions: dict[Native, Native]) -> None:
        self._mod = mod
        self._definitions = definitions

    def match(self, value: Native) -> Matched | None:
        """Return what a bound value is; None where TVM is to lower it."""
        name = op_name(value)
        if name in ("nn.conv1d", "nn.conv2d"):
            return _conv(value)
        if name == "matmul":
            return _dense(value) or product_call(value)
        if name == "nn.softmax":
            return softmax_call(value)
        if name.startswith(("nn.avg_pool", "nn.max_pool")):
            return _pool(value, largest=name.startswith("nn.max_pool"))
        if name == "mean":
            return _global_mean(value)
        if name == "nn.pad":
            return None
        if name == "call_tir":
            return self._imported(value)
        return _elementwise(name, value)

    def _imported(self, call: Call) -> Matched | None:
        found = imported_kernel(self._mod, call)
        if found is None or not known(shape_of(call)):
            return None
        stored, operands = found
        for kind, name in ((tirx.Max, "maximum"), (tirx.Min, "minimum")):
            value = stored.value
            if (
                isinstance(value, kind)
                and len(operands) == 2
                and all(isinstance(one, tvm.ir.expr.TensorLoad) for one in (value.a, value.b))
            ):
                number = floats(operands[1])
                if number is not None and number.size == 1 and is_var(operands[0]):
                    return StepsCall(operands[0], (Scalar(name, float(number.reshape(-1)[0])),))
        return self._channel_pad(call, stored, operands)

    def _channel_pad(self, call: Call, stored: Native, operands: list[Native]) -> ConvCall | None:
        """Return channels of zeros around a tensor as a convolution with zeros and ones.

        A stride in front becomes the convolution's. It is the shortcut of small residual networks,
        and costs less so than a way out of the blocks and back.
        """
        before = _padding(stored)
        source = operands[0] if len(operands) == 1 else None
        inner, outer = shape_of(source), shape_of(call)
        if before is None or inner is None or outer is None or not fixed(inner, 4):
            return None
        others = [0, 2, 3]
        if any(before[axis] or not same_size(inner[axis], outer[axis]) for axis in others):
            return None
        weight = np.eye(outer[1], inner[1], -before[1], dtype=np.float32)[..., None, None]
        if weight.size > _MOST_SELECTED:
            return None
        definition = self._definitions.get(source)
        if definition is not None and op_name(definition) == "strided_slice":
            strides = _spatial_strides(definition)
            if strides is not None:
                return ConvCall(definition.args[0], weight, Window((1, 1), strides), Halo())
        return None


def _padding(stored: Native) -> list[int] | None:
    """Return the zeros in front of every axis that a stored value of a pad puts there."""
    value = stored.value
    if not isinstance(value, tvm.ir.Call) or not value.op.name.endswith(".if_then_else"):
        return None
    _, inside, zero = value.args
    if not isinstance(inside, tvm.ir.expr.TensorLoad) or not isinstance(zero, tirx.FloatImm):
        return None
    if float(zero.value) != 0.0 or len(inside.indices) != len(stored.indices):
        return None
    before = []
    for index, at in zip(inside.indices, stored.indices, strict=True):
        if index.same_as(at):
            before.append(0)
        elif (
            isinstance(index, tirx.Sub)
            and index.a.same_as(at)
            and (isinstance(index.b, tirx.IntImm))
        ):
            before.append(int(index.b))
        else:
            return None
    return before


def _spatial_strides(call: Call) -> tuple[int, int] | None:
    axes, begin, end, strides = (
        numbers(one.values if hasattr(one, "values") else one.fields) for one in call.args[1:5]
    )
    sizes = shape_of(call.args[0])
    if axes != (2, 3) or any(begin) or not fixed(sizes, 4) or sizes is None:
        return None
    if any(e < size for e, size in zip(end, sizes[2:], strict=True)) or min(strides) < 1:
        return None
    return strides[0], strides[1]


def _conv(call: Call) -> ConvCall | None:
    source, weight = call.args[0], floats(call.args[1])
    attrs = call.attrs
    layouts = (attrs.data_layout, attrs.kernel_layout, attrs.out_layout)
    plain = layouts in (("NCHW", "OIHW", "NCHW"), ("NCW", "OIW", "NCW"))
    if weight is None or not is_var(source) or not plain:
        return None
    if not is_image(shape_of(source)) or not is_image(shape_of(call)):
        return None
    if weight.ndim == len("OIW"):
        weight = weight[:, :, None]
    window, after = _window((weight.shape[2], weight.shape[3]), attrs)
    halo = Halo(*window.before, *after)
    if min(dataclasses.astuple(halo)) < 0:
        return None
    return ConvCall(source, weight, window, halo, int(attrs.groups))


def _window(size: tuple[int, int], attrs: Native) -> tuple[Window, tuple[int, int]]:
    """Return a window, and the padding behind; what has one axis is an image of one row."""
    strides, dilation, padding = (
        numbers(one) for one in (attrs.strides, attrs.dilation, attrs.padding)
    )
    before, after = padding[: len(padding) // 2], padding[len(padding) // 2 :]
    window = Window(size, _pair(strides, 1), _pair(dilation, 1), _pair(before, 0))
    return window, _pair(after, 0)


def _pair(values: tuple[int, ...], first: int) -> tuple[int, int]:
    return (values[-2], values[-1]) if len(values) > 1 else (first, values[0])


def _dense(call: Call) -> ConvCall | None:
    source, weight = call.args[0], floats(call.args[1])
    if weight is None or weight.ndim != 2 or not is_var(source):
        return None
    if not fixed(shape_of(source), 2):
        return None
    return ConvCall(
        source, np.ascontiguousarray(weight.T)[..., None, None], Window((1, 1)), Halo()
    )


def _pool(call: Call, *, largest: bool) -> PoolCall | None:
    attrs, source = call.attrs, call.args[0]
    is_plain = attrs.layout in ("NCHW", "NCW") and not attrs.ceil_mode
    if not is_plain or not is_var(source):
        return None
    if not is_image(shape_of(source)) or not is_image(shape_of(call)):
        return None
    window, after = _window(_pair(numbers(attrs.pool_size), 1), attrs)
    if not largest and window.dilation != (1, 1):
        return None
    return PoolCall(source, window, after, largest, bool(attrs.count_include_pad))


def _global_mean(call: Call) -> PoolCall | None:
    source = call.args[0]
    sizes = shape_of(source)
    if not is_var(source) or sizes is None or not is_image(sizes) or call.attrs.axis is None:
        return None
    rank = len(sizes)
    if sorted(axis % rank for axis in numbers(call.attrs.axis)) != list(range(2, rank)):
        return None
    return PoolCall(source, Window(_pair(tuple(sizes[2:]), 1)))


def _elementwise(name: str, call: Native) -> Matched | None:
    sizes = shape_of(call)
    if not name or not known(sizes):
        return None
    short = name.removeprefix("nn.")
    if short == "relu":
        return _steps(call, Scalar("maximum", 0.0))
    if short == "clip":
        return _steps(
            call,
            Scalar("maximum", float(call.args[1].value)),
            Scalar("minimum", float(call.args[2].value)),
        )
    if short in UNARY:
        return _steps(call, Function(short))
    if short in BINARY:
        return BinaryCall(short, (call.args[0], call.args[1]))
    return None


def _steps(call: Call, *steps: Step) -> StepsCall | None:
    return StepsCall(call.args[0], steps) if is_var(call.args[0]) else None
