from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from bmopt.calibration.sparsity.sparsify import sparsify_model
from bmopt.core.sparsity_pattern import SparsityPattern
from bmopt.errors import DataError
from bmopt.graph.model_digest import model_digest
from bmopt.graph.sparsity import sparsity_of
from bmopt.optimizer.passes.correct_weights import CorrectWeights
from bmopt.optimizer.passes.sparsify import Sparsify
from tests.calibration.memory_dataset import MemoryDataset
from tests.calibration.pruning.nets import net
from tests.calibration.sparsity.nets import RULES, block, distance, made_sparse
from tests.engine import PlainRunner

FITTED = ("c0", "c1", "c2", "c3", "m")


def magnitude(model: ir.Model, pattern: str = "2:4") -> ir.Model:
    return Sparsify(pattern, least_inputs=4)(model.clone()).model


def test_every_product_becomes_sparse_or_says_why() -> None:
    model = block()
    found, sparse = made_sparse(model)
    assert {one.node: "2:4" in one.patterns for one in sparsity_of(sparse)} == {
        **dict.fromkeys((*FITTED, "t"), True),
        "d": False,
    }
    assert [layer.node for layer in found.corrections.layers] == list(FITTED)
    assert found.dropped == ("t",)
    assert found.refused == {"d": "is depthwise: every output reads one channel"}
    onnx.checker.check_model(ir.to_proto(sparse), full_check=True)


def test_it_computes_more_nearly_what_it_did_than_without_the_small_weights() -> None:
    model = block()
    found, sparse = made_sparse(model)
    for layer in found.corrections.layers:
        assert layer.after_db > layer.before_db
        assert layer.steps == ("compensated", "bias")
    assert distance(model, sparse) < 0.5 * distance(model, magnitude(model))


def test_biases_appear_where_there_were_none_and_the_model_stays() -> None:
    model = block()
    digest = model_digest(model)
    found, sparse = made_sparse(model)
    assert model_digest(model) == digest == found.corrections.model
    nodes = {node.name: node for node in sparse.graph}
    assert len(nodes["c2"].inputs) == 3
    assert found.corrections.biases["c2"] == 2
    assert len(nodes["m"].inputs) == 2, "the Add behind a MatMul has its bias"
    assert not CorrectWeights(found.corrections)(sparse).modified


@pytest.mark.parametrize("pattern", ["1x4=0.4", "4x4=0.3", "unstructured=0.5"])
def test_other_patterns(pattern: str) -> None:
    model = block()
    wanted = SparsityPattern.parse(pattern)
    _, sparse = made_sparse(model, dataclasses.replace(RULES, pattern=wanted))
    small = Sparsify(wanted.head, ratio=wanted.ratio, least_inputs=4)(model.clone()).model
    zeros = {one.node: one.zeros for one in sparsity_of(small)}
    assert {one.node: one.zeros for one in sparsity_of(sparse)} == zeros
    assert distance(model, sparse) < distance(model, small)


def test_only_those_that_are_named() -> None:
    model = block()
    rules = dataclasses.replace(RULES, nodes=("c?",), exclude=("c0", "c3"))
    found, sparse = made_sparse(model, rules)
    assert [layer.node for layer in found.corrections.layers] == ["c1", "c2"]
    assert {one.node for one in sparsity_of(sparse) if one.zeros} == {"c1", "c2"}
    assert found.refused == {}


def test_products_with_few_inputs_stay_dense() -> None:
    found, _ = made_sparse(block(), dataclasses.replace(RULES, least_inputs=9))
    assert found.refused["c0"] == "sums over 4 channels, fewer than 9"
    assert [layer.node for layer in found.corrections.layers] == ["c2", "c3"]


def test_later_products_make_up_for_earlier_ones() -> None:
    model = block()
    both = [distance(model, made_sparse(model, on_sparse=on)[1]) for on in (True, False)]
    assert both[0] < both[1]


def test_a_sum_is_mended_by_what_is_added_last() -> None:
    """The other branch is far off: what is added to it makes up for that."""
    model = net(
        """g (float[N,4] x) => (float[N,4] y)
        <float[4,4] a = {5,9,7,4, 9,4,5,8, 4,6,9,7, 8,5,4,9},
         float[4,8] b = {1,2,3,4,5,6,7,8, 8,7,6,5,4,3,2,1, 1,1,2,2,3,3,4,4, 4,3,4,3,2,1,2,1},
         float[8,4] c = {1,2,1,2, 2,1,2,1, 1,1,1,1, 2,2,2,2, 1,2,2,1, 2,1,1,2, 1,3,1,3, 3,1,3,1}>
        { p = MatMul(x, a)
          h = MatMul(x, b)
          k = MatMul(h, c)
          y = Add(p, k) }"""
    )
    rules = dataclasses.replace(RULES, exclude=("h",))
    found = [
        distance_of_rows(model, made_sparse_rows(model, rules, mends)) for mends in (True, False)
    ]
    assert found[0] < 0.5 * found[1]


def rows(seed: int) -> MemoryDataset:
    rng = np.random.default_rng(seed)
    return MemoryDataset({"x": rng.standard_normal((400, 4), np.float32)})


def made_sparse_rows(model: ir.Model, rules: object, mends: bool) -> ir.Model:
    from bmopt.calibration.sparsity.sparsify import SparsifyOptions

    options = SparsifyOptions(mends_sums=mends)
    found = sparsify_model(model, rows(0), PlainRunner, rules, options=options)  # type: ignore[arg-type]
    return CorrectWeights(found.corrections)(model.clone()).model


def distance_of_rows(model: ir.Model, other: ir.Model) -> float:
    feeds = {"x": rows(1).arrays["x"]}
    with PlainRunner(model) as one, PlainRunner(other) as two:
        return float(np.linalg.norm(one.run(feeds)["y"] - two.run(feeds)["y"]))


def test_it_is_the_same_every_time() -> None:
    first, second = (made_sparse(block())[0] for _ in range(2))
    for one, other in zip(
        first.corrections.replacements, second.corrections.replacements, strict=True
    ):
        assert np.array_equal(one.array, other.array)


def test_no_samples_is_one_line() -> None:
    empty = MemoryDataset({"x": np.zeros((0, 4, 6, 6), np.float32)})
    with pytest.raises(DataError, match="memory: has no samples"):
        sparsify_model(block(), empty, PlainRunner, RULES)


def test_progress_is_told() -> None:
    seen: list[tuple[int, int]] = []
    from tests.calibration.sparsity.nets import samples

    sparsify_model(
        block(), samples(), PlainRunner, RULES, progress=lambda done, n: seen.append((done, n))
    )
    assert seen == [(number, len(FITTED)) for number in range(1, len(FITTED) + 1)]
