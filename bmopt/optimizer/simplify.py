"""From a file to a rewritten model, with onnxsim at work while the rest is still being imported.

Importing this module is cheap; what is heavy is imported after the child process has started.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bmopt.optimizer.early_onnxsim import early_onnxsim

if TYPE_CHECKING:
    import onnx_ir as ir

    from bmopt.core.runner import Feeds, OpenModel
    from bmopt.optimizer.onnxsim_child import OnnxsimRun
    from bmopt.optimizer.pass_log import PipelineLog
    from bmopt.optimizer.pipeline import Pipeline, PipelineResult
    from bmopt.optimizer.pipeline_text import Step
    from bmopt.optimizer.stretch import OnPass

DEFAULT = "simplify"


@dataclasses.dataclass(frozen=True)
class VerifyOptions:
    """How the exact passes are verified.

    Attributes:
        open_model: Opens a model on an engine with the engine's own optimisations off; it may
            import that engine when it is first called.
        samples: Calibration samples to compare on, besides two seeded random feeds.
        axes: Numbers for dynamic axes, by symbol.
        seed: Seed of the random feeds.
    """

    open_model: OpenModel
    samples: Sequence[Feeds] = ()
    axes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Optimized:
    """What became of a file.

    Attributes:
        source: The model as loaded.
        model: The rewritten model.
        log: What was done.
        frozen: Inputs that had a default value and became constants.
    """

    source: ir.Model
    model: ir.Model
    log: PipelineLog
    frozen: tuple[str, ...]


def optimize_file(
    path: Path,
    text: str = DEFAULT,
    *,
    verify: VerifyOptions | None = None,
    keep_defaults: bool = False,
    prepare: Callable[[ir.Model], None] | None = None,
    on_pass: OnPass | None = None,
) -> Optimized:
    """Load ``path`` and run the pipeline ``text`` on it.

    Args:
        path: An ``.onnx`` file.
        text: The pipeline.
        verify: How to compare results; None runs the passes without comparing.
        keep_defaults: Leave inputs that have a default value (weights, as older exporters list
            them) as inputs, so that nothing of them is folded.
        prepare: Changes the model before the passes, to fix its shapes for example.
        on_pass: Told of each run of a pass.

    Raises:
        ModelError: The file is no model that can be run.
        PassError: The pipeline's text does not parse.
    """
    early = prepare is None and text.startswith(("onnxsim", DEFAULT))
    with early_onnxsim(path) if early else contextlib.nullcontext() as run:
        from bmopt.graph.defaults import freeze_defaults
        from bmopt.graph.model_io import load_model
        from bmopt.optimizer.pipeline import Pipeline

        pipeline = Pipeline.parse(text)
        model = load_model(path)
        frozen = () if keep_defaults else freeze_defaults(model)
        if prepare is not None:
            prepare(model)
        if run is not None:
            pipeline = _with_run(pipeline, model, run)
        result = optimize(model, pipeline, verify=verify, on_pass=on_pass)
        return Optimized(model, result.model, result.log, frozen)


def optimize(
    model: ir.Model,
    pipeline: Pipeline,
    *,
    verify: VerifyOptions | None = None,
    on_pass: OnPass | None = None,
) -> PipelineResult:
    """Return a copy of ``model`` rewritten by ``pipeline``, verified as ``verify`` says."""
    from bmopt.optimizer.equivalence import Equivalence

    if verify is None:
        return pipeline.run(model, on_pass=on_pass)
    check = Equivalence.seeded(
        verify.open_model, model, samples=verify.samples, seed=verify.seed, axes=verify.axes
    )
    return pipeline.run(model, verify=check, on_pass=on_pass)


def _with_run(pipeline: Pipeline, model: ir.Model, run: OnnxsimRun) -> Pipeline:
    """Hand the started run to the first pass, if it is onnxsim with its default options."""
    from bmopt.graph.model_digest import model_digest
    from bmopt.optimizer.passes.onnxsim import Onnxsim, SourceRun

    first: Step = pipeline.steps[0]
    if first != Onnxsim():
        return pipeline
    started = Onnxsim(started=SourceRun(run, model_digest(model)))
    return dataclasses.replace(pipeline, steps=(started, *pipeline.steps[1:]))
