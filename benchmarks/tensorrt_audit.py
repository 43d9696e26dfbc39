"""What TensorRT-RTX makes of bmopt's INT8 graphs, without a GPU.

Every labelled model is compiled on its own samples with ``--target rtx-int8:sm86+sm89+sm120`` and
``--target rtx-fp32`` for the same GPUs, each in a process of its own. The build lists its kernels
with the types they read: the share of the multiply-adds marked INT8 that are seen running so is
what counts, beside what the linter says and the engine's size and build time. The last row is a
generated network with 42 MB of float weights, where weights and not kernels make the size.

    python benchmarks/tensorrt_audit.py [--only NAME] [--data FOLDER] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from shared_models import DEFAULT_DATA, SharedModel, compiled, sample_limits, shared_models

_DEVICES = "sm86+sm89+sm120"
_LAYERS, _WIDTH = 10, 1024
_HEAD = (
    f"{'model':32s} {'INT8':>5s} {'float':>5s} {'seen INT8':>9s} {'lint':>12s} "
    f"{'FP32 engine':>11s} {'INT8 engine':>11s} {'ratio':>6s} {'built':>7s} {'top1':>16s}"
)


def generated(folder: Path) -> SharedModel:
    """Return a network of square matrix products, seeded; it has no labels."""
    rng = np.random.default_rng(0)
    shape = ir.Shape([8, _WIDTH])
    value = ir.Value(name="x", shape=shape, type=ir.TensorType(ir.DataType.FLOAT))
    graph = ir.Graph([value], [], nodes=[], opset_imports={"": 17}, name="generated")
    for index in range(_LAYERS):
        name = f"layer{index}"
        array = rng.normal(0, _WIDTH**-0.5, (_WIDTH, _WIDTH)).astype(np.float32)
        weight = ir.Value(name=f"{name}.weight", const_value=ir.tensor(array))
        weight.shape, weight.type = ir.Shape(array.shape), value.type
        graph.initializers[f"{name}.weight"] = weight
        product = ir.node("MatMul", [value, weight], name=name)
        relu = ir.node("Relu", product.outputs, name=f"{name}.relu")
        graph.extend([product, relu])
        value = relu.outputs[0]
        value.name, value.shape, value.type = f"{name}.out", shape, weight.type
    graph.outputs.append(value)
    path = folder / "generated.onnx"
    ir.save(ir.Model(graph, ir_version=8), path)
    return SharedModel("generated", path, "random:8", "random:8")


def measure(model: SharedModel, args: argparse.Namespace) -> dict[str, Any]:
    """Return one model's row."""
    row: dict[str, Any] = {"model": model.name}
    for precision in ("fp32", "int8"):
        with tempfile.TemporaryDirectory(prefix="bmopt-rtx-") as folder:
            flags = ("--require-engine", *sample_limits(args))
            target = f"rtx-{precision}:{_DEVICES}"
            report = compiled(model, target, Path(folder), flags)
        if isinstance(report, str):
            return {**row, "refused": report}
        row[precision] = report
    return row


def table_row(row: dict[str, Any]) -> str:
    """Return a row of the table."""
    if "refused" in row:
        return f"{row['model']:32s} {row['refused']}"
    report, sizes = row["int8"], [row[p]["engine"]["size_bytes"] for p in ("fp32", "int8")]
    placed, accuracy = report["placement"], report["accuracy"] or {}
    lint = Counter(found["level"] for found in report["lint"])
    tops = [
        f"{accuracy[which]['top1']:.2%}"
        for which in ("reference", "candidate")
        if "top1" in (accuracy.get(which) or {})
    ]
    return (
        f"{row['model']:32s} {placed['integer']:5d} {placed['float']:5d} "
        f"{placed['audit']['integer_work']:9.1%} "
        f"{', '.join(f'{n} {level}' for level, n in lint.items()) or 'clean':>12s} "
        f"{sizes[0] / 1e6:8.2f} MB {sizes[1] / 1e6:8.2f} MB {sizes[1] / sizes[0]:6.2f} "
        f"{report['engine']['seconds']:5.1f} s {' '.join(tops):>16s}"
    )


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="the shared data folder")
    parser.add_argument("--only", default="", help="models whose name contains this")
    parser.add_argument("--calib-limit", type=int, default=256)
    parser.add_argument("--val-limit", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    print(_HEAD, flush=True)
    rows = []
    with tempfile.TemporaryDirectory(prefix="bmopt-rtx-") as folder:
        models = shared_models(args.data, args.only)
        models += [generated(Path(folder))] if args.only in "generated" else []
        for model in models:
            rows.append(measure(model, args))
            print(table_row(rows[-1]), flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return 1 if any("refused" in row for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
