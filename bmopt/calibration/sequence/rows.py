"""What a product multiplies its weight by, as the rows of a matrix.

Every output element of a convolution is one row times the weight: the values that its filter
covers, in the weight's own order ("im2col"). Rows are picked at random, spread evenly, where there
are more than are wanted; only those are gathered.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bmopt.core.runner import Array
from bmopt.graph.products import Product

Index = npt.NDArray[np.intp]
Float32 = npt.NDArray[np.float32]


def weight_matrix(product: Product, weight: Array) -> Array:
    """Return the weight as ``[groups, outputs of a group, K]``, K as in ``Rows``."""
    if product.node.op_type == "Conv":
        return weight.reshape(product.groups, product.channels // product.groups, -1)
    return (weight if product.axis == 0 else weight.T)[None]


def weight_from_matrix(product: Product, matrix: Array) -> Array:
    """Return the weight in its own shape; the opposite of ``weight_matrix``."""
    if product.node.op_type == "Conv":
        return matrix.reshape(product.shape)
    return matrix[0] if product.axis == 0 else np.ascontiguousarray(matrix[0].T)


@dataclasses.dataclass(frozen=True)
class Rows:
    """Picks the same rows of a product's inputs in two graphs.

    Attributes:
        product: A Conv, or a Gemm or MatMul by a matrix.
        per_sample: Rows to take per index of the first axis at most.
        per_pick: Rows to take at once at most; None for any number.
    """

    product: Product
    per_sample: int
    per_pick: int | None = None

    def pick(self, inputs: Sequence[Array], rng: np.random.Generator) -> list[Float32]:
        """Return ``float32 [groups, rows, K]`` of every input, in the order of the samples.

        Args:
            inputs: What the product reads; all have one shape.
            rng: Chooses the rows.
        """
        shape = inputs[0].shape
        wanted = self.per_sample * (shape[0] if len(shape) > 1 else 1)
        if self.per_pick is not None:
            wanted = min(wanted, self.per_pick)
        if self.product.node.op_type == "Conv":
            window = Window.of(self.product, shape)
            chosen = spread(shape[0] * math.prod(window.outputs), wanted, rng)
            return [window.rows(array, chosen, self.product.groups) for array in inputs]
        flat = [array.reshape(-1, shape[-1]) for array in inputs]
        chosen = spread(len(flat[0]), wanted, rng)
        return [rows[chosen][None].astype(np.float32, copy=False) for rows in flat]


def spread(total: int, most: int, rng: np.random.Generator) -> Index:
    """Return at most ``most`` different numbers below ``total``: one at random of every run."""
    if total <= most:
        return np.arange(total)
    edges = np.arange(most + 1) * total // most
    return edges[:-1] + (rng.random(most) * np.diff(edges)).astype(np.intp)


@dataclasses.dataclass(frozen=True)
class Window:
    """Geometry of a convolution over an input of some size.

    Attributes:
        kernel: Size of the filter along every spatial axis.
        strides: Steps between outputs.
        dilations: Steps between taps.
        pads: Zeros before and behind, for every spatial axis.
        outputs: Size of the output along every spatial axis.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    outputs: tuple[int, ...]

    @classmethod
    def of(cls, product: Product, shape: Sequence[int]) -> Window:
        """Return the geometry of a Conv on an input of ``shape``."""
        attributes, kernel = product.node.attributes, product.shape[2:]
        ones = (1,) * len(kernel)
        strides = tuple(attributes.get_ints("strides", ones))
        dilations = tuple(attributes.get_ints("dilations", ones))
        spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        mode = attributes.get_string("auto_pad", "NOTSET")
        flat = attributes.get_ints("pads", (0,) * 2 * len(kernel))
        pads, outputs = [], []
        for axis, (size, span, stride) in enumerate(zip(shape[2:], spans, strides, strict=True)):
            ends = (flat[axis], flat[axis + len(kernel)])
            pair = _auto_pads(mode, size, span, stride) if mode.startswith("SAME") else ends
            pads.append(pair if mode != "VALID" else (0, 0))
            outputs.append((size + sum(pads[-1]) - span) // stride + 1)
        return cls(kernel, strides, dilations, tuple(pads), tuple(outputs))

    def rows(self, array: Array, chosen: Index, groups: int) -> Float32:
        """Return ``[groups, rows, K]``: what the filter covers at the ``chosen`` outputs.

        Args:
            array: ``[samples, channels, *spatial]``.
            chosen: Output positions of all samples, numbered sample by sample.
            groups: Of the convolution.
        """
        samples, channels, *sizes = array.shape
        sample, *places = np.unravel_index(chosen, (samples, *self.outputs))
        taps, inside = self._taps(places, sizes)
        size = math.prod(sizes)
        channel = np.arange(channels).reshape(groups, 1, -1, 1) * size
        index = channel + (taps + sample[:, None] * (channels * size))[None, :, None, :]
        found: Float32 = np.take(array.reshape(-1), index).astype(np.float32, copy=False)
        if not inside.all():
            np.copyto(found, np.float32(0), where=~inside[None, :, None, :])
        return found.reshape(groups, len(chosen), -1)

    def _taps(
        self, places: Sequence[Index], sizes: Sequence[int]
    ) -> tuple[Index, npt.NDArray[np.bool_]]:
        """Return where in a channel the filter's taps lie, and whether they are in no padding.

        Both are ``[rows, taps]``.
        """
        rank, rows = len(sizes), len(places[0])
        taps: Index = np.zeros((rows, *[1] * rank), np.intp)
        inside: npt.NDArray[np.bool_] = np.ones((rows, *[1] * rank), np.bool_)
        for axis, (place, size) in enumerate(zip(places, sizes, strict=True)):
            step = np.arange(self.kernel[axis]) * self.dilations[axis] - self.pads[axis][0]
            shape = [rows] + [1] * rank
            shape[1 + axis] = -1
            at = (place[:, None] * self.strides[axis] + step).reshape(shape)
            inside = inside & (at >= 0) & (at < size)
            taps = taps * size + at.clip(0, size - 1)
        return taps.reshape(rows, -1), inside.reshape(rows, -1)


def _auto_pads(mode: str, size: int, span: int, stride: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + span - size, 0)
    low = total // 2 if mode == "SAME_UPPER" else total - total // 2
    return low, total - low
