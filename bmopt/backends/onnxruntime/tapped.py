"""Sessions with many outputs, which they write into the same buffers again and again."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import numpy as np
import onnxruntime as ort

from bmopt.backends.onnxruntime.session import ENGINE_ERRORS, OrtRunner
from bmopt.core.runner import Array, Feeds


class TappedRunner:
    """Runs like ``OrtRunner``, but what it returns is overwritten by the next run.

    Fetching an output as a fresh array costs an allocation, its page faults and a copy, which
    counts where there is a tap behind every layer. So the outputs of the first run
    on feeds of some shape become the buffers of the next ones, until a shape changes. A model
    whose output shapes depend on the data is found out by ONNX Runtime's refusal to fill such a
    buffer; from then on its outputs are fetched afresh.
    """

    def __init__(self, runner: OrtRunner) -> None:
        self._runner = runner
        self._binding: ort.IOBinding | None = None
        self._buffers: dict[str, Array] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._fixed = True

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in the model's order."""
        return self._runner.output_names

    def run(self, feeds: Feeds) -> dict[str, Any]:
        """Run one inference; the arrays are valid until the next one.

        Raises:
            DataError: The feeds do not fit the model.
        """
        shapes = {name: array.shape for name, array in feeds.items()}
        if self._binding is None or shapes != self._shapes or not self._filled(feeds):
            outputs = self._runner.run(feeds)
            self._keep(outputs, shapes)
            return outputs
        return dict(self._buffers)

    def _filled(self, feeds: Feeds) -> bool:
        """Run into the buffers; return whether they fit."""
        assert self._binding is not None
        try:
            for name, array in feeds.items():
                self._binding.bind_cpu_input(name, np.ascontiguousarray(array))
            self._runner.session.run_with_iobinding(self._binding)
        except ENGINE_ERRORS:
            self._binding = None
            self._fixed = False
            return False
        return True

    def _keep(self, outputs: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> None:
        if not self._fixed or not all(_is_bindable(value) for value in outputs.values()):
            return
        binding = self._runner.session.io_binding()
        self._buffers = {name: np.ascontiguousarray(value) for name, value in outputs.items()}
        for name, buffer in self._buffers.items():
            binding.bind_output(name, "cpu", 0, buffer.dtype, buffer.shape, buffer.ctypes.data)
        self._binding, self._shapes = binding, shapes

    def __enter__(self) -> TappedRunner:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._binding = None
        self._runner.__exit__(kind, error, trace)


def _is_bindable(value: object) -> bool:
    """Whether an output is a tensor of plain numbers that holds any."""
    return isinstance(value, np.ndarray) and value.dtype.kind in "fiub" and value.size > 0
