"""What is done with an output before it is stored: bias, addition, activation and the like."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from tvm import tirx

from bmopt.backends.tvm.lowering import functions
from bmopt.backends.tvm.lowering.blocked import Layout
from bmopt.backends.tvm.lowering.packing import Floats, packed_channels
from bmopt.backends.tvm.lowering.stmts import (
    Buffer,
    Expr,
    Native,
    lanes_at,
    load,
    real,
    spread,
    tensor,
    whole,
)

BINARY: dict[str, Callable[[Expr, Expr], Expr]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": tirx.div,
    "maximum": tirx.max,
    "minimum": tirx.min,
}
UNARY: dict[str, Callable[[Expr, int], Expr]] = {
    "sigmoid": functions.sigmoid,
    "tanh": functions.tanh,
    "erf": functions.erf,
    "exp": functions.exp,
    "sqrt": lambda a, lanes: tirx.sqrt(a),
    "silu": lambda a, lanes: a * functions.sigmoid(a, lanes),
}


@dataclasses.dataclass(frozen=True)
class Scalar:
    """A binary step with one number."""

    op: str
    value: float
    swapped: bool = False


@dataclasses.dataclass(frozen=True)
class PerChannel:
    """A binary step with one number for each channel."""

    op: str
    values: Floats
    swapped: bool = False


@dataclasses.dataclass(frozen=True)
class Other:
    """A binary step with another tensor, of the same size or of one pixel.

    Attributes:
        op: The operation.
        layout: How the tensor is stored.
        value: The tensor in the new function.
        swapped: Whether the other tensor is the operation's first operand.
    """

    op: str
    layout: Layout
    value: Native
    swapped: bool = False


@dataclasses.dataclass(frozen=True)
class Function:
    """A step of one operand."""

    name: str


Step = Scalar | PerChannel | Other | Function


@dataclasses.dataclass(frozen=True)
class Place:
    """A pixel of a block of the output."""

    n: Expr
    block: Expr
    row: Expr
    column: Expr


class Epilogue:
    """Steps, and the tensors they read."""

    def __init__(self, steps: Sequence[Step], block: int) -> None:
        self.steps = tuple(steps)
        self.block = block
        self.buffers: list[Buffer] = []
        self.arguments: list[Native] = []
        self._reads: list[Callable[[Place], Expr] | None] = [self._reader(s) for s in self.steps]

    def __str__(self) -> str:
        """Return what it does, without the numbers that it does it with."""
        return ", ".join(map(_described, self.steps))

    def applied(self, value: Expr, place: Place) -> Expr:
        """Return what is stored of a value."""
        for step, read in zip(self.steps, self._reads, strict=True):
            if isinstance(step, Function):
                value = UNARY[step.name](value, self.block)
            elif read is not None:
                pair = (read(place), value) if step.swapped else (value, read(place))
                value = BINARY[step.op](*pair)
        return value

    def _reader(self, step: Step) -> Callable[[Place], Expr] | None:
        if isinstance(step, Scalar):
            number = spread(real(step.value), self.block)
            return lambda place: number
        if isinstance(step, PerChannel):
            return self._channel_reader(step)
        if isinstance(step, Other):
            return self._tensor_reader(step)
        return None

    def _channel_reader(self, step: PerChannel) -> Callable[[Place], Expr]:
        values = packed_channels(step.values, self.block)
        buffer = tensor(f"channels{len(self.buffers)}", values.shape)
        self._take(buffer, values)
        return lambda place: load(buffer, place.block, lanes_at(whole(0), self.block))

    def _tensor_reader(self, step: Other) -> Callable[[Place], Expr]:
        layout = step.layout
        buffer = layout.declare(f"other{len(self.buffers)}")
        self._take(buffer, step.value)
        zero = whole(0)
        if layout.height == layout.width == 1:
            return lambda p: load(buffer, *layout.vector(p.n, p.block, zero, zero))
        return lambda p: load(buffer, *layout.vector(p.n, p.block, p.row, p.column))

    def _take(self, buffer: Buffer, argument: Native) -> None:
        self.buffers.append(buffer)
        self.arguments.append(argument)


def _described(step: Step) -> str:
    if isinstance(step, Function):
        return step.name
    own = f"{type(step).__name__} {step.op}"
    return f"{own} {step.layout}" if isinstance(step, Other) else own


def leading_bias(steps: Sequence[Step], channels: int) -> tuple[Floats, tuple[Step, ...]]:
    """Return the bias that a sum may start from, zeros if there is none, and the other steps."""
    if steps and isinstance(steps[0], PerChannel) and steps[0].op == "add":
        return steps[0].values.reshape(-1), tuple(steps[1:])
    return np.zeros(channels, np.float32), tuple(steps)
