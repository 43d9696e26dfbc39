"""The pass ``low-rank``."""

from __future__ import annotations

import dataclasses
import fnmatch
import math
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from bmopt.core.input_moments import InputMoments
from bmopt.core.runner import Array
from bmopt.errors import PassError, PruningError
from bmopt.graph.low_rank import Decomposition
from bmopt.graph.model_digest import model_digest
from bmopt.graph.products import Product, product_of
from bmopt.graph.values import constant_array, constant_tensor
from bmopt.optimizer.pass_base import Effect, Outcome, Pass
from bmopt.optimizer.rewrite import (
    add_constant,
    new_node,
    remove_dead,
    remove_unused_initializers,
    root_graph,
)
from bmopt.optimizer.sweeps import RefusedError, sweep

_RANK = "bmopt.low-rank"
"""Metadata of the nodes that were written: a second run leaves them alone."""

_LEAST = 32
_ENERGY = 0.95
_WINDOW = ("strides", "pads", "dilations", "auto_pad")


@dataclasses.dataclass(frozen=True)
class LowRank(Pass):
    """Turn a product by a large matrix into two by thinner ones, where that is less work.

    Gemm, MatMul and 1x1 convolutions: ``W x`` becomes ``B (A x)`` with the singular vectors of
    ``W`` that weigh most. The rank comes from one of ``energy``, ``rank`` and ``ratio``; 0.95 of
    the energy where none is given. With ``moments`` the outputs are approximated, rather than the
    weight; where there is a place for a bias, it takes what the mean is off. The second product
    keeps the name, the bias and the scale factors.

    Refused: products by fewer than ``least`` channels on either side, transposed data, and those
    whose rank would leave as many multiply-adds.

    Attributes:
        energy: Which part of the squares of the singular values stays, above 0 and up to 1.
        rank: The rank.
        ratio: Which part of the multiply-adds stays, above 0 and below 1.
        multiple: Ranks are rounded up to a multiple of this.
        least: Channels that both sides of a product have at least.
        nodes: Names of the products that are split, with ``*`` and ``?``; none for all.
        exclude: Names of those that are not.
        moments: Second moments of what products read; from Python only.
    """

    name: ClassVar[str] = "low-rank"
    effect: ClassVar[Effect] = "lossy"

    energy: float = 0.0
    rank: int = 0
    ratio: float = 0.0
    multiple: int = 1
    least: int = _LEAST
    nodes: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    moments: InputMoments | None = None

    def __post_init__(self) -> None:
        given = [bool(self.energy), bool(self.rank), bool(self.ratio)]
        if sum(given) > 1:
            raise PassError(f"{self.name}: give one of energy, rank and ratio")
        if not 0.0 <= self.energy <= 1.0 or not 0.0 <= self.ratio < 1.0:
            raise PassError(
                f"{self.name}: energy is above 0 and up to 1, ratio above 0 and below 1"
            )
        if self.rank < 0 or self.multiple < 1 or self.least < 1:
            raise PassError(f"{self.name}: rank, multiple and least are 1 or more")

    def call(self, model: ir.Model) -> Outcome:
        """Split products, those inside bodies too.

        Raises:
            PruningError: ``moments`` are of another model.
        """
        wants_moments = self.moments is not None and not _was_split(model)
        if wants_moments and self.moments and self.moments.model != model_digest(model):
            raise PruningError("the moments of inputs were seen in another model than this one")
        outcome = sweep(model, self._split)
        if outcome.modified:
            remove_unused_initializers(model)
        return outcome

    def _split(self, node: ir.Node) -> bool:
        if _RANK in node.metadata_props or not self._names(node.name or ""):
            return False
        product = product_of(node)
        if product is None:
            return False
        outputs, inputs = _require_splittable(product, self.least)
        matrix = _matrix(product, product.weight()).astype(np.float64)
        form, mean = self._seen(product, inputs)
        found = Decomposition(matrix, form)
        rank = self._rank(found, outputs, inputs)
        if rank * (outputs + inputs) >= outputs * inputs:
            raise RefusedError(
                f"needs rank {rank} of {found.full_rank}, at which two products take as many "
                "multiply-adds as one"
            )
        left, right = found.factors(rank)
        _replace(product, left, right)
        if mean is not None:
            _add_to_bias(product, (matrix - left @ right) @ mean)
        return True

    def _seen(self, product: Product, inputs: int) -> tuple[Array | None, Array | None]:
        """Return the moments of what a product reads, about the mean where a bias can take that.

        Without moments both are None; the mean is where there is no such bias.
        """
        name = product.node.name or ""
        if self.moments is None or name not in self.moments.forms:
            return None, None
        form, mean = self.moments.forms[name], self.moments.means[name]
        if form.shape != (inputs, inputs) or mean.shape != (inputs,):
            raise PruningError(f"the moments of what {name!r} reads have another size")
        return (form - np.outer(mean, mean), mean) if _has_bias(product) else (form, None)

    def _names(self, name: str) -> bool:
        chosen = not self.nodes or any(fnmatch.fnmatchcase(name, one) for one in self.nodes)
        return chosen and not any(fnmatch.fnmatchcase(name, one) for one in self.exclude)

    def _rank(self, found: Decomposition, outputs: int, inputs: int) -> int:
        if self.rank:
            rank = self.rank
        elif self.ratio:
            rank = max(1, int(self.ratio * outputs * inputs / (outputs + inputs)))
        else:
            rank = found.rank_for(self.energy or _ENERGY)
        return min(-(-rank // self.multiple) * self.multiple, found.full_rank)


def _was_split(model: ir.Model) -> bool:
    return any(_RANK in node.metadata_props for node in model.graph)


def _require_splittable(product: Product, least: int) -> tuple[int, int]:
    """Return outputs and inputs of a product whose weight is a matrix."""
    node, shape = product.node, product.shape
    if node.op_type == "ConvTranspose":
        raise RefusedError("is a transposed convolution")
    if node.op_type == "Conv":
        if product.groups != 1:
            raise RefusedError("is a convolution in groups")
        if math.prod(shape[2:]) != 1:
            raise RefusedError("is a convolution by more than one tap")
    elif len(shape) != 2:
        raise RefusedError("multiplies by no matrix")
    elif node.op_type == "Gemm" and node.attributes.get_int("transA", 0) != 0:
        raise RefusedError("reads its data transposed")
    weight = constant_tensor(node.inputs[1])
    if weight is None or weight.dtype not in (ir.DataType.FLOAT, ir.DataType.FLOAT16):
        raise RefusedError("has no floats as weights")
    outputs = product.channels
    inputs = math.prod(shape) // max(outputs, 1)
    if min(outputs, inputs) < least:
        raise RefusedError(f"is by {outputs} x {inputs} channels, where {least} are the least")
    return outputs, inputs


def _matrix(product: Product, weight: Array) -> Array:
    """Return the weight as ``[outputs, inputs]``."""
    if product.node.op_type == "Conv":
        return weight.reshape(weight.shape[:2])
    return weight if product.axis == 0 else weight.T


def _replace(product: Product, left: Array, right: Array) -> None:
    """Put a product by ``right`` before the node, which then multiplies by ``left``."""
    node = product.node
    old = node.inputs[1]
    assert old is not None
    graph, dtype, stem = root_graph(node), product.weight().dtype, old.name or "weight"
    is_conv = node.op_type == "Conv"
    ones = (1,) * (len(product.shape) - 2)
    inner, outer = right.astype(dtype), left.astype(dtype)
    if is_conv:
        inner, outer = inner.reshape(*inner.shape, *ones), outer.reshape(*outer.shape, *ones)
    else:
        inner = inner.T
        outer = outer if product.axis == 0 else outer.T
    attributes = {}
    for name in (*_WINDOW, "kernel_shape") if is_conv else ():
        if name in node.attributes:
            attributes[name] = node.attributes[name].value
    first = new_node(
        "Conv" if is_conv else "MatMul",
        [node.inputs[0], add_constant(graph, f"{stem}_inner", inner)],
        like=node,
        attributes=attributes,
    )
    _describe(first.outputs[0], node.outputs[0], len(right), channel=1 if is_conv else -1)
    node.replace_input_with(0, first.outputs[0])
    node.replace_input_with(1, add_constant(graph, f"{stem}_outer", outer))
    for name in _WINDOW if is_conv else ():
        node.attributes.pop(name, None)
    for one in (first, node):
        one.metadata_props[_RANK] = str(len(right))
    producer = old.producer()
    if producer is not None:
        remove_dead([producer])


def _has_bias(product: Product) -> bool:
    """Whether the product adds a constant per channel, or could."""
    node = product.node
    get = node.attributes.get_float
    plain = get("alpha", 1.0) == 1.0 and get("beta", 1.0) == 1.0
    if node.op_type == "MatMul" or not plain:
        return False
    if product.bias is None:
        return True
    found = constant_array(node.inputs[product.bias])
    return found is not None and found.shape == (product.channels,)


def _add_to_bias(product: Product, shift: Array) -> None:
    node, dtype = product.node, product.weight().dtype
    old = None if product.bias is None else constant_array(node.inputs[product.bias])
    bias = shift if old is None else old + shift
    if len(node.inputs) < 3:
        node.resize_inputs(3)
    stem = f"{node.name or 'product'}_bias"
    node.replace_input_with(2, add_constant(root_graph(node), stem, bias.astype(dtype)))


def _describe(inner: ir.Value, outer: ir.Value, rank: int, *, channel: int) -> None:
    """Tell the type and shape of what is between the two products."""
    inner.type = outer.type
    if outer.shape is not None and len(outer.shape):
        sizes = list(outer.shape)
        sizes[channel] = rank
        inner.shape = ir.Shape(sizes)
