"""``bmopt demo``: the shipped model, compiled for INT8, compared with FP32, and drawn."""

from __future__ import annotations

from pathlib import Path

from bmopt.demo_data import demo_files
from bmopt.workflow.compiling import CompileResult, compile_model
from bmopt.workflow.progress import Progress
from bmopt.workflow.recipe import Recipe
from bmopt.workflow.report_files import PAGE, write_report_page


def run_demo(out: Path, *, progress: Progress | None = None) -> CompileResult:
    """Compile the handwritten-digits model that ships with bmopt for ``ort-int8`` into ``out``.

    What was measured is drawn as ``out / PAGE``, beside the artifact's files.

    Raises:
        OutputError: ``out`` cannot be written.
        TargetError: This host has no INT8 scheme.
    """
    files = demo_files()
    recipe = Recipe(target="ort-int8", calib=str(files.calib), val=str(files.val))
    result = compile_model(files.model, recipe, out, progress=progress)
    write_report_page([out], out / PAGE)
    return result
