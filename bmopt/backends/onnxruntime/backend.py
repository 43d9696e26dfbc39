"""ONNX Runtime as a backend: artifacts are Q/DQ or float ONNX graphs for its providers."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bmopt.backends.onnxruntime.schemes import SCHEMES, device_of, runs_on
from bmopt.core.backend import Executed
from bmopt.core.capabilities import Capabilities
from bmopt.core.engine import BuildOptions, Kernel
from bmopt.core.host import Host, host_facts
from bmopt.core.plan import QuantPlan
from bmopt.core.profile import LayerProfile
from bmopt.core.runner import Feeds, Runner
from bmopt.core.scheme import Scheme
from bmopt.core.target import Target
from bmopt.errors import TargetError

if TYPE_CHECKING:
    import onnx_ir as ir

GPU_DEVICES = ("cuda", "tensorrt")
"""Devices that are no class of processor but providers."""


class OnnxRuntimeBackend:
    """ONNX Runtime's CPU provider, and its providers for NVIDIA GPUs where a device is named."""

    builder = None

    def probe(self, target: Target) -> Capabilities:
        """Say whether artifacts for ``target`` can be made and run here, and why not."""
        if importlib.util.find_spec("onnxruntime") is None:
            return Capabilities.none("ONNX Runtime is not installed (pip install onnxruntime)")
        version = _version()
        try:
            resolved = self.resolve(target)
        except TargetError as error:
            return dataclasses.replace(Capabilities.none(str(error)), version=version)
        reason = _runs_not(resolved.device)
        return Capabilities(compile=True, run=not reason, reason=reason, version=version)

    def resolve(self, target: Target) -> Target:
        """Return ``target`` with its device filled in where its artifact depends on one.

        Raises:
            TargetError: No device is named, and this host's processor has none for it.
        """
        if target.device or target.precision == "fp32":
            return target
        if target.precision == "fp16":
            raise TargetError(
                "ort-fp16 needs a device: ort-fp16:cuda or ort-fp16:tensorrt; float16 is slower "
                "than float32 on CPUs"
            )
        return dataclasses.replace(target, device=device_of(_host()))

    def scheme(self, target: Target) -> Scheme:
        """Return how a resolved INT8 target wants its integers."""
        if target.device == "tensorrt":
            from bmopt.backends.nvinfer.schemes import SCHEMES as NVINFER_SCHEMES

            return NVINFER_SCHEMES[target.precision]
        return SCHEMES[target.device]

    def open(
        self,
        path: Path,
        target: Target,
        *,
        threads: int = 0,
        options: BuildOptions | None = None,
    ) -> Runner:
        """Open a compiled graph as it will be deployed."""
        if target.device not in GPU_DEVICES:
            return self.open_graph(path, threads=threads)
        from bmopt.backends.onnxruntime.gpu_session import open_gpu

        return open_gpu(path, target.device, threads=threads, build=options)

    def open_graph(self, path: Path, *, threads: int = 0, keep_qdq: bool = False) -> Runner:
        """Open an ``.onnx`` file with all of ONNX Runtime's optimisations, on the CPU."""
        from bmopt.backends.onnxruntime.session import KEEP_QDQ, SessionConfig, open_file

        config = SessionConfig(threads=threads)
        if keep_qdq:
            # Above the basic level float8 graphs come out wrong (ONNX Runtime 1.31).
            config = dataclasses.replace(config, level="basic", entries=KEEP_QDQ)
        return open_file(path, config)

    def ready(self) -> None:
        """Import ONNX Runtime."""
        importlib.import_module("bmopt.backends.onnxruntime.session")

    def profile_graph(
        self, path: Path, feeds: Sequence[Feeds], *, threads: int = 0, seconds: float = 5.0
    ) -> LayerProfile:
        """Return where the time goes when an ``.onnx`` file runs on the CPU."""
        from bmopt.backends.onnxruntime.profile import profile_model
        from bmopt.graph.model_io import load_model

        return profile_model(load_model(path), feeds, threads=threads, seconds=seconds)

    def open_checked(self, model: ir.Model) -> Runner:
        """Open a model without ONNX Runtime's own optimisations."""
        from bmopt.backends.onnxruntime.session import open_plain

        return open_plain(model)

    def open_tapped(self, model: ir.Model, *, threads: int = 1) -> Runner:
        """Open a model with many extra outputs; what a run returns is valid until the next."""
        from bmopt.backends.onnxruntime.session import SessionConfig, open_model
        from bmopt.backends.onnxruntime.tapped import TappedRunner

        return TappedRunner(open_model(model, SessionConfig(threads=threads)))

    def explain(
        self, graph: Path, plan: QuantPlan, kernels: Sequence[Kernel]
    ) -> Sequence[Executed]:
        """Return how ONNX Runtime runs the nodes that ``plan`` wants in integers.

        ``kernels`` are those that TensorRT-RTX made of the graph, where it was asked for what
        TensorRT would make; they are not looked at for a plan for the CPU.
        """
        if plan.scheme in SCHEMES:
            from bmopt.backends.onnxruntime.explain import explain

            return explain(graph, plan)
        from bmopt.backends.onnxruntime.explain_gpu import explain_tensorrt

        return explain_tensorrt(graph, plan, kernels)


def _runs_not(device: str) -> str:
    """Return why an artifact for ``device`` is not run here; empty where it is."""
    if not device:
        return ""
    if device not in GPU_DEVICES:
        return runs_on(device, _host())
    from bmopt.backends.onnxruntime.libraries import lacks

    return lacks(device)


def _host() -> Host:
    """Return this host's facts without its GPUs, which a CPU provider does not depend on."""
    return host_facts(query_gpus=str)


def _version() -> str:
    try:
        return importlib.metadata.version("onnxruntime")
    except importlib.metadata.PackageNotFoundError:
        # Builds for accelerators have other package names around the same module.
        import onnxruntime

        return str(onnxruntime.__version__)
