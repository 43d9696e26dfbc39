"""What a bundle costs: packing it, its size, and its latency and start beside Python's.

Every labelled model is compiled for ort-int8 and packed. Then the bundle's own runner and a Python
process with ONNX Runtime run it in turns, one thread, batch 1, each turn a process of its own.

    python benchmarks/bundles.py [--data DATA] [--only NAME] [--turns N] [--json FILE]
        [--write-docs]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from marks import Marks
from shared_models import DEFAULT_DATA, SharedModel, shared_models

PAGE = Path(__file__).resolve().parents[1] / "docs" / "deploy.md"
COMMAND = "python benchmarks/bundles.py --data DATA"
HEADINGS = (
    "model",
    "packed in",
    "slim, beyond the model",
    "latency, runner / Python",
    "open and first answer / engine's own start",
)
_SECONDS = 0.5
_RESAMPLES = 2000

PYTHON = """
import json, sys, time
import numpy as np, onnxruntime as ort
path, golden, seconds = sys.argv[1:]
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
feeds = {session.get_inputs()[0].name: np.load(golden)}
end, took = time.perf_counter() + 0.2 * float(seconds), []
while time.perf_counter() < end:
    session.run(None, feeds)
end = time.perf_counter() + float(seconds)
while time.perf_counter() < end:
    begin = time.perf_counter_ns()
    session.run(None, feeds)
    took.append(time.perf_counter_ns() - begin)
print(json.dumps({"median_ns": sorted(took)[len(took) // 2]}))
"""


ENGINE = r"""
#include <dlfcn.h>
#include <onnxruntime_c_api.h>
#include <stdio.h>
#include <time.h>
static long long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}
int main(int argc, char** argv) {
  long long begin = now();
  void* library = argc == 3 ? dlopen(argv[1], RTLD_NOW) : 0;
  if (!library) return 1;
  const OrtApiBase* (*base)(void) = (const OrtApiBase* (*)(void))dlsym(library, "OrtGetApiBase");
  const OrtApi* api = base()->GetApi(ORT_API_VERSION);
  OrtEnv* env = 0;
  OrtSessionOptions* options = 0;
  OrtSession* session = 0;
  if (api->CreateEnv(ORT_LOGGING_LEVEL_FATAL, "", &env)) return 1;
  if (api->CreateSessionOptions(&options) || api->SetIntraOpNumThreads(options, 1)) return 1;
  if (api->CreateSession(env, argv[2], options, &session)) return 1;
  printf("%lld\n", now() - begin);
  return 0;
}
"""
"""ONNX Runtime's own start in a process of its own: library, environment, session."""


@dataclasses.dataclass(frozen=True)
class Row:
    """What was measured of a model: seconds, bytes beyond the model, ratios of every pair."""

    model: str
    package_s: float
    slim_bytes: int
    latency: tuple[float, ...]
    start: tuple[float, ...]

    def cells(self) -> tuple[str, ...]:
        """Return the row of the table."""
        return (
            self.model,
            f"{self.package_s:.1f} s",
            f"{self.slim_bytes / 1e6:.2f} MB",
            median_text(self.latency),
            median_text(self.start),
        )


def median_text(ratios: tuple[float, ...]) -> str:
    """Return the median of ratios with the 95 % interval of its bootstrap."""
    rng = np.random.default_rng(0)
    found = np.median(rng.choice(ratios, (_RESAMPLES, len(ratios))), axis=1)
    low, high = np.quantile(found, (0.025, 0.975))
    return f"{np.median(ratios):.3f} [{low:.3f}, {high:.3f}]"


def bmopt(*arguments: object) -> float:
    """Run a verb of bmopt and return the seconds that it took."""
    begin = time.monotonic()
    command = [sys.executable, "-m", "bmopt", *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begin


def answer_of(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def native(bundle: Path) -> tuple[float, float]:
    """Return median latency, and opening plus first inference, in ns, of the bundle's runner."""
    words = ["--bench", str(_SECONDS), "--threads", "1", "--json"]
    found = answer_of([str(bundle / "bin/bmopt-run"), str(bundle), *words])
    blocks = found["measurement"]["blocks"]
    took = [ns for block in blocks for ns in block["latency_ns"]]
    process = found["processes"][0]
    return float(np.median(took)), process["load_ns"] + process["first_inference_ns"]


def python(bundle: Path) -> tuple[float, float]:
    """Return median latency of a Python process, and the engine's own start in C, in ns."""
    model = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))["models"][0]
    golden = bundle / model["golden"][0]["inputs"][0]["file"]
    words = [str(bundle / model["file"]), str(golden), str(_SECONDS)]
    found = answer_of([sys.executable, "-c", PYTHON, *words])
    library = str(bundle / "lib" / "libonnxruntime.so.1")
    command = [str(bundle.parent / "engine"), library, str(bundle / model["file"])]
    start = subprocess.run(command, check=True, capture_output=True, text=True)
    return found["median_ns"], float(start.stdout)


def build_engine(folder: Path) -> None:
    """Compile ``ENGINE``; ORT_ROOT says where ONNX Runtime's C header is."""
    root = Path(os.environ.get("ORT_ROOT") or "/usr")
    places = [root / "include" / sub for sub in ("", "onnxruntime", "onnxruntime/core/session")]
    include = next(one for one in places if (one / "onnxruntime_c_api.h").is_file())
    command = [
        "cc",
        "-O2",
        "-x",
        "c",
        "-",
        "-I",
        str(include),
        "-ldl",
        "-o",
        str(folder / "engine"),
    ]
    subprocess.run(command, check=True, input=ENGINE, text=True)


def measured(model: SharedModel, turns: int, folder: Path) -> Row:
    """Compile, pack and time one model."""
    build_engine(folder)
    artifact, bundle, slim = folder / "artifact", folder / "bundle", folder / "slim"
    bmopt("compile", model.path, "--target", "ort-int8", "--calib", model.calib, "-o", artifact)
    bmopt("package", artifact, "--for", "x86_64-linux", "--slim", "-o", slim)
    seconds = bmopt("package", artifact, "--for", "x86_64-linux", "-o", bundle)
    size = sum(file.stat().st_size for file in slim.rglob("*") if file.is_file())
    latency, start = [], []
    for turn in range(turns):
        order = (native, python) if turn % 2 == 0 else (python, native)
        found = {one.__name__: one(bundle) for one in order}
        latency.append(found["native"][0] / found["python"][0])
        start.append(found["native"][1] / found["python"][1])
    own = (artifact / "model.onnx").stat().st_size
    return Row(model.name, seconds, size - own, tuple(latency), tuple(start))


def table(rows: list[Row]) -> str:
    """Return the rows as Markdown."""
    lines = [HEADINGS, ("---",) * len(HEADINGS), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="the shared data folder")
    parser.add_argument("--only", default="", help="models whose name contains this")
    parser.add_argument("--turns", type=int, default=12, help="pairs of processes")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write-docs", action="store_true", help="write the table to the page")
    args = parser.parse_args()
    rows = []
    for model in shared_models(args.data, args.only):
        with tempfile.TemporaryDirectory(prefix="bmopt-bundles-") as folder:
            rows.append(measured(model, args.turns, Path(folder)))
        print(*rows[-1].cells(), sep="  ", flush=True)
    if args.json:
        text = json.dumps([dataclasses.asdict(row) for row in rows], indent=1)
        args.json.write_text(text + "\n", encoding="utf-8")
    if args.write_docs:
        Marks("bundles").put(PAGE, table(rows))


if __name__ == "__main__":
    main()
