"""TensorRT and TensorRT-RTX as backends: artifacts are engines that they build."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from bmopt.backends.nvinfer import sdk
from bmopt.backends.nvinfer.builder import NvinferBuilder
from bmopt.backends.nvinfer.own_gpus import bindings_package, own_sms
from bmopt.core.backend import Executed
from bmopt.core.cache_folder import cache_folder
from bmopt.core.capabilities import Capabilities
from bmopt.core.digest import of_file
from bmopt.core.engine import BuildOptions, Kernel
from bmopt.core.plan import QuantPlan
from bmopt.core.runner import Runner
from bmopt.core.scheme import Scheme
from bmopt.core.target import DEVICES, Target

_USUAL_DEVICES = ("sm80", "sm86", "sm89", "sm120")
"""What TensorRT-RTX builds for where no GPU says otherwise; sm75 would slow the others down."""

_RTX_DEVICES = "rtx-fp32"
"""The target that every GPU of TensorRT-RTX can run."""

_OLDEST = (10, 3)
"""The TensorRT of JetPack 6, whose bindings have all that is called; those of 10.0 have not."""


@dataclasses.dataclass(frozen=True)
class NvinferBackend:
    """The engine ``trt`` (TensorRT) or ``rtx`` (TensorRT-RTX)."""

    engine: str

    @property
    def builder(self) -> NvinferBuilder:
        """What builds its engines."""
        return NvinferBuilder(self.engine)

    def probe(self, target: Target) -> Capabilities:
        """Say what can be done here; the graph that an engine is built from always can be."""
        version = sdk.version(self.engine) if sdk.find(self.engine) else ""
        no_build = self._why_not_build()
        no_run = no_build or self._why_not_run(target)
        reason = f"{no_run}: engines are built here and run elsewhere" if no_run else ""
        if no_build:
            reason = f"{no_build}: the graph is made here, its engine on the device"
        return Capabilities(
            compile=True, build=not no_build, run=not no_run, reason=reason, version=version
        )

    def _why_not_build(self) -> str:
        if not sdk.find(self.engine):
            return sdk.missing(self.engine)
        if self.engine == "rtx":
            return ""
        release = sdk.release(self.engine)
        if release and release < _OLDEST:
            oldest = ".".join(map(str, _OLDEST))
            return f"TensorRT {sdk.version(self.engine)} is too old ({oldest} or newer)"
        return "" if own_sms() else "TensorRT finds no NVIDIA GPU"

    def _why_not_run(self, target: Target) -> str:
        own = own_sms()
        if not own:
            return "no NVIDIA GPU"
        devices = self.resolve(target).devices
        if devices and own[0] not in devices:
            return _another_gpu(own, target)
        if not _has_cuda_bindings():
            return f"cuda.bindings is not installed (pip install '{bindings_package()}')"
        return ""

    def resolve(self, target: Target) -> Target:
        """Return ``target`` with the GPUs that TensorRT-RTX is to build for.

        TensorRT builds for the GPU at hand, so its targets name none.
        """
        if self.engine != "rtx" or target.device:
            return target
        known = DEVICES[target.head]
        own = [sm for sm in dict.fromkeys(own_sms()) if sm in known]
        usual = [sm for sm in _USUAL_DEVICES if sm in known]
        return dataclasses.replace(target, device="+".join(own or usual))

    def scheme(self, target: Target) -> Scheme:
        """Return how an 8-bit target wants its values."""
        from bmopt.backends.nvinfer.schemes import scheme_for

        return scheme_for(self.engine, target.precision, target.devices)

    def open(
        self,
        path: Path,
        target: Target,
        *,
        threads: int = 0,
        options: BuildOptions | None = None,
    ) -> Runner:
        """Open an engine file; ``threads`` means nothing on a GPU.

        An engine for other versions brings a runtime of its own, which is let run: the artifact's
        digest has been checked.

        Raises:
            ArtifactError: The file is damaged, or of another version or GPU.
            HostError: This host cannot run it.
        """
        from bmopt.backends.nvinfer.runtime import open_engine

        engine: Literal["rtx", "trt"] = "rtx" if self.engine == "rtx" else "trt"
        options = options or BuildOptions()
        return open_engine(
            path,
            engine,
            cuda_graph=options.cuda_graph,
            host_code=options.compat == "version",
            cache=_runtime_cache(path) if self.engine == "rtx" else None,
            dla=options.dla,
        )

    def explain(
        self, graph: Path, plan: QuantPlan, kernels: Sequence[Kernel]
    ) -> Sequence[Executed]:
        """Return how the nodes run that ``plan`` wants in 8 bits, from a build's ``kernels``."""
        from bmopt.backends.nvinfer.audit import explain

        return explain(graph, plan, kernels)


def _runtime_cache(path: Path) -> Path:
    """Return where kernels that TensorRT-RTX compiles on the GPU are kept for this engine."""
    digest = of_file(path)
    return cache_folder() / "rtx" / digest[:2] / digest


def _another_gpu(own: Sequence[str], target: Target) -> str:
    """Return that engines for ``target`` do not run on the GPU that CUDA uses."""
    if own[0] not in DEVICES[_RTX_DEVICES]:
        return (
            f"the GPU here is {own[0]}, which TensorRT-RTX does not support "
            f"(trt-{target.precision} does)"
        )
    if len(own) > 1:
        return f"CUDA's first GPU here is {own[0]} (CUDA_VISIBLE_DEVICES chooses another)"
    return f"the GPU here is {own[0]}"


def _has_cuda_bindings() -> bool:
    try:
        return importlib.util.find_spec("cuda.bindings") is not None
    except ModuleNotFoundError:
        return False
