"""OpenVINO's compiled models as runners."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import ml_dtypes
import numpy as np

from bmopt.backends.openvino.files import one_line, refusal, require_model
from bmopt.backends.openvino.ports import input_spec, port_names
from bmopt.backends.openvino.probe import load
from bmopt.core.dataset import InputSpec
from bmopt.core.runner import Array, Feeds
from bmopt.errors import DataError, ModelError

Precision = Literal["f32", "bf16", "f16"]
"""What the float operations of a float32 model compute in."""

_MOST_TENSORS = 256
_MOST_BYTES = 256 << 20

_BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


class OpenVinoRunner:
    """A compiled model and its one inference request behind the ``Runner`` protocol."""

    def __init__(self, compiled: Any, module: Any) -> None:  # noqa: ANN401
        self._compiled = compiled
        self._request = compiled.create_infer_request()
        self._tensor = module.Tensor
        self._bf16 = module.Type.bf16
        self._outputs = port_names(compiled.outputs)
        self._halves = [port.element_type == self._bf16 for port in compiled.outputs]
        names = port_names(compiled.inputs)
        self._inputs = tuple(map(input_spec, compiled.inputs, names))
        self._dtypes = {spec.name: _numpy(spec.dtype) for spec in self._inputs}
        self._last: dict[int, Array] = {}
        self._tensors: dict[tuple[int, int], tuple[Array, Any]] = {}
        self._kept_bytes = 0

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in the model's order."""
        return self._outputs

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """What has to be fed."""
        return self._inputs

    @property
    def compiled(self) -> Any:  # noqa: ANN401 - an object without types
        """OpenVINO's compiled model."""
        return self._compiled

    @property
    def request(self) -> Any:  # noqa: ANN401 - an object without types
        """Its inference request."""
        return self._request

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Run one inference; raise ``DataError`` where the feeds do not fit the model."""
        if feeds.keys() != self._dtypes.keys():
            raise DataError(
                f"OpenVINO cannot run these inputs (they are {_listed(feeds)}, "
                f"the model's are {_listed(self._dtypes)})"
            )
        try:
            for index, (name, dtype) in enumerate(self._dtypes.items()):
                self._set(index, name, feeds[name], dtype)
            values = self._request.infer().values()
        except RuntimeError as error:
            raise DataError(f"OpenVINO cannot run these inputs ({one_line(error)})") from error
        return {
            name: value.view(_BFLOAT16) if half else value
            for name, value, half in zip(self._outputs, values, self._halves, strict=True)
        }

    def _set(self, index: int, name: str, array: Array, dtype: np.dtype[Any]) -> None:
        """Let OpenVINO read an input where it lies.

        It does not hold the array, so this does. Inputs that come again, as those of a benchmark
        do, keep their tensor: to make one takes as long as a small layer.
        """
        known = self._tensors.get((index, id(array)))
        if known is not None and known[0] is array:
            self._request.set_input_tensor(index, known[1])
            return
        # OpenVINO takes foreign byte orders for its own.
        if array.dtype != dtype:
            raise DataError(
                f"OpenVINO cannot run these inputs ({name!r} is {array.dtype.name}, "
                f"the model wants {dtype.name} in this host's byte order)"
            )
        is_readable = array.flags.c_contiguous and array.flags.writeable
        read = array if is_readable else array.copy(order="C")
        tensor = self._shared(read)
        self._request.set_input_tensor(index, tensor)
        self._last[index] = read
        if is_readable:
            self._keep(index, array, tensor)

    def _keep(self, index: int, array: Array, tensor: Any) -> None:  # noqa: ANN401
        self._kept_bytes += array.nbytes
        if len(self._tensors) >= _MOST_TENSORS or self._kept_bytes > _MOST_BYTES:
            self._tensors.clear()
            self._kept_bytes = array.nbytes
        self._tensors[index, id(array)] = (array, tensor)

    def _shared(self, array: Array) -> Any:  # noqa: ANN401
        if array.dtype == _BFLOAT16:
            return self._tensor(array.view(np.uint16), array.shape, self._bf16)
        return self._tensor(array, shared_memory=True)

    def __enter__(self) -> OpenVinoRunner:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        del self._request, self._compiled


def open_file(
    path: Path, *, threads: int = 0, precision: Precision = "f32", profile: bool = False
) -> OpenVinoRunner:
    """Open an IR (``.xml`` with its ``.bin`` beside it) or an ``.onnx`` file on the CPU.

    It is opened for the latency of one inference at a time: one stream, threads not bound to
    cores, for other work shares these. OpenVINO computes int64 in int32 and cuts off what does
    not fit.

    Args:
        path: The file.
        threads: Threads of an inference; 0 lets OpenVINO choose.
        precision: What float operations compute in. Left alone, OpenVINO runs float32 models in
            bfloat16 on CPUs with AVX512-BF16 or AMX: up to a third faster on small CNNs, with
            outputs off by up to two per cent of the largest. That is not what the file says and
            no match for another engine's float32, so bfloat16 has to be asked for.
        profile: Take the time of every kernel.

    Raises:
        HostError: OpenVINO is not installed.
        ModelError: The file is missing, or OpenVINO refuses it.
    """
    module = load()
    require_model(path)
    config = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": precision,
        "PERF_COUNT": profile,
    }
    core = module.Core()
    try:
        compiled = core.compile_model(core.read_model(path), "CPU", config)
    except RuntimeError as error:
        raise refusal(path, error) from error
    try:
        return OpenVinoRunner(compiled, module)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def _numpy(name: str) -> np.dtype[Any]:
    return np.dtype(getattr(ml_dtypes, name, name))


def _listed(names: Feeds | dict[str, np.dtype[Any]]) -> str:
    return ", ".join(map(repr, names)) or "none"
