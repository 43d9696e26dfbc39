"""The program that builds one engine: ``python -m bmopt.backends.nvinfer.worker SPEC.json``.

A process of its own, because the SDK may crash, hang, or take all the memory, and prints what it
likes. It says how far it is on standard output, and how it ended in the spec's outcome file: an
outcome is written whenever the SDK answered, also when it refused.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from bmopt.backends.nvinfer import build_log, sdk, worker_config, worker_network
from bmopt.backends.nvinfer.build_spec import BuildOutcome, BuildSpec
from bmopt.backends.nvinfer.native import Native
from bmopt.backends.nvinfer.sdk_log import sdk_logger
from bmopt.backends.nvinfer.worker_progress import ProgressWriter, monitor
from bmopt.core.build_child import own_stdout
from bmopt.errors import BuildError, HostError

_UNTOLD = "TensorRT does not describe this engine, so its kernels are not known"
_LEAN = "libnvinfer_lean"
_LEAN_ADVICE = (
    "; a version-compatible engine contains that library: put the one of this version on the "
    "loader's path, or leave --compat version out"
)
_INSIDE_ADVICE = (
    "; this is a failure inside it, not a rule that the model breaks: try another version of it, "
    "--shapes with fixed sizes, or a target of ONNX Runtime (ort-...)"
)


def main(path: Path) -> None:
    """Build what the spec in the file ``path`` asks for."""
    spec = BuildSpec.from_json(path.read_text(encoding="utf-8"))
    try:
        outcome = build(spec, own_stdout())
    except (BuildError, HostError) as error:
        outcome = BuildOutcome(error=type(error).__name__, message=str(error))
    spec.outcome.write_text(outcome.to_json(), encoding="utf-8")


def build(spec: BuildSpec, progress: TextIO) -> BuildOutcome:
    """Write the engine and what it is made of.

    Raises:
        BuildError: The engine refuses the model or the options.
        HostError: It cannot be built on this host.
    """
    module = sdk.load(spec.engine)
    with spec.log.open("w", encoding="utf-8") as file:
        logger = sdk_logger(module, build_log.BuildLog(file))
        start_ns = time.monotonic_ns()
        warnings = _build(module, logger, spec, ProgressWriter(progress))
        seconds = (time.monotonic_ns() - start_ns) / 1e9
        return BuildOutcome(str(module.__version__), seconds, warnings=warnings)


def _build(
    module: Native, logger: Native, spec: BuildSpec, progress: ProgressWriter
) -> tuple[str, ...]:
    if hasattr(module, "init_libnvinfer_plugins"):
        module.init_libnvinfer_plugins(logger, "")
    builder = _builder(module, logger, spec)
    # The parser owns weights that the network points to.
    network, _parser = worker_network.parse(module, builder, logger, spec)
    config = worker_config.configure(module, builder, spec)
    usual = worker_network.add_profiles(builder, network, config, spec.options.profiles)
    warnings = [_read_timings(config, spec)]
    # The configuration does not keep the monitor alive.
    watcher = monitor(module, progress)
    config.progress_monitor = watcher
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BuildError(_failure(spec))
    spec.out.write_bytes(memoryview(plan))
    worker_config.flush_to_disk(spec.out)
    if spec.options.timing_cache:
        path = Path(spec.options.timing_cache)
        warnings.append(worker_config.write_timing_cache(config, path))
    if spec.engine == "trt":
        warnings.append(_inspect(module, logger, spec, plan, usual))
    return tuple(text for text in warnings if text)


def _builder(module: Native, logger: Native, spec: BuildSpec) -> Native:
    try:
        return module.Builder(logger)
    except TypeError as error:
        # What the bindings make of a null pointer.
        cause = build_log.cause_in(build_log.read_log(spec.log)) or "no reason given"
        raise HostError(
            f"{spec.name} does not start here ({cause}); check the driver with nvidia-smi"
        ) from error


def _read_timings(config: Native, spec: BuildSpec) -> str:
    if not spec.options.timing_cache:
        return ""
    return worker_config.read_timing_cache(config, Path(spec.options.timing_cache))


def _failure(spec: BuildSpec) -> str:
    cause = build_log.cause_in(build_log.read_log(spec.log))
    advice = _LEAN_ADVICE if _LEAN in cause else ""
    if build_log.fails_inside(cause):
        advice = _INSIDE_ADVICE
    return f"{spec.name} cannot build the engine: {cause or 'it gives no reason'}{advice}"


def _inspect(
    module: Native,
    logger: Native,
    spec: BuildSpec,
    plan: Native,
    usual: Mapping[str, tuple[int, ...]],
) -> str:
    """Write what the engine's inspector says; return a warning or nothing."""
    runtime = module.Runtime(logger)
    if spec.options.compat == "version":
        # Such a plan carries the code of its runtime; this one is our own.
        runtime.engine_host_code_allowed = True
    if spec.options.dla is not None:
        runtime.DLA_core = spec.options.dla
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        return "the engine cannot be opened here, so its kernels are not known"
    inspector = engine.create_engine_inspector()
    if inspector is None:
        return _UNTOLD
    context = _context(engine, usual)
    if context is not None:
        inspector.execution_context = context
    text = inspector.get_engine_information(module.LayerInformationFormat.JSON)
    if not text:
        return _UNTOLD
    spec.inspection.write_text(text, encoding="utf-8")
    return ""


def _context(engine: Native, usual: Mapping[str, tuple[int, ...]]) -> Native:
    """Return a context with the usual shapes, without which dynamic layers tell no types."""
    if not usual:
        return None
    context = engine.create_execution_context()
    for name, shape in usual.items():
        if context is not None:
            context.set_input_shape(name, shape)
    return context


if __name__ == "__main__":
    main(Path(sys.argv[1]))
