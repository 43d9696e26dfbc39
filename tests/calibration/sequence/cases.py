"""Models that are quantised, refined and judged on their outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
import pytest

from bmopt.calibration.plan import corrected, make_plan
from bmopt.calibration.sequence.refine import refine
from bmopt.calibration.sequence.steps import RefineSteps
from bmopt.core.corrections import Corrections
from bmopt.core.plan import QuantPlan
from bmopt.core.runner import Array
from bmopt.core.scheme import Scheme
from bmopt.graph.values import constant_array
from bmopt.optimizer.passes.correct_weights import CorrectWeights
from bmopt.optimizer.passes.quantize import Quantize
from tests.calibration.memory_dataset import MemoryDataset
from tests.engine import PlainRunner
from tests.quantizing import inputs_scheme, measured, samples_for, scheme, sqnr_db

SCHEMES = {"outputs": scheme(), "inputs": inputs_scheme()}
sides = pytest.mark.parametrize("side", SCHEMES)
ALL = RefineSteps()


@dataclasses.dataclass(frozen=True)
class Case:
    """A model, its plan and the samples it is refined on."""

    model: ir.Model
    plan: QuantPlan
    scheme: Scheme
    samples: Mapping[str, Array]

    @classmethod
    def of(cls, model: ir.Model, wanted: Scheme, count: int = 32) -> Case:
        samples = samples_for(model, count)
        plan = make_plan(model, measured(model, samples), wanted)
        return cls(model, plan, wanted, samples)

    def quantized(self) -> ir.Model:
        return Quantize(self.plan)(self.model.clone()).model

    def refined(
        self, steps: RefineSteps = ALL, batch_size: int = 8, **options: object
    ) -> Corrections:
        dataset = MemoryDataset(self.samples)
        return refine(
            self.model,
            self.quantized(),
            self.plan,
            dataset,
            PlainRunner,
            steps=steps,
            batch_size=batch_size,
            **options,
        )

    def applied(self, found: Corrections) -> ir.Model:
        better = CorrectWeights(found)(self.model.clone()).model
        return Quantize(corrected(self.plan, found, self.scheme))(better).model


def biased(model: ir.Model) -> ir.Model:
    """Shift weights by what rounding them then loses: 0.4 steps, the same way everywhere."""
    for name, value in model.graph.initializers.items():
        array = constant_array(value)
        assert array is not None
        if name.startswith("w") and array.dtype == np.float32:
            axes = tuple(range(1, array.ndim))
            steps = np.abs(array).max(axis=axes, keepdims=True) / 127
            off = (np.rint(array / steps) + 0.4) * steps
            largest = np.abs(array) == np.abs(array).max(axis=axes, keepdims=True)
            value.const_value = ir.tensor(np.where(largest, array, off).astype(np.float32))
    return model


def run(model: ir.Model, feeds: Mapping[str, Array]) -> Array:
    with PlainRunner(model) as runner:
        return next(iter(runner.run(feeds).values()))


def quality(case: Case, model: ir.Model) -> float:
    """Return signal to error in dB on samples that nothing was fitted to."""
    fresh = samples_for(case.model, 64, seed=9)
    return sqnr_db(run(case.model, fresh), run(model, fresh))


def corrections(found: Corrections) -> dict[tuple[str, int], Array]:
    return {(r.node, r.input): r.array for r in found.replacements}
