from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from bmopt.bench.accuracy import compare_accuracy
from bmopt.bench.compare import compare_latency, ratio
from bmopt.core.measurement import Measurement
from bmopt.core.runner import Runner
from tests.bench.scripted import NOWHERE
from tests.bench.synthetic import Arrays, Function
from tests.shared_data import needs_shared, shared_dir

MODEL = """
<ir_version: 10, opset_import: ["" : 20]>
agraph (float[N, 64] x) => (float[N, 64] scores) {
  size = Constant<value = int64[2] {64, 64}>()
  small = ConstantOfShape<value = float[1] {0.125}>(size)
BODY
}
"""


def open_model(model: bytes | str) -> Function:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    feed = session.get_inputs()[0].name
    return Function(lambda x: dict(zip(names, session.run(names, {feed: x}), strict=True)), *names)


def chain(length: int) -> Function:
    """Return a model of that many matrix products in a row."""
    names = ["x", *(f"v{i}" for i in range(length - 1)), "scores"]
    body = [f"  {names[i + 1]} = MatMul({names[i]}, small)" for i in range(length)]
    model = onnx.parser.parse_model(MODEL.replace("BODY", "\n".join(body)))
    return open_model(model.SerializeToString())


def test_a_model_with_more_work_is_slower() -> None:
    feeds = [{"x": np.full((256, 64), i, np.float32)} for i in range(4)]
    runners: dict[str, Runner] = {"short": chain(2), "long": chain(12)}
    one = compare_latency(
        runners, feeds, duration_s=2.0, precision=0.2, block_ms=10, environment=NOWHERE
    )
    found = ratio(one, "short", "long")
    assert found.verdict == "slower"
    assert 2.0 < found.ratio < 20.0
    assert Measurement.from_json(one.to_json()) == one


@pytest.mark.zoo
@needs_shared
def test_accuracy_of_a_trained_model_is_the_published_one() -> None:
    root = shared_dir()
    assert root is not None
    with np.load(root / "cifar10" / "cifar10_val5000.npz") as arrays:
        images, labels = arrays["images"][:1000], arrays["labels"][:1000]
    scaled = images.astype(np.float32) / 255 - np.array([0.485, 0.456, 0.406], np.float32)
    x = np.ascontiguousarray(
        (scaled / np.array([0.229, 0.224, 0.225], np.float32)).transpose(0, 3, 1, 2)
    )
    model = open_model(str(root / "models" / "resnet20_cifar10.onnx"))
    name = model.output_names[0]
    rough = Function(lambda x: {name: np.round(model.run({"x": x})[name])}, name)
    found = compare_accuracy(model, rough, Arrays(x, labels, pad=True), 64)
    scores = np.concatenate([model.run({"x": x[i : i + 50]})[name] for i in range(0, 1000, 50)])
    assert found.reference["top1"] == np.mean(np.argmax(scores, axis=1) == labels)
    assert found.reference["top1"] == pytest.approx(0.81, abs=0.03)
    assert found.agreement is not None
    assert 0.8 < found.agreement < 1.0
    assert 15 < found.sqnr_db[name] < 40
