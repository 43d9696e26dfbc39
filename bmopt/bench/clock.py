"""The clock that timing code is given; tests give it one that they move themselves."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """A function without arguments."""

    def __call__(self) -> int:
        """Return monotonic nanoseconds since an arbitrary moment."""


MONOTONIC: Clock = time.perf_counter_ns
"""The host's finest monotonic clock."""
