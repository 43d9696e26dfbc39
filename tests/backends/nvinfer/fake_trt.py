"""A stand-in for the SDK's module that notes the calls: for what versions differ in, no numbers.

Members are those in the bindings of TensorRT 10.7 and 11.4; what the named version lacks is
absent, so a use of it is an ``AttributeError``. The number of a member may be another one in 11:
those of TensorRT-RTX are, which has lost the same members.
"""

from __future__ import annotations

import enum
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_FLAGS = (
    "GPU_FALLBACK REFIT REFIT_IDENTICAL STRIP_PLAN SPARSE_WEIGHTS VERSION_COMPATIBLE "
    "WEIGHT_STREAMING"
)
_NOT_YET_IN_10_7 = " EDITABLE_TIMING_CACHE"
_REMOVED_IN_11 = " FP16 INT8 FP8 BF16 INT4 OBEY_PRECISION_CONSTRAINTS"

PLAN = b"a plan"


def _enum(name: str, members: str) -> Any:
    return enum.IntEnum(name, members, start=0)


class _Noting:
    """An object whose assignments and calls are noted as (name, arguments)."""

    def __init__(self, calls: list[tuple[Any, ...]], answers: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_calls", calls)
        object.__setattr__(self, "_answers", dict(answers))

    def __setattr__(self, name: str, value: Any) -> None:
        self._calls.append((name, getattr(value, "name", value)))

    def __getattr__(self, name: str) -> Any:
        answers = object.__getattribute__(self, "_answers")
        if name not in answers:
            raise AttributeError(name)
        answer = answers[name]
        return self._noted(name, answer) if callable(answer) else answer

    def _noted(self, name: str, answer: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self._calls.append((name, *(getattr(a, "name", a) for a in arguments)))
            return answer(*arguments)

        return call


def tensor(name: str, shape: Sequence[int], *, is_shape_tensor: bool = False) -> Any:
    """Return an input of a network."""
    return types.SimpleNamespace(name=name, shape=tuple(shape), is_shape_tensor=is_shape_tensor)


class FakeTrt(types.ModuleType):
    """The module of TensorRT 10 or 11.

    Attributes:
        calls: Every call, as (name, arguments); enum members as their names.
        logger: The logger that the builder was given.
        config: The builder's configuration.
    """

    def __init__(
        self,
        version: str,
        *,
        inputs: Sequence[Any] = (),
        inspection: str | None = '{"Layers": []}',
        inspects: bool = True,
        dla_cores: int = 0,
        plan: bytes | None = PLAN,
        says: str = "Error Code 4: Internal Error (No kernel for 'x'.)",
        usable_cache: bool = True,
        opens_plan: bool = True,
    ) -> None:
        super().__init__("tensorrt")
        self.__version__ = version
        self.calls: list[tuple[Any, ...]] = []
        self.logger: Any = None
        self._inputs, self._inspection = inputs, inspection
        self._inspects, self._says = inspects, says
        self._dla_cores, self._plan = dla_cores, plan
        self._usable_cache, self._opens_plan = usable_cache, opens_plan
        is_11 = version.startswith("11.")
        newer = "" if version.startswith("10.7.") else _NOT_YET_IN_10_7
        self.BuilderFlag = _enum("BuilderFlag", _FLAGS + newer + ("" if is_11 else _REMOVED_IN_11))
        creation = "STRONGLY_TYPED" if is_11 else "EXPLICIT_BATCH STRONGLY_TYPED"
        self.NetworkDefinitionCreationFlag = _enum("NetworkDefinitionCreationFlag", creation)
        self.ProfilingVerbosity = _enum("ProfilingVerbosity", "LAYER_NAMES_ONLY DETAILED NONE")
        self.MemoryPoolType = _enum("MemoryPoolType", "WORKSPACE")
        self.HardwareCompatibilityLevel = _enum("HardwareCompatibilityLevel", "NONE AMPERE_PLUS")
        self.DeviceType = _enum("DeviceType", "GPU DLA")
        self.LayerInformationFormat = _enum("LayerInformationFormat", "ONELINE JSON")
        self.ILogger = type("ILogger", (), {})
        self.IProgressMonitor = type("IProgressMonitor", (), {})

    def names(self) -> list[str]:
        """Return the names of the calls in turn."""
        return [call[0] for call in self.calls]

    def init_libnvinfer_plugins(self, logger: Any, namespace: str) -> bool:
        """Note the call."""
        self.calls.append(("init_libnvinfer_plugins", namespace))
        return True

    def Builder(self, logger: Any) -> Any:  # noqa: N802 - the SDK's name
        """Return a builder."""
        self.logger = logger
        return self._object(
            create_network=lambda _: self._network(),
            create_builder_config=self._config,
            create_optimization_profile=lambda: self._object(set_shape=lambda *_: None),
            build_serialized_network=self._build,
            num_DLA_cores=self._dla_cores,
        )

    def OnnxParser(self, network: Any, logger: Any) -> Any:  # noqa: N802 - the SDK's name
        """Return a parser that takes everything."""
        return self._object(parse_from_file=lambda _: True)

    def Runtime(self, logger: Any) -> Any:  # noqa: N802 - the SDK's name
        """Return a runtime."""
        inspector = self._object(get_engine_information=lambda _: self._inspection)
        context = self._object(set_input_shape=lambda *_: True)
        engine = self._object(
            create_engine_inspector=lambda: inspector if self._inspects else None,
            create_execution_context=lambda: context,
        )
        opened = engine if self._opens_plan else None
        return self._object(deserialize_cuda_engine=lambda _: opened)

    def _object(self, **answers: Any) -> _Noting:
        return _Noting(self.calls, answers)

    def _network(self) -> Any:
        inputs = list(self._inputs)
        return types.SimpleNamespace(num_inputs=len(inputs), get_input=lambda index: inputs[index])

    def _config(self) -> Any:
        usable = iter([self._usable_cache])
        self.config = self._object(
            set_flag=lambda _: None,
            set_memory_pool_limit=lambda *_: None,
            add_optimization_profile=lambda _: 0,
            create_timing_cache=lambda data: ("cache", data),
            set_timing_cache=lambda *_: next(usable, True),
            get_timing_cache=lambda: types.SimpleNamespace(serialize=lambda: b"timings"),
        )
        return self.config

    def _build(self, network: Any, config: Any) -> bytes | None:
        if self._plan is None:
            severity = types.SimpleNamespace(name="ERROR")
            self.logger.log(severity, self._says)
        return self._plan
