"""Constants in the order in which the kernels read them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def packed_weight(weight: Floats, groups: int, block_in: int, block_out: int) -> Floats:
    """Return ``O I/g H W`` as ``O/b I/g/a H W a b``, filled up with zeros."""
    outputs, inputs, height, width = weight.shape
    more_in, more_out = -inputs % block_in, -outputs % block_out
    if groups > 1 and (more_in or more_out):
        raise ValueError("groups do not divide into blocks")
    full = np.pad(weight, ((0, more_out), (0, more_in), (0, 0), (0, 0)))
    shape = (
        full.shape[0] // block_out, block_out, full.shape[1] // block_in, block_in, height, width
    )  # fmt: skip
    return np.ascontiguousarray(full.reshape(shape).transpose(0, 2, 4, 5, 3, 1), np.float32)


def packed_depthwise(weight: Floats, block: int) -> Floats:
    """Return ``C 1 H W`` as ``C/b H W b``, filled up with zeros."""
    channels, _, height, width = weight.shape
    full = np.pad(weight[:, 0], ((0, -channels % block), (0, 0), (0, 0)))
    shape = (full.shape[0] // block, block, height, width)
    return np.ascontiguousarray(full.reshape(shape).transpose(0, 2, 3, 1), np.float32)


def packed_channels(values: Floats, block: int) -> Floats:
    """Return one value a channel as ``C/b b``, filled up with zeros."""
    flat = values.reshape(-1)
    return np.pad(flat, (0, -flat.size % block)).reshape(-1, block).astype(np.float32)
