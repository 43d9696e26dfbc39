from __future__ import annotations

import numpy as np
import onnx_ir as ir

from bmopt.training.parameters import parameters_of, untied, with_arrays
from tests.optimizer.literals import batch_norm, in_type, weights
from tests.quantizing import named
from tests.rewriting import random_feeds, run_plain
from tests.training.lessons import net


def test_weights_and_biases_are_found_in_graph_order() -> None:
    found = [(p.name, p.kind) for p in parameters_of(net())]
    assert found == [
        *(("w1", "weight"), ("b1", "other"), ("w2", "weight"), ("b2", "other")),
        *(("wf", "weight"), ("bf", "other")),
    ]


def test_frozen_ones_are_left_out() -> None:
    assert [p.name for p in parameters_of(net(), ["b*", "w1"])] == ["w2", "wf"]


def test_running_statistics_follow_and_scales_are_trained() -> None:
    model = named(
        f"g (float[N,4] x) => (float[N,4] y) <{batch_norm(4)}> "
        "{ y = BatchNormalization(x, g, b, m, v) }"
    )
    assert {p.name: p.kind for p in parameters_of(model)} == {
        "g": "other",
        "b": "other",
        "m": "running",
        "v": "running",
    }


def test_what_is_done_to_inputs_and_single_numbers_stay() -> None:
    model = named(
        f"g (float[N,4] x) => (float[N,4] y) <{weights('mean', (4,))}, {weights('s', (1,))}, "
        f"{weights('late', (4,))}> "
        "{ a = Add(x, mean) r = Relu(a) t = Mul(r, s) y = Mul(t, late) }"
    )
    assert [p.name for p in parameters_of(model)] == ["late"]


def test_biases_that_were_merged_are_trained_apart_and_weights_together() -> None:
    model = named(
        f"g (float[N,4] x) => (float[N,4] y) <{weights('w', (4, 4))}, {weights('b', (4,))}> "
        "{ a = Gemm(x, w, b) r = Relu(a) c = Gemm(r, w, b) y = Add(c, b) }"
    )
    apart = untied(model)
    assert [p.name for p in parameters_of(apart)] == ["w", "b", "b_1", "b_2"]
    assert [p.name for p in parameters_of(model)] == ["w", "b"]
    feeds = random_feeds(model)
    np.testing.assert_array_equal(run_plain(apart, feeds)[0], run_plain(model, feeds)[0])


def test_arrays_come_back_in_the_type_of_the_model() -> None:
    model = in_type(net(), ir.DataType.FLOAT16)
    copy = with_arrays(model, {"bf": np.array([1, 2, 3, 4], np.float32)})
    tensor = copy.graph.initializers["bf"].const_value
    assert tensor is not None
    assert tensor.dtype == ir.DataType.FLOAT16
    assert tensor.numpy().tolist() == [1, 2, 3, 4]
    old = model.graph.initializers["bf"].const_value
    assert old is not None
    assert old.numpy().tolist() != [1, 2, 3, 4], "the model itself must not change"
