"""Float32 samples for models whose inputs became half precision."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

import numpy as np
import onnx_ir as ir

from bmopt.core.runner import Feeds, Runner

_HALVES = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


def half_inputs(model: ir.Model) -> dict[str, np.dtype[Any]]:
    """Return the element types of the inputs that are in half precision."""
    return {
        value.name or "": np.dtype(value.dtype.numpy())
        for value in model.graph.inputs
        if value.dtype in _HALVES
    }


def narrowed(feeds: Feeds, types: Mapping[str, np.dtype[Any]]) -> Feeds:
    """Return feeds in the element types ``types`` has for them."""
    return {
        name: array.astype(types[name], copy=False) if name in types else array
        for name, array in feeds.items()
    }


class NarrowingRunner:
    """Runs another runner on feeds narrowed to its element types."""

    def __init__(self, runner: Runner, types: Mapping[str, np.dtype[Any]]) -> None:
        self._runner = runner
        self._types = types

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in the model's order."""
        return self._runner.output_names

    def run(self, feeds: Feeds) -> dict[str, Any]:
        """Run one inference; raise ``DataError`` where the feeds do not fit the model."""
        return self._runner.run(narrowed(feeds, self._types))

    def __enter__(self) -> NarrowingRunner:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._runner.__exit__(kind, error, trace)
