"""A product's weight fitted to what it is to compute, and stored so that it errs little there."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from bmopt.calibration.sequence.evidence import RowEvidence
from bmopt.calibration.sequence.fitting import choose_damping, damped, least_squares
from bmopt.calibration.sequence.grid import limit_of
from bmopt.calibration.sequence.rounding import round_compensated
from bmopt.calibration.sequence.rows import weight_from_matrix, weight_matrix
from bmopt.calibration.sequence.steps import RefineSteps
from bmopt.calibration.sequence.storage import Storage
from bmopt.calibration.sequence.weight_scales import best_scales
from bmopt.calibration.sparsity.problem import Mask, Problem, refitted
from bmopt.core.runner import Array
from bmopt.graph.products import Product

Floats = npt.NDArray[np.float64]

_SPARSE = 0.8
"""A weight with no more than this part of numbers other than zero was made sparse: zeros stay."""


@dataclasses.dataclass(frozen=True)
class Weighed:
    """A weight as it is to be stored, in real numbers.

    Attributes:
        array: On the grid of ``scales``, float32 in the weight's own shape.
        scales: One, or one per output channel.
        steps: What was done to it.
    """

    array: Array
    scales: Floats
    steps: tuple[str, ...]


def reweighed(
    product: Product,
    storage: Storage,
    steps: RefineSteps,
    rows: RowEvidence,
    bias: Floats | None,
) -> Weighed | None:
    """Return a better weight, None where no step is to be taken.

    Args:
        product: The product in the float model.
        storage: How its weight is stored, in integers.
        steps: What is to be done.
        rows: What both versions of it read.
        bias: That it adds, ``[channels]``, and that can make up for what the mean of its output
            is off; None where there is no such bias.
    """
    if not (steps.least_squares or steps.scales or steps.rounding):
        return None
    done, centred = [], bias is not None
    form, tx = rows.moments().covariances(centred=centred)
    matrix = weight_matrix(product, product.weight()).astype(np.float64)
    kept = _sparse_mask(matrix)
    if steps.least_squares:
        damping = choose_damping(matrix, rows.halves(centred=centred))
        if damping < math.inf:
            dense = least_squares(matrix, form, tx, damping=damping)
            matrix = dense if kept is None else _on_mask(dense, matrix, form, damping, kept)
            done.append("least-squares")
    if steps.scales:
        done.append("scales")
    scales = _scales(matrix, storage, form if steps.scales else np.zeros_like(form), bias)
    limit = limit_of(storage.weight)
    if steps.rounding:
        stored = round_compensated(matrix, scales, form, limit, kept=kept)
        done.append("rounding")
    else:
        stored = np.rint(matrix / scales[:, :, None]).clip(-limit, limit)
    real = (stored * scales[:, :, None]).astype(np.float32)
    flat = scales.reshape(-1)
    if storage.weight.axis is None:
        flat = flat[:1]
    return Weighed(weight_from_matrix(product, real), flat, tuple(done))


def _sparse_mask(matrix: Floats) -> Mask | None:
    """Return which numbers of a weight that was made sparse are not zero; None for a dense one."""
    kept = matrix != 0
    return kept if np.count_nonzero(kept) <= _SPARSE * kept.size else None


def _on_mask(dense: Floats, start: Floats, form: Floats, damping: float, kept: Mask) -> Floats:
    """Return a weight with these zeros that computes nearly what ``dense`` does."""
    problem = Problem(dense, damped(form, damping), taps=1)
    return refitted(problem, start, kept)


def _scales(matrix: Floats, storage: Storage, form: Floats, bias: Floats | None) -> Floats:
    """Return a scale per channel, ``[groups, outputs]``; all are one where there is only one.

    With a form of zeros no share of the full scale is better than all of it.
    """
    per_channel = storage.weight.axis is not None
    importance = np.einsum("gii->gi", form)
    found = best_scales(matrix, importance, limit_of(storage.weight), per_channel=per_channel)
    flat = found.reshape(-1) if per_channel else found.reshape(-1)[:1]
    stored = storage.scales(flat, np.zeros(found.size) if bias is None else bias)
    return np.broadcast_to(stored, (found.size,)).reshape(found.shape)
