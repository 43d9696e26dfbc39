"""One product learned by itself, where the block around it cannot be run in torch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bmopt.calibration.learned.descent import Deadline
from bmopt.calibration.learned.learnable import Learnable, Learned
from bmopt.calibration.learned.options import LearnOptions
from bmopt.calibration.learned.weight import RoundingProblem, learned_weight
from bmopt.calibration.sequence.rows import Rows, weight_from_matrix, weight_matrix
from bmopt.core.runner import Array
from bmopt.graph.products import clip_after, clip_bounds
from bmopt.graph.values import constant_array

_ROWS = 16384


class RowCollector:
    """Collects rows of what one product reads and of what the float one computes there.

    Args:
        item: The product; a matrix times rows of its input.
        samples: How many samples there will be.
        seed: Of the rows' choice.
    """

    def __init__(self, item: Learnable, samples: int, seed: int) -> None:
        self._item = item
        self._rows = Rows(item.product, -(-_ROWS // samples))
        self._rng = np.random.default_rng(seed)
        self._matrix = weight_matrix(item.product, item.product.weight().astype(np.float32))
        self._bias = self._spread(_float_bias(item))
        self._read: list[Array] = []
        self._wanted: list[Array] = []
        self._held: list[Array] = []

    def add(self, read: Array, float_read: Array, held_out: npt.NDArray[np.bool_]) -> None:
        """Take in a batch of what the quantised product reads and of what the float one does.

        Args:
            read: What the quantised product reads.
            float_read: What the float one reads.
            held_out: Which of the samples are; without a sample axis all are learned on.
        """
        held = held_out if len(held_out) == len(read) else np.zeros(len(read), np.bool_)
        for is_held in (False, True):
            chosen = held == is_held
            if not chosen.any():
                continue
            x, t = self._rows.pick([read[chosen], float_read[chosen]], self._rng)
            self._read.append(x)
            self._wanted.append(t @ self._matrix.swapaxes(1, 2) + self._bias[:, None])
            self._held.append(np.full(x.shape[1], is_held))

    def learned(self, options: LearnOptions, deadline: Deadline) -> Learned | None:
        """Return what is better than the start, None for nothing."""
        item = self._item
        clip = clip_after(item.product.node)
        start = weight_matrix(item.product, item.weight.whole())
        scales = np.broadcast_to(item.scales, item.product.shape).astype(np.float64)
        by_matrix = weight_matrix(item.product, scales)[:, :, 0]
        ideal = weight_matrix(item.product, item.ideal()) * by_matrix[:, :, None]
        fixed = _float_bias(item) if item.bias is None else item.bias.real().reshape(-1)
        found = learned_weight(
            RoundingProblem(
                rows=np.concatenate(self._read, axis=1),
                wanted=np.concatenate(self._wanted, axis=1),
                bounds=None if clip is None else clip_bounds(clip),
                weight=ideal,
                scales=by_matrix,
                start=start,
                bias=self._spread(fixed),
                limit=item.quant.limit,
                keeps_bias=item.bias is None,
                held_out=np.concatenate(self._held),
            ),
            options,
            deadline=deadline,
        )
        if not found.is_new:
            return None
        bias = None if item.bias is None else found.bias.reshape(-1)
        return Learned(weight_from_matrix(item.product, found.stored), bias)

    def _spread(self, bias: Array) -> npt.NDArray[np.float32]:
        groups, outputs, _ = self._matrix.shape
        flat = np.broadcast_to(bias.astype(np.float32), (groups * outputs,))
        return flat.reshape(groups, outputs)


def _float_bias(item: Learnable) -> Array:
    """Return the bias of the float product; of one that cannot be changed too."""
    if item.home is not None:
        return item.home.bias
    product = item.product
    bias = None if product.bias is None else constant_array(product.node.inputs[product.bias])
    return np.zeros(1) if bias is None or bias.size not in (1, product.channels) else bias
