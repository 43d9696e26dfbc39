"""Train the demo model on scikit-learn's handwritten digits and write bmopt/demo_data.

usage: python scripts/train_demo.py [OUTPUT_FOLDER]

Plain NumPy, about two minutes on one core, seeded: the same machine and NumPy give the same files.
The 8x8 digits are enlarged to 16x16, so that the convolutions have work. The network has an
ordinary, a depthwise and a pointwise convolution and a residual block; its BatchNormalization
stays unfused, and all widths are multiples of 16, as integer kernels like them.

The layers and their gradients are in ``demo_network.py``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import onnxruntime as ort
from demo_network import F32, BatchNorm, Chain, Classifier, Conv, Depthwise, Relu
from onnx_ir.tape import Tape
from PIL import Image
from sklearn.datasets import load_digits

from bmopt.core.dataset import InputSpec
from bmopt.data.open import open_dataset

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

SEED = 7
SIDE = 16
CALIBRATION_SAMPLES = 200
VALIDATION_SAMPLES = 600
EPOCHS = 24
BATCH = 64
LEARNING_RATE = 3e-3
MEAN, STD = 0.3, 0.35
ACCURACY_FLOOR = 0.97
OPSET = 17

PREPROCESS = f"""\
# How the stored pixels (uint8, grey) become the model's input.
x = "images"
y = "labels"
channels = "GRAY"
scale = "1/255"
mean = [{MEAN}]
std = [{STD}]
layout = "NCHW"
"""


def build_network(rng: np.random.Generator) -> Chain:
    """Return the untrained network."""
    block = Chain(
        Conv(rng, "left", 48, 48, 3),
        BatchNorm("left", 48),
        Relu("left"),
        Conv(rng, "right", 48, 48, 3),
        BatchNorm("right", 48),
        residual=True,
    )
    return Chain(
        *(Conv(rng, "stem", 1, 32, 3), BatchNorm("stem", 32), Relu("stem")),
        *(Depthwise(rng, "deep", 32), BatchNorm("deep", 32), Relu("deep")),
        *(Conv(rng, "point", 32, 48, 1), BatchNorm("point", 48), Relu("point")),
        *(block, Relu("residual")),
        *(Conv(rng, "head", 48, 64, 3, stride=2), BatchNorm("head", 64), Relu("head")),
        Classifier(rng, 64),
    )


def train(network: Chain, images: U8, labels: I64, rng: np.random.Generator) -> None:
    """Train with Adam, a cosine schedule and shifts by one pixel."""
    parameters, count = network.parameters(), 0
    steps = EPOCHS * (len(images) // BATCH)
    for epoch in range(EPOCHS):
        order = rng.permutation(len(images))
        losses = []
        for start in range(0, len(order) - BATCH + 1, BATCH):
            rows = order[start : start + BATCH]
            x = normalised(_shifted(images[rows], rng))
            loss, grad = _cross_entropy(network.forward(x, train=True), labels[rows])
            network.backward(grad)
            rate = LEARNING_RATE * 0.5 * (1 + np.cos(np.pi * count / steps))
            count += 1
            for parameter in parameters:
                parameter.step(rate, count)
            losses.append(loss)
        print(f"epoch {epoch + 1:2d}/{EPOCHS}  loss {np.mean(losses):.4f}", flush=True)


def normalised(images: U8) -> F32:
    """Return what ``PREPROCESS`` makes of the images, channels last."""
    scaled = images[..., None].astype(np.float32) * np.float32(1 / 255)
    return (scaled - np.float32(MEAN)) / np.float32(STD)


def load_images() -> tuple[U8, I64]:
    """Return the digits as 16x16 grey images and their classes."""
    digits = load_digits()
    small = np.round(digits.images * (255 / 16)).astype(np.uint8)
    large = [
        np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
        for image in small
    ]
    return np.stack(large), digits.target.astype(np.int64)


def to_onnx(network: Chain) -> ir.Model:
    """Return the network as an ONNX model with a dynamic batch size."""
    tape = Tape()
    shape = ir.Shape(["N", 1, SIDE, SIDE])
    image = ir.Value(name="image", shape=shape, type=ir.TensorType(ir.DataType.FLOAT))
    logits = network.emit(tape, image)
    logits.name, logits.shape = "logits", ir.Shape(["N", 10])
    logits.type = ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph(
        [image],
        [logits],
        nodes=tape.nodes,
        initializers=tape.initializers,
        opset_imports={"": OPSET},
        name="digits",
    )
    return ir.Model(graph, ir_version=8, producer_name="bmopt demo")


def write_files(network: Chain, folder: Path, splits: Sequence[tuple[str, U8, I64]]) -> None:
    """Write the model, and each split with its preprocessing beside it."""
    ir.save(to_onnx(network), folder / "digits.onnx")
    for name, images, labels in splits:
        np.savez_compressed(folder / f"digits_{name}.npz", images=images, labels=labels)
        (folder / f"digits_{name}.toml").write_text(PREPROCESS, encoding="utf-8")


def measured_accuracy(folder: Path) -> float:
    """Return the top-1 accuracy of the written model on the written validation samples."""
    session = ort.InferenceSession(folder / "digits.onnx", providers=["CPUExecutionProvider"])
    spec = InputSpec("image", "float32", ("N", 1, SIDE, SIDE))
    data = open_dataset(folder / "digits_val.npz", [spec])
    hits = [
        session.run(None, dict(batch.feeds))[0].argmax(axis=1) == batch.labels
        for batch in data.batches(64)
    ]
    return float(np.concatenate(hits).mean())


def main() -> None:
    """Train, write and check."""
    default = Path(__file__).resolve().parents[1] / "bmopt" / "demo_data"
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    rng = np.random.default_rng(SEED)
    images, labels = load_images()
    order = rng.permutation(len(images))
    val, rest = order[:VALIDATION_SAMPLES], order[VALIDATION_SAMPLES:]
    network = build_network(rng)
    train(network, images[rest], labels[rest], rng)
    calib = rest[:CALIBRATION_SAMPLES]
    splits = [("calib", images[calib], labels[calib]), ("val", images[val], labels[val])]
    write_files(network, folder, splits)
    accuracy = measured_accuracy(folder)
    print(f"{folder / 'digits.onnx'}: top-1 {accuracy:.4f} on {len(val)} samples")
    if accuracy < ACCURACY_FLOOR:
        sys.exit(f"top-1 {accuracy:.4f} is below {ACCURACY_FLOOR}; do not ship this model")


def _cross_entropy(logits: F32, labels: I64) -> tuple[float, F32]:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    grad = shifted / shifted.sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    loss = -float(np.log(grad[rows, labels] + 1e-12).mean())
    grad[rows, labels] -= 1
    return loss, grad / np.float32(len(labels))


def _shifted(images: U8, rng: np.random.Generator) -> U8:
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    tops, lefts = rng.integers(0, 3, (2, len(images)))
    windows = zip(padded, tops, lefts, strict=True)
    return np.stack([image[t : t + SIDE, s : s + SIDE] for image, t, s in windows])


if __name__ == "__main__":
    main()
