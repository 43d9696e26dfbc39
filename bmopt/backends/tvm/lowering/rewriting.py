"""Rewrites an imported function into calls of the kernels, and leaves the rest to TVM."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence

from bmopt.backends.tvm.lowering.blocked import Halo, Layout
from bmopt.backends.tvm.lowering.conv_kernel import Conv, conv_kernel
from bmopt.backends.tvm.lowering.copying import replaced, used_vars
from bmopt.backends.tvm.lowering.matching import (
    BinaryCall,
    ConvCall,
    Matcher,
    PoolCall,
    StepsCall,
)
from bmopt.backends.tvm.lowering.move_kernel import map_kernel
from bmopt.backends.tvm.lowering.multiplying import (
    ProductCall,
    SoftmaxCall,
    multiplied,
    normalised,
)
from bmopt.backends.tvm.lowering.packing import packed_channels, packed_depthwise, packed_weight
from bmopt.backends.tvm.lowering.pool_kernel import Pool, pool_kernel
from bmopt.backends.tvm.lowering.reading import (
    Var,
    floats,
    is_var,
    same_shape,
    same_size,
    shape_of,
)
from bmopt.backends.tvm.lowering.steps import Other, PerChannel, Scalar, Step, leading_bias
from bmopt.backends.tvm.lowering.stmts import Native
from bmopt.backends.tvm.lowering.values import Pending, Values, constant, layout_of


class Rewriter:
    """Rewrites one function."""

    def __init__(self, mod: Native, values: Values, functions: dict[str, Native]) -> None:
        self._mod, self._values, self._functions = mod, values, functions
        self._machine = values.machine
        self._uses: Counter[Native] = Counter()

    def run(self, bindings: Sequence[Native], results: Sequence[Var]) -> None:
        """Rewrite the bindings of a straight function."""
        values = self._values
        matcher = Matcher(self._mod, {one.var: one.value for one in bindings})
        matched = [(one.var, one.value, matcher.match(one.value)) for one in bindings]
        self._uses.update(results)
        for _, value, what in matched:
            self._uses.update(used_vars(value))
            if isinstance(what, ConvCall):
                values.expect(what.source, what.halo)
        for var, value, what in matched:
            if not self._taken(var, what):
                new = replaced(value, values.plain, self._functions)
                values.put_plain(var, values.builder.emit(new, var.name))

    def _taken(self, var: Var, what: Native) -> bool:
        """Return whether a binding became a kernel, or part of one."""
        if isinstance(what, ConvCall):
            return self._convolved(var, what)
        if isinstance(what, PoolCall):
            return self._pooled(var, what)
        if isinstance(what, ProductCall | SoftmaxCall):
            values = self._values
            written = multiplied if isinstance(what, ProductCall) else normalised
            values.put_plain(var, written(values, what, var, str(var.name)))  # type: ignore[arg-type]
            return True
        if isinstance(what, StepsCall):
            return self._values.is_blocked(what.source) and self._stepped(
                var, what.source, what.steps
            )
        return isinstance(what, BinaryCall) and self._combined(var, what)

    # Kernels.

    def _convolved(self, var: Var, call: ConvCall) -> bool:
        values, inputs = self._values, _channels(call.source)
        output = self._output(var)
        channels, block = output.channels, output.block
        depthwise = call.groups > 1 and call.groups == inputs == channels
        block_in = block if depthwise else self._block_in(call.source)
        if call.groups > 1 and not depthwise:
            if (inputs // call.groups) % block_in:
                block_in = 1
            block = math.gcd(channels // call.groups, block)
            if block == 1 < self._machine.lanes:
                return False
            output = dataclasses.replace(output, block=block)

        def write(layout: Layout, steps: Sequence[Step], name: str) -> Native:
            source, data = values.read(call.source, block_in, call.halo)
            conv = Conv(source, layout, call.window, call.groups)
            bias, rest = leading_bias(steps, channels)
            weight = (
                packed_depthwise(call.weight, block)
                if depthwise
                else packed_weight(call.weight, call.groups, source.block, block)
            )
            arguments = [data, constant(weight), constant(packed_channels(bias, block))]
            return values.emit(layout, rest, arguments, name, lambda own, epilogue: conv_kernel(
                dataclasses.replace(conv, source=own(source), output=own(layout)),
                epilogue, self._machine,
            ))  # fmt: skip

        values.put_pending(var, Pending(output, write, (var.name,)))
        return True

    def _block_in(self, source: Var) -> int:
        """Return the block that a convolution reads its input in.

        One pixel's channels lie side by side as they come; those of an image are brought there,
        which costs less than to read each of them from far away for every output.
        """
        block, channels = self._values.block_of(source), _channels(source)
        sizes = shape_of(source) or []
        is_image = any(size != 1 for size in sizes[2:])
        if block == 1 and is_image and channels >= self._machine.lanes:
            return self._machine.block(channels)
        return block

    def _pooled(self, var: Var, call: PoolCall) -> bool:
        values, output = self._values, self._output(var)
        if not values.is_blocked(call.source):
            return False

        def write(layout: Layout, steps: Sequence[Step], name: str) -> Native:
            source, data = values.read(call.source, output.block, Halo())
            pool = Pool(source, layout, call.window, call.largest, call.after, call.counts_padding)
            return values.emit(layout, steps, [data], name, lambda own, epilogue: pool_kernel(
                dataclasses.replace(pool, source=own(source), output=own(layout)),
                epilogue, self._machine,
            ))  # fmt: skip

        values.put_pending(var, Pending(output, write, (var.name,)))
        return True

    def _mapped(self, source: Var) -> Pending:
        """Return a kernel that only copies, for steps to follow."""
        values = self._values
        stored, data = values.stored(source)

        def write(layout: Layout, steps: Sequence[Step], name: str) -> Native:
            return values.emit(layout, steps, [data], name, lambda own, epilogue: map_kernel(
                own(stored), own(layout), epilogue, self._machine
            ))  # fmt: skip

        return Pending(dataclasses.replace(stored, halo=Halo()), write, ())

    def _output(self, var: Var) -> Layout:
        sizes = shape_of(var) or [1, 1]
        return layout_of(sizes, self._machine.block(sizes[1]))

    # Steps.

    def _stepped(self, var: Var, source: Var, steps: tuple[Step, ...]) -> bool:
        values = self._values
        pending = values.take_pending(source) if self._uses[source] == 1 else None
        if pending is None:
            pending = self._mapped(source)
        values.put_pending(var, pending.followed(steps, var.name))
        return True

    def _combined(self, var: Var, call: BinaryCall) -> bool:
        first, second = call.operands
        sizes = shape_of(var)
        if is_var(first) and is_var(second):
            return self._joined(var, call.op, first, second)
        swapped = not is_var(first)
        source, other = (second, first) if swapped else (first, second)
        numbers = floats(other)
        if numbers is None or sizes is None or not is_var(source):
            return False
        if not self._values.is_blocked(source) or not same_shape(shape_of(source), sizes):
            return False
        if numbers.size == 1:
            step: Step = Scalar(call.op, float(numbers.reshape(-1)[0]), swapped)
            return self._stepped(var, source, (step,))
        shape = (1,) * (len(sizes) - numbers.ndim) + numbers.shape
        if shape != (1, sizes[1], *(1,) * (len(sizes) - 2)):
            return False
        return self._stepped(var, source, (PerChannel(call.op, numbers.reshape(-1), swapped),))

    def _joined(self, var: Var, op: str, first: Var, second: Var) -> bool:
        values, sizes = self._values, shape_of(var)
        free = [
            (one, other, swapped)
            for one, other, swapped in ((second, first, True), (first, second, False))
            if values.is_blocked(one) and same_shape(shape_of(one), sizes)
            and _fits(shape_of(other), sizes) and not one.same_as(other)
        ]  # fmt: skip
        free.sort(key=lambda case: not values.is_pending(case[0]) or self._uses[case[0]] > 1)
        if not free or sizes is None:
            return False
        source, other, swapped = free[0]
        layout, value = values.read(other, self._machine.block(sizes[1]), Halo())
        return self._stepped(var, source, (Other(op, layout, value, swapped),))


def _channels(var: Var) -> int:
    return int((shape_of(var) or (0, 0))[1])


def _fits(sizes: list[Native] | None, whole: list[Native] | None) -> bool:
    """Return whether a tensor has the sizes of another, or one pixel of each of its samples."""
    if sizes is None or whole is None or len(sizes) != len(whole):
        return False
    if same_shape(sizes, whole):
        return True
    return same_size(sizes[0], whole[0]) and sizes[1:] == [whole[1], *[1] * (len(sizes) - 2)]
