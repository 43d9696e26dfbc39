"""The latency table of an artifact, measured in the process that has it open."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import onnx_ir as ir

from bmopt.backends.registry import backend_for, reference
from bmopt.core.engine import BuildOptions
from bmopt.core.latency_table import LatencyTable
from bmopt.core.plan import QuantPlan
from bmopt.core.ranges import METHODS, RangeTable
from bmopt.core.runner import Feeds
from bmopt.core.scheme import Scheme
from bmopt.core.target import Target
from bmopt.errors import UsageError
from bmopt.graph.model_digest import model_digest
from bmopt.graph.model_io import load_model
from bmopt.graph.opset import raise_opset
from bmopt.optimizer.pipeline import Pipeline
from bmopt.workflow.artifact import PLAN, RANGES
from bmopt.workflow.engines import Opener
from bmopt.workflow.latency_probing import Probing, probe_latencies
from bmopt.workflow.quantizing import Quantizer
from bmopt.workflow.subjects import Subject


def probed(
    subject: Subject, source: Path | None, feeds: Sequence[Feeds], threads: int, seconds: float
) -> LatencyTable:
    """Return the table of an artifact's model.

    The artifact gives the ranges and the device; its own placement does not matter, for every
    node that can run in integers is timed both ways.

    Args:
        subject: The 8-bit artifact.
        source: The float model that it was made of, as an ``.onnx`` file.
        feeds: Inputs, used in rotation.
        threads: Threads of the sessions.
        seconds: Time for the profiles, about.

    Raises:
        UsageError: The subject is no 8-bit artifact, its engine does not tell where time goes, or
            the source is another model.
    """
    plan, table = _plans(subject)
    target = Target.parse(subject.target)
    backend = backend_for(target)
    scheme = backend.scheme(target)
    if subject.profile is None or scheme.side == "inputs":
        raise UsageError(f"{subject.text}: its engine does not tell how long its kernels take")
    model = _float_model(source, plan, scheme)
    opener = Opener(backend, target, BuildOptions(), threads)
    # Scaled channels change no times, so their ranges are as good.
    table = dataclasses.replace(table, model=plan.float_model)
    quantizer = Quantizer(model, table, scheme, reference(), opener)
    method = next(one for one in METHODS if one == plan.method)
    probing = Probing(reference(), str(target), feeds, threads, seconds)
    return probe_latencies(quantizer, method, probing)


def _plans(subject: Subject) -> tuple[QuantPlan, RangeTable]:
    files = (subject.path / PLAN, subject.path / RANGES)
    if subject.kind != "artifact" or not all(file.is_file() for file in files):
        raise UsageError(
            f"{subject.text}: has no plan and ranges; for a latency table the second subject is "
            "an 8-bit artifact of bmopt"
        )
    plan, ranges = (file.read_text(encoding="utf-8") for file in files)
    return (
        QuantPlan.from_json(plan, source=str(files[0])),
        RangeTable.from_json(ranges, source=str(files[1])),
    )


def _float_model(source: Path | None, plan: QuantPlan, scheme: Scheme) -> ir.Model:
    """Return the model that the plan is for: the source, or what the scheme prepares of it."""
    if source is not None:
        model = load_model(source)
        if model_digest(model) == plan.float_model:
            return model
        model = raise_opset(model, scheme.min_opset)
        model = Pipeline.parse(scheme.prepare).run(model).model if scheme.prepare else model
        if model_digest(model) == plan.float_model:
            return model
    raise UsageError(
        f"the first subject is not the float model that the artifact was made of "
        f"({plan.float_model[:12]}): compile it with the same passes for ort-fp32"
    )
