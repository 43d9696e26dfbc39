"""Jobs and quantisers of small models, for what chooses a placement."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from bmopt.core.scheme import FloatRules
from bmopt.workflow import lowering
from bmopt.workflow.preparing import Job, prepare
from bmopt.workflow.progress import Quiet
from bmopt.workflow.quantizing import Quantizer
from bmopt.workflow.recipe import Recipe
from tests.quantizing import CONV_NET, measured, named, samples_for, scheme


def small_job(
    folder: Path, *, text: str = CONV_NET, rules: FloatRules | None = None, **options: object
) -> tuple[Job, Quantizer]:
    """Return a job for this host's ONNX Runtime and its quantiser, with warnings kept."""
    model = named(text)
    onnx.save(ir.to_proto(model), str(folder / "model.onnx"))
    samples = samples_for(model)
    np.savez(folder / "calib.npz", **samples)
    recipe = Recipe(**{"target": "ort-int8:x86-vnni", "duration_s": 0.5, **options})  # type: ignore[arg-type]
    job = prepare(folder / "model.onnx", recipe, Quiet(), calib=str(folder / "calib.npz"))
    table = measured(model, samples)
    wanted = scheme(rules=rules)
    opener = lowering._opener(job, model)
    return job, Quantizer(model, table, wanted, job.reference, opener)


def warnings_of(job: Job) -> list[str]:
    """Return what the job warned of."""
    assert isinstance(job.progress, Quiet)
    return job.progress.warnings
