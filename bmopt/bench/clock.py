"""The clock that timing code is given; tests give it one that they move themselves."""

from __future__ import annotations

from typing import Protocol

from bmopt._ext import monotonic_ns


class Clock(Protocol):
    """A function without arguments."""

    def __call__(self) -> int:
        """Return monotonic nanoseconds since an arbitrary moment."""


MONOTONIC: Clock = monotonic_ns
"""The host's monotonic clock; the timed loop knows it and reads it without calling Python."""
