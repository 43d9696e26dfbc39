"""From an engine file to an execution context, and every reason why there is none."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Literal

from bmopt.backends.nvinfer.device import Cuda, current_sm
from bmopt.backends.nvinfer.engine_file import (
    REBUILD,
    SDK_NAMES,
    Engine,
    EngineHeader,
    read_header,
    refusal,
)
from bmopt.backends.nvinfer.native import Native
from bmopt.backends.nvinfer.runtime_cache import RuntimeCache, open_cache
from bmopt.backends.nvinfer.sdk import release_of
from bmopt.backends.nvinfer.sdk_log import SdkLog, sdk_logger
from bmopt.errors import ArtifactError, HostError, UsageError

Specialization = Literal["eager", "lazy", "none"]

_NO_MEMORY = "INSUFFICIENT_GPU_MEMORY"
_OUT_OF_MEMORY = re.compile(r"out ?of ?memory|could not be allocated|memory ?allocation", re.I)
_SAFE_RAISES = (10, 13)
"""Older bindings of TensorRT raise some exceptions without Python's lock, which is a crash."""
_HOST_PROBLEMS = {
    "OLD_CUDA_DRIVER": "the NVIDIA driver is too old for it; update the driver",
    "OLD_CUDA_RUNTIME": "the CUDA runtime is too old for it; update the TensorRT-RTX package",
    _NO_MEMORY: "the GPU has not enough memory for it; free some",
    "CUDA_ERROR": "CUDA does not work here; check the driver with nvidia-smi",
}


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """How an engine is run.

    Attributes:
        cuda_graph: Launch the whole engine as one CUDA graph. TensorRT: captured by us on the
            second run with the same shapes. TensorRT-RTX: captured by the SDK.
        weight_budget_bytes: Device memory that weights may take; the rest is streamed from the
            host. None leaves all on the device.
        host_code: The engine may contain code for the CPU, which a version-compatible engine of
            TensorRT does; as with any program, only from who you trust.
        cache: File that TensorRT-RTX keeps the kernels in that it compiled on this GPU.
        specialization: When TensorRT-RTX compiles kernels for new shapes: ``eager`` before they
            run, ``lazy`` beside running slower ones, which makes latencies drift.
        dla: Core of the deep learning accelerator that the engine was built for; None for the GPU.
    """

    cuda_graph: bool = False
    weight_budget_bytes: int | None = None
    host_code: bool = False
    cache: Path | None = None
    specialization: Specialization = "eager"
    dla: int | None = None


class LoadedEngine:
    """A deserialised engine with its execution context.

    Attributes:
        sdk: The SDK's module.
        engine: Its ``ICudaEngine``.
        context: Its ``IExecutionContext``.
        log: What the SDK complains of.
        warnings: What a user should know.
        streams_weights: Whether weights come from the host during a run.
    """

    def __init__(self, sdk: Native, kind: Engine, path: Path) -> None:
        self.sdk = sdk
        self.kind = kind
        self.path = path
        self.log = SdkLog()
        self.warnings: list[str] = []
        self.engine: Native = None
        self.context: Native = None
        self.streams_weights = False
        self._runtime = self._create_runtime()
        self._config: Native = None
        self._cache: RuntimeCache | None = None

    def _create_runtime(self) -> Native:
        try:
            return self.sdk.Runtime(sdk_logger(self.sdk, self.log))
        except TypeError as error:
            # What the bindings make of a null pointer.
            name = SDK_NAMES[self.kind]
            raise HostError(
                f"{name} does not start here{self.log.because()}; check the driver with nvidia-smi"
            ) from error

    @property
    def tells_shape_errors(self) -> bool:
        """Whether a failed shape inference is an exception rather than a crash."""
        release = release_of(str(getattr(self.sdk, "__version__", "")))
        return self.kind == "rtx" or release >= _SAFE_RAISES

    def deserialise(self, cuda: Cuda, options: RunOptions) -> None:
        """Read the file into the GPU.

        Raises:
            ArtifactError: It is damaged, or of another version or GPU.
            HostError: The driver or the GPU cannot run it.
        """
        header = read_header(self.path)
        data = self.path.read_bytes()
        if options.host_code:
            self._runtime.engine_host_code_allowed = True
        if options.dla is not None:
            self._runtime.DLA_core = options.dla
        if self.kind == "rtx":
            self._require_valid(data, header, cuda)
        self.log.clear()
        self.engine = self._runtime.deserialize_cuda_engine(data)
        if self.engine is None and _OUT_OF_MEMORY.search(self.log.cause):
            raise HostError(f"{self.path}: {_HOST_PROBLEMS[_NO_MEMORY]}{self.log.because()}")
        if self.engine is None:
            raise ArtifactError(self._refused(header, cuda))

    def _require_valid(self, data: bytes, header: EngineHeader, cuda: Cuda) -> None:
        verdict, bits = self._runtime.get_engine_validity(data)
        reasons = [
            name
            for name, member in self.sdk.EngineInvalidityDiagnostics.__members__.items()
            if int(bits) & int(member)
        ]
        if verdict.name == "SUBOPTIMAL":
            listed = ", ".join(reasons).lower() or "no reason given"
            self.warnings.append(f"TensorRT-RTX expects it to run slower than it could ({listed})")
        if verdict.name != "INVALID":
            return
        host = [_HOST_PROBLEMS[name] for name in reasons if name in _HOST_PROBLEMS]
        if host:
            raise HostError(f"{self.path}: {host[0]}{self.log.because()}")
        raise ArtifactError(self._refused(header, cuda, ", ".join(reasons).lower()))

    def _refused(self, header: EngineHeader, cuda: Cuda, diagnosis: str = "") -> str:
        version = str(getattr(self.sdk, "__version__", ""))
        reason = refusal(header, self.kind, version, current_sm(cuda))
        said = self.log.cause or diagnosis
        reason = reason or f"{SDK_NAMES[self.kind]} {version} refuses it"
        return f"{self.path}: {reason}{f' ({said})' if said else ''}; {REBUILD}"

    def limit_weights(self, budget: int) -> None:
        """Leave no more than ``budget`` bytes of weights on the device.

        Raises:
            UsageError: The engine was built without weight streaming, or the budget is negative.
            HostError: The SDK refuses the budget.
        """
        total = self.engine.streamable_weights_size
        if budget < 0 or not total:
            what = "was built without weight streaming" if not total else f"{budget} is negative"
            raise UsageError(f"{self.path}: weights cannot be streamed: {what}")
        self.log.clear()
        self.engine.weight_streaming_budget_v2 = budget
        # The setter drops what the SDK answers; the budget may be rounded.
        self.streams_weights = self.engine.weight_streaming_budget_v2 < total
        if self.log.cause or self.streams_weights != (budget < total):
            raise HostError(
                f"{self.path}: a weight streaming budget of {budget} bytes is refused"
                f"{self.log.because()}; choose another"
            )

    def create_context(self, options: RunOptions) -> None:
        """Create the execution context.

        Raises:
            HostError: The GPU has not the memory for it.
        """
        self.log.clear()
        if self.kind == "rtx":
            # The context points to it and does not own it.
            self._config = self._runtime_config(options)
            self.context = self.engine.create_execution_context(self._config)
        else:
            self.context = self.engine.create_execution_context()
        if self.context is None:
            raise HostError(
                f"{self.path}: no execution context on this GPU{self.log.because()}; free memory "
                "of the GPU, or build with smaller maximum shapes"
            )

    def _runtime_config(self, options: RunOptions) -> Native:
        config = self.engine.create_runtime_config()
        strategies = self.sdk.DynamicShapesKernelSpecializationStrategy
        config.dynamic_shapes_kernel_specialization_strategy = getattr(
            strategies, options.specialization.upper()
        )
        if options.cuda_graph:
            config.cuda_graph_strategy = self.sdk.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        if options.cache is not None:
            self._cache = open_cache(config, options.cache, self.warnings)
        return config

    def close(self) -> None:
        """Save the cache, then free context, engine and runtime: each needs the next."""
        if self._cache is not None:
            self._cache.save(self.warnings)
        self.context = None
        self._config = None
        self._cache = None
        self.engine = None
        self._runtime = None


def load_engine(
    sdk: Native, cuda: Cuda, kind: Engine, path: Path, options: RunOptions
) -> LoadedEngine:
    """Open the engine file ``path`` with the SDK's module.

    Raises:
        ArtifactError: The file is damaged, or of another version or GPU.
        HostError: This host cannot run it.
        UsageError: The options do not fit the engine.
    """
    loaded = LoadedEngine(sdk, kind, path)
    try:
        loaded.deserialise(cuda, options)
        if options.weight_budget_bytes is not None:
            loaded.limit_weights(options.weight_budget_bytes)
        loaded.create_context(options)
    except BaseException:
        loaded.close()
        raise
    return loaded
