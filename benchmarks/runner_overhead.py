"""What the native runner adds to a call of ONNX Runtime: ``bm_run`` against ``OrtApi::Run``.

Both on the same memory, in turns of 2 ms in one process (cpp_ext/runner/tests/overhead.cpp, which
this builds); of each the quietest twentieth of the turns counts, for other load only ever adds
time.

    python benchmarks/runner_overhead.py [--seconds N] [--json FILE]

Exits with 1 where a call costs over 3 microseconds more than directly.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

_MOST_NS = 3000.0
_QUIET = 0.05
_ROOT = Path(__file__).parents[1]
_BUILD = _ROOT / "build/runner-overhead"
_MODEL = """
<ir_version: 8, opset_import: ["" : 17]>
identity (float[1, 16] x) => (float[1, 16] y) { y = Identity(x) }
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    build()
    with tempfile.TemporaryDirectory() as folder:
        turns = measure(write_bundle(Path(folder)), options.seconds)
    direct, runner = (float(np.quantile(turns[key], _QUIET)) for key in ("direct", "runner"))
    print(f"direct {direct:.0f} ns, bm_run {runner:.0f} ns: {runner - direct:+.0f} ns a call")
    if options.json:
        text = json.dumps({"direct_ns": direct, "runner_ns": runner}, indent=1)
        options.json.write_text(text + "\n", encoding="utf-8")
    return int(runner - direct > _MOST_NS)


def build() -> None:
    """Build the runner and the program that measures; ORT_ROOT says where the header is."""
    source = str(_ROOT / "cpp_ext/runner")
    target = ("runner_overhead", "bm_engine_onnxruntime")
    configure = ["cmake", "-S", source, "-B", str(_BUILD), "-DBMOPT_RUNNER_TESTS=ON"]
    subprocess.run(configure, check=True, stdout=subprocess.DEVNULL)
    make = ["cmake", "--build", str(_BUILD), "--target", *target]
    subprocess.run(make, check=True, stdout=subprocess.DEVNULL)


def write_bundle(folder: Path) -> Path:
    """Write a bundle with a model that does next to nothing; return its folder."""
    model = onnx.parser.parse_model(_MODEL)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    (folder / "lib").mkdir()
    shutil.copy(_BUILD / "libbm_engine_onnxruntime.so", folder / "lib")
    manifest = json.dumps(_manifest(model.ByteSize()))
    (folder / "manifest.json").write_text(manifest, encoding="utf-8")
    return folder


def _manifest(size: int) -> dict[str, Any]:
    port = {"dtype": "float32", "shape": [1, 16]}
    runtime = {"name": "onnxruntime", "min": "", "below": "", "made_with": ""}
    model = {
        "name": "identity",
        "target": "ort-fp32",
        "engine": "onnxruntime",
        "digest": "",
        "file": "model.onnx",
        "needs": {"cpu": [], "gpu": [], "runtime": runtime},
        "inputs": [{"name": "x", **port}],
        "outputs": [{"name": "y", **port}],
        "golden": [],
    }
    return {
        "bmopt_bundle": 1,
        "bmopt": "",
        "name": "overhead",
        "models": [model],
        "platform": f"{platform.machine()}-linux",
        "files": {"model.onnx": {"sha256": "0" * 64, "bytes": size}},
    }


def measure(bundle: Path, seconds: int) -> dict[str, list[float]]:
    """Return nanoseconds per call of each turn, of "direct" and "runner"."""
    folder = Path(onnxruntime.__file__).parent / "capi"
    library = next(iter(sorted(folder.glob("libonnxruntime.so.*"))))
    program = _BUILD / "tests/runner_overhead"
    command = [program, bundle, bundle / "model.onnx", library, str(seconds)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    turns: dict[str, list[float]] = {"direct": [], "runner": []}
    for line in done.stdout.splitlines():
        name, value = line.split()
        turns[name].append(float(value))
    return turns


if __name__ == "__main__":
    sys.exit(main())
