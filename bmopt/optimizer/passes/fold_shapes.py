"""Shape arithmetic whose result is known becomes constant; dynamic axes stay dynamic."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from bmopt.graph.values import constant_tensor, is_op
from bmopt.optimizer.pass_base import Outcome, Pass
from bmopt.optimizer.rewrite import (
    add_constant,
    can_bypass,
    remove_dead,
    replace_output,
    root_graph,
)
from bmopt.optimizer.shapes.rules import RULES, read_shape_values, slice_inputs
from bmopt.optimizer.shapes.symbolic import write_target
from bmopt.optimizer.shapes.values import Elements, ShapeValues, nodes_in_order
from bmopt.optimizer.shapes.vectors import shorter_vector

_TO_THE_END = 2**63 - 1


@dataclasses.dataclass(frozen=True)
class FoldShapes(Pass):
    """Replace computed shapes by constants, as far as the axes they come from are known.

    1. A small integer tensor whose elements are all known becomes an initialiser.
    2. Reshape gets a constant target where at most one -1 and zeros can say what was computed.
    3. Slice up to the size of its axis gets a constant end.
    4. Expand to the data's own shape is dropped; it gets a constant target where the data's own
       sizes, which a 1 stands for, are all that is not known of it.
    5. A vector of constants and axis sizes is written with as few nodes as it takes.

    Run after ``infer-shapes``. Graph outputs keep the nodes that compute them.
    """

    name: ClassVar[str] = "fold-shapes"

    def call(self, model: ir.Model) -> Outcome:
        """Fold in one sweep, then shorten what is left."""
        values = read_shape_values(model)
        folded = [node for node in nodes_in_order(model.graph) if _fold(node, values)]
        remove_dead(reversed(folded))
        shortened = _shorten(model, values)
        remove_dead(reversed(shortened))
        return Outcome(model, modified=bool(folded or shortened))


def _fold(node: ir.Node, values: ShapeValues) -> bool:
    if is_op(node, "Reshape") and _fix_target(node, values):
        return True
    if is_op(node, "Slice") and _fix_ends(node, values):
        return True
    if is_op(node, "Expand") and (_drop_expand(node, values) or _fix_expand(node, values)):
        return True
    return _replace_known(node, values)


def _replace_known(node: ir.Node, values: ShapeValues) -> bool:
    if not is_op(node, *RULES) or node.outputs[0].dtype is None:
        return False
    out = node.outputs[0]
    elements = values.of(out)
    numbers = None if elements is None else elements.numbers()
    if elements is None or numbers is None or out.is_graph_output() or not _is_wanted(out, values):
        return False
    array = np.array(numbers, out.dtype.numpy() if out.dtype else np.int64)
    shaped = array.reshape(()) if elements.is_scalar else array
    constant = add_constant(root_graph(node), out.name or "sizes", shaped)
    values.learn(constant, elements)
    out.replace_all_uses_with(constant)
    return True


def _is_wanted(value: ir.Value, values: ShapeValues) -> bool:
    """Whether a reader of ``value`` needs it after every known value is constant."""
    for use in value.uses():
        if not is_op(use.node, *RULES) or use.node.outputs[0].is_graph_output():
            return True
        known = values.of(use.node.outputs[0])
        if known is None or known.numbers() is None:
            return True
    return False


def _set_constant(node: ir.Node, index: int, numbers: Sequence[int]) -> bool:
    old = node.inputs[index]
    constant = add_constant(root_graph(node), "target", np.array(numbers, np.int64))
    node.replace_input_with(index, constant)
    producer = None if old is None else old.producer()
    remove_dead([] if producer is None else [producer])
    return True


def _fix_target(node: ir.Node, values: ShapeValues) -> bool:
    if len(node.inputs) < 2 or constant_tensor(node.inputs[1]) is not None:
        return False
    target = values.of(node.inputs[1])
    if target is None or node.inputs[1] is None or node.inputs[1].is_graph_input():
        return False
    keeps_zeros = bool(node.attributes.get_int("allowzero", 0))
    if keeps_zeros and 0 in target.items:
        return False
    written = write_target(target.items, None if keeps_zeros else values.dims(node.inputs[0]))
    return written is not None and _set_constant(node, 1, written)


def _fix_ends(node: ir.Node, values: ShapeValues) -> bool:
    if len(node.inputs) < 3 or constant_tensor(node.inputs[2]) is not None:
        return False
    _, ends, axes, steps = slice_inputs(node, values)
    dims = values.dims(node.inputs[0])
    if dims is None or ends is None or not _is_forward(node, steps):
        return False
    numbers = _slice_axes(node, axes, len(ends.items), len(dims))
    if numbers is None:
        return False
    pairs = zip(ends.items, numbers, strict=True)
    written = [_TO_THE_END if end == dims[axis] else end for end, axis in pairs]
    known = [end for end in written if isinstance(end, int)]
    return len(known) == len(written) and _set_constant(node, 2, known)


def _is_forward(node: ir.Node, steps: Elements | None) -> bool:
    if len(node.inputs) <= 4 or node.inputs[4] is None:
        return True
    numbers = None if steps is None else steps.numbers()
    return numbers is not None and all(step > 0 for step in numbers)


def _slice_axes(
    node: ir.Node, axes: Elements | None, count: int, rank: int
) -> tuple[int, ...] | None:
    if len(node.inputs) <= 3 or node.inputs[3] is None:
        return tuple(range(count))
    numbers = None if axes is None else axes.numbers()
    if numbers is None or any(not -rank <= n < rank for n in numbers):
        return None
    return tuple(n % rank for n in numbers)


def _drop_expand(node: ir.Node, values: ShapeValues) -> bool:
    data, out = node.inputs[0], node.outputs[0]
    dims, target = values.dims(data), values.of(node.inputs[1])
    if data is None or dims is None or target is None or len(target.items) > len(dims):
        return False
    tail = dims[len(dims) - len(target.items) :]
    same = all(item in (1, dim) for item, dim in zip(target.items, tail, strict=True))
    if not same or not can_bypass(out, data) or not (out.uses() or out.is_graph_output()):
        return False
    replace_output(out, data)
    return True


def _fix_expand(node: ir.Node, values: ShapeValues) -> bool:
    dims, target = values.dims(node.inputs[0]), values.of(node.inputs[1])
    if (
        constant_tensor(node.inputs[1]) is not None
        or dims is None
        or not target
        or not target.items
    ):
        return False
    own = (*(1,) * (len(target.items) - len(dims)), *dims)[-len(target.items) :]
    written = [1 if item == dim else item for item, dim in zip(target.items, own, strict=True)]
    known = [item for item in written if isinstance(item, int)]
    return len(known) == len(written) and _set_constant(node, 1, known)


def _shorten(model: ir.Model, values: ShapeValues) -> list[ir.Node]:
    done: list[ir.Node] = []
    for node in nodes_in_order(model.graph):
        out = node.outputs[0] if node.outputs else None
        if out is None or not is_op(node, *RULES) or not _feeds_data(out, values):
            continue
        elements = values.of(out)
        if elements is None or elements.numbers() is not None:
            continue
        shorter = shorter_vector(out, elements, values, model)
        if shorter is not None:
            out.replace_all_uses_with(shorter)
            done.append(node)
    return done


def _feeds_data(value: ir.Value, values: ShapeValues) -> bool:
    """Whether ``value`` leaves shape arithmetic: read by an op that works on data."""
    readers = (use.node for use in value.uses())
    return not value.is_graph_output() and any(
        not is_op(reader, *RULES) or values.of(reader.outputs[0]) is None for reader in readers
    )
