"""What bmopt's linter and TensorRT-RTX's parser say of ONNX Runtime's default quantisation.

Every labelled model is simplified and quantised by ``onnxruntime.quantization.quantize_static``
with its defaults on random samples (the ranges do not matter here), then linted for
``rtx-int8:sm89`` and given to TensorRT-RTX's builder. Both are to refuse it; the row has the
linter's rules and the builder's first reason.

    python benchmarks/tensorrt_lint.py [--only NAME] [--data FOLDER] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, quantize_static
from shared_models import DEFAULT_DATA, shared_models

from bmopt.backends.registry import backend_for
from bmopt.core.engine import BuildOptions
from bmopt.core.target import Target
from bmopt.errors import BuildError
from bmopt.graph.model_io import load_model
from bmopt.workflow.linting import lint_file
from bmopt.workflow.optimizing import optimize_model
from bmopt.workflow.shapes import engine_profiles

_TARGET = "rtx-int8:sm89"


class Noise(CalibrationDataReader):
    """Four random samples."""

    def __init__(self, path: Path) -> None:
        """Read the input's name and shape from the model."""
        value = onnx.load(str(path), load_external_data=False).graph.input[0]
        self._name = value.name
        self._shape = [d.dim_value or 1 for d in value.type.tensor_type.shape.dim]
        self._left = 4

    def get_next(self) -> dict[str, Any] | None:
        """Return the next sample."""
        self._left -= 1
        if self._left < 0:
            return None
        noise = np.random.default_rng(self._left).standard_normal(self._shape)
        return {self._name: noise.astype(np.float32)}


def measure(path: Path, folder: Path) -> dict[str, Any]:
    """Return both verdicts on the default quantisation of ``path``."""
    simple, quantised = folder / "simple.onnx", folder / "quantised.onnx"
    optimize_model(path, simple)
    quantize_static(str(simple), str(quantised), Noise(simple))
    found = lint_file(quantised, _TARGET)
    errors = Counter(f.rule.id for f in found.findings if f.rule.level == "error")
    return {"errors": dict(errors), "builder": build(quantised, folder / "engine")}


def build(path: Path, out: Path) -> str:
    """Return why TensorRT-RTX refuses ``path``; empty where it does not."""
    target = Target.parse(_TARGET)
    builder = backend_for(target).builder
    assert builder is not None
    profiles = engine_profiles(load_model(path), {}, batch_size=1)
    try:
        builder.build(path, out, target, BuildOptions(profiles=profiles))
    except BuildError as error:
        return str(error)
    return ""


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="the shared data folder")
    parser.add_argument("--only", default="", help="models whose name contains this")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    rows = {}
    for model in shared_models(args.data, args.only):
        with tempfile.TemporaryDirectory(prefix="bmopt-lint-") as folder:
            row = rows[model.name] = measure(model.path, Path(folder))
        rules = ", ".join(f"{count} x {rule}" for rule, count in row["errors"].items())
        print(f"{model.name:32s} linter: {rules or 'clean'}", flush=True)
        print(f"{'':32s} TensorRT-RTX: {row['builder'] or 'builds it'}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    agree = [bool(row["errors"]) == bool(row["builder"]) for row in rows.values()]
    print(f"{sum(agree)} of {len(agree)} verdicts agree")
    return 0 if all(agree) else 1


if __name__ == "__main__":
    sys.exit(main())
