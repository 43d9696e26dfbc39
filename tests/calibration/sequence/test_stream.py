from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import pytest

from bmopt.calibration.sequence.shelf import Shelf
from bmopt.calibration.sequence.stages import fixed_nodes, last_readers, stages_of
from bmopt.calibration.sequence.stream import Stream, first_batches
from bmopt.core.corrections import Replacement
from bmopt.core.runner import Array
from bmopt.errors import CalibrationError
from tests.calibration.memory_dataset import MemoryDataset
from tests.engine import PlainRunner
from tests.optimizer.literals import weights
from tests.quantizing import named

NET = f"""
g (float[N,4] x, float[N,4] z, float[N,9] unread) => (float[N,4] y)
  <{weights("w1", (4, 4))}, {weights("w2", (4, 4))}, {weights("w3", (4, 4))},
   {weights("w4", (4, 4))}, uint8 zero = {{128}}, float scale = {{0.02}},
   uint8[4] packed = {{1, 90, 128, 255}}, int64[2] flat = {{-1, 2}}>
{{
  half = Constant<value = float {{0.5}}>()
  decoded = DequantizeLinear(packed, scale, zero)
  m1 = MatMul(x, w1)
  r1 = Relu(m1)
  size = Shape(r1)
  pairs = Reshape(r1, flat)
  m2 = MatMul(r1, w2)
  back = Reshape(pairs, size)
  sum = Add(m2, back)
  none = ReduceMin<keepdims=0>(sum)
  zeroes = Sub(none, none)
  on = LessOrEqual(zeroes, half)
  m3 = MatMul(r1, w3)
  if = If (on) <
    then_branch = yes () => (float[N,4] p) {{ p = Sub(m3, z) }},
    else_branch = no () => (float[N,4] q) {{ q = Mul(r1, half) }}
  >
  scaled = Mul(if, decoded)
  last = Add(scaled, sum)
  m4 = MatMul(last, w4)
  y = Neg(m4)
}}
"""
"""Branches, a skip, computed shapes, a stored constant, a body that reads outer values."""

CUTS = ["m1", "m2", "m3", "m4"]
TENSORS = ["m1", "r1", "m2", "sum", "m3", "if", "last", "m4"]


def batches() -> list[dict[str, Array]]:
    rng = np.random.default_rng(0)
    shapes = {"x": 4, "z": 4, "unread": 9}
    return [
        {n: rng.standard_normal((size, k)).astype(np.float32) for n, k in shapes.items()}
        for size in (3, 3, 2)
    ]


def whole(model: ir.Model) -> list[dict[str, Array]]:
    """Return every tensor in ``TENSORS`` of every batch, computed by the model as one."""
    copy = model.clone()
    values = {value.name: value for node in copy.graph for value in node.outputs}
    copy.graph.outputs[:] = [values[name] for name in TENSORS]
    with PlainRunner(copy) as runner:
        return [runner.run(feeds) for feeds in batches()]


def fed(
    shelf: Shelf, *, before: bool, model: ir.Model | None = None, cuts: Sequence[str] = CUTS
) -> Stream:
    stream = Stream(model or named(NET), cuts, PlainRunner, shelf, tag="t", before=before)
    for number, feeds in enumerate(batches()):
        stream.feed(number, feeds)
    return stream


@pytest.mark.parametrize("memory", [0, 200, 1 << 20])
def test_stages_show_what_the_whole_model_computes(memory: int) -> None:
    expected = whole(named(NET))
    shown = [["m1", "x"], ["r1", "m2"], ["m3", "r1"], ["m4", "last", "if"]]
    with Shelf(memory) as shelf:
        stream = fed(shelf, before=False)
        for stage, names in enumerate(shown):
            found = list(stream.advance(stage, names))
            assert len(found) == 3
            for number, arrays in enumerate(found):
                for name in set(names) - {"x"}:
                    np.testing.assert_array_equal(arrays[name], expected[number][name])


@pytest.mark.parametrize("memory", [0, 1 << 20])
def test_stages_before_a_cut_keep_what_it_reads(memory: int) -> None:
    expected = whole(named(NET))
    with Shelf(memory) as shelf:
        stream = fed(shelf, before=True)
        for stage, data in enumerate(["x", "r1", "r1", "last"]):
            stream.pass_on(stage)
            for number, feeds in enumerate(batches()):
                wanted = feeds["x"] if data == "x" else expected[number][data]
                np.testing.assert_array_equal(stream.get(number, data), wanted)


def test_only_what_is_read_later_is_kept() -> None:
    kept = []
    with Shelf() as shelf:
        stream = fed(shelf, before=True)
        for stage in range(len(CUTS)):
            stream.pass_on(stage)
            assert {number for _, number in shelf.names()} == {0, 1, 2}
            kept.append({name.removeprefix("t:") for name, _ in shelf.names()})
    assert kept == [
        {"x", "z"},
        {"z", "r1", "pairs", "size"},
        {"z", "r1", "sum", "on"},
        {"last"},
    ], "nothing of what no sample changes, and no input that no stage reads"


def test_nothing_is_left_behind_the_last_cut() -> None:
    with Shelf() as shelf:
        stream = fed(shelf, before=False)
        for stage in range(len(CUTS)):
            for _ in stream.advance(stage, ["m4"] if stage == 3 else []):
                pass
        assert not list(shelf.names())
        assert stream.batches == 3


def test_the_cut_itself_can_be_seen_before_it_is_passed() -> None:
    expected = whole(named(NET))
    with Shelf() as shelf:
        stream = fed(shelf, before=True)
        for stage, cut in enumerate(CUTS):
            stream.pass_on(stage)
            seen = list(stream.peek(stage + 1, cut))
            for number, array in enumerate(seen):
                np.testing.assert_array_equal(array, expected[number][cut])


def test_replaced_constants_count_from_the_next_stage_on() -> None:
    model = named(NET)
    new = np.eye(4, dtype=np.float32)
    with Shelf() as shelf:
        stream = fed(shelf, before=True, model=model)
        stream.pass_on(0)
        stream.replace(Replacement("m1", 1, new))
        original = list(stream.peek(1, "m1"))
        stream.pass_on(1)
        for number, feeds in enumerate(batches()):
            np.testing.assert_array_equal(stream.get(number, "r1"), np.maximum(feeds["x"], 0))
            np.testing.assert_array_equal(original[number], whole(model)[number]["m1"])


def test_the_rest_can_be_tried_with_other_constants_and_nothing_is_kept() -> None:
    model = named(NET)
    expected = whole(model)
    new = np.eye(4, dtype=np.float32)
    with Shelf() as shelf:
        stream = fed(shelf, before=True, model=model)
        stream.pass_on(0)
        stream.pass_on(1)
        kept = sorted(shelf.names())
        tried = list(stream.finish(2, ["m4", "last"], [Replacement("m4", 1, new)]))
        plain = list(stream.finish(2, ["m4"]))
        assert sorted(shelf.names()) == kept
        stream.pass_on(2)
        for number, arrays in enumerate(tried):
            np.testing.assert_array_equal(arrays["m4"], expected[number]["last"])
            np.testing.assert_array_equal(plain[number]["m4"], expected[number]["m4"])


def test_overridden_initialisers() -> None:
    with Shelf() as shelf:
        stream = fed(shelf, before=False)
        stream.overrides["w1"] = np.eye(4, dtype=np.float32)
        for number, arrays in enumerate(stream.advance(0, ["m1"])):
            np.testing.assert_array_equal(arrays["m1"], batches()[number]["x"])


def test_a_tensor_can_be_put_in() -> None:
    with Shelf() as shelf:
        stream = fed(shelf, before=True, cuts=["m2", "m3"])
        stream.pass_on(0)
        put = np.ones((3, 4), np.float32)
        stream.put(0, "r1", put)
        np.testing.assert_array_equal(stream.get(0, "r1"), put)


@pytest.mark.parametrize("cuts", [["nowhere"], ["m2", "m1"]])
def test_a_cut_that_is_not_there(cuts: list[str]) -> None:
    with pytest.raises(CalibrationError, match=f"node '{cuts[-1]}'"):
        stages_of(named(NET).graph, cuts)


def test_a_sequence_cannot_be_kept() -> None:
    model = named(
        f"g (float[N,4] x) => (float[N,4] y) <{weights('w', (4, 4))}, int64 zero = {{0}}>"
        "{ s = SplitToSequence<axis=1>(x) m = MatMul(x, w) a = SequenceAt(s, zero) b = Add(m, a)"
        " y = MatMul(b, w) }"
    )
    with Shelf() as shelf:
        stream = Stream(model, ["m", "y"], PlainRunner, shelf, tag="t", before=True)
        stream.feed(0, {"x": np.ones((1, 4), np.float32)})
        with pytest.raises(CalibrationError, match="tensor 's': is no tensor but a list"):
            stream.pass_on(0)


def test_stages() -> None:
    graph = named(NET).graph
    behind = [[n.name for n in stage] for stage in stages_of(graph, ["m1", "m2"])]
    assert behind == [["decoded", "m1"], ["r1", "size", "pairs", "m2"]]
    ahead = [[n.name for n in stage] for stage in stages_of(graph, ["m1", "m2"], before=True)]
    assert ahead == [["decoded"], ["m1", "r1", "size", "pairs"], ["m2"]]
    assert stages_of(graph, []) == []
    last = last_readers(stages_of(graph, CUTS))
    assert (last["x"], last["r1"], last["m3"], last["z"]) == (0, 3, 3, 3)


def test_fixed_nodes_read_no_sample_and_draw_no_lots() -> None:
    model = named(
        "g (float[N,4] x) => (float[N,4] y) <float[4] c = {1, 2, 3, 4}>"
        "{ a = Neg(c) b = Abs(a) d = RandomNormal<shape=[4]>() e = RandomNormalLike(c)"
        " f = Add(b, d) h = Mul(x, b) i = Add(e, f) y = Add(h, i) }"
    )
    assert [node.name for node in fixed_nodes(model.graph)] == ["a", "b"]


@pytest.mark.parametrize(("samples", "sizes"), [(1, [4]), (4, [4]), (5, [4, 4]), (99, [4, 4, 2])])
def test_first_batches(samples: int, sizes: list[int]) -> None:
    dataset = MemoryDataset({"x": np.zeros((10, 2), np.float32)})
    assert [batch.size for batch in first_batches(dataset, 4, samples)] == sizes


def test_a_shelf_keeps_arrays_beyond_its_memory_on_disk() -> None:
    arrays = [np.arange(10, dtype=np.float32) + i for i in range(4)]
    with Shelf(2 * arrays[0].nbytes) as shelf:
        for number, array in enumerate(arrays):
            shelf.put("a", number, array)
        assert shelf.get("a", 0) is arrays[0]
        for number, array in enumerate(arrays):
            np.testing.assert_array_equal(shelf.get("a", number), array)
        shelf.drop("a", 0)
        shelf.put("a", 3, arrays[1])
        assert shelf.get("a", 3) is arrays[1], "there is room in memory again"
        assert sorted(shelf.names()) == [("a", 1), ("a", 2), ("a", 3)]
        shelf.drop("b", 0)
    assert not list(shelf.names())
    with shelf:
        shelf.put("a", 0, arrays[0])
        shelf.put("a", 1, np.zeros(1000))
        np.testing.assert_array_equal(shelf.get("a", 1), np.zeros(1000))
