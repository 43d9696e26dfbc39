"""bmopt: the fastest artifact that keeps a trained network's accuracy, and the proof of both.

``compile`` makes an artifact, ``load`` opens one, ``measure`` measures several beside each other,
``prune`` cuts channels out of one, ``finetune`` trains one; each imports what it needs when
called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from bmopt.workflow.artifact import Artifact
    from bmopt.workflow.benching.running import BenchResult
    from bmopt.workflow.finetuning import FinetuneReport
    from bmopt.workflow.progress import Progress
    from bmopt.workflow.pruning.running import PruneResult
    from bmopt.workflow.samples import Samples

__version__ = "0.1.0"
__all__ = ["__version__", "compile", "finetune", "load", "measure", "prune"]


def compile(
    model: object,
    *,
    target: str = "ort-int8",
    calib: Samples | None = None,
    val: Samples | None = None,
    out: str | os.PathLike[str] | None = None,
    example_inputs: Sequence[Any] | None = None,
    progress: Progress | None = None,
    **options: Any,  # noqa: ANN401 - the recipe's options, each checked there
) -> Artifact:
    """Compile a trained model for ``target``, measure it, and open the artifact.

    Args:
        model: Path to an ``.onnx`` or ``.pt2`` file, an ``onnx.ModelProto``, an
            ``onnx_ir.Model``, or a ``torch.nn.Module`` with ``example_inputs``.
        target: ``engine-precision[:device]``, for example ``"ort-int8"``.
        calib: Calibration samples: a spec as on the command line, a data set, a reader with
            ``get_next``, or a function that returns a reader or an iterable of feeds.
        val: Validation samples in the same forms.
        out: Artifact folder; ``<model>.<target>`` in the current folder if not given.
        example_inputs: Positional inputs of a torch module.
        progress: Who is told how far the work is.
        options: Any other option of ``bmopt.workflow.recipe.Recipe``, by name.

    Raises:
        BmoptError: As ``bmopt compile`` would report it.
    """
    from bmopt.workflow.api import compile_and_open

    return compile_and_open(
        model,
        target=target,
        calib=calib,
        val=val,
        out=out,
        example_inputs=example_inputs,
        progress=progress,
        options=options,
    )


def load(
    path: str | os.PathLike[str],
    *,
    threads: int = 0,
    any_host: bool = False,
    build: bool = False,
) -> Artifact:
    """Open an artifact folder: ``bmopt.load(path).run({"input": array})``.

    Args:
        path: The folder.
        threads: Threads of a session on a CPU; 0 lets the engine choose.
        any_host: Open it even if this host is not what it was made for: one for another class of
            processor as it is, one for a GPU as its graph on ONNX Runtime's CPU provider.
        build: Build an engine that is still to be built on this host, into ``<path>.built``,
            where it is found again the next time.

    Raises:
        ArtifactError: The folder is no artifact, of another version, damaged, or its engine has
            still to be built.
        HostError: It was made for another processor or GPU, and ``any_host`` is not set.
    """
    from pathlib import Path

    from bmopt.workflow.api import load_built
    from bmopt.workflow.artifact import load_artifact

    if build:
        return load_built(Path(path), threads=threads)
    return load_artifact(Path(path), threads=threads, any_host=any_host)


def measure(
    *subjects: str | os.PathLike[str],
    data: str = "",
    progress: Progress | None = None,
    **options: Any,  # noqa: ANN401 - the benchmark's options, each checked there
) -> BenchResult:
    """Measure models and artifacts beside each other, as ``bmopt bench`` does.

    Args:
        subjects: Artifact folders, ``.onnx`` files or ``engine:file``; the first is the reference.
        data: The samples, a spec as on the command line; random ones if empty.
        progress: Who is told how far the work is.
        options: Any other option of ``bmopt.workflow.benching.options.BenchOptions``, by name, and
            ``limit`` and ``preprocess`` of the samples.

    Returns:
        The document of everything that was measured, with what failed and what a gate said.

    Raises:
        BmoptError: As ``bmopt bench`` would report it; a subject that fails beside others does not
            raise.
    """
    from bmopt.workflow.api import measure_subjects

    return measure_subjects(subjects, data=data, progress=progress, options=options)


def finetune(
    model: object,
    *,
    data: Samples,
    teacher: object | None = None,
    val: Samples | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    **options: Any,  # noqa: ANN401 - the training's options, each checked there
) -> FinetuneReport:
    """Train a model by labels, or to be like a teacher, and write it as ONNX again.

    Args:
        model: As for ``compile``, without a torch module.
        data: Training samples, in the forms that ``compile`` takes.
        teacher: The model that it is to be like, in the forms of ``model``.
        val: Samples that judge; some of ``data`` are held out for that if not given.
        out: The file to write; ``<model>.finetuned.onnx`` in the current folder if not given.
        progress: Who is told how far the work is.
        options: Any other option of ``bmopt.workflow.finetuning.FinetuneRecipe`` and of
            ``bmopt.training.options.TrainOptions``, by name.

    Raises:
        BmoptError: As ``bmopt finetune`` would report it.
    """
    from bmopt.workflow.api import finetune_and_keep

    return finetune_and_keep(
        model,
        data=data,
        teacher=teacher,
        val=val,
        out=out,
        progress=progress,
        options=options,
    )


def prune(
    model: object,
    *,
    target: str = "ort-fp32",
    calib: Samples | None = None,
    val: Samples | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    **options: Any,  # noqa: ANN401 - how much is to go and the recipe's options, checked there
) -> PruneResult:
    """Cut channels out of a model, as far as a budget or a drop allows, and write what is left.

    Args:
        model: As for ``compile``, without a torch module.
        target: What latency and accuracy are measured on.
        calib: Samples that channels are chosen and layers fitted on, as for ``compile``.
        val: Other samples, to measure accuracy on.
        out: The file to write; ``<model>.pruned.onnx`` in the current folder if not given. The
            plan lies beside it.
        progress: Who is told how far the work is.
        options: One of ``latency``, ``macs`` and ``parameters`` (the part that is to be left),
            ``max_drop`` (points of the metric that may be lost) and ``plan`` (the file of one);
            ``sparsity``, ``multiple``; and any option of ``bmopt.workflow.recipe.Recipe`` that
            samples, shapes, passes or engines have.

    Returns:
        The file, and a report with everything that was tried; its ``exit_code`` is 3 where a
        budget was missed.

    Raises:
        BmoptError: As ``bmopt prune`` would report it.
    """
    from bmopt.workflow.api import prune_and_keep

    return prune_and_keep(
        model,
        target=target,
        calib=calib,
        val=val,
        out=out,
        progress=progress,
        options=options,
    )
