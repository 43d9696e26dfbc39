"""``bmopt finetune``: a model trained after its graph was changed."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmopt.errors import ModelError
from bmopt.training.options import TrainOptions
from bmopt.workflow.progress import Progress, Quiet
from bmopt.workflow.source import as_file

if TYPE_CHECKING:
    import onnx_ir as ir

    from bmopt.core.dataset import Dataset
    from bmopt.core.plan import QuantPlan
    from bmopt.training.lesson import Trained
    from bmopt.workflow.samples import Samples

TRAINABLE = "lift-constants,repeat(infer-shapes,fold-shapes,fold-constants,drop-no-ops,drop-dead)"
"""What makes weights initialisers and shapes constants, and leaves everything else."""

DIVERGED = 3
"""Exit code where training came to a bad end and the best weights before that were kept."""


@dataclasses.dataclass(frozen=True)
class FinetuneRecipe:
    """What is trained and on what.

    Attributes:
        data: Training samples.
        teacher: The model that it is to be like: a file or a model; None for labels alone.
        val: Samples that judge; None where some of ``data`` are held out for that.
        qat: Target whose integers the model is trained for; empty for none.
        keep_float: Nodes that stay in float with ``qat``.
        pipeline: Passes to run on the model and its teacher first; empty for those that make
            it fit for training.
        preprocess: How stored samples become inputs.
        limit: Training samples to use at most; 0 for all.
        val_limit: Samples that judge at most; 0 for all.
        train: How it is trained.
    """

    data: Samples
    teacher: object | None = None
    val: Samples | None = None
    qat: str = ""
    keep_float: tuple[str, ...] = ()
    pipeline: str = ""
    preprocess: tuple[str, ...] = ()
    limit: int = 0
    val_limit: int = 0
    train: TrainOptions = dataclasses.field(default_factory=TrainOptions)


@dataclasses.dataclass(frozen=True)
class FinetuneReport:
    """What came of it.

    Attributes:
        model: The trained model.
        trained: What training found.
        plan: The quantisation plan that the model was trained for; None without ``qat``.
        out: The file of the model; None where none was asked for.
        plan_out: The file of the plan; None where there is none.
    """

    model: ir.Model
    trained: Trained
    plan: QuantPlan | None = None
    out: Path | None = None
    plan_out: Path | None = None

    @property
    def exit_code(self) -> int:
        """0, or 3 where training diverged and the best weights before that were kept."""
        return DIVERGED if self.trained.has_diverged else 0

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON value."""
        trained = self.trained
        facts = {
            field.name: getattr(trained, field.name)
            for field in dataclasses.fields(trained)
            if field.name not in ("arrays", "history")
        }
        history = [dataclasses.asdict(epoch) for epoch in trained.history]
        return {"out": self.out, "plan": self.plan_out, **facts, "history": history}


def finetune_model(
    source: object, out: Path, recipe: FinetuneRecipe, *, progress: Progress | None = None
) -> FinetuneReport:
    """Train ``source`` and write it to ``out``; with ``qat`` its plan goes to ``OUT.plan.json``.

    While it lasts, the run's state is in ``OUT.checkpoint``; the same call takes it up there.

    Raises:
        BmoptError: As loading, the samples and training raise it.
    """
    from bmopt.core.files import require_writable_file, write_text
    from bmopt.graph.model_io import require_not_source, save_model

    progress = progress or Quiet()
    require_writable_file(out)
    progress.step("load")
    model = opened(source, recipe)
    require_not_source(model, out)
    teacher = None if recipe.teacher is None else opened(recipe.teacher, recipe)
    data, val = open_sets(model, recipe, progress)
    state = out.with_name(f"{out.name}.checkpoint")
    report = finetuned(
        model, data, recipe, teacher=teacher, val=val, checkpoint=state, progress=progress
    )
    save_model(report.model, out)
    plan_out = None
    if report.plan is not None:
        plan_out = out.with_suffix(".plan.json")
        write_text(plan_out, report.plan.to_json())
    state.unlink(missing_ok=True)
    return dataclasses.replace(report, out=out, plan_out=plan_out)


def finetuned(
    model: ir.Model,
    data: Dataset,
    recipe: FinetuneRecipe,
    *,
    teacher: ir.Model | None = None,
    val: Dataset | None = None,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> FinetuneReport:
    """Return ``model`` trained; of ``recipe`` only ``qat``, ``keep_float`` and ``train`` count.

    Args:
        model: Float, its weights initialisers, as ``opened`` gives it; is not changed.
        data: Training samples.
        recipe: How.
        teacher: The model that it is to be like.
        val: Samples that judge; None where some of ``data`` are held out.
        checkpoint: Where the state is kept while it lasts.
        progress: Who is told how far it is, and what should make one look twice.

    Raises:
        BmoptError: As calibration and training raise it.
    """
    from bmopt.training.lesson import Lesson
    from bmopt.training.parameters import untied, with_arrays
    from bmopt.training.train import train
    from bmopt.workflow.training_for_integers import prepared_for_integers

    progress = progress or Quiet()
    lesson = Lesson(untied(model), data, teacher, val, checkpoint=checkpoint)
    if recipe.qat:
        lesson = prepared_for_integers(lesson, recipe.qat, recipe.keep_float, progress)
    progress.step("train")
    trained = train(lesson, recipe.train, progress.advance)
    _warn(trained, progress)
    result = with_arrays(lesson.model, trained.arrays)
    plan = None if lesson.plan is None else _of(lesson.plan, result)
    return FinetuneReport(result, trained, plan)


def opened(source: object, recipe: FinetuneRecipe) -> ir.Model:
    """Return a model that can be trained: loaded, and after the recipe's passes.

    Raises:
        ModelError: It cannot be read, or computes in integers.
    """
    from bmopt.backends.registry import pipeline_for, reference
    from bmopt.core.target import Target
    from bmopt.graph.quantized import is_quantized
    from bmopt.optimizer.simplify import VerifyOptions, optimize_file

    default = "simplify" if recipe.qat else TRAINABLE
    own = pipeline_for(Target.parse(recipe.qat)) if recipe.qat else ""
    text = ",".join(filter(None, (recipe.pipeline or default, own)))
    with as_file(source) as path:
        found = optimize_file(path, text, verify=VerifyOptions(reference().open_checked))
        if is_quantized(found.source):
            raise ModelError(
                f"{path}: is quantised already; train the float model, with --qat TARGET for its "
                "integers"
            )
    return found.model


def open_sets(
    model: ir.Model, recipe: FinetuneRecipe, progress: Progress
) -> tuple[Dataset, Dataset | None]:
    """Return the training samples, and those that judge where they were given.

    Raises:
        DataError: They are missing, do not fit, or share samples.
    """
    from bmopt.backends.registry import reference
    from bmopt.data.distinct import require_distinct
    from bmopt.workflow.samples import SampleOptions, open_samples

    def opened_set(samples: Samples, limit: int) -> Dataset:
        options = SampleOptions(recipe.preprocess, limit, recipe.train.seed)
        return open_samples(samples, model, reference().open_checked, options)

    data = opened_set(recipe.data, recipe.limit)
    if recipe.val is None:
        return data, None
    val = opened_set(recipe.val, recipe.val_limit)
    if shared := require_distinct(data, val):
        progress.warn(shared)
    return data, val


def _of(plan: QuantPlan, model: ir.Model) -> QuantPlan:
    """Return the plan as one for the trained model."""
    from bmopt.graph.model_digest import model_digest

    return dataclasses.replace(plan, model=model_digest(model))


def _warn(trained: Trained, progress: Progress) -> None:
    if trained.has_diverged:
        progress.warn(
            f"{trained.stopped}: training ends there, with the weights of epoch "
            f"{trained.best_epoch}; give a lower --lr"
        )
    elif trained.best_epoch == 0 and not math.isnan(trained.history[0].metric):
        progress.warn("no epoch was better than the start, whose weights are kept")
