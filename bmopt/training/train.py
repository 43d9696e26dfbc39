"""Train a model's constants in torch, and give them back."""

from __future__ import annotations

from bmopt.differentiable.torch_access import Torch, repeatable, require_torch
from bmopt.errors import ModelError, TrainingError, UsageError
from bmopt.graph.model_io import input_specs
from bmopt.training.augment import augment_of
from bmopt.training.checks import require_batches, require_labels
from bmopt.training.features import features_of
from bmopt.training.grids import grids_of
from bmopt.training.judging import Judge
from bmopt.training.lesson import Lesson, Trained, run_digest
from bmopt.training.loop import Loop, Material, Progress
from bmopt.training.norms import measured, norms_of
from bmopt.training.objective import Objective
from bmopt.training.options import TrainOptions
from bmopt.training.outputs import outputs_of
from bmopt.training.parameters import parameters_of
from bmopt.training.samples import Samples, split
from bmopt.training.student import Student
from bmopt.training.torch_run import TorchRun, device_of, is_half, threads

_WHAT = "fine-tuning"
_MEASURED = 1024


def train(
    lesson: Lesson, options: TrainOptions | None = None, progress: Progress | None = None
) -> Trained:
    """Return trained weights: those of the epoch that judged best.

    Where nothing judges, they are the last epoch's. With the same options and the same number of
    threads the result is the same bit for bit, whether or not it was interrupted, unless time
    ended it.

    Raises:
        UsageError: torch is missing, or an option makes no sense for the model.
        HostError: There is no such device.
        DataError: Samples lack labels where labels are needed, or do not fit.
        ModelError: The graph cannot be run in torch, or has nothing to be trained.
        TrainingError: The loss was not a number before any epoch ended.
        OutputError: The checkpoint cannot be written.
    """
    torch = require_torch(_WHAT, "train")
    chosen = options or TrainOptions()
    require_labels(lesson, chosen)
    with (
        repeatable(torch),
        threads(torch, chosen.threads),
        Samples(lesson.data) as samples,
        _Judging(lesson, samples, chosen) as judging,
    ):
        torch.manual_seed(chosen.seed)
        material = _material(torch, lesson, samples, judging, chosen)
        loop = Loop(material, chosen, run_digest(lesson, chosen), lesson.checkpoint, progress)
        loop.run()
        return _trained(loop, material, lesson)


class _Judging:
    """The samples that judge: others, or some of the training samples."""

    def __init__(self, lesson: Lesson, samples: Samples, options: TrainOptions) -> None:
        self._own = None if lesson.val is None else Samples(lesson.val)
        share = options.hold_out if self._own is None else 0.0
        self.learned, self.held = split(samples.size, share, options.seed)
        if self._own is not None:
            self.held = split(self._own.size, 0.0, 0)[0]
        self.samples = self._own or samples

    def __enter__(self) -> _Judging:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(self, *error: object) -> None:
        if self._own is not None:
            self._own.close()


def _material(
    torch: Torch, lesson: Lesson, samples: Samples, judging: _Judging, options: TrainOptions
) -> Material:
    device = device_of(torch, options)
    half = is_half(torch, options, device, is_quantised=lesson.plan is not None)
    student = _student(torch, lesson, options, device)
    teacher = None
    if lesson.teacher is not None:
        teacher = Student(torch, lesson.teacher, device=device)
    run = TorchRun(torch, device, half, student, teacher)
    objective = _objective(torch, lesson, options, has_labels=samples.labels is not None)
    require_batches(run, objective, samples)
    _put_norms(lesson, run, samples, judging, options)
    judge = Judge(run, judging.samples, judging.held, objective)
    augment = augment_of(options.augment, input_specs(lesson.model))
    return Material(run, objective, samples, judging.learned, judge, augment)


def _put_norms(
    lesson: Lesson, run: TorchRun, samples: Samples, judging: _Judging, options: TrainOptions
) -> None:
    """Give the student normalisations, measured on the first of the samples to learn from."""
    norms = norms_of(lesson.model, parameters_of(lesson.model, options.freeze))
    if options.norms == "none" or lesson.plan is not None or not norms:
        return
    some = samples.batches(judging.learned[:_MEASURED], options.batch)
    feeds = (run.feeds(picked.feeds) for picked in some)
    run.student.normalise(norms, measured(run.torch, norms, feeds, run.student.run))


def _student(torch: Torch, lesson: Lesson, options: TrainOptions, device: str) -> Student:
    parameters = parameters_of(lesson.model, options.freeze)
    if not any(each.kind == "weight" for each in parameters):
        raise ModelError("the model has no weights that can be trained")
    if lesson.plan is None or lesson.quantized is None:
        return Student(torch, lesson.model, parameters, device=device)
    grids = grids_of(lesson.model, lesson.plan, parameters)
    return Student(torch, lesson.quantized, parameters, grids, device=device)


def _objective(
    torch: Torch, lesson: Lesson, options: TrainOptions, *, has_labels: bool
) -> Objective:
    outputs = outputs_of(lesson.quantized or lesson.model)
    weight = options.label_weight
    if lesson.teacher is None:
        weight = 1.0
    elif weight is None:
        weight = 0.5 if has_labels else 0.0
    theirs = {} if lesson.teacher is None else {o.name: o.read for o in outputs_of(lesson.teacher)}
    theirs = {out.name: theirs[out.name] for out in outputs if out.name in theirs}
    if lesson.teacher is not None and not theirs:
        raise ModelError("the model and its teacher have no output of one name")
    features: tuple[str, ...] = ()
    if options.features:
        if lesson.teacher is None:
            raise UsageError("features are those of a teacher: give --teacher")
        features = features_of(lesson.quantized or lesson.model, lesson.teacher, options.features)
    return Objective(torch, options, outputs, theirs, features, weight)


def _trained(loop: Loop, material: Material, lesson: Lesson) -> Trained:
    diverged = "not a number" in loop.stopped
    if diverged and loop.best_epoch == 0:
        raise TrainingError(
            f"{loop.stopped}, and no epoch before it was better than the start; give a lower --lr"
        )
    run = material.run
    run.student.load(loop.best)
    arrays = run.student.stored()
    if loop.best_epoch == 0 and lesson.plan is None:
        # Folding normalisations that changed nothing would change last bits.
        arrays |= {p.name: p.array for p in parameters_of(lesson.model) if p.name in arrays}
    return Trained(
        arrays=arrays,
        history=tuple(loop.history),
        metric=material.judge.metric,
        best_epoch=loop.best_epoch,
        stopped=loop.stopped,
        seconds=loop.seconds,
        resumed_at=loop.resumed_at,
        device=run.device,
        precision="bf16" if run.is_half else "fp32",
        samples=len(material.which),
    )
