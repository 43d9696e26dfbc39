"""A stand-in for TensorRT on a host that has it: engines are files that ONNX Runtime runs.

What is tested with it is who calls what, in which order, and what is written; never a figure.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bmopt.backends.nvinfer.backend import NvinferBackend
from bmopt.backends.onnxruntime.backend import OnnxRuntimeBackend
from bmopt.core.backend import Executed
from bmopt.core.capabilities import Capabilities
from bmopt.core.engine import BuildOptions, EngineBuild, Kernel
from bmopt.core.plan import QuantPlan
from bmopt.core.runner import Runner
from bmopt.core.scheme import Scheme
from bmopt.core.target import Target
from bmopt.workflow import api, artifact, auditing, building, preparing


@dataclasses.dataclass
class EngineDouble:
    """Both backend and builder."""

    builds: list[tuple[Target, BuildOptions]] = dataclasses.field(default_factory=list)
    opened: list[tuple[str, Target]] = dataclasses.field(default_factory=list)
    engine_file: str = "engine.plan"

    @property
    def builder(self) -> EngineDouble:
        return self

    def probe(self, target: Target) -> Capabilities:
        return Capabilities(compile=True, run=True, version="11.0")

    def resolve(self, target: Target) -> Target:
        return target

    def scheme(self, target: Target) -> Scheme:
        return NvinferBackend("trt").scheme(target)

    def build(
        self,
        graph: Path,
        out: Path,
        target: Target,
        options: BuildOptions,
        progress: Callable[[int, int], None] | None = None,
    ) -> EngineBuild:
        self.builds.append((target, options))
        shutil.copyfile(graph, out)
        return EngineBuild("double", "11.0", ("sm90",), 0.1, out.stat().st_size, ())

    def open(
        self,
        path: Path,
        target: Target,
        *,
        threads: int = 0,
        options: BuildOptions | None = None,
    ) -> Runner:
        self.opened.append((path.name, target))
        return OnnxRuntimeBackend().open_graph(path, threads=1, keep_qdq=True)

    def explain(
        self, graph: Path, plan: QuantPlan, kernels: Sequence[Kernel]
    ) -> Sequence[Executed]:
        return [Executed(name, "kernel", integer=True, dtype="int8") for name in plan.integer]


def with_double(monkeypatch: pytest.MonkeyPatch) -> EngineDouble:
    """Put the double behind every trt target."""
    double = EngineDouble()
    real = preparing.backend_for

    def backend_for(target: Target) -> Any:
        return double if target.engine == "trt" else real(target)

    for module in (api, artifact, auditing, building, preparing):
        monkeypatch.setattr(module, "backend_for", backend_for)
    return double
