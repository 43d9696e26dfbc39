"""Networks that are made sparse, and how far their outputs move."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from bmopt.calibration.sparsity.sparsify import Sparsified, SparsifyOptions, sparsify_model
from bmopt.core.sparsity_pattern import SparsityPattern
from bmopt.graph.sparsity_rules import SparsityRules
from bmopt.optimizer.passes.correct_weights import CorrectWeights
from tests.calibration.memory_dataset import MemoryDataset
from tests.calibration.pruning.nets import net
from tests.engine import PlainRunner
from tests.optimizer.literals import weights

BLOCK = f"""
g (float[N,4,6,6] x) => (float[N,5] y)
  <{weights("w0", (8, 4, 3, 3))}, {weights("b0", (8,))},
   {weights("w1", (16, 8, 3, 3))}, {weights("b1", (16,))},
   {weights("w2", (8, 16, 3, 3))},
   {weights("wd", (8, 1, 3, 3))},
   {weights("w3", (8, 12, 1, 1))},
   {weights("wt", (8, 4, 2, 2))},
   {weights("w4", (4, 5))}, {weights("b4", (5,))}>
{{
  c0 = Conv<pads=[1,1,1,1]>(x, w0, b0)
  r0 = Relu(c0)
  c1 = Conv<pads=[1,1,1,1]>(r0, w1, b1)
  r1 = Relu(c1)
  c2 = Conv<pads=[1,1,1,1]>(r1, w2)
  d = Conv<pads=[1,1,1,1], group=8>(r0, wd)
  sum = Add(c2, d)
  r2 = Relu(sum)
  both = Concat<axis=1>(x, r2)
  c3 = Conv(both, w3)
  t = ConvTranspose<strides=[2,2]>(c3, wt)
  p = ReduceMean<axes=[2,3], keepdims=0>(t)
  m = MatMul(p, w4)
  y = Add(m, b4)
}}
"""
"""A residual block whose other branch is depthwise, a Concat, a transposed convolution, MatMul."""

RULES = SparsityRules(SparsityPattern.parse("2:4"), least_inputs=4)


def samples(count: int = 64, seed: int = 0) -> MemoryDataset:
    rng = np.random.default_rng(seed)
    mix = rng.standard_normal((4, 4))
    arrays = np.einsum("nchw,cd->ndhw", rng.standard_normal((count, 4, 6, 6)), mix)
    return MemoryDataset({"x": arrays.astype(np.float32)})


def block() -> ir.Model:
    return net(BLOCK)


def made_sparse(
    model: ir.Model, rules: SparsityRules = RULES, **options: object
) -> tuple[Sparsified, ir.Model]:
    """Return what is found for a model, and the model with it."""
    found = sparsify_model(
        model,
        samples(),
        PlainRunner,
        rules,
        options=SparsifyOptions(**{"batch_size": 16, **options}),  # type: ignore[arg-type]
    )
    return found, CorrectWeights(found.corrections)(model.clone()).model


def distance(model: ir.Model, other: ir.Model) -> float:
    """Return the relative error of the outputs on samples that nothing was fitted on."""
    feeds = {"x": samples(seed=9).arrays["x"]}
    with PlainRunner(model) as one, PlainRunner(other) as two:
        wanted, found = one.run(feeds)["y"], two.run(feeds)["y"]
    return float(np.linalg.norm(wanted - found) / np.linalg.norm(wanted))
