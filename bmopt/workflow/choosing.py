"""Which ranges a model is quantised with, and whether its channels are equalised: by trying."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence

import onnx_ir as ir

from bmopt.calibration.absorb import plan_absorption
from bmopt.calibration.equalize import plan_smoothing
from bmopt.calibration.sequence.range_choice import choose_ranges
from bmopt.core.absorption import AbsorptionPlan
from bmopt.core.digest import of_bytes
from bmopt.core.equalization import EqualizationPlan
from bmopt.core.ranges import METHODS, Method
from bmopt.core.scheme import FloatRules
from bmopt.errors import CalibrationError, DataError, ModelError
from bmopt.graph.model_digest import model_digest
from bmopt.optimizer.passes.absorb_bias import AbsorbBias
from bmopt.optimizer.passes.equalize import Equalize
from bmopt.workflow.attempts import Approach, Ranges
from bmopt.workflow.output_noise import OutputNoise
from bmopt.workflow.placing import Placed
from bmopt.workflow.preparing import Job
from bmopt.workflow.quantizing import Quantizer, format_rules
from bmopt.workflow.recipe import BY_LAYER, THOROUGH
from bmopt.workflow.samples import Head
from bmopt.workflow.steps import Steps

Candidate = tuple[int, str]
Rewrite = EqualizationPlan | AbsorptionPlan
Calibrate = Callable[[Quantizer, Rewrite], Quantizer]

_TRIAL_SAMPLES = 64
_FINAL_SAMPLES = 256
_FINALISTS = 2


def choose(
    job: Job,
    quantizer: Quantizer,
    placed: Placed,
    steps: Steps,
    calibrate: Calibrate,
) -> Approach:
    """Return the model and ranges whose outputs are nearest the float model's.

    All candidates are tried on a few calibration samples, the best of them on more, with only the
    activations in 8 bits: what rounding does to weights is put right later, and would drown the
    rest.

    Args:
        job: The compilation.
        quantizer: The model as it is.
        placed: What stays in float.
        steps: Which steps will be taken.
        calibrate: Gives a rewritten model ranges of its own.
    """
    wanted = job.recipe.method
    if job.calib is None or not quantizer.table.samples:
        return _approach(quantizer, placed, Ranges(_method(wanted)))
    models = variants(job, quantizer, steps, calibrate)
    if len(models) == 1 and wanted in METHODS:
        return _approach(quantizer, placed, Ranges(_method(wanted)))
    job.progress.step("choose ranges")
    trial = _Trial(job, placed, steps, models)
    text = job.cache.text(trial.decide, "choice", **_key(job, trial))
    return trial.approach(text)


def _approach(quantizer: Quantizer, placed: Placed, ranges: Ranges) -> Approach:
    return Approach(quantizer, ranges, placed.rules, placed.keep_float)


def _method(name: str) -> Method:
    return next((method for method in METHODS if method == name), "minmax")


def _key(job: Job, trial: _Trial) -> dict[str, object]:
    quantizer = trial.models[0]
    assert job.calib is not None
    return {
        "models": [one.table.model for one in trial.models],
        "table": of_bytes(quantizer.table.to_json().encode()),
        "scheme": quantizer.scheme.name,
        "keep_float": [*quantizer.keep_float, *trial.placed.keep_float],
        "rules": format_rules(trial.placed.rules),
        "steps": list(trial.steps.names),
        "methods": trial.methods(),
        "samples": job.calib.fingerprint,
        "batch": job.batch_size,
    }


def variants(
    job: Job, quantizer: Quantizer, steps: Steps, calibrate: Calibrate
) -> list[Quantizer]:
    """Return the model as it is, and with its channels equalised if that changes anything.

    Both have their activations centred where that is asked for and a scheme gains by it; it
    needs biases that are put right, for it multiplies what rounding does to their weights.
    """
    models = [quantizer]
    if "equalize" in steps:
        try:
            found = _equalized(job, quantizer, calibrate)
        except (CalibrationError, DataError, ModelError) as error:
            found = None
            job.progress.warn(f"channels were not equalised: {error}")
        models += [] if found is None else [found]
    if "absorb" not in steps or steps.refine is None or not steps.refine.bias:
        return models
    return [_absorbed(one, calibrate) or one for one in models]


def _absorbed(quantizer: Quantizer, calibrate: Calibrate) -> Quantizer | None:
    plan = plan_absorption(quantizer.model, quantizer.table, quantizer.scheme, "mse")
    return calibrate(quantizer, plan) if plan.shifts else None


def _equalized(job: Job, quantizer: Quantizer, calibrate: Calibrate) -> Quantizer | None:
    assert job.calib is not None
    calib = job.calib
    job.progress.step("equalise")
    digest = quantizer.table.model
    text = job.cache.text(
        lambda: plan_smoothing(
            quantizer.model,
            quantizer.scheme,
            calib,
            lambda model: job.reference.open_tapped(model, threads=job.recipe.threads),
            batch_size=job.batch_size,
            model_digest=digest,
        ).to_json(),
        "equalize",
        model=digest,
        scheme=quantizer.scheme.name,
        samples=calib.fingerprint,
        batch=job.batch_size,
    )
    plan = EqualizationPlan.from_json(text)
    return calibrate(quantizer, plan) if plan.scalings else None


def rewritten(quantizer: Quantizer, plan: Rewrite) -> Quantizer:
    """Return the quantiser of a copy of the model with ``plan`` applied, its ranges unknown."""
    step = Equalize(plan) if isinstance(plan, EqualizationPlan) else AbsorbBias(plan)
    model = step(quantizer.model.clone()).model
    table = dataclasses.replace(quantizer.table, model=model_digest(model), tensors={})
    source = quantizer.source or quantizer.table.model
    return dataclasses.replace(quantizer, model=model, table=table, source=source)


class _Trial:
    """Every model with every way to choose ranges."""

    def __init__(
        self, job: Job, placed: Placed, steps: Steps, models: Sequence[Quantizer]
    ) -> None:
        self.placed = placed
        self.steps = steps
        self.models = models
        self._job = job
        self._by_layer: dict[int, dict[str, Method]] = {}

    def decide(self) -> str:
        """Return the winner as text, that ``approach`` reads."""
        candidates = [(i, m) for i in range(len(self.models)) for m in self.methods()]
        ranked = self._ranked(candidates, _TRIAL_SAMPLES)
        index, method = self._ranked(ranked[:_FINALISTS], _FINAL_SAMPLES)[0]
        others = dict(self._others(index)) if method == BY_LAYER else {}
        return json.dumps({"index": index, "method": method, "others": others})

    def approach(self, text: str) -> Approach:
        """Return what ``decide`` decided."""
        document = json.loads(text)
        others = {name: _method(one) for name, one in document["others"].items()}
        method = "mse" if document["method"] == BY_LAYER else document["method"]
        quantizer = self.models[document["index"]]
        return _approach(quantizer, self.placed, Ranges(_method(method), others))

    def methods(self) -> list[str]:
        """Return the ways to choose ranges."""
        recipe = self._job.recipe
        if recipe.method != "auto":
            return [recipe.method]
        if "ranges" not in self.steps:
            return ["minmax"]
        return [*METHODS, BY_LAYER] if recipe.preset == THOROUGH else [*METHODS]

    def _ranked(self, candidates: Sequence[Candidate], samples: int) -> list[Candidate]:
        """Return the candidates, the one with the highest output SQNR on first samples first."""
        if len(candidates) == 1:
            return list(candidates)
        job, first = self._job, self.models[0]
        assert job.calib is not None
        keep_qdq = first.scheme.side == "inputs"
        noise = OutputNoise(
            first.model,
            Head(job.calib, samples),
            job.batch_size,
            lambda path: job.reference.open_graph(path, keep_qdq=keep_qdq),
        )
        scores = {one: noise.sqnr_db(self._with_float_weights(*one)) for one in candidates}
        return sorted(candidates, key=lambda one: -scores[one])

    def _with_float_weights(self, index: int, method: str) -> ir.Model:
        quantizer = self.models[index]
        approach = Approach(quantizer, self._ranges(index, method), *self._placement(quantizer))
        return quantizer.apply(dataclasses.replace(approach.plan(), weights={}))

    def _placement(self, quantizer: Quantizer) -> tuple[FloatRules, tuple[str, ...]]:
        """Return the placement; one with integers, where the chosen one has none."""
        chosen = (self.placed.rules, self.placed.keep_float)
        if quantizer.plan("minmax", chosen[0], keep_float=chosen[1]).weights:
            return chosen
        return FloatRules(), ()

    def _ranges(self, index: int, method: str) -> Ranges:
        if method == BY_LAYER:
            return Ranges("mse", self._others(index))
        return Ranges(_method(method))

    def _others(self, index: int) -> dict[str, Method]:
        if index not in self._by_layer:
            self._by_layer[index] = self._by_outputs(index)
        return self._by_layer[index]

    def _by_outputs(self, index: int) -> dict[str, Method]:
        quantizer, job = self.models[index], self._job
        rules, keep_float = self._placement(quantizer)
        assert job.calib is not None
        try:
            return choose_ranges(
                quantizer.model,
                quantizer.plan("mse", rules, keep_float=keep_float),
                quantizer.table,
                quantizer.scheme,
                job.calib,
                job.reference.open_checked,
                batch_size=job.batch_size,
                samples=_TRIAL_SAMPLES,
            )
        except (CalibrationError, DataError, ModelError) as error:
            job.progress.warn(f"ranges were not chosen by the layers' outputs: {error}")
            return {}
