from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from bmopt.backends.onnxruntime.session import open_file as open_in_ort
from bmopt.backends.openvino.session import OpenVinoRunner, open_file
from bmopt.core.dataset import InputSpec
from bmopt.core.runner import Array
from bmopt.errors import DataError, ModelError
from tests.backends.openvino.models import images, ir_of, onnx_file, openvino, random

SUM = "g (float[N,4] x, float[N,4] y) => (float[N,4] z) { z = Add(x, y) }"


@pytest.fixture(params=[".onnx", ".xml"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    model = onnx_file(tmp_path)
    return model if request.param == ".onnx" else ir_of(model)


def test_outputs_are_those_of_onnx_runtime(path: Path) -> None:
    with open_file(path, threads=1) as runner, open_in_ort(path.with_suffix(".onnx")) as other:
        for count in (1, 3, 2):
            found, wanted = runner.run(images(count)), other.run(images(count))
            assert list(found) == list(runner.output_names) == ["scores", "seen"] == list(wanted)
            for name, array in wanted.items():
                assert found[name].dtype == np.float32
                np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6)


def test_inputs(path: Path) -> None:
    with open_file(path) as runner:
        assert runner.inputs == (InputSpec("image", "float32", (None, 3, 8, 8)),)


def test_outputs_are_the_callers_to_keep(path: Path) -> None:
    feeds = images(2)
    before = feeds["image"].copy()
    with open_file(path) as runner:
        first = runner.run(feeds)
        kept = {name: array.copy() for name, array in first.items()}
        second = runner.run(images(2, seed=9))
    np.testing.assert_array_equal(feeds["image"], before)
    for name, array in kept.items():
        np.testing.assert_array_equal(first[name], array)
        assert not np.array_equal(second[name], array)
        first[name][...] = 0


def test_inputs_that_are_not_laid_out_for_the_engine(path: Path) -> None:
    image = images(2)["image"]
    frozen, turned = image.copy(), np.asfortranarray(image)
    frozen.flags.writeable = False
    with open_file(path) as runner:
        wanted = runner.run({"image": image})
        for array in (frozen, turned, np.repeat(image, 2, axis=0)[::2]):
            np.testing.assert_array_equal(runner.run({"image": array})["scores"], wanted["scores"])


@pytest.mark.parametrize("threads", [1, 2])
def test_threads(path: Path, threads: int) -> None:
    with open_file(path, threads=threads) as runner:
        assert runner.compiled.get_property("INFERENCE_NUM_THREADS") == threads
        assert runner.compiled.get_property("NUM_STREAMS") == 1
        assert not runner.compiled.get_property("ENABLE_CPU_PINNING")


def test_float32_stays_float32(tmp_path: Path) -> None:
    text = "g (float[1,256] x) => (float[1,256] y) { y = MatMul(x, w) }"
    model = onnx_file(tmp_path, text, {"w": random(256, 256)})
    feeds = {"x": random(1, 256, seed=1)}
    wanted = feeds["x"] @ random(256, 256)
    with open_file(model) as exact, open_file(model, precision="bf16") as short:
        assert np.abs(exact.run(feeds)["y"] - wanted).max() < 1e-4
        # A CPU without bfloat16 ignores the wish.
        if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            assert np.abs(short.run(feeds)["y"] - wanted).max() > 1e-3


def test_a_model_that_feeds_in_other_types(tmp_path: Path) -> None:
    text = """g (bool[2] p, float16[3] h, bfloat16[2] b, int64[K] i, uint8[2] u)
        => (bool[2] np, float16[3] nh, bfloat16[2] bb, int64[K] ii, uint8[2] uu)
        { np = Not(p) nh = Neg(h) bb = Add(b, b) ii = Add(i, i) uu = Max(u, u) }"""
    feeds: dict[str, Array] = {
        "p": np.array([True, False]),
        "h": np.array([1, -2, 0.5], np.float16),
        "b": np.array([1.5, -3], ml_dtypes.bfloat16),
        "i": np.array([2**29, -1, 7]),
        "u": np.array([255, 0], np.uint8),
    }
    wanted = (~feeds["p"], -feeds["h"], 2 * feeds["b"], 2 * feeds["i"], feeds["u"])
    with open_file(onnx_file(tmp_path, text)) as runner:
        assert [spec.dtype for spec in runner.inputs] == [a.dtype.name for a in feeds.values()]
        for found, expected in zip(runner.run(feeds).values(), wanted, strict=True):
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)


def test_int64_is_int32_inside(tmp_path: Path) -> None:
    """What the documentation warns of."""
    path = onnx_file(tmp_path, "g (int64[K] x) => (int64[K] y) { y = Abs(x) }")
    with open_file(path) as runner:
        found = runner.run({"x": np.array([-(2**30), 2**33 + 1])})["y"]
    assert found.dtype == np.int64
    assert found[0] == 2**30
    assert found[1] != 2**33 + 1


def fails(runner: OpenVinoRunner, message: str, **feeds: Array) -> None:
    with pytest.raises(DataError, match=message) as caught:
        runner.run(feeds)
    assert "\n" not in str(caught.value)


def test_inputs_that_do_not_fit(tmp_path: Path) -> None:
    right = random(2, 4)
    with open_file(onnx_file(tmp_path, SUM)) as runner:
        fails(runner, "they are 'x', the model's are 'x', 'y'", x=right)
        fails(runner, "they are none, the")
        fails(runner, "'x', 'y', 'q', the model's are 'x', 'y'", x=right, y=right, q=right)
        fails(runner, "'y' is float64, the model wants float32", x=right, y=np.zeros((2, 4)))
        fails(runner, "in this host's byte order", x=right, y=right.astype(">f4"))
        fails(runner, r"model input \(shape=\[\?,4\]\) and the tensor", x=right, y=random(2, 5))
        fails(runner, "cannot run these inputs", x=right, y=random(4))
        fails(runner, "cannot run these inputs", x=right, y=random(3, 4))
        np.testing.assert_array_equal(runner.run({"x": right, "y": right})["z"], right + right)


def refused(path: Path, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        open_file(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert "src/" not in str(caught.value)


def test_an_ir_without_its_weights(tmp_path: Path) -> None:
    path = ir_of(onnx_file(tmp_path))
    weights = path.with_suffix(".bin")
    weights.write_bytes(weights.read_bytes()[:8])
    refused(path, r"OpenVINO refuses it \(Incorrect weights in bin file!\)$")
    weights.unlink()
    refused(path, r"OpenVINO refuses it \(.*\); m\.bin has to lie beside it")


@pytest.mark.parametrize("text", ["", "<net", "<?xml version='1.0'?><html></html>", "\0\1\2"])
def test_what_is_no_ir(text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.xml"
    path.write_text(text)
    refused(path, "is no OpenVINO IR")
    assert capfd.readouterr() == ("", "")


def test_half_an_ir(tmp_path: Path) -> None:
    path = ir_of(onnx_file(tmp_path))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(path, "OpenVINO refuses it")


def test_what_is_no_model(tmp_path: Path) -> None:
    refused(tmp_path / "m.xml", "no such file")
    (tmp_path / "m.plan").write_text("x")
    refused(tmp_path / "m.plan", r"OpenVINO runs \.xml or \.onnx files")
    (tmp_path / "m.onnx").write_text("x")
    refused(tmp_path / "m.onnx", "OpenVINO refuses it")


def test_an_op_that_it_lacks(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17, "mine" : 1]>
        g (float[2] x) => (float[2] y) { y = mine.Strange(x) }"""
    refused(onnx_file(tmp_path, text), r"OpenVINO refuses it \(.*mine\.Strange")


def test_text_cannot_be_fed(tmp_path: Path) -> None:
    path = onnx_file(tmp_path, "g (string[2] x) => (string[2] y) { y = Identity(x) }")
    with pytest.raises(
        ModelError, match=r"m\.onnx: (input '[xy]' is of type string|OpenVINO refuse)"
    ):
        open_file(path)


def test_inputs_that_come_again_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bmopt.backends.openvino.session._MOST_BYTES", 40)
    path = onnx_file(tmp_path, "g (float[1, 2] x) => (float[1, 2] y) { y = Neg (x) }")
    one, two = np.array([[1, 2]], np.float32), np.array([[3, 4]], np.float32)
    with open_file(path, threads=1) as runner:
        for _ in range(2):
            assert runner.run({"x": one})["y"].tolist() == [[-1, -2]]
            assert runner.run({"x": two})["y"].tolist() == [[-3, -4]]
        one[0, 0] = 9
        assert runner.run({"x": one})["y"].tolist() == [[-9, -2]]
        for index in range(20):
            fresh = np.array([[index, 0]], np.float32)
            assert runner.run({"x": fresh})["y"][0, 0] == -index
        assert len(runner._tensors) <= 5
