"""One way to quantise a model: ranges, placement, steps, and the model that comes of them."""

from __future__ import annotations

import dataclasses
import json
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

from bmopt.calibration.learned.learn import learn_blocks
from bmopt.calibration.plan import corrected
from bmopt.calibration.sequence.refine import refine
from bmopt.calibration.sequence.steps import RefineSteps
from bmopt.core.corrections import Corrections, LayerFacts, Replacement
from bmopt.core.dataset import Dataset
from bmopt.core.files import atomic_file
from bmopt.core.plan import QuantPlan
from bmopt.core.ranges import Method
from bmopt.core.scheme import FloatRules
from bmopt.errors import CalibrationError, DataError, ModelError
from bmopt.optimizer.passes.correct_weights import CorrectWeights
from bmopt.workflow.preparing import Job
from bmopt.workflow.quantizing import Quantizer
from bmopt.workflow.steps import Steps

_NOTHING = RefineSteps(False, False, False, False, False)


@dataclasses.dataclass(frozen=True)
class Ranges:
    """How ranges are chosen.

    Attributes:
        method: For all tensors,
        others: but these.
    """

    method: Method = "minmax"
    others: Mapping[str, Method] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Approach:
    """How a model is quantised.

    Attributes:
        quantizer: The float model, its channels equalised or not, and its ranges.
        ranges: How its ranges are chosen.
        rules: Which products stay in float by their shape.
        keep_float: Nodes that stay in float by name.
        given: A plan to follow instead.
    """

    quantizer: Quantizer
    ranges: Ranges = dataclasses.field(default_factory=Ranges)
    rules: FloatRules = dataclasses.field(default_factory=FloatRules)
    keep_float: tuple[str, ...] = ()
    given: QuantPlan | None = None

    def plan(self, more_float: Sequence[str] = ()) -> QuantPlan:
        """Return the plan, with ``more_float`` in float too."""
        if self.given is not None and not more_float:
            return self.given
        return self.quantizer.plan(
            self.ranges.method,
            self.rules,
            keep_float=(*self.keep_float, *more_float),
            methods=self.ranges.others,
        )

    def keeping(self, names: Sequence[str]) -> Approach:
        """Return the approach with ``names`` in float too."""
        kept = tuple(dict.fromkeys((*self.keep_float, *names)))
        return dataclasses.replace(self, keep_float=kept, given=None)


@dataclasses.dataclass(frozen=True)
class Attempt:
    """A quantised model and what it was made from.

    Attributes:
        approach: How it was quantised.
        plan: What runs in integers, before refinement.
        model: The quantised model.
        corrections: What refinement found; None where nothing was refined.
        steps: The steps that were taken.
        seconds: How long refinement took; next to nothing where it was found in the cache.
    """

    approach: Approach
    plan: QuantPlan
    model: ir.Model
    corrections: Corrections | None
    steps: Steps
    seconds: float = 0.0

    @property
    def quantizer(self) -> Quantizer:
        """The float model and its ranges."""
        return self.approach.quantizer

    @property
    def applied(self) -> QuantPlan:
        """The plan as it was applied: with the scales that refinement found."""
        if self.corrections is None:
            return self.plan
        return corrected(self.plan, self.corrections, self.quantizer.scheme)


def attempt(job: Job, approach: Approach, steps: Steps) -> Attempt:
    """Return the model quantised, refined by ``steps`` on the calibration samples."""
    plan = dataclasses.replace(approach.plan(), steps=steps.names)
    samples, quantizer = job.calib, approach.quantizer
    if not steps.refines or samples is None or not plan.weights:
        return Attempt(approach, plan, quantizer.apply(plan), None, steps)
    start = time.monotonic()
    try:
        found = _cached(job, quantizer, plan, steps, samples)
    except (CalibrationError, DataError, ModelError) as error:
        # The model is none the worse for it.
        job.progress.warn(f"weights were not refined: {error}")
        left = Steps.of(set(steps.names) & {"ranges", "equalize"})
        return Attempt(approach, plan, quantizer.apply(plan), None, left)
    seconds = time.monotonic() - start
    model = CorrectWeights(found)(quantizer.model.clone()).model
    refined = quantizer.apply(corrected(plan, found, quantizer.scheme), model)
    return Attempt(approach, plan, refined, found, steps, seconds)


def _cached(
    job: Job, quantizer: Quantizer, plan: QuantPlan, steps: Steps, samples: Dataset
) -> Corrections:
    """Return corrections from the cache, or find them and keep them there."""
    key = {
        "plan": plan.to_json(),
        "samples": samples.fingerprint,
        "batch": job.batch_size,
        "scheme": quantizer.scheme.name,
    }
    arrays = job.cache.path("refine", part="model", **key).with_suffix(".npz")
    facts = job.cache.path("refine", part="facts", **key)
    if (text := job.cache.stored_text(facts)) is not None and arrays.exists():
        try:
            return from_parts(text, arrays)
        except (OSError, ValueError, LookupError, zipfile.BadZipFile):
            pass  # damaged: it is made again
    found = _found(job, quantizer, plan, steps, samples)
    job.cache.keep(lambda: _write_arrays(found, arrays))
    job.cache.text(lambda: _facts(found), "refine", part="facts", **key)
    return found


def _found(
    job: Job, quantizer: Quantizer, plan: QuantPlan, steps: Steps, samples: Dataset
) -> Corrections:
    found = refine(
        quantizer.model,
        quantizer.apply(plan),
        plan,
        samples,
        job.reference.open_checked,
        steps=steps.refine or _NOTHING,
        batch_size=job.batch_size,
        progress=job.progress.advance,
    )
    if "learned" not in steps:
        return found
    job.progress.step("learn rounding")
    return _learned(job, quantizer, plan, found, samples)


def _learned(
    job: Job, quantizer: Quantizer, plan: QuantPlan, start: Corrections, samples: Dataset
) -> Corrections:
    """Return corrections with roundings that torch learned."""
    after = corrected(plan, start, quantizer.scheme)
    model = CorrectWeights(start)(quantizer.model.clone()).model
    return learn_blocks(
        quantizer.model,
        quantizer.apply(after, model),
        after,
        start,
        samples,
        job.reference.open_checked,
        batch_size=job.batch_size,
        progress=job.progress.advance,
    )


def _facts(found: Corrections) -> str:
    document = {
        "model": found.model,
        "places": [[r.node, r.input] for r in found.replacements],
        "scales": {name: list(scales) for name, scales in found.scales.items()},
        "biases": dict(found.biases),
        "layers": [dataclasses.asdict(layer) for layer in found.layers],
    }
    return json.dumps(document)


def _write_arrays(found: Corrections, path: Path) -> None:
    with atomic_file(path) as part, part.open("wb") as stream:
        np.savez(stream, *(one.array for one in found.replacements))


def from_parts(text: str, arrays: Path) -> Corrections:
    """Return corrections from the two parts that the cache keeps.

    Raises:
        ValueError: One is damaged; so does NumPy, or OSError, LookupError or BadZipFile.
    """
    document = json.loads(text)
    with np.load(arrays) as stored:
        replacements = tuple(
            Replacement(node, position, stored[f"arr_{index}"])
            for index, (node, position) in enumerate(document["places"])
        )
    layers = ({**one, "steps": tuple(one["steps"])} for one in document["layers"])
    return Corrections(
        model=document["model"],
        replacements=replacements,
        scales={name: tuple(scales) for name, scales in document["scales"].items()},
        biases=document["biases"],
        layers=tuple(LayerFacts(**layer) for layer in layers),
    )
