"""What ``bmopt.compile`` and its neighbours do behind their light-weight front."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bmopt.backends.registry import backend_for
from bmopt.core.board import Board
from bmopt.errors import ArtifactError, UsageError
from bmopt.training.options import TrainOptions
from bmopt.workflow import building
from bmopt.workflow.artifact import Artifact, load_artifact, read_manifest, verified
from bmopt.workflow.benching.options import BenchOptions
from bmopt.workflow.benching.running import BenchResult, run_bench
from bmopt.workflow.compiling import compile_model
from bmopt.workflow.finetuning import FinetuneRecipe, FinetuneReport, finetune_model
from bmopt.workflow.progress import Progress
from bmopt.workflow.pruning.budget import KINDS
from bmopt.workflow.pruning.running import PruneResult, prune_model
from bmopt.workflow.pruning.wish import PruneWish
from bmopt.workflow.recipe import Recipe
from bmopt.workflow.samples import SampleOptions, Samples


def compile_and_open(
    model: object,
    *,
    target: str,
    calib: Samples | None,
    val: Samples | None,
    out: str | os.PathLike[str] | None,
    example_inputs: Sequence[Any] | None,
    progress: Progress | None,
    options: Mapping[str, Any],
) -> Artifact:
    """Compile and open the artifact; see ``bmopt.compile``."""
    folder = Path(out) if out is not None else default_out(model, target)
    compile_model(
        model,
        _recipe(target, calib, val, options),
        folder,
        progress=progress,
        calib=None if isinstance(calib, str | Path) else calib,
        val=None if isinstance(val, str | Path) else val,
        example_inputs=None if example_inputs is None else tuple(example_inputs),
    )
    return load_artifact(folder, any_host=True)


def load_built(path: Path, *, threads: int = 0) -> Artifact:
    """Open an artifact, or the child with its engine, which is built where there is none.

    Raises:
        BmoptError: As ``bmopt build`` and ``bmopt.load`` would report it.
    """
    manifest, target = verified(path)
    builder = backend_for(target).builder
    if builder is None or (path / builder.engine_file).is_file():
        return load_artifact(path, threads=threads)
    child = building.default_out(path)
    if not _is_child(child, manifest["digest"]):
        building.build_artifact(path, child, duration_s=0.0)
    return load_artifact(child, threads=threads)


def measure_subjects(
    subjects: Sequence[str | os.PathLike[str]],
    *,
    data: str,
    progress: Progress | None,
    options: Mapping[str, Any],
) -> BenchResult:
    """Measure models beside each other; see ``bmopt.measure``."""
    given = _tuples(options)
    own = {name: given.pop(name) for name in ("limit", "preprocess") if name in given}
    _require_known(given, BenchOptions)
    samples = SampleOptions(seed=given.get("seed", 0), **own)
    if isinstance(board := given.get("board"), str):
        given["board"] = Board.from_text(board) if board else None
    return run_bench(
        [os.fspath(subject) for subject in subjects],
        BenchOptions(data=data, samples=samples, **given),
        progress=progress,
    )


def finetune_and_keep(
    model: object,
    *,
    data: Samples,
    teacher: object | None,
    val: Samples | None,
    out: str | os.PathLike[str] | None,
    progress: Progress | None,
    options: Mapping[str, Any],
) -> FinetuneReport:
    """Train a model and write it; see ``bmopt.finetune``."""
    given = _tuples(options)
    names = {field.name for field in dataclasses.fields(FinetuneRecipe)} - {"train"}
    own = {name: given.pop(name) for name in names & set(given)}
    _require_known(given, TrainOptions)
    train: dict[str, Any] = {"train": TrainOptions(**given)}
    recipe = FinetuneRecipe(data, teacher=teacher, val=val, **own, **train)
    path = Path(out) if out is not None else default_out(model, "finetuned.onnx")
    return finetune_model(model, path, recipe, progress=progress)


def prune_and_keep(
    model: object,
    *,
    target: str,
    calib: Samples | None,
    val: Samples | None,
    out: str | os.PathLike[str] | None,
    progress: Progress | None,
    options: Mapping[str, Any],
) -> PruneResult:
    """Cut channels out of a model and write it; see ``bmopt.prune``."""
    given = dict(options)
    budgets = {str(kind): given.pop(kind, None) for kind in KINDS}
    names = ("max_drop", "plan", "sparsity", "multiple")
    own = {name: given.pop(name) for name in names if name in given}
    wish = PruneWish.of(budgets=budgets, **own)
    path = Path(out) if out is not None else default_out(model, "pruned.onnx")
    return prune_model(
        model,
        _recipe(target, calib, val, given),
        wish,
        path,
        progress=progress,
        calib=None if isinstance(calib, str | Path) else calib,
        val=None if isinstance(val, str | Path) else val,
    )


def _is_child(path: Path, parent: str) -> bool:
    """Whether ``path`` holds an artifact that was built from the artifact ``parent``."""
    try:
        return bool(read_manifest(path).get("parent") == parent)
    except ArtifactError:
        return False


def default_out(model: object, target: str) -> Path:
    """Return ``<model>.<target>`` in the current folder."""
    named = isinstance(model, str | Path)
    stem = Path(str(model)).stem if named else type(model).__name__.lower()
    return Path(f"{stem}.{target.replace(':', '-').replace('/', '-')}")


def _recipe(
    target: str, calib: Samples | None, val: Samples | None, options: Mapping[str, Any]
) -> Recipe:
    _require_known(options, Recipe)
    recipe = Recipe(target=target, calib=_spec(calib), val=_spec(val))
    return dataclasses.replace(recipe, **_tuples(options))


def _require_known(
    options: Mapping[str, Any], kind: type[Recipe | BenchOptions | TrainOptions]
) -> None:
    names = {field.name for field in dataclasses.fields(kind)}
    if unknown := sorted(set(options) - names):
        raise UsageError(f"unknown option {unknown[0]!r}; valid are {', '.join(sorted(names))}")


def _tuples(options: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}


def _spec(samples: Samples | None) -> str:
    return str(samples) if isinstance(samples, str | Path) else ""
