"""ONNX Runtime's CPU provider in place of an engine that this host cannot run."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bmopt.core.backend import Reference
from bmopt.core.runner import Runner
from bmopt.core.target import Target
from bmopt.graph.model_io import load_model, save_model
from bmopt.graph.quantized import is_quantized
from bmopt.optimizer.casting.emulation import emulate_bfloat16, has_bfloat16


def open_stand_in(engine: Reference, graph: Path, target: Target, *, threads: int = 0) -> Runner:
    """Open ``graph``, made for ``target``, so that it answers as the target's engine would.

    Q/DQ nodes round as they are written. bfloat16, which the CPU provider has few kernels for, is
    emulated: every value is rounded to it, and computed on in float32.

    Raises:
        ModelError: ONNX Runtime refuses the graph.
    """
    keep_qdq = is_foreign(target)
    model = load_model(graph)
    if not has_bfloat16(model):
        return engine.open_graph(graph, threads=threads, keep_qdq=keep_qdq)
    with tempfile.TemporaryDirectory(prefix="bmopt-") as folder:
        path = Path(folder) / graph.name
        save_model(emulate_bfloat16(model), path)
        return engine.open_graph(path, threads=threads, keep_qdq=keep_qdq)


def open_source(engine: Reference, path: Path, target: Target) -> Runner:
    """Open a source model as ``target``'s engine would run it, if it came quantised for one.

    Raises:
        ModelError: ONNX Runtime refuses the model.
    """
    if is_foreign(target) and is_quantized(load_model(path)):
        return open_stand_in(engine, path, target)
    return engine.open_graph(path)


def is_foreign(target: Target) -> bool:
    """Whether a target's graphs are for another engine than ONNX Runtime's CPU provider."""
    return target.engine != "ort" or target.device in ("cuda", "tensorrt")
