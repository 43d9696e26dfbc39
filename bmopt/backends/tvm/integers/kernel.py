"""A kernel with its constants, before it is emitted."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np
import numpy.typing as npt

from bmopt.backends.tvm.integers.machine import Machine
from bmopt.backends.tvm.integers.native import Native, PrimFunc


class Spec(Protocol):
    """What a kernel computes; equal ones share a function."""

    def function(self, machine: Machine) -> PrimFunc:
        """Return the PrimFunc ``(inputs, constants, out)``."""


@dataclasses.dataclass(frozen=True)
class Kernel:
    """One call.

    Attributes:
        spec: What it computes.
        constants: Arguments behind the inputs.
        out: The result's axes behind the batch, or its elements where it is a stored tensor.
        dtype: The result's element type.
        inputs: Values in the order that it reads them, where that is not the node's.
    """

    spec: Spec
    constants: tuple[npt.NDArray[np.generic], ...]
    out: int | tuple[int, ...]
    dtype: str
    inputs: tuple[Native, ...] = ()
