"""What the tests of the native runner's TensorRT plugins share."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
RUNNER = HERE.parents[1] / "cpp_ext" / "runner"
IO = {"inputs": {"x": "float32"}, "outputs": {"y": "float32"}}
BAD_INPUT, HOST = 2, 6


def compile_with(command: list[str], folder: Path) -> None:
    """Run a compiler in ``folder``."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-4000:]


def run_hosted(order: dict[str, Any], environment: dict[str, str]) -> dict[str, Any]:
    """Return what ``plugin_host.py`` says of an order, in a process of its own."""
    done = subprocess.run(
        [sys.executable, str(HERE / "plugin_host.py")],
        input=json.dumps(order),
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result: dict[str, Any] = json.loads(done.stdout)
    assert "\n" not in result["error"]
    return result


def header(tag: bytes = b"ptrt", version: str = "10.16.1.0", size: int = 0, sms: int = 0) -> bytes:
    """Return the header of an engine file, which declares ``size`` bytes."""
    numbers = map(int, version.split("."))
    return struct.pack("<4sI8xQ4B4sI", tag, 0, size, *numbers, b"\0\0\0\0", sms)


def feed(batch: int, seed: int = 0, dtype: str = "float32") -> dict[str, Any]:
    """Return a run on a batch of small whole numbers."""
    drawn = np.random.default_rng(seed).integers(-8, 8, (batch, 3))
    return {"feeds": [{"shape": [batch, 3], "dtype": dtype, "data": drawn.tolist()}]}


def values(run: dict[str, Any]) -> np.ndarray:
    """Return what a run feeds."""
    return np.array(run["feeds"][0]["data"], np.float32)


SM86_ENGINE = header(b"vtrt", "1.7.1.116", sms=4)
