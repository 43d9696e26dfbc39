"""Where torch comes in: when something is learned or trained, never when bmopt is imported."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from typing import Any

from bmopt.errors import UsageError

Torch = Any
"""The torch module; its types are not looked at, so that bmopt is checked without it."""

Tensor = Any
"""A torch.Tensor."""


def require_torch(what: str = "learned rounding", extra: str = "torch") -> Torch:
    """Return the torch module.

    Args:
        what: What needs it.
        extra: The extra of ours that installs it.

    Raises:
        UsageError: It is not installed.
    """
    if importlib.util.find_spec("torch") is None:
        raise UsageError(
            f"{what} needs torch, which is not installed; pip install 'bmopt[{extra}]'"
        )
    import torch

    return torch


@contextlib.contextmanager
def repeatable(torch: Torch) -> Iterator[None]:
    """Have torch use algorithms that give the same bits every time, for as long as it lasts.

    New tensors are not filled before they are written, which torch does in this mode to find
    reads of what nothing wrote, and which the training of a small network feels.
    """
    before = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    fills = torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warns)
        torch.utils.deterministic.fill_uninitialized_memory = fills
