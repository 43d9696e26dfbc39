"""The first half of a compilation: target, samples, and the optimised float model."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx_ir as ir

from bmopt.backends.registry import backend_for, pipeline_for, reference
from bmopt.core.backend import Backend, Reference
from bmopt.core.capabilities import Capabilities
from bmopt.core.dataset import Dataset
from bmopt.core.engine import Profile
from bmopt.core.runner import Feeds
from bmopt.core.target import QUANTIZED, Target
from bmopt.data.distinct import require_distinct
from bmopt.errors import HostError, ModelError, TargetError, UsageError
from bmopt.graph.model_digest import model_digest
from bmopt.graph.model_io import input_specs, load_model, save_model
from bmopt.graph.quantized import is_quantized
from bmopt.optimizer.probe_feeds import seeded_feeds
from bmopt.optimizer.simplify import VerifyOptions, optimize_file
from bmopt.workflow.accuracy_options import require_accuracy_options
from bmopt.workflow.cache import Cache
from bmopt.workflow.measuring_on_board import require_board
from bmopt.workflow.progress import Progress
from bmopt.workflow.quantizing import parse_rules
from bmopt.workflow.recipe import MEASURED, RULES, Recipe
from bmopt.workflow.samples import (
    SampleOptions,
    Samples,
    first_feeds,
    has_dynamic_batch,
    open_samples,
)
from bmopt.workflow.shapes import engine_profiles, fix_shapes, parse_shapes, static_axes
from bmopt.workflow.stand_in import is_foreign, open_source
from bmopt.workflow.steps import steps_of

_CHECK_SAMPLES = 2
_POOL_FEEDS = 16


@dataclasses.dataclass(frozen=True)
class Job:
    """One compilation's inputs, opened and checked.

    Attributes:
        path: The source model's file.
        recipe: The options.
        target: The target with its device filled in.
        backend: Its engine.
        able: What the engine can do on this host.
        reference: The engine that checks, calibrates, and stands in for one that cannot run here.
        model: The source model, with the recipe's shapes.
        profiles: Shapes that an engine is built for, of the inputs with dynamic axes.
        calib: Calibration samples, None where the target needs none and none were given.
        val: Samples that accuracy is measured on.
        val_is_calib: ``val`` is the calibration set because no other was given.
        cache: Where finished steps are kept.
        progress: Who is told.
    """

    path: Path
    recipe: Recipe
    target: Target
    backend: Backend
    able: Capabilities
    reference: Reference
    model: ir.Model
    profiles: Mapping[str, Profile]
    calib: Dataset | None
    val: Dataset | None
    val_is_calib: bool
    cache: Cache
    progress: Progress

    @property
    def is_quantized(self) -> bool:
        """Whether the source model comes quantised."""
        return is_quantized(self.model)

    @property
    def on_gpu(self) -> bool:
        """Whether the target runs on a GPU."""
        return self.target.on_gpu

    @property
    def batch_size(self) -> int:
        """Samples per inference: the recipe's where the model's batch axis is dynamic."""
        if not has_dynamic_batch(input_specs(self.model)):
            return 1
        return min(self.recipe.batch_size, *(p.max[0] for p in self.profiles.values()), 1 << 30)

    def pool(self) -> tuple[Feeds, ...]:
        """Return feeds of one sample for timing and golden outputs.

        Raises:
            DataError: There are no samples and no random feeds that the model runs with.
        """
        samples = self.val or self.calib
        if samples is not None:
            return first_feeds(samples, _POOL_FEEDS)
        return seeded_feeds(self.reference.open_checked, self.model, count=4)


def prepare(
    path: Path,
    recipe: Recipe,
    progress: Progress,
    *,
    calib: Samples | None = None,
    val: Samples | None = None,
) -> Job:
    """Open and check all that ``recipe`` names; ``calib`` and ``val`` override it.

    Raises:
        BmoptError: As targets, models and samples raise it.
    """
    target = Target.parse(recipe.target)
    _require_placement(recipe)
    calib = calib if calib is not None else recipe.calib or None
    val = val if val is not None else recipe.val or None
    require_accuracy_options(recipe, has_val=val is not None)
    if recipe.preset == "best" and not recipe.steps and "learned" not in steps_of(recipe):
        progress.warn("torch is not installed: no rounding is learned; pip install 'bmopt[torch]'")
    backend, engine = backend_for(target), reference()
    require_board(recipe.board, target, progress)
    able = _able(backend, target, recipe)
    target = backend.resolve(target)
    progress.step("load")
    model = load_model(path)
    given = parse_shapes(recipe.shapes)
    fix_shapes(model, static_axes(given))
    profiles = _profiles(backend, target, model, given, recipe)
    with open_source(engine, path, target):
        # The engine refuses the model itself, not something that was made from it.
        pass
    _require_sizes(path, model, engine, recipe)
    _require_ranges(path, model, backend, target, has_samples=calib is not None)
    calib_set = _opened(calib, model, engine, recipe, recipe.calib_limit, recipe.seed)
    val_set = _opened(val, model, engine, recipe, recipe.val_limit, recipe.seed + 1)
    if calib_set is not None and val_set is not None:
        _require_distinct(calib_set, val_set, progress)
    return Job(
        path=path,
        recipe=recipe,
        target=target,
        backend=backend,
        able=able,
        reference=engine,
        model=model,
        profiles=profiles,
        calib=calib_set,
        val=val_set or calib_set,
        val_is_calib=val_set is None,
        cache=Cache(),
        progress=progress,
    )


def _require_distinct(calib: Dataset, val: Dataset, progress: Progress) -> None:
    shared = require_distinct(calib, val)
    if shared:
        progress.warn(shared)


def _require_placement(recipe: Recipe) -> None:
    """Check what can be checked of the placement without a model."""
    if recipe.placement not in (MEASURED, RULES):
        parse_rules(recipe.placement)
    if recipe.latency_table and recipe.placement != MEASURED:
        raise UsageError(
            f"a latency table decides the placement: leave out --placement {recipe.placement}"
        )


def _require_sizes(path: Path, model: ir.Model, engine: Reference, recipe: Recipe) -> None:
    """Check that the model still is one with the sizes that its axes were given."""
    if not recipe.shapes:
        return
    try:
        # With the engine's optimisations, whose type inference looks into branches too.
        with engine.open_tapped(model):
            pass
    except ModelError as error:
        shapes = " ".join(f"--shapes {entry}" for entry in recipe.shapes)
        raise UsageError(f"{path}: give other sizes than {shapes}; with them {error}") from error


def _profiles(
    backend: Backend,
    target: Target,
    model: ir.Model,
    given: Mapping[str, Profile],
    recipe: Recipe,
) -> dict[str, Profile]:
    if backend.builder is not None:
        return engine_profiles(model, given, recipe.batch_size)
    if target.device != "tensorrt":
        return {}
    # ONNX Runtime builds for the shapes it meets where it is not told which to expect.
    return {name: profile for name, profile in given.items() if profile.min != profile.max}


def _able(backend: Backend, target: Target, recipe: Recipe) -> Capabilities:
    able = backend.probe(target)
    if not able.compile:
        raise TargetError(f"{target} cannot be compiled here: {able.reason}")
    if recipe.require_engine and not able.build:
        raise HostError(f"the engine of {target} cannot be built here: {able.reason}")
    if recipe.float_type != "fp32" and target.precision not in QUANTIZED:
        raise UsageError(f"--float is for 8-bit targets; the precision of {target} is its own")
    if not is_foreign(target) and (name := recipe.engine_option()):
        raise UsageError(f"--{name.replace('_', '-')} is for engines, which {target} has none of")
    if recipe.float_type != "fp32" and not target.on_gpu:
        raise UsageError(f"{target}: --float {recipe.float_type} is slower than fp32 on CPUs")
    return able


def optimized(job: Job) -> tuple[ir.Model, dict[str, Any]]:
    """Return the source model after the recipe's pipeline and the target's, and their log.

    Raises:
        PassError: The pipeline's text does not parse.
    """
    text = ",".join(filter(None, (job.recipe.pipeline, pipeline_for(job.target))))
    if not text:
        return job.model, {}
    inputs = {
        "model": model_digest(job.model),
        "pipeline": text,
        "shapes": list(job.recipe.shapes),
        "samples": None if job.calib is None else job.calib.fingerprint,
    }
    stored = job.cache.path("optimize", part="model", **inputs).with_suffix(".onnx")
    log = job.cache.path("optimize", part="log", **inputs)
    if (found := _stored(stored, job.cache.stored_text(log))) is not None:
        _warn_of_rollbacks(job, found[1])
        return found
    shapes = static_axes(parse_shapes(job.recipe.shapes))
    result = optimize_file(
        job.path,
        text,
        verify=VerifyOptions(
            job.reference.open_checked,
            samples=() if job.calib is None else first_feeds(job.calib, _CHECK_SAMPLES),
        ),
        prepare=(lambda model: fix_shapes(model, shapes)) if shapes else None,
    )
    rollbacks = [str(rollback) for rollback in result.log.rollbacks]
    document = {**dataclasses.asdict(result.log), "warnings": rollbacks}
    _warn_of_rollbacks(job, document)
    job.cache.keep(lambda: save_model(result.model, stored))
    job.cache.text(lambda: json.dumps(document), "optimize", part="log", **inputs)
    return result.model, document


def _stored(path: Path, log: str | None) -> tuple[ir.Model, dict[str, Any]] | None:
    """Return the model at ``path`` and its log, None where one is missing or damaged."""
    if log is None:
        return None
    try:
        return load_model(path), json.loads(log)
    except ModelError:
        return None


def _warn_of_rollbacks(job: Job, log: dict[str, Any]) -> None:
    for rollback in log["warnings"]:
        job.progress.warn(rollback)


def _opened(
    samples: Samples | None,
    model: ir.Model,
    engine: Reference,
    recipe: Recipe,
    limit: int,
    seed: int,
) -> Dataset | None:
    if samples is None:
        return None
    options = SampleOptions(recipe.preprocess, limit, seed)
    return open_samples(samples, model, engine.open_checked, options)


def _require_ranges(
    path: Path, model: ir.Model, backend: Backend, target: Target, *, has_samples: bool
) -> None:
    """Check that an 8-bit target has ranges to come: from samples, or from the model itself."""
    if target.precision not in QUANTIZED:
        return
    if is_quantized(model):
        if backend.scheme(target).side == "outputs":
            raise ModelError(
                f"{path}: is quantised already; compile it for {target.engine}-fp32, or start "
                "from the float model"
            )
    elif not has_samples:
        raise UsageError(
            f"{target} needs calibration samples: --calib DATA (random:32 to try without)"
        )
