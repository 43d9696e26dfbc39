"""Whether an engine takes a model as it is meant: linted always, audited where a build tells."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir

from bmopt.backends.registry import backend_for, linter_for
from bmopt.core.backend import Executed
from bmopt.core.engine import BuildOptions, EngineBuild
from bmopt.core.finding import Finding
from bmopt.core.plan import QuantPlan
from bmopt.core.target import DEVICES, QUANTIZED, Target
from bmopt.errors import BmoptError, BuildError
from bmopt.graph.model_io import load_model
from bmopt.graph.products import multiply_adds, product_of
from bmopt.workflow.engines import MODEL
from bmopt.workflow.preparing import Job
from bmopt.workflow.shapes import engine_profiles

_STAND_IN = "rtx"


@dataclasses.dataclass(frozen=True)
class Audit:
    """What a build says of the nodes that a plan wants in 8 bits.

    Attributes:
        build: The build; of TensorRT-RTX where the target's own engine cannot be built here.
        executed: How each of them runs.
    """

    build: EngineBuild
    executed: tuple[Executed, ...]


def refusals_in(log: Mapping[str, Any]) -> dict[str, str]:
    """Return node -> why a pass left it as it is, from a pipeline's log as JSON values."""
    entries = (one for record in log.get("records", ()) for one in record["refusals"])
    return {one["node"]: one["reason"] for one in entries}


def with_reasons(findings: Iterable[Finding], refusals: Mapping[str, str]) -> list[Finding]:
    """Return findings that say why no pass removed what they are about."""
    return [
        dataclasses.replace(found, message=f"{found.message}, and it {refusals[found.node]}")
        if found.node in refusals and found.rule.level == "error"
        else found
        for found in findings
    ]


def require_lint(
    job: Job, model: ir.Model, refusals: Mapping[str, str] | None = None
) -> list[Finding]:
    """Return what the target's linter finds, none where it has no linter.

    Args:
        job: The compilation.
        model: The model that the engine is to be built of.
        refusals: Node -> why a pass left it as it is.

    Raises:
        BuildError: The engine would refuse the model.
    """
    linter = linter_for(job.target)
    if linter is None:
        return []
    findings = with_reasons(linter(model, job.target), refusals or {})
    errors = [found for found in findings if found.rule.level == "error"]
    if not errors:
        return findings
    first = errors[0]
    more = f" (and {_others(job, errors)})" if len(errors) > 1 else ""
    where = f"node {first.node!r}: " if first.node else ""
    what = f"{where}{first.message} [{first.rule.id}]{more}; {first.fix}{_rewriting(job)}"
    if job.target.engine != "ort":
        raise BuildError(f"{job.path}: {job.target} would refuse it: {what}")
    # ONNX Runtime gives what TensorRT refuses to the next provider.
    job.progress.warn(f"TensorRT would leave a part to another provider: {what}")
    return findings


def _others(job: Job, errors: Sequence[Finding]) -> str:
    """Return what else there is: for TVM, which names ops, each of them once."""
    if job.target.engine != "tvm":
        return f"{len(errors) - 1} more"
    firsts = {found.message: found for found in reversed(errors)}
    firsts.pop(errors[0].message)
    told = [f"{found.node!r}: {text}" for text, found in sorted(firsts.items())]
    rest = len(errors) - 1 - len(told)
    return "; ".join([*told, *([f"{rest} more like these"] if rest else [])])


def _rewriting(job: Job) -> str:
    """Return which target rewrites what a model comes with that was quantised for another."""
    if not job.is_quantized or job.target.precision in QUANTIZED:
        return ""
    halves = {"fp16": " --float fp16", "bf16": " --float bf16"}
    target = dataclasses.replace(job.target, precision="int8")
    return f", or let --target {target}{halves.get(job.target.precision, '')} rewrite it"


def audit(
    job: Job, folder: Path, plan: QuantPlan, built: EngineBuild | None, options: BuildOptions
) -> Audit | None:
    """Return how the plan's nodes run in the engine, None where nothing here can tell.

    An engine that cannot be built on this host, or that does not tell its kernels, is stood in for
    by TensorRT-RTX, whose parser and kernels are of the same family, and which needs no GPU.
    """
    graph = folder / MODEL
    if built is not None and built.kernels:
        return Audit(built, tuple(job.backend.explain(graph, plan, built.kernels)))
    target = _stand_in(job.target)
    backend = backend_for(target)
    if not backend.probe(target).build or backend.builder is None:
        return None
    with tempfile.TemporaryDirectory(prefix="bmopt-") as scratch:
        out = Path(scratch) / backend.builder.engine_file
        try:
            # ONNX Runtime needs no profiles, but what stands in for its provider does.
            profiles = engine_profiles(load_model(graph), options.profiles, job.batch_size)
            plain = BuildOptions(profiles=profiles, timeout_s=options.timeout_s)
            built = backend.builder.build(graph, out, target, plain)
        except BmoptError as error:
            job.progress.warn(f"TensorRT-RTX, which stands in for {job.target}, says: {error}")
            return None
    return Audit(built, tuple(backend.explain(graph, plan, built.kernels)))


def _stand_in(target: Target) -> Target:
    devices = DEVICES[f"{_STAND_IN}-{target.precision}"]
    return Target(_STAND_IN, target.precision, next(d for d in ("sm86", "sm89") if d in devices))


def integer_work(model: ir.Model, plan: QuantPlan, executed: Sequence[Executed]) -> float | None:
    """Return the share of the multiply-adds marked 8-bit that are seen running so.

    Products of unknown shape count with the size of their weight. None where none is marked.
    """
    runs = {entry.node for entry in executed if entry.integer}
    marked = seen = 0
    for node in model.graph:
        product = product_of(node) if (node.name or "") in plan.weights else None
        if product is not None:
            work = multiply_adds(product) or product.weight().size
            marked += work
            seen += work if (node.name or "") in runs else 0
    return seen / marked if marked else None


def fallbacks(job: Job, graph: Path, options: BuildOptions) -> dict[str, str]:
    """Return node -> provider for what ONNX Runtime leaves to another than the target's."""
    if job.target.engine != "ort" or not job.on_gpu or not job.able.run:
        return {}
    from bmopt.backends.onnxruntime.assignment import assignment

    return dict(assignment(graph, job.target, build=options).fallbacks)


def lint_rows(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Return findings as JSON values."""
    return [
        {"rule": f.rule.id, "level": f.rule.level, "node": f.node, "message": f.message}
        for f in findings
    ]
