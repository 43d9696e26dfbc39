"""What can be decided while a kernel is written, and what was decided.

A kernel that could be written in several ways asks ``decided`` for one, and names the options,
the one it would take by itself first. So the space that tuning searches is defined by the code
that writes the kernel, and a decision that is no option any more is not taken.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

GENERATION = 1
"""Of all kernels; raised when what was measured of them is true no more."""

Value = int | tuple[int, ...]
"""An option; a yes or no is 1 or 0."""

PrimFunc = Any

_Option = TypeVar("_Option", int, tuple[int, ...])


class Decisions:
    """Decisions of one kernel.

    Attributes:
        seen: Decision -> its options, as the kernel named them.
    """

    def __init__(self, taken: Mapping[str, Value]) -> None:
        self._taken = dict(taken)
        self.seen: dict[str, tuple[Value, ...]] = {}

    def decide(self, name: str, options: Sequence[_Option]) -> _Option:
        """Return what is taken of ``options``."""
        self.seen[name] = tuple(options)
        taken = self._taken.get(name)
        return next((one for one in options if one == taken), options[0])


class Writer(Protocol):
    """Writes kernels with the decisions that it has for them."""

    def written(self, workload: str, write: Callable[[], PrimFunc]) -> PrimFunc:
        """Return what ``write`` returns, which asks for decisions; ``workload`` describes it."""

    def searched(self, function: PrimFunc, default: PrimFunc) -> PrimFunc:
        """Return ``function`` with a schedule that TVM's search found, or else ``default``."""


_decisions: contextvars.ContextVar[Decisions | None] = contextvars.ContextVar(
    "decisions", default=None
)
_writer: contextvars.ContextVar[Writer | None] = contextvars.ContextVar("writer", default=None)


def decided(name: str, options: Sequence[_Option]) -> _Option:
    """Return the option that is to be taken: the first unless another was found better.

    Args:
        name: Of the decision, once in a kernel.
        options: At least one.
    """
    decisions = _decisions.get()
    return options[0] if decisions is None else decisions.decide(name, options)


def tunable(workload: str, write: Callable[[], PrimFunc]) -> PrimFunc:
    """Return a kernel whose decisions may have been tuned.

    Args:
        workload: What it computes on what, without the constants that its time does not depend
            on: kernels with an equal description have the same best decisions.
        write: Writes it.
    """
    writer = _writer.get()
    return write() if writer is None else writer.written(workload, write)


def searched(function: PrimFunc, default: PrimFunc) -> PrimFunc:
    """Return a function with a schedule that TVM's own search found for it.

    Args:
        function: One that TVM lowered, without a schedule.
        default: The same with the schedule that it has without a search.
    """
    writer = _writer.get()
    return default if writer is None else writer.searched(function, default)


@contextlib.contextmanager
def deciding(decisions: Decisions) -> Iterator[None]:
    """Let ``decisions`` answer while a kernel is written."""
    token = _decisions.set(decisions)
    try:
        yield
    finally:
        _decisions.reset(token)


@contextlib.contextmanager
def writing(writer: Writer) -> Iterator[None]:
    """Let ``writer`` write the kernels of a model."""
    token = _writer.set(writer)
    try:
        yield
    finally:
        _writer.reset(token)
