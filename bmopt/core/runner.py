"""What runs a model: named arrays in, named arrays out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

import numpy.typing as npt
import onnx_ir as ir

Array = npt.NDArray[Any]
"""An array of any dtype."""

Feeds = Mapping[str, Array]
"""Input name -> array; one inference."""


class Runner(Protocol):
    """An opened model. ``run`` is synchronous, returns fresh arrays and keeps no time."""

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in the model's order."""

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Run one inference; raise ``DataError`` where the feeds do not fit the model."""

    def __enter__(self) -> Runner: ...  # noqa: PYI034 - Self needs Python 3.11

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


@runtime_checkable
class DeviceTimed(Protocol):
    """A runner on a device with a clock of its own."""

    @property
    def device_ns(self) -> int | None:
        """Nanoseconds between the device events around the last run; None before the first."""


@runtime_checkable
class SelfTimed(Protocol):
    """A runner on another machine, which times its runs there: here the network would be timed."""

    def timed_runs(self, feeds: Feeds, count: int) -> Sequence[int]:
        """Return how long each of ``count`` runs in a row took there, in nanoseconds.

        One more run goes before them, untimed.

        Raises:
            BoardError: The machine dropped off.
            DataError: The feeds do not fit the model.
        """


OpenModel = Callable[[ir.Model], Runner]
"""Opens an in-memory model for inference without the engine's own optimisations.

Raises ``ModelError`` where the engine refuses the model.
"""
