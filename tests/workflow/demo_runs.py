"""The demo's model, compiled quickly, and files made from it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from bmopt.core.runner import Array
from bmopt.demo_data import demo_files
from bmopt.workflow.compiling import CompileResult, compile_model
from bmopt.workflow.progress import Progress
from bmopt.workflow.recipe import Recipe

DEMO = demo_files()
QUICK = Recipe(
    target="ort-int8:x86-vnni",
    calib=str(DEMO.calib),
    val=str(DEMO.val),
    method="minmax",
    placement="rules",
    pipeline="fold-batch-norm",
    preset="fast",
    calib_limit=48,
    val_limit=100,
    duration_s=0.0,
)
"""Nothing is chosen by measuring, so that a run is short and always gives the same."""


def compile_demo(
    out: Path, *, progress: Progress | None = None, source: Any = DEMO.model, **options: Any
) -> CompileResult:
    return compile_model(source, dataclasses.replace(QUICK, **options), out, progress=progress)


def images(count: int) -> Array:
    """Return demo images as the model takes them: float32 [count, 1, 16, 16]."""
    stored = np.load(DEMO.val)["images"][:count]
    return np.asarray((stored[:, None] / 255 - 0.3) / 0.35, np.float32)


def content(folder: Path) -> dict[str, bytes]:
    """Return every file below ``folder``."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def write_text_model(path: Path, body: str) -> Path:
    """Write ONNX text as a file."""
    header = '<ir_version: 8, opset_import: ["" : 17]>\n'
    onnx.save(onnx.parser.parse_model(header + body), str(path))
    return path
