"""A task that a small network learns in a second: which quarter of an image is bright."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
import onnx_ir as ir

from bmopt.core.dataset import Batch
from bmopt.core.runner import Array
from bmopt.training.options import TrainOptions
from tests.engine import PlainRunner
from tests.optimizer.literals import weights
from tests.quantizing import named

QUICK = TrainOptions(
    epochs=3,
    batch=16,
    learning_rate=0.01,
    hold_out=0.2,
    threads=1,
    precision="fp32",
    device="cpu",
)
INITS = weights("w", (4, 4, 1, 1))

NET = f"""
g (float[N,3,8,8] x) => (float[N,4] y)
  <{weights("w1", (8, 3, 3, 3))}, {weights("b1", (8,))},
   {weights("w2", (8, 8, 3, 3))}, {weights("b2", (8,))},
   {weights("wf", (4, 32))}, {weights("bf", (4,))}>
{{
  c1 = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(x, w1, b1)
  r1 = Relu(c1)
  c2 = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(r1, w2, b2)
  a = Add(c2, r1)
  r2 = Relu(a)
  p = AveragePool<kernel_shape=[4,4], strides=[4,4]>(r2)
  f = Flatten(p)
  y = Gemm<transB=1>(f, wf, bf)
}}
"""


@dataclasses.dataclass(frozen=True)
class Labelled:
    feeds: Mapping[str, Array]
    labels: Array | None
    name: str = "quarters"
    fingerprint: str = "q" * 64

    @property
    def size(self) -> int:
        return len(next(iter(self.feeds.values())))

    @property
    def has_labels(self) -> bool:
        return self.labels is not None

    def batches(self, batch_size: int) -> Iterator[Batch]:
        for start in range(0, self.size, batch_size):
            part = slice(start, start + batch_size)
            feeds = {name: array[part] for name, array in self.feeds.items()}
            size = len(next(iter(feeds.values())))
            yield Batch(feeds, size, None if self.labels is None else self.labels[part])


def quarters(count: int = 256, seed: int = 0, *, labelled: bool = True) -> Labelled:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count)
    images = rng.normal(0, 0.5, (count, 3, 8, 8)).astype(np.float32)
    for image, label in zip(images, labels, strict=True):
        top, left = 4 * (label // 2), 4 * (label % 2)
        image[:, top : top + 4, left : left + 4] += 1.0
    return Labelled({"x": images}, labels.astype(np.int64) if labelled else None)


def net() -> ir.Model:
    return named(NET)


def outputs(model: ir.Model, data: Labelled, name: str = "y") -> Array:
    with PlainRunner(model) as runner:
        return runner.run(data.feeds)[name]


def top1(model: ir.Model, data: Labelled) -> float:
    assert data.labels is not None
    return float(np.mean(outputs(model, data).argmax(axis=1) == data.labels))
