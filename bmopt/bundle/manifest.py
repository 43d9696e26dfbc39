"""What a bundle says of itself: plain values, in the order of ``manifest.json``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

SCHEMA = 1
SCHEMA_KEY = "bmopt_bundle"
MAX_BYTES = 4 << 20
MAX_NESTING = 32
MAX_RANK = 8

DTYPES = (
    *("float16", "float32", "float64", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)
"""Element types of inputs and outputs that the native runner knows."""

ENGINES = ("onnxruntime", "tensorrt", "tensorrt_rtx", "tvm")
RECORDED = ("artifact", "graph")


@dataclasses.dataclass(frozen=True)
class Profile:
    """Shapes that an engine that is built on the device is to run: smallest, usual, largest."""

    min: tuple[int, ...]
    opt: tuple[int, ...]
    max: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Port:
    """An input or output.

    Attributes:
        name: Its name in the model.
        dtype: One of ``DTYPES``.
        shape: Sizes; -1 where an axis is free.
        axes: A free axis' symbol, None where it has none.
        layout: ``"NCHW"`` or ``"NHWC"`` for images, None where it is not known to be one.
        range: Least and greatest value seen in calibration.
        profile: Shapes to build an engine for.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    axes: tuple[str | None, ...]
    layout: str | None = None
    range: tuple[float, float] | None = None
    profile: Profile | None = None


@dataclasses.dataclass(frozen=True)
class GoldenInput:
    """A recorded input: the name in the model, the ``.npy`` file in the bundle."""

    name: str
    file: str


@dataclasses.dataclass(frozen=True)
class GoldenOutput:
    """A recorded output.

    Attributes:
        name: Its name in the model.
        file: The ``.npy`` file in the bundle.
        tolerance: Largest absolute difference of an element that is right.
        step: Quantisation step of what the output is computed from; None for float models.
        recorded: ``"artifact"`` where the engine itself answered, ``"graph"`` where its graph
            did on ONNX Runtime, with Q/DQ nodes as they are written.
    """

    name: str
    file: str
    tolerance: float
    step: float | None = None
    recorded: str = "artifact"


@dataclasses.dataclass(frozen=True)
class GoldenPair:
    """One recorded inference."""

    inputs: tuple[GoldenInput, ...]
    outputs: tuple[GoldenOutput, ...]


@dataclasses.dataclass(frozen=True)
class Source:
    """The model that was compiled: its file name, its SHA-256, its digest as a graph."""

    file: str
    sha256: str
    digest: str


@dataclasses.dataclass(frozen=True)
class Calibration:
    """The samples that ranges were taken from: fingerprint and how many."""

    fingerprint: str
    samples: int


@dataclasses.dataclass(frozen=True)
class RuntimeNeed:
    """The engine's library: versions from ``min`` on, and below ``below`` where that is set."""

    name: str
    min: str
    below: str
    made_with: str


@dataclasses.dataclass(frozen=True)
class Needs:
    """What a host must have.

    Attributes:
        cpu: Flags as /proc/cpuinfo names them: every entry has to be met, by one of its flags.
        gpu: GPUs that an engine was built for (``"sm86"``), of which one is enough.
        runtime: The engine's library.
    """

    cpu: tuple[tuple[str, ...], ...]
    gpu: tuple[str, ...]
    runtime: RuntimeNeed


@dataclasses.dataclass(frozen=True)
class AccuracyFact:
    """What was measured when the artifact was compiled, and how."""

    metric: str
    value: float
    reference: float
    samples: int
    how: str


@dataclasses.dataclass(frozen=True)
class LatencyFact:
    """Median in nanoseconds, ratio to the source model with its interval, where and how."""

    p50_ns: float
    ratio: float
    interval: tuple[float, float]
    host: str
    how: str


@dataclasses.dataclass(frozen=True)
class Model:
    """One packed artifact; the attributes are the manifest's keys."""

    name: str
    target: str
    engine: str
    file: str
    digest: str
    needs: Needs
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    golden: tuple[GoldenPair, ...]
    passes: str = ""
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    session: Mapping[str, str] = dataclasses.field(default_factory=dict)
    source: Source | None = None
    calibration: Calibration | None = None
    accuracy: AccuracyFact | None = None
    latency: LatencyFact | None = None


@dataclasses.dataclass(frozen=True)
class FileEntry:
    """A file of the bundle: its SHA-256 and size."""

    sha256: str
    bytes: int


@dataclasses.dataclass(frozen=True)
class Manifest:
    """A bundle.

    Attributes:
        bmopt: Version that wrote it.
        name: What the bundle is called.
        platform: ``"x86_64-linux"`` or ``"aarch64-linux"``.
        models: In order of preference.
        files: Path -> entry, of every file but those in ``layout.UNLISTED``.
        preprocess: The pixel options of ``bmopt.data.preprocess.Preprocess`` that are set, and
            ``input``, the input that they are for; None where there are none.
        labels: Path of the file with one label a line; None without.
    """

    bmopt: str
    name: str
    platform: str
    models: tuple[Model, ...]
    files: Mapping[str, FileEntry]
    preprocess: Mapping[str, Any] | None = None
    labels: str | None = None
