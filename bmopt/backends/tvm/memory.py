"""Arrays into a library and out of it, at the cost of a copy and little more."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from bmopt.backends.tvm import probe
from bmopt.backends.tvm.importing import Native

_ALIGNMENT = 64
"""Bytes; compiled code reads its inputs from multiples of it, NumPy's arrays lie anywhere."""

Arrays = Sequence[np.ndarray[Any, Any]]


@dataclasses.dataclass(frozen=True)
class _Slot:
    """Memory of an input, as an array and as a tensor."""

    array: np.ndarray[Any, Any]
    tensor: Native


class InputMemory:
    """Where a library reads its inputs: made for the shapes that come, and kept between runs."""

    def __init__(self, count: int) -> None:
        self._runtime = probe.load("tvm.runtime")
        self._slots: list[_Slot | None] = [None] * count

    def filled(self, arrays: Arrays) -> list[Native]:
        """Return tensors with the values of ``arrays``, valid until the next call."""
        return [self._filled(place, array) for place, array in enumerate(arrays)]

    def _filled(self, place: int, array: np.ndarray[Any, Any]) -> Native:
        slot = self._slots[place]
        if slot is None or slot.array.shape != array.shape or slot.array.dtype != array.dtype:
            slot = self._slots[place] = self._made(array)
        if slot is None:
            return self._runtime.tensor(array)
        np.copyto(slot.array, array)
        return slot.tensor

    def _made(self, array: np.ndarray[Any, Any]) -> _Slot | None:
        """Return memory for such an array; None where NumPy cannot lend its element type."""
        memory = np.empty(array.nbytes + _ALIGNMENT, np.uint8)
        start = -memory.ctypes.data % _ALIGNMENT
        own = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        try:
            return _Slot(own, self._runtime.from_dlpack(own))
        except (BufferError, RuntimeError, TypeError, ValueError):
            return None


def fetched(tensor: Native) -> np.ndarray[Any, Any]:
    """Return a copy of a tensor's values: it may be part of an input, or of the library."""
    try:
        return np.from_dlpack(tensor).copy()
    except (BufferError, RuntimeError, TypeError, ValueError):
        # NumPy has no such element type, but may have one that stands for it.
        values: np.ndarray[Any, Any] = tensor.numpy()
        return values
