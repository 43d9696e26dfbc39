"""What the engines' own benchmarks say of the same files: a check of ``bmopt bench``, not a race.

OpenVINO's ``benchmark_app`` comes with its wheel. ONNX Runtime's ``onnxruntime_perf_test`` is on
no package index; it is run where one that was built from source is on the PATH. Both on one
thread, one inference at a time, the first with a calibration sample, the second with random data.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from peers.environments import Environment, Unavailable
from peers.making import Made, Task
from peers.processes import output_of, run_measured
from peers.results import Check

APP = "benchmark_app"
PERF_TEST = "onnxruntime_perf_test"

_LIMIT_S = 300.0
_APP_MEDIAN = re.compile(r"Median:\s+([\d.]+) (us|ms)")
_APP_PRECISION = re.compile(r"INFERENCE_PRECISION_HINT:.*'(\w+)'")
_PERF_MEDIAN = re.compile(r"P50 Latency(?: is|:)\s*([\d.eE+-]+)\s*s")
_NS = {"us": 1e3, "ms": 1e6}
_TYPES = {
    "float32": "f32", "float64": "f64", "float16": "f16", "bool": "boolean",
    "int8": "i8", "int16": "i16", "int32": "i32", "int64": "i64",
    "uint8": "u8", "uint16": "u16", "uint32": "u32", "uint64": "u64",
}  # fmt: skip


def checks(
    task: Task,
    quantised: Made,
    ready: Callable[[str], Environment],
    median_ns: Callable[[str], float | None],
    seconds: float,
) -> Iterator[Check]:
    """Yield a row per file and tool.

    Args:
        task: The model and the samples.
        quantised: What NNCF made.
        ready: Returns an environment by its name.
        median_ns: What ``bmopt bench`` measured of a subject.
        seconds: How long each is timed.
    """
    fp32 = str(task.model.path)
    yield _perf_test(task, median_ns(fp32), seconds)
    try:
        program = ready("nncf").program(APP)
    except Unavailable as reason:
        yield Check(APP, "FP32", f"skipped: {reason}")
        return
    ours = median_ns(f"openvino:{fp32}")
    yield _app(task, program, ("FP32", fp32, "f32"), ours, seconds)
    yield _app(task, program, ("FP32", fp32, ""), None, seconds)
    if quantised.subject:
        file = quantised.subject.partition(":")[2]
        yield _app(task, program, ("NNCF", file, "f32"), median_ns(quantised.subject), seconds)
        yield _app(task, program, ("NNCF", file, ""), None, seconds)


def _perf_test(task: Task, ours: float | None, seconds: float) -> Check:
    program = shutil.which(PERF_TEST)
    if program is None:
        note = "skipped: it is on no package index; put one that was built from source on the PATH"
        return Check(PERF_TEST, "FP32", note, bmopt_ns=ours)
    argv = [program, "-I", "-s", "-m", "duration", "-t", str(max(1, round(seconds)))]
    log = task.folder / f"{PERF_TEST}.log"
    ending = run_measured([*argv, "-x", "1", "-y", "1", task.model.path], log, _LIMIT_S)
    found = _PERF_MEDIAN.search(output_of(log).read_text(encoding="utf-8", errors="replace"))
    if ending.error or not found:
        return Check(
            PERF_TEST, "FP32", f"failed: {task.told(ending.error) or 'it told no P50'}", None, ours
        )
    return Check(PERF_TEST, "FP32", "", float(found[1]) * 1e9, ours)


def _app(
    task: Task, program: Path, what: tuple[str, str, str], ours: float | None, seconds: float
) -> Check:
    title, file, precision = what
    log = task.folder / f"{APP}-{title}-{precision or 'own'}.log"
    argv: list[str | Path] = [
        program,
        "-m",
        file,
        "-d",
        "CPU",
        "-hint",
        "none",
        "-api",
        "sync",
        "-pin",
        "NO",
    ]
    argv += ["-nthreads", "1", "-nstreams", "1", "-nireq", "1", "-inference_only", "true"]
    argv += ["-t", str(max(1, round(seconds))), *_inputs(task)]
    argv += ["-infer_precision", precision] if precision else []
    ending = run_measured(argv, log, _LIMIT_S)
    said = output_of(log).read_text(encoding="utf-8", errors="replace")
    found, chosen = _APP_MEDIAN.search(said), _APP_PRECISION.search(said)
    if not precision:
        title = f"{title}, in {chosen[1] if chosen else 'what'} as OpenVINO chooses"
    if ending.error or not found:
        return Check(
            APP, title, f"failed: {task.told(ending.error) or 'it told no median'}", None, ours
        )
    return Check(APP, title, "", float(found[1]) * _NS[found[2]], ours)


def _failed(tool: str, file: str, error: str, ours: float | None) -> Check:
    return Check(tool, file, f"failed: {error or 'it told no median'}", bmopt_ns=ours)


def _inputs(task: Task) -> list[str]:
    """Return the options for a sample of ours: left alone, the tool feeds random bytes."""
    shapes, types, files = [], [], []
    with np.load(task.samples) as arrays:
        for number, name in enumerate(task.inputs):
            path = task.folder / f"input-{number}.npy"
            np.save(path, arrays[f"0-{number}"])
            files.append(f"{name}:{path}")
            types.append(f"{name}:{_TYPES.get(task.dtypes[number], task.dtypes[number])}")
            shapes.append(f"{name}[{','.join(map(str, task.shapes[number]))}]")
    return ["-data_shape", ",".join(shapes), "-iop", ", ".join(types), "-i", ",".join(files)]
