"""Engines that are built ahead of a run: what they are built with, and what came out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

Compat = Literal["none", "version", "hardware"]
COMPATS: tuple[Compat, ...] = ("none", "version", "hardware")


@dataclasses.dataclass(frozen=True)
class Profile:
    """Shapes of one input with dynamic axes that an engine is to run: smallest, usual, largest."""

    min: tuple[int, ...]
    opt: tuple[int, ...]
    max: tuple[int, ...]

    def __str__(self) -> str:
        """Return ``1x3x224x224:8x3x224x224:32x3x224x224``."""
        return ":".join("x".join(map(str, shape)) for shape in (self.min, self.opt, self.max))


@dataclasses.dataclass(frozen=True)
class BuildOptions:
    """Options of an engine: how it is built, and how it is run.

    Attributes:
        profiles: Input with dynamic axes -> its shapes.
        level: Optimisation level of the builder, 0 to 5; None leaves it to the engine.
        workspace_bytes: Limit of scratch memory on the device; 0 for none.
        compat: ``version``: newer engine versions can run it; ``hardware``: other GPUs can.
        timing_cache: File of kernel timings to read and extend; empty for none.
        weight_streaming: Weights may stay in host memory.
        refit: Weights can be exchanged later.
        strip: The engine is stored without the weights, which a refit puts back.
        sparse: Kernels for weights with 2:4 sparsity may be used.
        dla: Core of the deep learning accelerator to run on; None for the GPU.
        cuda_graph: Runs are captured as a CUDA graph and replayed.
        tune: What the schedules of kernels may cost to tune, as ``TuningBudget.parse`` takes it;
            empty to measure nothing.
        tuning_database: Folder of schedules that were tuned; empty for the one in bmopt's cache
            where something is tuned, and for none where nothing is.
        board: Board that kernels are measured on, as ``Board`` writes itself; empty for this host.
        timeout_s: Time limit of the build in seconds.
    """

    profiles: Mapping[str, Profile] = dataclasses.field(default_factory=dict)
    level: int | None = None
    workspace_bytes: int = 0
    compat: Compat = "none"
    timing_cache: str = ""
    weight_streaming: bool = False
    refit: bool = False
    strip: bool = False
    sparse: bool = False
    dla: int | None = None
    cuda_graph: bool = False
    tune: str = ""
    tuning_database: str = ""
    board: str = ""
    timeout_s: float = 3600.0


@dataclasses.dataclass(frozen=True)
class Kernel:
    """One kernel of a built engine, as the engine's own description names it.

    Attributes:
        name: The engine's name for it.
        kind: The engine's type of layer, for example ``"correlation"``, ``"gemm"``, ``"kgen"``.
        inputs: Element type of every activation it reads, lower case as ONNX writes them
            (``"float"``, ``"float16"``, ``"bfloat16"``, ``"int8"``, ``"float8e4m3fn"`` ...).
        constants: Element type of every constant it reads.
        outputs: Element type of every tensor it writes.
        nodes: Names of the ONNX nodes that it stands for.
        tactic: The engine's name for the implementation; empty where it tells none.
        schedule: Where that comes from: ``tuned`` on this model's kernels, a ``default`` of
            bmopt's, or a ``fallback``; empty where the engine chooses by itself.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    constants: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[str, ...]
    tactic: str = ""
    schedule: str = ""


@dataclasses.dataclass(frozen=True)
class EngineBuild:
    """What a build made.

    Attributes:
        engine: Name of the SDK, for example ``"tensorrt_rtx"``.
        version: Its version.
        devices: What the engine was built for, for example ``("sm86", "sm89")``.
        seconds: How long the build took.
        size_bytes: Size of the engine file.
        kernels: Its kernels; empty where the SDK does not tell.
        warnings: What the SDK warned of, repeated lines once.
        tuning: What tuning came to, in one line; empty where nothing was tuned.
    """

    engine: str
    version: str
    devices: tuple[str, ...]
    seconds: float
    size_bytes: int
    kernels: tuple[Kernel, ...]
    warnings: tuple[str, ...] = ()
    tuning: str = ""
