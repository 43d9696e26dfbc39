"""ONNX Runtime sessions as runners."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import onnx_ir as ir
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as native

from bmopt.core.runner import Feeds
from bmopt.errors import DataError, KernelError, ModelError
from bmopt.graph.model_io import save_model
from bmopt.graph.nesting import graphs_in

_NATIVE_ERRORS = (
    "EPFail",
    "EngineError",
    "Fail",
    "InvalidArgument",
    "InvalidGraph",
    "InvalidProtobuf",
    "NoModel",
    "NoSuchFile",
    "NotFound",
    "NotImplemented",
    "RuntimeException",
)
ENGINE_ERRORS: tuple[type[Exception], ...] = (
    # Not every version has all of them.
    *(getattr(native, name) for name in _NATIVE_ERRORS if hasattr(native, name)),
    RuntimeError,
    TypeError,
    ValueError,
)
"""Everything that a session raises where the model or its feeds are at fault."""

KEEP_QDQ = {
    "session.disable_quant_qdq": "1",
    # Without this one, the one above has constant weights behind a DQ folded to floats.
    "session.disable_qdq_constant_folding": "1",
    "session.disable_double_qdq_remover": "1",
}
"""Session entries that leave Q/DQ nodes as they are in the graph, for the arithmetic of another
engine.

ONNX Runtime's own Q/DQ rewrites are for its CPU kernels: they made TensorRT refuse models
(microsoft/onnxruntime issue 17312, pull request 17482).
"""

Level = Literal["off", "basic", "all"]
_LEVELS = {
    "off": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_INLINE_BYTES = 1 << 30

Provider = tuple[str, Mapping[str, str]]
"""An execution provider's name and options."""

_CPU: Provider = ("CPUExecutionProvider", {})


@dataclasses.dataclass(frozen=True)
class SessionConfig:
    """How a session is opened.

    Attributes:
        threads: Intra-op threads; 0 lets ONNX Runtime choose.
        level: ONNX Runtime's own graph optimisations.
        dump: Where to write the graph as ONNX Runtime optimised it.
        profile: Prefix of the file to write per-node times to.
        providers: What runs the nodes, most wanted first; the CPU takes what is left.
        entries: Other session settings by ONNX Runtime's names.
    """

    threads: int = 0
    level: Level = "all"
    dump: Path | None = None
    profile: Path | None = None
    providers: tuple[Provider, ...] = (_CPU,)
    entries: Mapping[str, str] = dataclasses.field(default_factory=dict)


class OrtRunner:
    """An ONNX Runtime session behind the ``Runner`` protocol."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self._names = tuple(output.name for output in session.get_outputs())
        self._inputs = tuple(value.name for value in session.get_inputs())

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in the model's order."""
        return self._names

    @property
    def session(self) -> ort.InferenceSession:
        """The session itself."""
        return self._session

    def run(self, feeds: Feeds) -> dict[str, Any]:
        """Run one inference; raise ``DataError`` where the feeds do not fit the model."""
        try:
            values = self._session.run(None, dict(feeds))
        except ENGINE_ERRORS as error:
            raise DataError(f"ONNX Runtime cannot run these inputs ({_line(error)})") from error
        return dict(zip(self._names, values, strict=True))

    def __enter__(self) -> OrtRunner:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        del self._session


def open_file(path: Path, config: SessionConfig | None = None) -> OrtRunner:
    """Open an ``.onnx`` file.

    Raises:
        ModelError: ONNX Runtime refuses it.
    """
    return _open(str(path), config or SessionConfig(), label=str(path))


def open_model(model: ir.Model, config: SessionConfig | None = None) -> OrtRunner:
    """Open an in-memory model.

    Raises:
        ModelError: ONNX Runtime refuses it.
    """
    config = config or SessionConfig()
    if _weights_bytes(model) <= _INLINE_BYTES and not _has_external(model):
        return _open(ir.to_proto(model).SerializeToString(), config, label="the model")
    with tempfile.TemporaryDirectory(prefix="bmopt-") as folder:
        path = Path(folder) / "model.onnx"
        save_model(model, path)
        return _open(str(path), config, label="the model")


def open_plain(model: ir.Model) -> OrtRunner:
    """Open an in-memory model with ONNX Runtime's optimisations off, for checks."""
    return open_model(model, SessionConfig(level="off"))


def _open(source: str | bytes, config: SessionConfig, label: str) -> OrtRunner:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = config.threads
    options.graph_optimization_level = _LEVELS[config.level]
    if config.dump is not None:
        options.optimized_model_filepath = str(config.dump)
    if config.profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(config.profile)
    for name, value in config.entries.items():
        options.add_session_config_entry(name, value)
    providers = [(name, dict(chosen)) for name, chosen in config.providers]
    try:
        # On an error ONNX Runtime would print it and try again with other providers.
        session = ort.InferenceSession(source, options, providers, enable_fallback=False)
    except native.NotImplemented as error:
        raise KernelError(f"{label}: ONNX Runtime cannot run it ({_line(error)})") from error
    except ENGINE_ERRORS as error:
        raise ModelError(f"{label}: ONNX Runtime refuses it ({_line(error)})") from error
    return OrtRunner(session)


def _weights_bytes(model: ir.Model) -> int:
    return sum(
        int(value.const_value.nbytes)
        for graph in graphs_in(model.graph)
        for value in graph.initializers.values()
        if value.const_value is not None
    )


def _has_external(model: ir.Model) -> bool:
    return any(
        isinstance(value.const_value, ir.ExternalTensor)
        for graph in graphs_in(model.graph)
        for value in graph.initializers.values()
    )


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text.removeprefix("[ONNXRuntimeError] : ")[:300]
