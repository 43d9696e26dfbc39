"""ONNX Runtime with its own optimisations off: the ``OpenModel`` that tests check passes with."""

from __future__ import annotations

from types import TracebackType

import onnx_ir as ir
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as state

from bmopt.core.runner import Array, Feeds
from bmopt.errors import DataError, ModelError

FAILURES = (
    *(state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf),
    *(state.NotImplemented, state.RuntimeException, RuntimeError, ValueError),
)


class PlainRunner:
    def __init__(self, model: ir.Model) -> None:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4
        data = ir.to_proto(model).SerializeToString()
        try:
            self._session = ort.InferenceSession(data, options, ["CPUExecutionProvider"])
        except FAILURES as error:
            raise ModelError(" ".join(str(error).split())) from error

    @property
    def output_names(self) -> tuple[str, ...]:
        return tuple(output.name for output in self._session.get_outputs())

    def run(self, feeds: Feeds) -> dict[str, Array]:
        try:
            answers = self._session.run(None, dict(feeds))
        except FAILURES as error:
            raise DataError(" ".join(str(error).split())) from error
        return dict(zip(self.output_names, answers, strict=True))

    def __enter__(self) -> PlainRunner:  # noqa: PYI034
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        del self._session
