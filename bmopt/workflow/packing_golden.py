"""Golden outputs of an artifact that goes into a bundle: recorded, and answered once more."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import onnx_ir as ir

from bmopt.backends.onnxruntime.schemes import device_of
from bmopt.backends.registry import backend_for, reference
from bmopt.bundle import golden
from bmopt.bundle.steps import output_steps
from bmopt.core.host import host_facts
from bmopt.core.runner import Feeds, Runner
from bmopt.core.target import Target
from bmopt.errors import ArtifactError, BundleError, ModelError, TargetError
from bmopt.graph.model_io import save_model
from bmopt.graph.quantized import is_quantized
from bmopt.optimizer.casting.emulation import emulate_bfloat16, has_bfloat16
from bmopt.workflow import artifact
from bmopt.workflow.engines import MODEL
from bmopt.workflow.half_feeds import half_inputs, narrowed
from bmopt.workflow.packed_artifact import Packed
from bmopt.workflow.packing_pixels import class_tolerance, plain_feeds, recorded_again
from bmopt.workflow.progress import Progress

_LIKELY_WRONG = 0.5
"""A tolerance that is this part of an output's range tells nothing any more."""


def recorded_in(packed: Packed, model: Path) -> golden.Recorded:
    """Return an artifact's golden tensors, as the packed model takes them.

    Those of a graph that more was added to are recorded from it, in the file ``model``.

    Raises:
        ArtifactError: There are none, or they are damaged.
    """
    pairs: list[tuple[Feeds, Feeds]] = [*artifact.read_golden(packed.path)]
    if not pairs:
        raise ArtifactError(f"{packed.path}: has no golden outputs; compile again")
    types = half_inputs(packed.plain)
    source = "artifact" if packed.manifest.get("golden") == "artifact" else "graph"
    kept = [(narrowed(feeds, types), answers) for feeds, answers in pairs]
    if packed.folded is not None:
        kept, source = recorded_again(packed, kept, model)
    steps = output_steps(packed.graph)
    quantised = is_quantized(packed.graph)
    return golden.Recorded(kept, steps, _floor(packed), source, quantised)


def allowed_in(packed: Packed, recorded: golden.Recorded) -> dict[str, float]:
    """Return output name -> tolerance, by what other valid ways make of the same inputs.

    Pixels are prepared outside for that, since floats can be moved by less than a step. Classes
    of a top-k may be those of any scores that are as close as twice the scores' tolerance.

    Raises:
        BundleError: ONNX Runtime takes the graph in no way, or no tolerance holds.
    """
    pairs = [(plain_feeds(packed, feeds), answers) for feeds, answers in recorded.pairs]
    with opened_ways(packed) as runners:
        allowed = golden.tolerances(
            dataclasses.replace(recorded, pairs=pairs), [runner.run for runner in runners]
        )
    return {**allowed, **class_tolerance(packed, pairs, allowed)}


def _floor(packed: Packed) -> float:
    """Return the part of an output's range that rounding may take: GPUs use TF32 for float32."""
    dtypes = {
        value.dtype
        for node in packed.graph.graph
        for value in node.outputs
        if value.dtype is not None
    }
    if ir.DataType.BFLOAT16 in dtypes or packed.target.precision == "bf16":
        return golden.FLOORS["bfloat16"]
    if ir.DataType.FLOAT16 in dtypes or packed.target.on_gpu:
        return golden.FLOORS["float16"]
    return golden.FLOORS["float32"]


@contextlib.contextmanager
def opened_ways(packed: Packed) -> Iterator[list[Runner]]:
    """Yield the graph with float inputs opened in other valid ways: ``bmopt.bundle.golden``.

    Raises:
        BundleError: ONNX Runtime takes it in none of them.
    """
    engine = reference()
    with tempfile.TemporaryDirectory(prefix="bmopt-") as scratch, contextlib.ExitStack() as stack:
        path, graph = packed.path / MODEL, packed.plain
        if has_bfloat16(graph) or packed.folded is not None:
            path = Path(scratch) / MODEL
            graph = emulate_bfloat16(graph) if has_bfloat16(graph) else graph
            save_model(graph, path)
        ways: list[Callable[[], Runner]] = [
            lambda: engine.open_checked(graph),
            lambda: engine.open_graph(path, keep_qdq=True),
        ]
        if _has_right_kernels(packed.target):
            ways.append(lambda: engine.open_graph(path))
        yield [stack.enter_context(runner) for runner in _taken(ways, packed.path)]


def _taken(ways: Sequence[Callable[[], Runner]], where: Path) -> list[Runner]:
    """Return the runners of those ways in which ONNX Runtime takes the graph."""
    runners: list[Runner] = []
    refusal: ModelError | None = None
    for open_way in ways:
        try:
            runners.append(open_way())
        except ModelError as error:  # noqa: PERF203 - three ways at most
            refusal = error
    if not runners:
        raise BundleError(
            f"{where}: nothing here runs its graph, so that no tolerance is known ({refusal})"
        ) from refusal
    return runners


def _has_right_kernels(target: Target) -> bool:
    """Whether this host's kernels compute what the graph says: none that saturate, no float8."""
    if target.precision == "fp8":
        return False
    if target.engine == "ort" and backend_for(target).probe(target).run:
        return True
    try:
        return device_of(host_facts(query_gpus=str)) not in ("x86-avx2", "x86-avx512")
    except TargetError:
        return False


def warn_of_loose(
    packed: Packed, recorded: golden.Recorded, allowed: Mapping[str, float], progress: Progress
) -> None:
    """Tell where a tolerance is so wide that an output is hardly checked."""
    ranking = None if packed.folded is None else packed.folded.ranking
    for name, tolerance in allowed.items():
        if ranking is not None and name == ranking.classes:
            continue  # Close scores are common, and are checked themselves.
        reach = max(golden.magnitude(pair[1][name]) for pair in recorded.pairs)
        if tolerance > _LIKELY_WRONG * reach:
            progress.warn(
                f"{packed.path}: valid engines answer output {name!r} so differently (tolerance "
                f"{tolerance:g}, largest value {reach:g}) that its golden outputs tell little"
            )
