"""Builds engines in a child process, and says in one line what went wrong there."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

from bmopt.backends.nvinfer import sdk
from bmopt.backends.nvinfer.build_log import cause_in, read_log, warnings_in
from bmopt.backends.nvinfer.build_spec import BuildOutcome, BuildSpec, check_options
from bmopt.backends.nvinfer.inspector import parse_inspection
from bmopt.backends.nvinfer.layers import read_layers
from bmopt.backends.nvinfer.own_gpus import own_sms
from bmopt.core.build_child import Progress, build_apart, require_built
from bmopt.core.engine import BuildOptions, EngineBuild, Kernel
from bmopt.core.files import atomic_file
from bmopt.core.target import Target
from bmopt.errors import HostError

_WORKER = "bmopt.backends.nvinfer.worker"
_FILES = {"trt": "engine.plan", "rtx": "engine.rtx"}


@dataclasses.dataclass(frozen=True)
class NvinferBuilder:
    """Builds engines of ``trt`` or ``rtx``."""

    engine: str

    @property
    def engine_file(self) -> str:
        """Name of the engine's file in an artifact."""
        return _FILES[self.engine]

    def build(
        self,
        graph: Path,
        out: Path,
        target: Target,
        options: BuildOptions,
        progress: Progress | None = None,
    ) -> EngineBuild:
        """Build the engine of the ``.onnx`` file ``graph`` into the file ``out``.

        ``progress`` is told (steps done, steps in all).

        Raises:
            BuildError: The engine refuses the model or the options; the message names the node.
            HostError: The SDK is not installed or does not work here.
            IsolatedToolError: The build died or ran out of time.
            OutputError: ``out`` cannot be written.
        """
        check_options(target, options)
        if not sdk.find(self.engine):
            raise HostError(sdk.missing(self.engine))
        with tempfile.TemporaryDirectory(prefix="bmopt-build-") as folder:
            with atomic_file(out) as scratch:
                spec = self._spec(graph, scratch, Path(folder), target, options)
                outcome = _run(spec, progress)
            return _build_of(spec, outcome, out)

    def _spec(
        self, graph: Path, out: Path, folder: Path, target: Target, options: BuildOptions
    ) -> BuildSpec:
        if options.timing_cache:
            path = str(Path(options.timing_cache).absolute())
            options = dataclasses.replace(options, timing_cache=path)
        places = (graph.absolute(), out.absolute(), folder.absolute())
        return BuildSpec(self.engine, *places, target.devices, options)


def _run(spec: BuildSpec, progress: Progress | None) -> BuildOutcome:
    text = build_apart(
        _WORKER,
        spec.to_json(),
        spec.outcome,
        name=f"building with {spec.name}",
        timeout_s=spec.options.timeout_s,
        progress=progress,
        cause=lambda: cause_in(read_log(spec.log)),
    )
    outcome = BuildOutcome.from_json(text)
    require_built(outcome.error, outcome.message)
    return outcome


def _build_of(spec: BuildSpec, outcome: BuildOutcome, out: Path) -> EngineBuild:
    log = read_log(spec.log)
    return EngineBuild(
        engine=sdk.SDK_MODULES[spec.engine],
        version=outcome.version,
        # CUDA's first, which the builder's process used.
        devices=spec.devices or own_sms()[:1],
        seconds=outcome.seconds,
        size_bytes=out.stat().st_size,
        kernels=_kernels(spec, log),
        warnings=tuple(dict.fromkeys((*outcome.warnings, *warnings_in(log)))),
    )


def _kernels(spec: BuildSpec, log: list[tuple[str, str]]) -> tuple[Kernel, ...]:
    if spec.inspection.is_file():
        kernels = parse_inspection(spec.inspection.read_text(encoding="utf-8"))
        if kernels:
            return kernels
    return read_layers(log)
