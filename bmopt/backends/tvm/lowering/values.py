"""The values of the old function in the new one, in the layouts that readers ask for.

Every float value is in one of three states: *pending*, a kernel that is not written yet, so that
what follows can become its epilogue; *blocked*, stored in blocks; *plain*, stored as ONNX has it.
What a reader asks for is made when it asks, once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from tvm import relax, tirx

from bmopt.backends.tvm.lowering.blocked import Halo, Layout, widest
from bmopt.backends.tvm.lowering.machine import Machine
from bmopt.backends.tvm.lowering.move_kernel import enter_kernel, leave_kernel, map_kernel
from bmopt.backends.tvm.lowering.reading import Var, known, shape_of
from bmopt.backends.tvm.lowering.steps import Epilogue, Other, Step
from bmopt.backends.tvm.lowering.stmts import KERNEL_ATTRIBUTE, Native, PrimFunc

Own = Callable[[Layout], Layout]
Kernel = Callable[[Own, Epilogue], PrimFunc]
JOINT = "__"


@dataclasses.dataclass(frozen=True)
class Pending:
    """A kernel that is not written yet.

    Attributes:
        layout: Of its output, without a halo.
        write: Writes it, given the output's layout, its epilogue and a name.
        steps: The epilogue so far.
        names: Of the old values that it computes.
    """

    layout: Layout
    write: Callable[[Layout, Sequence[Step], str], Native]
    names: tuple[str, ...]
    steps: tuple[Step, ...] = ()

    def followed(self, steps: Sequence[Step], name: str) -> Pending:
        """Return the kernel with more steps, which make the value ``name``."""
        names, more = (*self.names, name), (*self.steps, *steps)
        return dataclasses.replace(self, names=names, steps=more)


class Values:
    """The old function's values."""

    def __init__(self, builder: Native, machine: Machine) -> None:
        self.machine = machine
        self.builder = builder
        self._halos: dict[Native, Halo] = {}
        self._pending: dict[Native, Pending] = {}
        self._blocked: dict[Native, tuple[Layout, Native]] = {}
        self._entered: dict[Native, tuple[Layout, Native]] = {}
        self._plain: dict[Native, Native] = {}

    def expect(self, var: Var, halo: Halo) -> None:
        """Take note that a reader will want a halo."""
        self._halos[var] = widest([self._halos.get(var, Halo()), halo])

    def put_plain(self, var: Var, value: Native) -> None:
        """Take a value as ONNX has it."""
        self._plain[var] = value

    def put_pending(self, var: Var, pending: Pending) -> None:
        """Take a kernel that is to be written when somebody reads what it computes."""
        self._pending[var] = pending

    def take_pending(self, var: Var) -> Pending | None:
        """Give the kernel of a value away, to one that adds steps to it."""
        return self._pending.pop(var, None)

    def is_pending(self, var: Var) -> bool:
        """Return whether a value's kernel is not written yet."""
        return var in self._pending

    def is_blocked(self, var: Var) -> bool:
        """Return whether a value is computed in blocks."""
        return var in self._pending or var in self._blocked

    def block_of(self, var: Var) -> int:
        """Return how many channels of a value lie side by side."""
        if var in self._pending:
            return self._pending[var].layout.block
        return self._blocked[var][0].block if var in self._blocked else 1

    def plain(self, var: Var) -> Native:
        """Return a value as ONNX has it."""
        if var not in self._plain:
            self._plain[var] = self._left(var, *self.stored(var))
        return self._plain[var]

    def stored(self, var: Var) -> tuple[Layout, Native]:
        """Return a value that is computed in blocks."""
        pending = self._pending.pop(var, None)
        if pending is not None:
            layout = dataclasses.replace(pending.layout, halo=self._halos.get(var, Halo()))
            value = pending.write(layout, pending.steps, JOINT.join(pending.names))
            self._blocked[var] = (layout, value)
        return self._blocked[var]

    def read(self, var: Var, block: int, halo: Halo) -> tuple[Layout, Native]:
        """Return a value in blocks of a size, with a halo at least as wide as asked."""
        layout, value = self.stored(var) if self.is_blocked(var) else self._flat(var)
        if layout.block == block and layout.halo.covers(halo):
            return layout, value
        if (var, block) not in self._entered:
            if layout.block != block:
                layout, value = self._flat(var)
            wanted = widest([halo, self._halos.get(var, Halo())])
            target = dataclasses.replace(layout, block=block, halo=wanted)
            self._entered[var, block] = (target, self._brought_in(layout, target, value))
        return self._entered[var, block]

    def emit(
        self,
        layout: Layout,
        steps: Sequence[Step],
        arguments: list[Native],
        name: str,
        kernel: Kernel,
    ) -> Native:
        """Write a kernel and call it; the symbols in it are its own."""
        symbol = layout.batch if isinstance(layout.batch, int) else tirx.Var("n", "int64")

        def own(one: Layout) -> Layout:
            return dataclasses.replace(one, batch=symbol)

        local = [
            dataclasses.replace(step, layout=own(step.layout)) if isinstance(step, Other) else step
            for step in steps
        ]
        epilogue = Epilogue(local, layout.block)
        made = kernel(own, epilogue)
        function = self.builder.add_func(made, str(made.attrs[KERNEL_ATTRIBUTE]))
        more = [
            one if isinstance(one, relax.Expr) else constant(one) for one in epilogue.arguments
        ]
        out = relax.TensorType(layout.shape, "float32")
        call = relax.op.call_tir(function, relax.Tuple(arguments + more), out)
        return self.builder.emit(call, name)

    def _brought_in(self, source: Layout, target: Layout, value: Native) -> Native:
        def kernel(own: Own, epilogue: Epilogue) -> PrimFunc:
            if source.block == target.block:
                return map_kernel(own(source), own(target), epilogue, self.machine)
            return enter_kernel(own(source), own(target), self.machine)

        return self.emit(target, (), [value], "entered", kernel)

    def _flat(self, var: Var) -> tuple[Layout, Native]:
        sizes, value = shape_of(var), self.plain(var)
        if sizes is None or not known(sizes):
            raise ValueError("a tensor of two to four axes is needed")
        layout = layout_of(sizes, block=1)
        if len(sizes) < len(layout.shape):
            value = self.builder.emit(relax.op.reshape(value, layout.shape))
        return layout, value

    def _left(self, var: Var, layout: Layout, value: Native) -> Native:
        """Return a value in blocks as ONNX has it."""
        sizes = shape_of(var)
        flat = dataclasses.replace(layout, block=1, halo=Halo())
        if layout == flat and sizes == flat.shape:
            return value
        row = layout.height == layout.width == 1 and layout.halo == Halo()
        if not (row and layout.channels % layout.block == 0):
            value = self.emit(flat, (), [value], var.name, lambda own, _: leave_kernel(
                own(layout), own(flat), self.machine
            ))  # fmt: skip
            if sizes == flat.shape:
                return value
        return self.builder.emit(relax.op.reshape(value, sizes), var.name)


def layout_of(sizes: Sequence[Native], block: int) -> Layout:
    """Return how a tensor is stored in blocks; one axis of space is a row, none is a pixel."""
    batch, channels, *space = sizes
    height, width = (1, 1, *space)[-2:]
    return Layout(batch, channels, height, width, block)


def constant(values: Native) -> Native:
    """Return a constant float tensor."""
    return relax.const(values, "float32")
