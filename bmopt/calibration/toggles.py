"""What of a model can be switched between float and integers, and the tensors in between."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterator, Mapping

import onnx_ir as ir

from bmopt.calibration.placement import final_output
from bmopt.core.plan import QuantPlan
from bmopt.core.scheme import Scheme
from bmopt.graph.products import clip_after, multiply_adds, product_of


@dataclasses.dataclass(frozen=True)
class Toggle:
    """A node that runs in integers where nothing is kept in float.

    Attributes:
        op: Its op type.
        members: The node and the activation behind it that it takes over, by name.
        inputs: The tensors that it reads in integers.
        output: The tensor that it stores.
        work: Multiply-adds of a product, else 0.
        needs: Groups that have to be in integers where it is: a node that is no product only
            runs in integers on what is there in integers already.
    """

    op: str
    members: tuple[str, ...]
    inputs: tuple[str, ...]
    output: str
    work: int = 0
    needs: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Border:
    """A tensor where float and integers can meet.

    Attributes:
        writer: The group that stores it; empty where float always does.
        readers: The groups that read it, in graph order.
        read_in_float: A node that is no group reads it too, or it is an output of the model.
    """

    writer: str
    readers: tuple[str, ...]
    read_in_float: bool

    def quantizes(self, integer: Collection[str]) -> bool:
        """Whether it is quantised where the groups ``integer`` are in integers."""
        return self.writer not in integer and any(name in integer for name in self.readers)

    def dequantizes(self, integer: Collection[str]) -> bool:
        """Whether it is dequantised where the groups ``integer`` are in integers."""
        stays = all(name in integer for name in self.readers) and not self.read_in_float
        return self.writer in integer and not stays


@dataclasses.dataclass(frozen=True)
class Toggles:
    """The groups and borders of a model, in graph order.

    Attributes:
        groups: Node name -> what it is.
        borders: Tensor name -> who meets there.
    """

    groups: Mapping[str, Toggle]
    borders: Mapping[str, Border]

    def owners(self) -> dict[str, str]:
        """Return node name -> the group that it belongs to."""
        return {name: group for group, one in self.groups.items() for name in one.members}

    def borders_of(self, name: str) -> Iterator[tuple[str, Border]]:
        """Yield the tensors that a group reads, then the one that it writes."""
        group = self.groups[name]
        for tensor in dict.fromkeys((*group.inputs, group.output)):
            if tensor in self.borders:
                yield tensor, self.borders[tensor]


def toggles_of(model: ir.Model, plan: QuantPlan, scheme: Scheme) -> Toggles:
    """Return what can be switched, given the plan that keeps nothing in float.

    Args:
        model: The float model.
        plan: Its plan with all in integers that can be, after a scheme that quantises outputs.
        scheme: That scheme.
    """
    integer = set(plan.integer)
    nodes = [node for node in model.graph if (node.name or "") in integer]
    writers = {_output(node, scheme): node.name or "" for node in nodes}
    groups: dict[str, Toggle] = {}
    products: dict[str, list[str]] = {}
    for node in nodes:
        group = _toggle(node, plan, scheme)
        if node.op_type in scheme.products:
            for tensor in group.inputs:
                products.setdefault(tensor, []).append(node.name or "")
        else:
            needs = _needs(group, writers, products)
            group = dataclasses.replace(group, needs=needs)
        groups[node.name or ""] = group
    return Toggles(groups, _borders(model, groups, writers))


def _toggle(node: ir.Node, plan: QuantPlan, scheme: Scheme) -> Toggle:
    product = product_of(node) if node.op_type in scheme.products else None
    clip = None if node.op_type in scheme.movers else clip_after(node)
    members = (node.name or "", *(() if clip is None else (clip.name or "",)))
    read = (value.name or "" for value in node.inputs if value is not None)
    return Toggle(
        node.op_type,
        members,
        tuple(dict.fromkeys(name for name in read if name in plan.activations)),
        _output(node, scheme),
        0 if product is None else multiply_adds(product) or math.prod(product.shape),
    )


def _output(node: ir.Node, scheme: Scheme) -> str:
    value = node.outputs[0] if node.op_type in scheme.movers else final_output(node)
    return value.name or ""


def _needs(
    group: Toggle, writers: Mapping[str, str], products: Mapping[str, list[str]]
) -> tuple[str, ...]:
    """Return the groups without which ``group`` cannot be in integers.

    That is who writes what it reads, or the one product before it for whose sake that is there in
    integers. Where there is a choice, none of them is needed.
    """
    needs = []
    for tensor in group.inputs:
        able = [writers[tensor]] if tensor in writers else []
        able += products.get(tensor, [])
        needs += able if len(able) == 1 else []
    return tuple(dict.fromkeys(needs))


def _borders(
    model: ir.Model, groups: Mapping[str, Toggle], writers: Mapping[str, str]
) -> dict[str, Border]:
    readers: dict[str, list[str]] = {}
    for name, group in groups.items():
        for tensor in group.inputs:
            readers.setdefault(tensor, []).append(name)
    wanted = {*readers, *writers}
    values = [value for node in model.graph for value in node.outputs]
    return {
        name: Border(
            writers.get(name, ""), tuple(readers.get(name, ())), _is_read_in_float(value, groups)
        )
        for value in (*model.graph.inputs, *values)
        if (name := value.name or "") in wanted
    }


def _is_read_in_float(value: ir.Value, groups: Collection[str]) -> bool:
    return value.is_graph_output() or any(
        (node.name or "") not in groups for node in value.consumers()
    )
