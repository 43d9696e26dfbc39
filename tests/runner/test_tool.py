"""bmopt-run on real bundles, built with AddressSanitizer and UBSan."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from PIL import Image

from bmopt import __version__
from bmopt.bench.statistics import latency
from bmopt.bundle.keys import private_key
from bmopt.bundle.signing import sign
from bmopt.bundle.sums import write_sums
from bmopt.cli.main import main
from bmopt.core.bench_document import BenchDocument
from bmopt.core.dataset import InputSpec
from bmopt.data.images import open_images
from bmopt.data.preprocess import Preprocess
from tests.bundle.bundles import write_key
from tests.runner.conftest import Build
from tests.runner.native_probe import stb_folder
from tests.runner.tool_bundles import Tool, pixels_model, write_bundle
from tests.turns import alone

_FEEDS = {"input": np.random.default_rng(0).normal(size=(1, 4)).astype(np.float32)}
_LABELS = "cat\ndog\nelk\n"
_RECIPE = {"resize": 20, "crop": [16, 18], "scale": 1 / 255, "mean": [0.4], "std": [0.25]}

needs_pictures = pytest.mark.skipif(stb_folder() is None, reason="needs libstb-dev")


@pytest.fixture(scope="session")
def tool(native_engine: Build, ort_library: Path) -> Tool:
    command = ["cmake", "--build", str(native_engine.folder), "--parallel", "2"]
    with alone("runner-tests"):
        made = subprocess.run(
            [*command, "--target", "bmopt-run"], capture_output=True, text=True, check=False
        )
    assert made.returncode == 0, made.stdout[-4000:] + made.stderr[-4000:]
    return Tool(native_engine.folder / "bmopt-run", ort_library)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "b", golden=_FEEDS, labels=_LABELS)


def _answer(bundle: Path, values: Any) -> Any:
    model = bundle / "models/m/model.onnx"
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"input": values})[0]


def _saved(path: Path, array: Any) -> Path:
    np.save(path, array)
    return path


def test_golden_inputs_run_where_none_are_given(tool: Tool, bundle: Path) -> None:
    lines = tool.run(bundle).stdout.splitlines()
    assert lines[0] == f"m (ort-fp32) on onnxruntime {ort.__version__}"
    assert "logits: float32 [1, 3]" in lines[2]
    scores = _answer(bundle, _FEEDS["input"])[0]
    best = int(scores.argmax())
    assert lines[3].split() == [f"{scores[best]:.6g}", str(best), _LABELS.split()[best]]


def test_scores_are_ranked_with_their_labels(tool: Tool, bundle: Path, tmp_path: Path) -> None:
    values = np.array([[1, -2, 0.5, 3]], np.float32)
    found = tool.json(bundle, "--input", _saved(tmp_path / "x.npy", values), "--top", 2)
    (inference,) = found["inferences"]
    (output,) = inference["outputs"]
    assert (output["name"], output["dtype"], output["shape"]) == ("logits", "float32", [1, 3])
    scores = _answer(bundle, values)[0]
    order = np.argsort(-scores)[:2]
    assert [entry["index"] for entry in output["top"]] == list(order)
    assert [entry["score"] for entry in output["top"]] == [float(scores[i]) for i in order]
    assert [entry["label"] for entry in output["top"]] == [_LABELS.split()[i] for i in order]


def test_outputs_are_written(tool: Tool, bundle: Path, tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    tool.run(bundle, "--input", _saved(tmp_path / "x.npy", values), "--output", tmp_path / "o")
    assert np.array_equal(np.load(tmp_path / "o/output_0.npy"), _answer(bundle, values))
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["output_0.npy"]


def test_several_inferences(tool: Tool, bundle: Path, tmp_path: Path) -> None:
    files = [
        _saved(tmp_path / f"{n}.npy", np.full((n, 4), n, np.float32)) for n in (1, 3, 2)
    ]  # fmt: skip
    inputs = [word for file in files for word in ("--input", file)]
    found = tool.json(bundle, *inputs, "--output", tmp_path / "o", "--threads", 1)
    assert [one["inputs"] for one in found["inferences"]] == [[str(file)] for file in files]
    for i, file in enumerate(files):
        written = np.load(tmp_path / f"o/{i}/output_0.npy")
        assert np.array_equal(written, _answer(bundle, np.load(file)))


@needs_pictures
@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_picture_becomes_what_python_makes_of_it(tool: Tool, tmp_path: Path, name: str) -> None:
    shape = [1, 3, 16, 18]
    bundle = write_bundle(
        tmp_path / "b", pixels_model("float", shape), preprocess=_RECIPE
    )  # fmt: skip
    (tmp_path / "in").mkdir()
    y, x = np.mgrid[0:31, 0:37]
    pixels = np.stack([4 * x + y, 3 * x + 2 * y, 255 - 4 * y], -1).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in" / name)
    tool.run(bundle, "--input", tmp_path / "in" / name, "--output", tmp_path / "out")
    spec = InputSpec("input", "float32", tuple(shape))
    options = Preprocess.from_mapping(_RECIPE, "test")
    (batch,) = open_images(tmp_path / "in", [spec], options, name="d", limit=None).batches(1)
    found = np.load(tmp_path / "out/output_0.npy")
    tolerance = 0 if name == "a.png" else 4 / 255 / 0.25
    np.testing.assert_allclose(found, batch.feeds["input"], rtol=0, atol=tolerance)


def test_inputs_that_do_not_fit(tool: Tool, bundle: Path, tmp_path: Path) -> None:
    wide = _saved(tmp_path / "wide.npy", np.zeros((1, 5), np.float32))
    assert "[1, 5]" in tool.refusal(2, bundle, "--input", wide)
    double = _saved(tmp_path / "double.npy", np.zeros((1, 4)))
    assert "float64" in tool.refusal(2, bundle, "--input", double)
    assert "none.npy" in tool.refusal(2, bundle, "--input", tmp_path / "none.npy")
    (tmp_path / "a.txt").write_text("x")
    assert "neither .npy nor" in tool.refusal(2, bundle, "--input", tmp_path / "a.txt")
    (tmp_path / "a.npy").write_text("x")
    assert "a.npy" in tool.refusal(2, bundle, "--input", tmp_path / "a.npy")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    assert "does not say how a picture" in tool.refusal(2, bundle, "--input", tmp_path / "a.png")


def test_without_golden_inputs_an_input_is_needed(tool: Tool, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b")
    assert "give --input" in tool.refusal(2, bundle)
    assert "runs" in tool.run(bundle, "--bench", 0.02).stdout
    assert "none in the bundle" in tool.run(bundle, "--verify").stdout


def _states(found: Any) -> dict[str, str]:
    return {stage["stage"]: stage["state"] for stage in found["stages"]}


def test_verify_tells_every_stage(tool: Tool, bundle: Path) -> None:
    lines = tool.run(bundle, "--verify").stdout.splitlines()
    stages = ["manifest", "checksums", "signature", "host", "golden"]
    assert [line.split()[:2] for line in lines] == [[stage, "ok"] for stage in stages]
    found = tool.json(bundle, "--verify")
    assert found["status"] == 0
    assert _states(found) == dict.fromkeys(stages, "ok")
    (golden,) = found["golden"]
    assert (golden["model"], golden["output"]) == ("m", "logits")
    assert golden["difference"] <= golden["tolerance"] == 1e-5


def test_a_changed_file_is_noticed_first(tool: Tool, bundle: Path) -> None:
    model = bundle / "models/m/model.onnx"
    data = bytearray(model.read_bytes())
    data[-1] ^= 1
    model.write_bytes(data)
    assert "model.onnx" in tool.refusal(5, bundle, "--verify")
    found = tool.json(bundle, "--verify", expect=5)
    assert found["status"] == 5
    assert _states(found) == {"manifest": "ok", "checksums": "failed"}


def test_other_outputs_differ(tool: Tool, bundle: Path) -> None:
    other = write_bundle(bundle.parent / "o", golden=_FEEDS, tolerance=0.0)
    place = other / "golden/m/0/output_0.npy"
    np.save(place, np.load(place) + np.float32(0.25))
    _seal(other)
    assert "differs by 0.25" in tool.refusal(7, other, "--verify")
    found = tool.json(other, "--verify", expect=7)
    assert _states(found)["golden"] == "failed"
    assert found["golden"][0]["difference"] == pytest.approx(0.25, abs=1e-6)


def _seal(bundle: Path) -> None:
    """Make the checksums right again after a golden file was changed, its size kept."""
    from bmopt.core import digest

    manifest = bundle / "manifest.json"
    text = manifest.read_text()
    for path in bundle.rglob("*.npy"):
        name = path.relative_to(bundle).as_posix()
        at = text.index('"sha256": "', text.index(f'"{name}": {{')) + len('"sha256": "')
        text = text[:at] + digest.of_file(path) + text[at + 64 :]
    manifest.write_text(text)
    (bundle / "SHA256SUMS").unlink()
    write_sums(bundle)


def test_a_host_that_cannot_run_it(tool: Tool, tmp_path: Path) -> None:
    lacking = write_bundle(tmp_path / "cpu", golden=_FEEDS, cpu=(("sve", "amx_int8"), ("sve",)))
    if "sve" not in Path("/proc/cpuinfo").read_text():
        assert "sve" in tool.refusal(6, lacking, "--verify")
        assert "sve" in tool.refusal(6, lacking)
    bundle = write_bundle(tmp_path / "b", golden=_FEEDS)
    missing = tmp_path / "libonnxruntime.so.1"
    assert "libonnxruntime" in tool.refusal(6, bundle, "--library", missing)
    other = "aarch64-linux" if "x86_64" in str(_platform()) else "x86_64-linux"
    foreign = write_bundle(tmp_path / "f", golden=_FEEDS, platform=other)
    assert other in tool.refusal(6, foreign, "--verify")


def _platform() -> str:
    from bmopt.bundle.native import own_platform

    return own_platform()


def test_signatures(tool: Tool, bundle: Path, tmp_path: Path) -> None:
    key = write_key(tmp_path / "key.pem")
    public = base64.b64encode(private_key(key).public_key().public_bytes_raw()).decode()
    assert "is not signed" in tool.refusal(5, bundle, "--verify", "--key", public)
    sign(bundle, key)
    assert f"by {public}" in tool.run(bundle, "--verify", "--key", public).stdout
    (tmp_path / "public").write_text(public + "\n")
    tool.run(bundle, "--verify", "--key", tmp_path / "public")
    other = private_key(write_key(tmp_path / "other.pem", seed=2))
    given = base64.b64encode(other.public_key().public_bytes_raw()).decode()
    assert "another key" in tool.refusal(5, bundle, "--verify", "--key", given)
    assert "neither the base64" in tool.refusal(2, bundle, "--verify", "--key", "nothing")


def test_bench_says_median_and_p90(tool: Tool, bundle: Path) -> None:
    lines = tool.run(bundle, "--bench", 0.2).stdout.splitlines()
    assert lines[1].startswith("median ")
    assert "p90 " in lines[1]
    assert lines[1].endswith(" runs")
    assert lines[2].startswith("load ")


def test_bench_opens_in_report(
    tool: Tool, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tool.run(bundle, "--bench", 0.3, "--json", "--threads", 1).stdout
    document = BenchDocument.from_json(text)
    (subject,) = document.subjects
    assert (subject.name, subject.target, subject.kind) == ("m", "ort-fp32", "bundle")
    assert subject.versions == {"onnxruntime": ort.__version__}
    assert subject.size_bytes == (bundle / "models/m/model.onnx").stat().st_size
    assert document.measurement is not None
    found = latency(document.measurement, "m")
    assert found.samples > 44
    assert 0 < found.median_ns <= (found.p90_ns or 0)
    assert len(document.measurement.blocks) > 3
    assert document.environment["threads.intra_op"] == 1
    assert document.environment["cpu.logical_cores"]
    (process,) = document.processes
    assert (process.load_ns or 0) > 0
    assert (process.cold_start_ns or 0) > (process.first_inference_ns or 0) > 0
    assert (process.peak_memory_bytes or 0) > 1 << 20
    (tmp_path / "r.json").write_text(text)
    assert main(["report", str(tmp_path / "r.json"), "-o", str(tmp_path / "r.html")]) == 0
    assert "ort-fp32" in (tmp_path / "r.html").read_text()
    capsys.readouterr()


def test_the_host_is_described_as_python_does(tool: Tool, bundle: Path) -> None:
    from bmopt.bench.environment import describe

    text = tool.run(bundle, "--bench", 0.05, "--json").stdout
    found, expected = BenchDocument.from_json(text).environment, describe().facts
    names = [name for name in found if name.startswith(("cpu.", "memory.", "os", "kernel"))]
    same = [name for name in names if name in expected]
    assert len(same) >= 12
    assert {name: found[name] for name in same} == {name: expected[name] for name in same}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--frobnicate"], "unknown option --frobnicate"),
        (["b", "c"], "unexpected argument 'c'"),
        (["b", "--top"], "--top: needs a value"),
        (["b", "--top", "x"], "--top x: give a number"),
        (["b", "--top=1.5"], "give a whole number"),
        (["b", "--threads", "-1"], "--threads -1: give a number from 0"),
        (["b", "--bench", "0"], "more than 0 seconds"),
        (["b", "--bench", "nan"], "give a number"),
        (["b", "--bench", "1", "--verify"], "exclude each other"),
        (["b", "--key", "k"], "--key: is for --verify"),
        (["b", "--verify", "--input", "x.npy"], "drop one of them"),
        (["b", "--bench", "1", "--output", "o"], "--output: only an inference"),
        ([], "no bundle was given"),
    ],
)
def test_wrong_usage(tool: Tool, arguments: list[str], message: str) -> None:
    command = [str(tool.program), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert not done.stdout
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_and_version(tool: Tool) -> None:
    assert "--bench SECONDS" in tool.run("--help").stdout
    assert tool.run("--version").stdout == f"bmopt-run {__version__}\n"


def test_what_is_no_bundle(tool: Tool, bundle: Path, tmp_path: Path) -> None:
    assert "is no bundle" in tool.refusal(2, tmp_path / "nothing")
    assert "has no model" in tool.refusal(2, bundle, "--model", "other")
    (bundle / "manifest.json").write_text("{")
    assert "manifest.json" in tool.refusal(2, bundle, "--verify")
