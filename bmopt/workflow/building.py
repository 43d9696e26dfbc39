"""``bmopt build``: the engine of an artifact, built on the device that is to run it."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir

from bmopt.backends.registry import backend_for
from bmopt.bench.distortion import Sqnr
from bmopt.calibration.casting import make_cast_plan
from bmopt.core.backend import Backend
from bmopt.core.capabilities import Capabilities
from bmopt.core.engine import BuildOptions, EngineBuild
from bmopt.core.files import MANIFEST_KEY, atomic_folder, require_replaceable
from bmopt.core.host import versions
from bmopt.core.imported import to_range_table
from bmopt.core.runner import Feeds
from bmopt.core.target import QUANTIZED, Target
from bmopt.errors import HostError, QuantizationError, UsageError
from bmopt.graph.model_digest import model_digest
from bmopt.graph.model_io import load_model
from bmopt.optimizer.imported.importing import import_quantized
from bmopt.optimizer.passes.cast_float import CastFloat
from bmopt.workflow import artifact
from bmopt.workflow.compiling import CompileResult
from bmopt.workflow.engines import MODEL, Opener, build_into, facts, read_options
from bmopt.workflow.files import size_on_disk
from bmopt.workflow.half_feeds import NarrowingRunner, half_inputs
from bmopt.workflow.measuring import measure_latency
from bmopt.workflow.measuring_on_board import measured_on_board, require_board
from bmopt.workflow.progress import Progress, Quiet
from bmopt.workflow.shapes import engine_profiles, fix_shapes, parse_shapes, static_axes

_KEPT = (artifact.RANGES, artifact.PLAN, artifact.CAST, artifact.RECIPE)


def build_artifact(
    path: Path,
    out: Path | None = None,
    *,
    shapes: Sequence[str] = (),
    duration_s: float = 5.0,
    changes: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> CompileResult:
    """Build the engine of the artifact ``path`` on this host into the child artifact ``out``.

    The child has the parent's graph and names the parent's digest; its golden outputs are its
    own where this host runs the engine. ``shapes`` are profiles to build for instead of the
    parent's, ``changes`` fields of ``BuildOptions`` to replace.

    Raises:
        ArtifactError: ``path`` is no artifact, or damaged.
        UsageError: Its target has no engine to build, or ``shapes`` does not fit.
        BoardError: The board that is named in ``changes`` cannot be reached.
        HostError: The engine cannot be built on this host.
        BuildError: The engine refuses the graph or the options.
    """
    progress = progress or Quiet()
    out = out if out is not None else default_out(path)
    progress.step("check")
    manifest, target = artifact.verified(path)
    task = _task(path, target, shapes, changes or {})
    require_replaceable(out)
    require_board(task.options.board, target, progress)
    golden = artifact.read_golden(path)
    with atomic_folder(out) as folder:
        _copy(path, folder)
        progress.step("tune and build engine" if task.options.tune else "build engine")
        built = build_into(folder, task.backend, target, task.options, progress.advance)
        distance = {} if task.why_not_run else _record(task, folder, golden)
        if task.why_not_run:
            shutil.copytree(path / artifact.GOLDEN, folder / artifact.GOLDEN)
        artifact.write_manifest(folder, _facts(manifest, built, runs=not task.why_not_run))
    report = _report(task, out, built, distance, path)
    report.update(
        measured_on_board(
            out, task.options.board, threads=1, seconds=duration_s, progress=progress
        )
    )
    report.update(_latency(task, out, [feeds for feeds, _ in golden], duration_s, progress))
    artifact.write_report(out, report)
    return CompileResult(out, report)


def default_out(path: Path) -> Path:
    """Return where the child of an artifact goes unless told."""
    return path.with_name(f"{path.name}.built")


@dataclasses.dataclass(frozen=True)
class _Task:
    target: Target
    backend: Backend
    able: Capabilities
    options: BuildOptions

    @property
    def why_not_run(self) -> str:
        """Why the engine is not run here; empty where it is."""
        if not self.able.run:
            return self.able.reason
        return "the engine is stored without its weights" if self.options.strip else ""


def _task(path: Path, target: Target, shapes: Sequence[str], changes: Mapping[str, Any]) -> _Task:
    backend = backend_for(target)
    if backend.builder is None:
        raise UsageError(f"{path}: {target} runs the graph itself; there is no engine to build")
    able = backend.probe(target)
    if not able.build:
        raise HostError(f"{path}: the engine of {target} cannot be built here: {able.reason}")
    options = read_options(path) or BuildOptions()
    if shapes:
        given = parse_shapes(shapes)
        fix_shapes(load_model(path / MODEL), static_axes(given))  # refuses what does not fit
        profiles = engine_profiles(load_model(path / MODEL), given, batch_size=1)
        if unknown := sorted(set(given) - set(profiles)):
            raise UsageError(f"--shapes: {unknown[0]!r} is no input with dynamic axes")
        options = dataclasses.replace(options, profiles=profiles)
    return _Task(target, backend, able, dataclasses.replace(options, **changes))


def _copy(path: Path, folder: Path) -> None:
    """Copy what the child shares with its parent; weights may lie beside the graph."""
    names = [*_KEPT, *(file.name for file in path.glob(f"{MODEL}*"))]
    for name in names:
        if (path / name).is_file():
            shutil.copyfile(path / name, folder / name)


def _record(
    task: _Task, folder: Path, golden: Sequence[tuple[dict[str, Any], dict[str, Any]]]
) -> dict[str, float | None]:
    """Record the engine's golden outputs; return their distance from the graph's in dB."""
    assert task.backend.builder is not None
    engine = folder / task.backend.builder.engine_file
    ratios: dict[str, Sqnr] = {}
    types = half_inputs(load_model(folder / MODEL))
    opened = task.backend.open(engine, task.target, options=task.options)
    with NarrowingRunner(opened, types) as runner:
        artifact.write_golden(folder, runner, [feeds for feeds, _ in golden])
        for feeds, expected in golden:
            for name, answer in runner.run(feeds).items():
                ratios.setdefault(name, Sqnr()).update(expected[name], answer)
    return {name: ratio.decibels() for name, ratio in ratios.items()}


def _facts(manifest: Mapping[str, Any], built: EngineBuild, *, runs: bool) -> dict[str, Any]:
    own = ("bmopt", "digest", "files", MANIFEST_KEY)
    kept = {key: value for key, value in manifest.items() if key not in own}
    return {
        **kept,
        "versions": versions(),
        "engine": artifact.engine_identity(built),
        "golden": "artifact" if runs else manifest.get("golden"),
        "parent": manifest["digest"],
    }


def _report(
    task: _Task, out: Path, built: EngineBuild, distance: Mapping[str, float | None], path: Path
) -> dict[str, Any]:
    return {
        "bmopt_report": 1,
        "target": str(task.target),
        "parent": str(path),
        "artifact": {"path": str(out), "size_bytes": size_on_disk(out / MODEL)},
        "versions": versions(),
        "engine": facts(built),
        "golden_sqnr_db": dict(distance),
        "warnings": list(built.warnings),
    }


def _latency(
    task: _Task, out: Path, feeds: Sequence[Feeds], duration_s: float, progress: Progress
) -> dict[str, Any]:
    """Time an 8-bit engine in turns with the float16 engine of the same network."""
    note = task.why_not_run
    if task.target.precision not in QUANTIZED or not task.target.on_gpu:
        note = note or "only 8-bit engines of GPUs are timed beside float16"
    if note or duration_s <= 0 or not feeds:
        return {"latency": None, "latency_note": note or "left out as asked"}
    progress.step("latency")
    assert task.backend.builder is not None
    half = dataclasses.replace(task.target, precision="fp16")
    rival = Opener(task.backend, half, task.options, threads=1)
    engine = out / task.backend.builder.engine_file
    try:
        twin = float16_twin(out)
    except QuantizationError as error:
        return {"latency": None, "latency_note": f"no float16 engine to compare with: {error}"}
    with (
        rival.opened(twin) as before,
        task.backend.open(engine, task.target, options=task.options) as after,
    ):
        found = measure_latency(before, after, feeds, threads=1, seconds=duration_s)
    return {
        "latency": {**found.to_dict(), "reference": str(half)},
        "latency_note": "",
        "measurement": found.measurement.to_dict(),
    }


def float16_twin(folder: Path) -> ir.Model:
    """Return the network of an 8-bit artifact without its Q/DQ nodes, in float16."""
    imported = import_quantized(load_model(folder / MODEL))
    digest = model_digest(imported.model)
    plan = make_cast_plan(
        imported.model,
        "float16",
        table=to_range_table(imported, digest),
        keep_io=True,
        model_digest=digest,
    )
    return CastFloat(plan)(imported.model).model
