"""``bmopt demo``: the shipped model, compiled for INT8, measured beside FP32, and drawn."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path

from bmopt.core.files import write_text
from bmopt.demo_data import demo_files
from bmopt.workflow.benching.options import BenchOptions
from bmopt.workflow.benching.running import BenchResult, run_bench
from bmopt.workflow.compiling import CompileResult, compile_model
from bmopt.workflow.progress import Progress
from bmopt.workflow.recipe import Recipe
from bmopt.workflow.report_files import PAGE, write_page

BENCH = "bench.json"
"""What the benchmark's document is called in the artifact's folder."""

_DURATION_S = 4.0
_SCENARIOS = ("single-stream",)


@dataclasses.dataclass(frozen=True)
class Demo:
    """What the demo made and measured."""

    compiled: CompileResult
    measured: BenchResult


def run_demo(out: Path, *, progress: Progress | None = None) -> Demo:
    """Compile the handwritten-digits model that ships with bmopt for ``ort-int8`` into ``out``.

    Then both are measured as ``bmopt bench`` does; the document ``BENCH`` and the page ``PAGE``
    lie in the folder, beside the artifact's own files.

    Raises:
        OutputError: ``out`` cannot be written.
        TargetError: This host has no INT8 scheme.
    """
    files = demo_files()
    recipe = Recipe(target="ort-int8", calib=str(files.calib), val=str(files.val))
    compiled = compile_model(files.model, recipe, out, progress=progress)
    options = BenchOptions(data=str(files.val), duration_s=_DURATION_S, scenarios=_SCENARIOS)
    subjects = [str(files.model), str(out)]
    command = _command(subjects, options)
    measured = run_bench(subjects, options, command=command, progress=progress)
    write_text(out / BENCH, measured.document.to_json())
    write_page([("digits", measured.document)], out / PAGE)
    return Demo(compiled, measured)


def _command(subjects: Sequence[str], options: BenchOptions) -> str:
    """Return the command that measures this again."""
    flags = ["--data", options.data, "--duration", f"{options.duration_s:g}"]
    for scenario in options.scenarios:
        flags += ["--scenario", scenario]
    return shlex.join(["bmopt", "bench", *subjects, *flags])
