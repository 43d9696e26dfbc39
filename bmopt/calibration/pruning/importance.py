"""How much each channel of a group matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from bmopt.calibration.pruning.elimination import Part, eliminate
from bmopt.graph.channels.groups import Group
from bmopt.graph.channels.norms import weight_norms

Floats = npt.NDArray[np.float64]

Importance = Literal["l1", "l2", "activation", "second-order"]
IMPORTANCES: tuple[Importance, ...] = ("l1", "l2", "activation", "second-order")


def importance_of(
    constants: Mapping[str, ir.Value],
    group: Group,
    parts: Sequence[Part],
    method: Importance,
) -> Floats:
    """Return a number for each channel, ``[group.size]``; those with the smallest go first.

    ``l1`` and ``l2`` are norms of the weights that make a channel. ``activation`` is what its
    readers lose if it is zeroed and its mean added to their biases. ``second-order`` is its place
    in the order of ``eliminate``: what they lose though they are fitted to the others. Both need
    ``parts``; without, ``l2`` is taken.

    Args:
        constants: Name -> constant of the model.
        group: The group.
        parts: Its readers, as far as they can be fitted.
        method: Which.
    """
    if method in ("l1", "l2") or not parts:
        return weight_norms(constants, group, "l1" if method == "l1" else "l2")
    if method == "activation":
        return sum((_zeroed(part, group.size) for part in parts), np.zeros(group.size))
    found = np.empty(group.size)
    order = eliminate(parts, group.size).order
    found[list(order)] = np.arange(group.size)
    return found


def _zeroed(part: Part, size: int) -> Floats:
    power = np.einsum("gkk,gok->k", part.form, part.weight**2) / part.signal
    ours = part.columns >= 0
    found: Floats = np.bincount(part.columns[ours], power[ours], size).astype(np.float64)
    return found
