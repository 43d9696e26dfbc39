"""Sessions on ONNX Runtime's GPU providers."""

from __future__ import annotations

import shutil
from pathlib import Path

from bmopt.backends.onnxruntime.engine_cache import engine_folder, timing_folder
from bmopt.backends.onnxruntime.libraries import PROVIDERS, lacks
from bmopt.backends.onnxruntime.providers import providers
from bmopt.backends.onnxruntime.session import KEEP_QDQ, OrtRunner, SessionConfig, open_file
from bmopt.core.engine import BuildOptions
from bmopt.core.host import host_facts
from bmopt.errors import HostError, ModelError, OutputError

RECORD_ASSIGNMENT = {"session.record_ep_graph_assignment_info": "1"}
_DAMAGED = "deserialize engine from cache"


def open_gpu(
    path: Path, device: str, *, threads: int = 0, build: BuildOptions | None = None
) -> OrtRunner:
    """Open an ``.onnx`` file on the providers of ``device``.

    A run copies its feeds to the GPU and its outputs back. TensorRT builds an engine here, or on
    the first run where the model has dynamic axes without a profile; the engine is kept.

    Raises:
        BuildError: The provider has no such build option.
        HostError: This host has no such device, or ONNX Runtime cannot use it.
        ModelError: ONNX Runtime refuses the model.
        OutputError: The engine's folder cannot be made.
    """
    if reason := lacks(device):
        raise HostError(f"{path}: does not run on {device} here: {reason}")
    config, engines = _config(path, device, threads, build or BuildOptions())
    try:
        runner = open_file(path, config)
    except ModelError as error:
        if engines is None or _DAMAGED not in str(error.__cause__):
            raise
        # Its key is all that it depends on, so a file that does not load was cut short.
        shutil.rmtree(engines, ignore_errors=True)
        _make(engines)
        runner = open_file(path, config)
    _require_provider(path, device, runner)
    return runner


def _config(
    path: Path, device: str, threads: int, build: BuildOptions
) -> tuple[SessionConfig, Path | None]:
    """Return how to open the session, and the folder of its engines where there are any."""
    if device == "cuda":
        wanted = providers(device, build, Path(), Path())
        return SessionConfig(threads, providers=wanted, entries=RECORD_ASSIGNMENT), None
    gpu = host_facts().gpus[0]
    engines, timings = engine_folder(path, build, gpu), timing_folder(gpu)
    _make(engines)
    _make(timings)
    config = SessionConfig(
        threads,
        # TensorRT optimises by itself, and names of nodes stay what they are.
        level="off",
        providers=providers(device, build, engines, timings),
        entries={**RECORD_ASSIGNMENT, **KEEP_QDQ},
    )
    return config, engines


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be made ({error.strerror}); set BMOPT_CACHE_DIR"
        ) from error


def _require_provider(path: Path, device: str, runner: OrtRunner) -> None:
    """Raise where ONNX Runtime went on without the provider, which it only logs."""
    wanted = PROVIDERS[device][0]
    got = runner.session.get_providers()
    if wanted not in got:
        raise HostError(
            f"{path}: ONNX Runtime could not start {wanted} and would run it on "
            f"{', '.join(got)}: check the NVIDIA driver and the CUDA, cuDNN and TensorRT versions"
        )
