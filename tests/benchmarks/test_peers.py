"""What the comparison with other tools reads, writes and prints; no tool is run."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from peers import measured
from peers.catalogue import PEERS, chosen
from peers.making import SCRIPTS, Made, Task
from peers.pages import BEGIN, END, document, write_docs
from peers.processes import last_line, run_measured
from peers.reading import Reader
from peers.results import Check, ModelResult, Ratio, Results, Row, read_results, write_results
from peers.tables import model_part
from shared_models import SharedModel

from bmopt.core.bench_document import Accuracy, BenchDocument, Subject
from bmopt.core.measurement import Block, Environment, Measurement, Settings
from bmopt.core.ranges import Interval

FASTER = Ratio(0.5, 0.49, 0.51, "faster")
MODEL = ModelResult(
    name="net",
    metric="top1",
    calibrated=256,
    samples=2000,
    fp32=Row("fp32", "FP32", "onnxruntime 1", value=0.8, median_ns=2e5, size_bytes=320_000),
    rows=(
        Row("bmopt", "bmopt", "onnxruntime 1", "", "5 of 6 nodes in INT8", 0.79,
            Interval(-0.02, 0.001), 0.95, FASTER, None, 1e5, 1_200_000, 5.5, 162_000_000),
        Row("nncf", "NNCF", "openvino 2", value=0.5, agreement=0.6,
            to_fp32=Ratio(0.4, 0.3, 0.5, "faster"), ours_to_it=Ratio(1.2, 1.1, 1.3, "slower")),
        Row("ort", "quantize_static", to_fp32=Ratio(1.4, 1.3, 1.5, "slower"), agreement=0.9),
        Row("best", "u8|s8", note="failed: does not load"),
        Row("modelopt", "ModelOpt", agreement=1.0, is_for_tensorrt=True,
            to_fp32=Ratio(0.1, 0.1, 0.1, "faster")),
    ),
    checks=(
        Check("benchmark_app", "FP32", "", 2e5, 2.5e5),
        Check("perf_test", "FP32", "skipped: it is not here"),
    ),
    warnings=("a busy host",),
)  # fmt: skip
RESULTS = Results("run it", "2 cores", {"nncf": "3"}, {"openvino": "2"}, (MODEL,))


def test_table_of_a_model() -> None:
    lines = model_part(MODEL).splitlines()
    assert lines[0] == "**net**: 256 calibration samples, 2,000 validation samples"
    assert lines[2].startswith("| tool | runs on | top1 | difference |")
    assert lines[4] == (
        "| FP32 | onnxruntime 1 | 80.00 % | - | - | 1 (0.200 ms) | - | 320 KB | - | - |"
    )
    assert lines[5] == (
        "| bmopt (5 of 6 nodes in INT8) | onnxruntime 1 | 79.00 % | [-2.00, +0.10] | 95.00 % "
        "| 0.500 [0.490, 0.510] faster | - | 1.2 MB | 5.5 s | 162 MB |"
    )
    assert "| 1.200 [1.100, 1.300] slower |" in lines[6]
    assert lines[8].startswith("| u8/s8: failed: does not load | - | - |")
    assert lines[9].startswith("| ModelOpt \\* |")
    assert lines[-1] == "Warning: a busy host"


def test_a_model_that_could_not_be_measured_is_a_line() -> None:
    assert model_part(ModelResult("net", note="failed: no file")) == "**net**: failed: no file"


def test_document_has_everything() -> None:
    text = document(RESULTS)
    assert text.startswith("```sh\nrun it\n```")
    assert "Measured on 2 cores. Engines: openvino 2. Tools: nncf 3." in text
    assert model_part(MODEL) in text
    assert model_part(MODEL) not in document(RESULTS, tables=False)
    assert "\\* made for TensorRT" in text
    assert "| net | FP32 | benchmark_app | 0.200 ms | 0.250 ms | 1.250 |" in text
    assert "perf_test: skipped: it is not here." in text


def test_fastest_other_tool_agrees_and_is_made_for_the_engine() -> None:
    assert (
        "| net | 95.00 % | 0.500 [0.490, 0.510] faster | quantize_static | 90.00 % | - |"
    ) in document(RESULTS)


def test_overview_without_any_other_tool() -> None:
    alone = dataclasses.replace(MODEL, rows=MODEL.rows[:1])
    assert "| none | - | - |" in document(dataclasses.replace(RESULTS, models=(alone,)))


def test_docs_are_replaced_between_the_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    for _ in range(2):
        write_docs(page, RESULTS)
    text = page.read_text(encoding="utf-8")
    assert text == f"before\n{BEGIN}\n\n{document(RESULTS)}\n\n{END}\nafter\n"


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{END}{END}"])
def test_docs_without_marks_are_refused(tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"page\.md: needs the lines"):
        write_docs(page, RESULTS)
    assert page.read_text(encoding="utf-8") == text


def test_results_round_trip(tmp_path: Path) -> None:
    write_results(RESULTS, tmp_path / "results.json")
    assert read_results(tmp_path / "results.json") == RESULTS


def test_peers_are_chosen_by_how_their_names_start() -> None:
    assert chosen([]) == list(PEERS)
    assert [peer.name for peer in chosen(["modelopt", "nncf"])] == [
        "nncf_openvino", "modelopt_max", "modelopt_entropy",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="no peer 'tvm'"):
        chosen(["tvm"])


def test_every_peer_has_its_script_and_requirements() -> None:
    for peer in PEERS:
        if peer.script:
            assert (SCRIPTS / peer.script).is_file()
            assert (SCRIPTS.parent / "requirements" / f"{peer.environment}.txt").is_file()


def task(folder: Path) -> Task:
    model = SharedModel("net", Path("/models/net.onnx"), "calib.npz", "val.npz")
    return Task(model, folder, ("x",), ((1, 2),), ("float32",), 1, 256)


def bench_document() -> BenchDocument:
    names = ("net", "ours", "theirs")
    blocks = [
        Block(name, index, (0,), (latency,))
        for index, turn in enumerate([names, names[::-1]] * 4)
        for name, latency in ((name, 1000 if name == "net" else 500) for name in turn)
    ]
    return BenchDocument(
        subjects=(
            Subject("net", "/models/net.onnx", size_bytes=10, engine="ort 1"),
            Subject("ours", "/out/bmopt", size_bytes=5, engine="ort 1", versions={"ort": "1"}),
            Subject("theirs", "ov:/out/x.xml", engine="ov 2", versions={"ov": "2"}),
            Subject("broken", "ort:/out/y.onnx", error="/out/y.onnx: does not load"),
        ),
        measurement=Measurement(names, tuple(blocks), Environment({}), Settings()),
        accuracy=(
            Accuracy("ours", "agreement", 0.9, samples=20),
            Accuracy("ours", "top1", 0.7, 0.8, Interval(-0.1, 0.0), samples=20),
        ),
    )


def test_rows_are_read_off_the_document() -> None:
    reader = Reader(task(Path("/out")), bench_document(), "/out/bmopt")
    assert (reader.metric_name, reader.samples) == ("top1", 20)
    assert reader.engines == {"ort": "1", "ov": "2"}
    assert reader.reference().value == 0.8
    assert reader.reference().median_ns == 1000
    ours = reader.filled(Row("bmopt", "bmopt"), Made("/out/bmopt", seconds=1.5))
    assert (ours.value, ours.agreement, ours.seconds) == (0.7, 0.9, 1.5)
    assert ours.to_fp32 is not None
    assert ours.to_fp32.ratio == pytest.approx(0.5)
    assert ours.to_fp32.verdict == "faster"
    assert ours.ours_to_it is None


def test_a_peer_is_compared_with_ours() -> None:
    reader = Reader(task(Path("/out")), bench_document(), "/out/bmopt")
    theirs = reader.filled(Row("theirs", "theirs"), Made("ov:/out/x.xml"))
    assert theirs.ours_to_it is not None
    assert theirs.ours_to_it.ratio == pytest.approx(1.0)
    assert theirs.value is None


def test_failures_are_told_without_folders() -> None:
    reader = Reader(task(Path("/out")), bench_document(), "/out/bmopt")
    broken = reader.filled(Row("broken", "broken"), Made("ort:/out/y.onnx"))
    assert broken.note == "failed: y.onnx: does not load"
    assert broken.to_fp32 is None
    missing = reader.filled(Row("missing", "missing"), Made(note="skipped: no network"))
    assert missing.note == "skipped: no network"


def test_what_could_not_be_measured_is_a_warning(tmp_path: Path) -> None:
    lines = ("bmopt: error: no accuracy", "bmopt: error: /out/y.onnx: does not load", "noise")
    (tmp_path / "bench.log").write_text("\n".join(lines), encoding="utf-8")
    assert Reader(task(tmp_path), bench_document()).warnings == ("no accuracy",)


def test_a_process_is_measured(tmp_path: Path) -> None:
    code = "import sys; data = b'x' * 80_000_000; print('made it')"
    ending = run_measured([sys.executable, "-c", code], tmp_path / "tool.log", 60)
    assert not ending.error
    assert last_line(tmp_path / "tool.log") == "made it"
    assert 80e6 < (ending.peak_bytes or 0) < 200e6


def test_a_process_that_fails_tells_its_last_line(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", "raise SystemExit('it broke')"]
    assert run_measured(argv, tmp_path / "tool.log", 60).error == "it broke"
    assert "No such file" in run_measured([tmp_path / "none"], tmp_path / "x.log", 60).error


def test_a_process_is_ended_when_its_time_is_up() -> None:
    found = measured.measure([sys.executable, "-c", "import time; time.sleep(60)"], 0.2)
    assert found["late"]
    assert found["code"] < 0
    assert found["seconds"] < 30


SCRIPT = f"""
import sys
sys.path.insert(0, {str(SCRIPTS)!r})
import job
reader = job.Reader(job.read_job())
first = reader.get_first()
print([int(feeds["b"][0]) for feeds in iter(reader.get_next, None)], first["a"][0])
"""


def test_scripts_read_their_job(tmp_path: Path) -> None:
    samples = tmp_path / "samples.npz"
    np.savez(samples, **{f"{i}-{j}": np.full(2, 10 * i + j) for i in range(3) for j in range(2)})
    job = {"model": "m", "samples": str(samples), "inputs": ["a", "b"], "output": "o"}
    (tmp_path / "job.json").write_text(json.dumps({**job, "option": ""}), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path / "job.json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[1, 11, 21] 0"
