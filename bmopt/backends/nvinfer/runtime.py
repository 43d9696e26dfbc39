"""Engines of TensorRT and TensorRT-RTX on a GPU, as runners."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from bmopt.backends.nvinfer import sdk
from bmopt.backends.nvinfer.bindings import Bindings
from bmopt.backends.nvinfer.device import CapturedGraph, Cuda, Event, Stream, open_cuda
from bmopt.backends.nvinfer.engine_file import REBUILD, Engine, read_header
from bmopt.backends.nvinfer.io_tensors import (
    Signature,
    check_feeds,
    choose_profile,
    read_signature,
)
from bmopt.backends.nvinfer.loading import (
    LoadedEngine,
    RunOptions,
    Specialization,
    load_engine,
)
from bmopt.core.runner import Array, Feeds
from bmopt.errors import ArtifactError, HostError


class EngineRunner:
    """A loaded engine behind the ``Runner`` and ``DeviceTimed`` protocols.

    One stream, one execution context, memory that is kept from run to run: not for several
    threads at once.
    """

    def __init__(self, loaded: LoadedEngine, cuda: Cuda, options: RunOptions) -> None:
        self._loaded = loaded
        self._signature = read_signature(loaded.sdk, loaded.engine)
        self._stream = Stream(cuda)
        self._started, self._stopped = Event(cuda), Event(cuda)
        self._bindings = Bindings(loaded, self._signature, cuda, self._stream)
        self._capture = options.cuda_graph and loaded.kind == "trt"
        self._graph: CapturedGraph | None = None
        self._warm = False
        self._device_ns: int | None = None
        self._open = True

    @property
    def signature(self) -> Signature:
        """The inputs and outputs, in the model's order."""
        return self._signature

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in the model's order."""
        return tuple(tensor.name for tensor in self._signature.outputs)

    @property
    def device_ns(self) -> int | None:
        """Nanoseconds that the engine took on the device in the last run, without copies."""
        return self._device_ns

    @property
    def warnings(self) -> tuple[str, ...]:
        """What went otherwise than asked, without harm to the results."""
        return tuple(self._loaded.warnings)

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Run one inference.

        Raises:
            DataError: The feeds do not fit the engine or the shapes that it was built for.
            HostError: The GPU or the engine failed.
        """
        assert self._open, "the engine is closed"
        arrays = check_feeds(self._signature, feeds)
        profile = choose_profile(self._signature, arrays)
        try:
            if self._bindings.bind(arrays, profile):
                self._forget_graph()
            self._prepare_graph()
            outputs = self._launch()
        except BaseException:
            # Copies may be under way from and to memory that the next run writes, or frees.
            self._stream.settle()
            raise
        self._device_ns = self._stopped.ns_since(self._started)
        self._warm = True
        return outputs

    def _launch(self) -> dict[str, Array]:
        self._bindings.upload()
        self._started.record(self._stream)
        self._enqueue()
        self._stopped.record(self._stream)
        return self._bindings.download()

    def _enqueue(self) -> None:
        if self._graph is not None:
            self._graph.launch()
        else:
            self._bindings.enqueue()

    def _prepare_graph(self) -> None:
        """Capture the engine, outside of what is timed.

        The first run with new shapes is a plain one: TensorRT then still sets up what may not be
        captured.
        """
        if not self._capture or not self._warm or self._graph is not None:
            return
        reason = self._why_not_captured()
        try:
            if not reason:
                self._graph = CapturedGraph.of(self._stream, self._capture_engine)
        except HostError as error:
            reason = str(error)
        if reason:
            self._capture = False
            self._loaded.warnings.append(f"runs without a CUDA graph: {reason}")

    def _capture_engine(self) -> bool:
        return bool(self._loaded.context.execute_async_v3(self._stream.handle))

    def _why_not_captured(self) -> str:
        if self._loaded.streams_weights:
            return "weights are streamed from the host"
        return "the shape of an output depends on the data" if self._bindings.late else ""

    def _forget_graph(self) -> None:
        # A graph holds the addresses and the state of the context at its capture.
        if self._graph is not None:
            self._graph.close()
        self._graph = None
        self._warm = False

    def close(self) -> None:
        """Free everything; a second time is harmless."""
        if not self._open:
            return
        self._open = False
        self._forget_graph()
        self._loaded.close()
        self._bindings.close()
        self._started.close()
        self._stopped.close()
        self._stream.close()

    def __enter__(self) -> EngineRunner:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_engine(
    path: Path,
    engine: Engine,
    *,
    cuda_graph: bool = False,
    weight_streaming_budget: int | None = None,
    cache: Path | None = None,
    host_code: bool = False,
    specialization: Specialization = "eager",
    dla: int | None = None,
) -> EngineRunner:
    """Open the engine file ``path`` on the current GPU; see ``RunOptions``.

    Raises:
        ArtifactError: The file is damaged, or of another version or GPU.
        HostError: The SDK, ``cuda.bindings``, the driver or a GPU is missing or does not work.
        UsageError: The options do not fit the engine.
    """
    header = read_header(path)
    if fault := header.fault(engine):
        raise ArtifactError(f"{path}: {fault}; {REBUILD}")
    options = RunOptions(
        cuda_graph, weight_streaming_budget, host_code, cache, specialization, dla
    )
    module = sdk.load(engine)
    cuda = open_cuda()
    return start(load_engine(module, cuda, engine, path, options), cuda, options)


def start(loaded: LoadedEngine, cuda: Cuda, options: RunOptions) -> EngineRunner:
    """Return a runner of a loaded engine; where there is none, the engine is freed.

    Raises:
        ArtifactError: An input or output cannot be fed.
        HostError: The GPU has no memory left.
    """
    try:
        return EngineRunner(loaded, cuda, options)
    except BaseException:
        loaded.close()
        raise
