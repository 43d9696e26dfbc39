from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bmopt.errors import ModelError
from bmopt.workflow.benching.cold_start import cold_start, memory
from bmopt.workflow.compiling import CompileResult
from tests.workflow.demo_runs import DEMO, images


def test_memory_is_read_in_bytes(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    status = tmp_path / "proc/self/status"
    status.write_text("Name:\tpython\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n")
    assert memory("VmHWM", tmp_path) == 2 << 20
    assert memory("VmRSS", tmp_path) == 1 << 20
    assert memory("VmSwap", tmp_path) is None
    assert memory("VmHWM", tmp_path / "nowhere") is None


def test_opening_and_the_first_inference_are_told_apart(demo: CompileResult) -> None:
    feeds = [{"image": image[None]} for image in images(3)]
    for subject in (str(DEMO.model), f"ort:{DEMO.model}", str(demo.artifact)):
        found = cold_start(subject, 1, feeds, any_host=False)
        assert found["load_ns"] is not None
        assert found["first_inference_ns"] is not None
        assert 1e5 < found["load_ns"] < 5e9
        assert 1e4 < found["first_inference_ns"] < 1e9
        before, peak = found["memory_before_bytes"], found["peak_memory_bytes"]
        assert before is None or peak is None or before <= peak


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"m\.onnx"):
        cold_start(f"ort:{tmp_path / 'm.onnx'}", 1, [{"x": np.zeros(1)}], any_host=False)
