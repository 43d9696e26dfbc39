"""The runtime side of ``tensorrt`` and ``tensorrt_rtx`` without a GPU.

Its engines copy inputs to outputs: what is tested is which calls are made, with which arguments
and in which order, and that the bytes go where they should. It refuses what the SDK refuses by
its documentation (NVIDIA/TensorRT, include/NvInferRuntime.h).
"""

from __future__ import annotations

import ctypes
import dataclasses
import enum
import math
from collections.abc import Callable
from typing import Any

from tests.backends.nvinfer.fake_cuda import ALIGNMENT, FakeCuda

Shape = tuple[int, ...]
Triple = tuple[Shape, Shape, Shape]

SIZES = {"FLOAT": 4, "HALF": 2, "BF16": 2, "FP8": 1, "INT8": 1, "INT32": 4, "INT64": 8, "BOOL": 1}


@dataclasses.dataclass(frozen=True)
class FakeTensor:
    """An input, or an output that copies the input ``copies``."""

    name: str
    shape: Shape
    dtype: str = "FLOAT"
    copies: str = ""
    host: bool = False
    late: bool = False
    profiles: tuple[Triple, ...] = ()
    values: tuple[Any, ...] = ()


@dataclasses.dataclass
class FakeEngine:
    """What ``deserialize_cuda_engine`` returns."""

    tensors: tuple[FakeTensor, ...]
    cuda: FakeCuda
    calls: list[tuple[Any, ...]]
    num_optimization_profiles: int = 1
    streamable_weights_size: int = 0
    weight_streaming_budget_v2: int = 0
    contexts: int = 1
    executes: bool = True
    captures: bool = True
    shapes_agree: bool = True
    profiles_switch: bool = True
    config: Any = None

    @property
    def num_io_tensors(self) -> int:
        return len(self.tensors)

    def tensor(self, name: str) -> FakeTensor:
        return next(tensor for tensor in self.tensors if tensor.name == name)

    def get_tensor_name(self, index: int) -> str:
        return self.tensors[index].name

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.OUTPUT if self.tensor(name).copies else TensorIOMode.INPUT

    def get_tensor_dtype(self, name: str) -> Any:
        return DataType[self.tensor(name).dtype]

    def get_tensor_shape(self, name: str) -> Shape:
        return self.tensor(name).shape

    def get_tensor_location(self, name: str) -> TensorLocation:
        return TensorLocation.HOST if self.tensor(name).host else TensorLocation.DEVICE

    def get_tensor_profile_shape(self, name: str, index: int) -> list[Shape]:
        return list(self.tensor(name).profiles[index])

    def get_tensor_profile_values(self, index: int, name: str) -> list[Any]:
        assert isinstance(index, int), "the index comes first, whatever the bindings call it"
        values = self.tensor(name).values
        return list(values[index]) if values else []

    def create_runtime_config(self) -> FakeConfig:
        self.config = FakeConfig(self.calls)
        return self.config

    def create_execution_context(self, *arguments: Any) -> FakeContext | None:
        self.calls.append(("create_execution_context", *arguments))
        return FakeContext(self) if self.contexts else None


class UnknownDims:
    """``Dims`` of a tensor without a known number of axes, as the bindings behave."""

    def __len__(self) -> int:
        return -1

    def __getitem__(self, axis: int) -> int:
        raise IndexError


class FakeCache:
    """An ``IRuntimeCache`` that knows one good blob, and has another after a run."""

    def __init__(self, calls: list[tuple[Any, ...]]) -> None:
        self._calls = calls

    def deserialize(self, blob: bytes) -> bool:
        self._calls.append(("cache.deserialize", blob))
        return blob.startswith(b"cache")

    def serialize(self) -> bytes:
        return b"cache with kernels"


class FakeConfig:
    """An ``IRuntimeConfig``."""

    def __init__(self, calls: list[tuple[Any, ...]]) -> None:
        self._calls = calls
        self.cuda_graph_strategy = CudaGraphStrategy.DISABLED
        self.dynamic_shapes_kernel_specialization_strategy: Any = None
        self.cache: Any = None

    def create_runtime_cache(self) -> FakeCache:
        return FakeCache(self._calls)

    def set_runtime_cache(self, cache: FakeCache) -> bool:
        self.cache = cache
        return True


class FakeContext:
    """An ``IExecutionContext``."""

    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        self.shapes: dict[str, Shape] = {}
        self.addresses: dict[str, int] = {}
        self.allocators: dict[str, Any] = {}
        self.profile = 0

    def _note(self, *call: Any) -> None:
        self.engine.calls.append(call)

    def set_optimization_profile_async(self, index: int, stream: int) -> bool:
        self._note("set_optimization_profile_async", index, stream)
        if not self.engine.profiles_switch:
            raise RuntimeError("Error in set optimization profile async.")
        self.profile, self.shapes = index, {}
        return index < self.engine.num_optimization_profiles

    def set_input_shape(self, name: str, shape: Shape) -> bool:
        self._note("set_input_shape", name, shape)
        tensor = self.engine.tensor(name)
        low, _, high = tensor.profiles[self.profile]
        self.shapes[name] = shape
        return all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True))

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._note("set_tensor_address", name, address)
        self.addresses[name] = address
        return address % ALIGNMENT == 0

    def set_output_allocator(self, name: str, allocator: Any) -> bool:
        self._note("set_output_allocator", name)
        self.allocators[name] = allocator
        return True

    def infer_shapes(self) -> list[str]:
        self._note("infer_shapes")
        if not self.engine.shapes_agree:
            raise RuntimeError("infer_shapes error code: -1")
        inputs = [tensor for tensor in self.engine.tensors if not tensor.copies]
        open_axes = [t.name for t in inputs if -1 in t.shape and t.name not in self.shapes]
        return open_axes + [t.name for t in inputs if t.host and t.name not in self.addresses]

    def get_tensor_shape(self, name: str) -> Any:
        tensor = self.engine.tensor(name)
        if not self.engine.shapes_agree:
            return UnknownDims()
        return (-1,) * len(tensor.shape) if tensor.late else self._shape(name)

    def _shape(self, name: str) -> Shape:
        tensor = self.engine.tensor(name)
        return self._shape(tensor.copies) if tensor.copies else self.shapes.get(name, tensor.shape)

    def execute_async_v3(self, stream: int) -> bool:
        self._note("execute_async_v3", stream)
        assert self.engine.cuda.alive[stream] == "stream"
        if self.engine.cuda.captured is not None and not self.engine.captures:
            return False
        return self.engine.executes and all(
            self._copy(t, stream) for t in self.engine.tensors if t.copies
        )

    def _copy(self, tensor: FakeTensor, stream: int) -> bool:
        source, shape = self.addresses[tensor.copies], self._shape(tensor.name)
        nbytes = math.prod(shape) * SIZES[tensor.dtype]
        if tensor.late:
            allocator = self.allocators[tensor.name]
            address = allocator.reallocate_output_async(
                tensor.name, self.addresses.get(tensor.name, 0), max(nbytes, 1), ALIGNMENT, stream
            )
            allocator.notify_shape(tensor.name, shape)
            self.addresses[tensor.name] = address
        to = self.addresses[tensor.name]
        kinds = [(to, tensor), (source, self.engine.tensor(tensor.copies))]
        if not all(
            self.engine.cuda.holds(address, nbytes, "host" if t.host else "device")
            for address, t in kinds
        ):
            return False
        self.engine.cuda.enqueue(lambda: ctypes.memmove(to, source, nbytes) and None)
        return True


class TensorIOMode(enum.Enum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class TensorLocation(enum.IntEnum):
    DEVICE = 0
    HOST = 1


class CudaGraphStrategy(enum.IntEnum):
    DISABLED = 0
    WHOLE_GRAPH_CAPTURE = 1


class DynamicShapesKernelSpecializationStrategy(enum.IntEnum):
    LAZY = 0
    EAGER = 1
    NONE = 2


class EngineValidity(enum.IntEnum):
    VALID = 0
    SUBOPTIMAL = 1
    INVALID = 2


class EngineInvalidityDiagnostics(enum.IntEnum):
    VERSION_MISMATCH = 1
    UNSUPPORTED_CC = 2
    OLD_CUDA_DRIVER = 4
    OLD_CUDA_RUNTIME = 8
    INSUFFICIENT_GPU_MEMORY = 16
    MALFORMED_ENGINE = 32
    CUDA_ERROR = 64


DataType = enum.Enum(
    "DataType",
    "FLOAT HALF INT8 INT32 BOOL UINT8 FP8 BF16 INT64 INT4 FP4 E8M0",
)
Severity = enum.Enum("Severity", "INTERNAL_ERROR ERROR WARNING INFO VERBOSE")


class ILogger:
    """Its children have to call ``__init__``, as in the SDK."""

    def __init__(self) -> None:
        self.ready = True


class IOutputAllocator:
    """Its children have to call ``__init__``, as in the SDK."""

    def __init__(self) -> None:
        self.ready = True


class FakeSdk:
    """The module. ``engine`` is what deserialising gives; ``says`` is logged before it."""

    TensorIOMode = TensorIOMode
    TensorLocation = TensorLocation
    CudaGraphStrategy = CudaGraphStrategy
    DynamicShapesKernelSpecializationStrategy = DynamicShapesKernelSpecializationStrategy
    EngineValidity = EngineValidity
    EngineInvalidityDiagnostics = EngineInvalidityDiagnostics
    ILogger = ILogger
    IOutputAllocator = IOutputAllocator

    def __init__(
        self,
        engine: FakeEngine | None,
        version: str = "10.16.1.11",
        says: tuple[tuple[str, str], ...] = (),
        validity: tuple[EngineValidity, int] = (EngineValidity.VALID, 0),
    ) -> None:
        self.__version__ = version
        self.engine = engine
        self.says = says
        self.validity = validity
        self.runtimes: list[FakeRuntime] = []

    @property
    def Runtime(self) -> Callable[[Any], FakeRuntime]:  # noqa: N802 - the SDK's name
        return lambda logger: FakeRuntime(self, logger)


class FakeRuntime:
    """A ``Runtime``."""

    def __init__(self, sdk: FakeSdk, logger: Any) -> None:
        assert isinstance(logger, ILogger)
        assert logger.ready
        self._sdk = sdk
        self._logger = logger
        self.engine_host_code_allowed = False
        self.DLA_core = -1
        sdk.runtimes.append(self)

    def get_engine_validity(self, data: bytes) -> tuple[EngineValidity, int]:
        assert isinstance(data, bytes)
        return self._sdk.validity

    def deserialize_cuda_engine(self, data: bytes) -> FakeEngine | None:
        assert isinstance(data, bytes)
        self.core_when_opened = self.DLA_core
        for severity, message in self._sdk.says:
            self._logger.log(Severity[severity], message)
        return self._sdk.engine
