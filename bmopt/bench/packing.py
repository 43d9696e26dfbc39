"""Arrays as JSON values, so that a report holds every per-sample number."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from bmopt.core.runner import Array


def packed(array: Array) -> dict[str, Any]:
    """Return dtype, shape, and the bytes in base64, little-endian.

    Flags are packed to bits, the first in the highest bit; texts and objects are lists.
    """
    if array.dtype.kind in "OUS":
        return {"dtype": "object", "shape": list(array.shape), "data": array.tolist()}
    if array.dtype.kind == "b":
        data, dtype = np.packbits(array).tobytes(), "bool"
    else:
        little = array.astype(array.dtype.newbyteorder("<"))
        data, dtype = little.tobytes(), little.dtype.str
    return {
        "dtype": dtype,
        "shape": list(array.shape),
        "data": base64.b64encode(data).decode(),
    }


def unpacked(document: Mapping[str, Any]) -> Array:
    """Return the array that ``packed`` wrote."""
    shape, dtype = tuple(document["shape"]), document["dtype"]
    if dtype == "object":
        return np.array(document["data"], dtype=object).reshape(shape)
    data = base64.b64decode(document["data"])
    if dtype == "bool":
        bits = np.unpackbits(np.frombuffer(data, np.uint8), count=math.prod(shape))
        return bits.astype(bool).reshape(shape)
    return np.frombuffer(data, dtype=np.dtype(dtype)).reshape(shape)
