"""Where models of one job are cut, re-fitted, brought to the target's precision and measured."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import onnx_ir as ir

from bmopt.calibration.pruning.ranking import Ranking, RankOptions, rank_channels
from bmopt.calibration.pruning.reconstruction import reconstruct
from bmopt.core.profile import LayerProfile
from bmopt.core.prune_plan import PrunePlan
from bmopt.core.prune_trials import Point
from bmopt.core.records import from_value, to_value
from bmopt.core.runner import Feeds, Runner
from bmopt.errors import PruningError, UsageError
from bmopt.graph.channels.counting import counts_of
from bmopt.graph.channels.groups import channels_of
from bmopt.graph.channels.owning import own_vectors
from bmopt.graph.model_digest import model_digest
from bmopt.graph.model_io import save_model
from bmopt.optimizer.passes.correct_weights import CorrectWeights
from bmopt.optimizer.passes.infer_shapes import InferShapes
from bmopt.optimizer.passes.prune_channels import PruneChannels
from bmopt.workflow.engines import Opener
from bmopt.workflow.evaluating import Evaluated, Evaluator
from bmopt.workflow.files import size_on_disk
from bmopt.workflow.lowering import lower, opening_options
from bmopt.workflow.measuring import measure_latency
from bmopt.workflow.preparing import Job
from bmopt.workflow.pruning.budget import PruneBudget
from bmopt.workflow.pruning.estimating import Cost, Estimator
from bmopt.workflow.pruning.latency_cost import LatencyCost, Widths, latency_costs
from bmopt.workflow.pruning.timed_forms import TimedForms
from bmopt.workflow.reporting import runs_here

_PROFILE_SECONDS = 7.0
_TRIAL_SECONDS = 2.0
_POINTS = 100.0


@dataclasses.dataclass(frozen=True)
class Trial:
    """A pruned model and what was measured of it.

    Attributes:
        point: What was measured.
        plan: What was cut; None for the model that was given.
        model: The pruned float model.
    """

    point: Point
    plan: PrunePlan | None
    model: ir.Model


class Workshop:
    """One job's model, and everything that is found out about it once; a context manager."""

    def __init__(self, job: Job, model: ir.Model, *, multiple: int = 0) -> None:
        """Read the dependency groups of an optimised float model."""
        self.job, self.model = job, model.clone()
        self._quick = _quick(job)
        own_vectors(self.model)
        InferShapes()(self.model)
        self.pool: tuple[Feeds, ...] = job.pool()
        self.channels = channels_of(self.model)
        shapes = {name: array.shape for name, array in self.pool[0].items()} if self.pool else {}
        self.counts = counts_of(self.model, self.channels, shapes)
        self.multiple = multiple
        self._stack = contextlib.ExitStack()

    def require_cuttable(self) -> None:
        """Check that something can be cut.

        Raises:
            PruningError: No channel of the model can go.
        """
        if all(group.reason for group in self.channels.groups):
            reasons = {group.reason for group in self.channels.groups}
            why = "; ".join(sorted(reasons)[:3]) or "it has no layers with constant weights"
            raise PruningError(f"no channel of the model can go: {why}")

    @property
    def metric(self) -> str:
        """Name of the metric that decides; empty where none was measured."""
        return "" if self._evaluator is None else self._evaluator.metric

    @property
    def can_time(self) -> bool:
        """Whether this host runs what the job's target makes."""
        return runs_here(self.job) and bool(self.pool) and not self.job.on_gpu

    @functools.cached_property
    def latencies(self) -> tuple[LatencyCost, ...]:
        """What layers take at widths that are multiples of 1, 4, 8 and 16."""
        if not self.can_time:
            raise UsageError(
                f"{self.job.target} cannot be timed here: give a budget in MACs or parameters, as "
                "macs=0.7"
            )
        self.job.progress.step("time widths")
        forms = TimedForms(self._quick, self.pool)
        return latency_costs(
            Widths(self.model, self.channels, self.counts, forms),
            self._profiled,
            seconds=_PROFILE_SECONDS,
            progress=self.job.progress,
        )

    def _profiled(self, path: Path, seconds: float) -> LayerProfile:
        threads = self.job.recipe.threads
        return self.job.reference.profile_graph(path, self.pool, threads=threads, seconds=seconds)

    @property
    def latency_table(self) -> list[dict[str, Any]] | None:
        """What was found out about latencies as a JSON value; None where none were needed."""
        if "latencies" not in vars(self):
            return None
        return [cost.to_dict() for cost in self.latencies]

    @functools.cached_property
    def ranking(self) -> Ranking:
        """The order in which channels go, and what the model loses by it."""
        job, calib = self.job, self.job.calib
        assert calib is not None
        options = RankOptions(batch_size=job.batch_size)
        job.progress.step("rank channels")

        def make() -> str:
            found = rank_channels(
                self.model,
                self.channels,
                calib,
                job.reference.open_checked,
                options=options,
                progress=job.progress.advance,
            )
            return json.dumps(to_value(found))

        text = job.cache.text(
            make,
            "rank-channels",
            model=model_digest(self.model),
            samples=calib.fingerprint,
            options=to_value(options),
        )
        return from_value(Ranking, json.loads(text), "ranking")

    def estimator(self, budget: PruneBudget, multiple: int = 0) -> Estimator:
        """Return what proposes plans for a kind of budget.

        Args:
            budget: A budget of the kind.
            multiple: What widths are to be multiples of; 0 for what the workshop was told.
        """
        return Estimator(self.ranking, self._costs(budget, multiple or self.multiple))

    def _costs(self, budget: PruneBudget, multiple: int) -> list[tuple[int, Cost]]:
        """Return what a budget limits, by what widths are to be multiples of."""
        if budget.kind != "latency":
            cost = self.counts.macs if budget.kind == "macs" else self.counts.parameters
            return [(multiple or 1, cost)]
        if not multiple:
            return [(each.unit, each) for each in self.latencies]
        fit = [each for each in self.latencies if multiple % each.unit == 0]
        return [(multiple, fit[-1])]

    def pruned(self, plan: PrunePlan) -> ir.Model:
        """Return the model without a plan's channels, its layers re-fitted to the samples."""
        cut = PruneChannels(plan)(self.model.clone()).model
        if self.job.calib is None:
            return cut
        self.job.progress.step("re-fit")
        corrections = reconstruct(
            self.model,
            cut,
            plan,
            self.job.calib,
            self.job.reference.open_checked,
            progress=self.job.progress.advance,
        )
        return CorrectWeights(corrections)(cut).model

    def tried(self, name: str, budget: str, plan: PrunePlan | None) -> Trial:
        """Cut, re-fit, lower and measure; without a plan, the model as it is."""
        model = self.model if plan is None else self.pruned(plan)
        return self.measured(name, budget, model, plan)

    def measured(self, name: str, budget: str, model: ir.Model, plan: PrunePlan | None) -> Trial:
        """Lower and measure a float model that was cut by ``plan``."""
        kept = {} if plan is None else self._left(plan)
        lowered = lower(self._quick, model.clone()).model
        with tempfile.TemporaryDirectory(prefix="bmopt-") as folder:
            file = Path(folder) / "model.onnx"
            save_model(lowered, file)
            size = size_on_disk(file)
            opener = self._opener(lowered)
            with opener.opened_file(file, Path(folder)) as runner:
                latency = self._timed(runner) if self.can_time else None
                accuracy = self._judged(runner)
        macs, parameters = self.counts.macs, self.counts.parameters
        point = Point(
            name=name,
            budget=budget,
            macs=macs(kept) / macs({}) if macs({}) else 1.0,
            parameters=parameters(kept) / parameters({}),
            size_bytes=size,
            latency=None if latency is None else latency[0],
            interval=None if latency is None else latency[1:],
        )
        return Trial(_with_accuracy(point, accuracy), plan, model)

    def _left(self, plan: PrunePlan) -> dict[str, int]:
        sizes = self.counts.sizes
        return {name: sizes[name] - len(set(gone)) for name, gone in plan.removed.items()}

    def _opener(self, model: ir.Model) -> Opener:
        job = self.job
        return Opener(job.backend, job.target, opening_options(job, model), job.recipe.threads)

    def _timed(self, runner: Runner) -> tuple[float, float, float]:
        found = measure_latency(
            self._source, runner, self.pool, threads=self.job.recipe.threads,
            seconds=_TRIAL_SECONDS,
        ).to_dict()  # fmt: skip
        return found["ratio"], found["low"], found["high"]

    @functools.cached_property
    def _source(self) -> Runner:
        threads = self.job.recipe.threads
        opened = self.job.reference.open_graph(self.job.path, threads=threads)
        return self._stack.enter_context(opened)

    @functools.cached_property
    def _evaluator(self) -> Evaluator | None:
        job = self.job
        if job.recipe.metric == "none" or job.val is None:
            return None
        evaluator = Evaluator(job.val, job.batch_size, job.recipe.metric, seed=job.recipe.seed)
        self._stack.enter_context(evaluator)
        with job.reference.open_graph(job.path) as source:
            evaluator.reference(source)
        return evaluator

    def _judged(self, runner: Runner) -> Evaluated | None:
        if self._evaluator is None:
            return None
        self.job.progress.step("accuracy")
        return self._evaluator.evaluate(runner)

    def __enter__(self) -> Workshop:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()


def _quick(job: Job) -> Job:
    """Return the job as models are tried: without what takes long and is done for the best one."""
    recipe = dataclasses.replace(
        job.recipe, prune="", preset="fast", max_drop=-1.0, min_metric="", min_speedup=0.0, plan=""
    )
    return dataclasses.replace(job, recipe=recipe)


def _with_accuracy(point: Point, found: Evaluated | None) -> Point:
    if found is None:
        return point
    report = found.report
    if report.candidate_score is None:
        # The metric is the agreement itself.
        lost = None if report.agreement is None else 1.0 - report.agreement
        return dataclasses.replace(point, drop=_points(lost), agreement=report.agreement)
    return dataclasses.replace(
        point,
        metric=report.candidate_score,
        drop=_points(report.loss),
        agreement=report.agreement,
    )


def _points(loss: float | None) -> float | None:
    return None if loss is None else loss * _POINTS
