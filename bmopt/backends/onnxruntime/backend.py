"""ONNX Runtime as a backend: artifacts are Q/DQ or float ONNX graphs for its CPU provider."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bmopt.backends.onnxruntime.schemes import SCHEMES, device_of, runs_on
from bmopt.core.backend import Executed
from bmopt.core.capabilities import Capabilities
from bmopt.core.host import Host, host_facts
from bmopt.core.plan import QuantPlan
from bmopt.core.runner import Runner
from bmopt.core.scheme import Scheme
from bmopt.core.target import Target
from bmopt.errors import TargetError

if TYPE_CHECKING:
    import onnx_ir as ir


class OnnxRuntimeBackend:
    """ONNX Runtime's CPU provider."""

    def probe(self, target: Target) -> Capabilities:
        """Say whether artifacts for ``target`` can be made and run here, and why not."""
        if importlib.util.find_spec("onnxruntime") is None:
            return Capabilities.none("ONNX Runtime is not installed (pip install onnxruntime)")
        version = _version()
        try:
            resolved = self.resolve(target)
        except TargetError as error:
            return Capabilities(compile=False, run=False, reason=str(error), version=version)
        reason = runs_on(resolved.device, _host()) if resolved.device else ""
        return Capabilities(compile=True, run=not reason, reason=reason, version=version)

    def resolve(self, target: Target) -> Target:
        """Return ``target`` with its device filled in where its artifact depends on one."""
        if target.precision == "fp32" or target.device:
            return target
        return dataclasses.replace(target, device=device_of(_host()))

    def scheme(self, target: Target) -> Scheme:
        """Return how a resolved INT8 target wants its integers."""
        return SCHEMES[target.device]

    def open(self, path: Path, *, threads: int = 0) -> Runner:
        """Open a compiled graph as it will be deployed."""
        from bmopt.backends.onnxruntime.session import SessionConfig, open_file

        return open_file(path, SessionConfig(threads=threads))

    def open_checked(self, model: ir.Model) -> Runner:
        """Open a model without ONNX Runtime's own optimisations."""
        from bmopt.backends.onnxruntime.session import open_plain

        return open_plain(model)

    def open_tapped(self, model: ir.Model, *, threads: int = 1) -> Runner:
        """Open a model with many extra outputs; what a run returns is valid until the next."""
        from bmopt.backends.onnxruntime.session import SessionConfig, open_model
        from bmopt.backends.onnxruntime.tapped import TappedRunner

        return TappedRunner(open_model(model, SessionConfig(threads=threads)))

    def explain(self, path: Path, plan: QuantPlan) -> Sequence[Executed]:
        """Return how ONNX Runtime runs the nodes that ``plan`` wants in integers."""
        from bmopt.backends.onnxruntime.explain import explain

        return explain(path, plan)


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
