"""Networks to prune, and what comes of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from bmopt.calibration.pruning.ranking import Ranking, RankOptions, rank_channels
from bmopt.core.prune_plan import PrunePlan
from bmopt.core.runner import Array
from bmopt.graph.channels.groups import channels_of
from bmopt.optimizer.passes.infer_shapes import InferShapes
from bmopt.optimizer.passes.prune_channels import PruneChannels
from tests.calibration.memory_dataset import MemoryDataset
from tests.engine import PlainRunner
from tests.optimizer.literals import weights
from tests.rewriting import parse

RESIDUAL = f"""
g (float[N,3,6,6] x) => (float[N,5] y)
  <{weights("w0", (6, 3, 3, 3))}, {weights("b0", (6,))},
   {weights("w1", (8, 6, 3, 3))}, {weights("b1", (8,))},
   {weights("w2", (6, 8, 3, 3))}, {weights("b2", (6,))},
   {weights("w3", (8, 6, 1, 1))}, {weights("b3", (8,))},
   {weights("w4", (5, 8))}, {weights("b4", (5,))}>
{{
  c0 = Conv<pads=[1,1,1,1]>(x, w0, b0)
  r0 = Relu(c0)
  c1 = Conv<pads=[1,1,1,1]>(r0, w1, b1)
  r1 = Relu(c1)
  c2 = Conv<pads=[1,1,1,1]>(r1, w2, b2)
  sum = Add(c2, r0)
  r2 = Relu(sum)
  c3 = Conv(r2, w3, b3)
  r3 = Relu(c3)
  p = GlobalAveragePool(r3)
  f = Flatten(p)
  y = Gemm<transB=1>(f, w4, b4)
}}
"""
"""A residual block between two convolutions: groups c0 (with c2), c1 and c3."""


def net(text: str = RESIDUAL) -> ir.Model:
    """Return a network whose nodes are named like their outputs, its shapes inferred."""
    model = parse(text)
    for node in model.graph:
        node.name = node.outputs[0].name
    InferShapes()(model)
    return model


def set_weight(model: ir.Model, name: str, array: Array) -> None:
    """Give an initialiser another value."""
    value = model.graph.initializers[name]
    value.const_value = ir.tensor(array.astype(np.float32), name=name)


def weight(model: ir.Model, name: str) -> Array:
    """Return a copy of an initialiser."""
    tensor = model.graph.initializers[name].const_value
    assert tensor is not None
    return np.array(tensor.numpy())


def samples(model: ir.Model, count: int = 48, seed: int = 0) -> MemoryDataset:
    """Return seeded feeds of a model with one input."""
    value = model.graph.inputs[0]
    assert value.shape is not None
    shape = [size for size in list(value.shape)[1:] if isinstance(size, int)]
    rng = np.random.default_rng(seed)
    return MemoryDataset({value.name or "": rng.standard_normal((count, *shape), np.float32)})


def ranked(model: ir.Model, **options: object) -> Ranking:
    """Return the ranking of a model's channels."""
    chosen = RankOptions(batch_size=8, **options)  # type: ignore[arg-type]
    return rank_channels(model, channels_of(model), samples(model), PlainRunner, options=chosen)


def pruned(model: ir.Model, plan: PrunePlan) -> ir.Model:
    """Return the model after a plan."""
    return PruneChannels(plan)(model.clone()).model


def answers(model: ir.Model, dataset: MemoryDataset, batch_size: int = 8) -> dict[str, Array]:
    """Return all outputs on all samples."""
    found: dict[str, list[Array]] = {}
    with PlainRunner(model) as runner:
        for batch in dataset.batches(batch_size):
            for name, array in runner.run(batch.feeds).items():
                found.setdefault(name, []).append(array)
    return {name: np.concatenate(arrays) for name, arrays in found.items()}


def distance(found: Mapping[str, Array], wanted: Mapping[str, Array]) -> float:
    """Return squared error over variance, the mean over the outputs."""
    shares = [
        float(
            np.square(found[name] - array).sum()
            / max(np.square(array - array.mean()).sum(), 1e-12)
        )
        for name, array in wanted.items()
    ]
    return sum(shares) / len(shares)
