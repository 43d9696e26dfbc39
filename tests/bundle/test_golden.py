"""Tolerances of golden outputs: the rule, number by number."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from bmopt.bundle.golden import (
    Answer,
    Recorded,
    largest_difference,
    nudged,
    tolerances,
    write_golden,
)
from bmopt.bundle.manifest import Port
from bmopt.bundle.steps import output_steps
from bmopt.core.runner import Array, Feeds
from bmopt.errors import BundleError

X = {"x": np.array([1.0, -2.0], np.float32)}


def floats(*values: float) -> Array:
    return np.array(values, np.float32)


def recorded(output: Array, *, step: float | None = None, source: str = "artifact") -> Recorded:
    steps = {} if step is None else {"y": step}
    return Recorded([(X, {"y": output})], steps, 1e-4, source)


def always(output: Array) -> Answer:
    return lambda feeds: {"y": output}


def test_a_float_output_gets_three_times_what_engines_differ_by() -> None:
    found = tolerances(recorded(floats(1.0, 4.0)), [always(floats(1.0, 4.5))])
    assert found == {"y": 1.5}


def test_the_largest_difference_of_all_engines_and_inferences_counts() -> None:
    pairs = [(X, {"y": floats(0.0)}), (X, {"y": floats(1.0)})]
    engines = [always(floats(0.25)), always(floats(0.5))]
    found = tolerances(Recorded(pairs, {}, 0.0, "artifact"), engines)
    assert found == {"y": 2.25}


def test_engines_that_agree_leave_the_floor() -> None:
    found = tolerances(recorded(floats(-20.0, 1.0)), [always(floats(-20.0, 1.0))])
    assert found["y"] == pytest.approx(2e-3)


@pytest.mark.parametrize(("source", "tolerance"), [("artifact", 0.5), ("graph", 1.0)])
def test_quantised_outputs_get_steps(source: str, tolerance: float) -> None:
    output = floats(1.0, 2.0)
    found = tolerances(recorded(output, step=0.25, source=source), [always(output)])
    assert found == {"y": tolerance}


def test_tolerances_have_three_digits_and_are_rounded_up() -> None:
    found = tolerances(recorded(floats(1.0), step=0.123456), [always(floats(1.0))])
    assert found == {"y": 0.247}


def test_a_class_index_has_to_be_the_same() -> None:
    index = np.array([3], np.int64)
    assert tolerances(recorded(index), [always(index)]) == {"y": 0}


def test_a_class_index_on_an_edge_gets_what_nudged_inputs_give() -> None:
    def edge(feeds: Feeds) -> dict[str, Array]:
        return {"y": np.array([3 if feeds["x"][0] <= 1.0 else 7], np.int64)}

    assert tolerances(recorded(np.array([3], np.int64)), [edge]) == {"y": 4}


def test_a_quantised_output_may_be_off_by_steps() -> None:
    output = np.array([3], np.uint8)
    assert tolerances(recorded(output, step=1.0), [always(output)]) == {"y": 2}


def test_nudging_moves_floats_by_a_part_of_their_range_and_nothing_else() -> None:
    moved = nudged({"x": floats(1.0, -2.0, np.inf), "ids": np.array([5], np.int64)}, 2**-10)
    assert moved["x"].dtype == np.float32
    assert moved["x"].tolist() == [1.0 + 2**-9, -2.0 - 2**-9, np.inf]
    assert moved["ids"].tolist() == [5]


def test_a_quantised_graph_gets_three_times_what_its_roundings_move() -> None:
    """One value lies in the middle between two steps: the least nudge decides its rounding."""
    feeds = {"x": floats(0.5, 64.0)}

    def rounding(given: Feeds) -> dict[str, Array]:
        return {"y": np.where(given["x"] > 0.5, 8.0, 6.0).astype(np.float32)}

    pairs = [(feeds, rounding(feeds))]
    plain = Recorded(pairs, {}, 1e-4, "artifact")
    assert tolerances(plain, [rounding])["y"] < 0.001
    assert tolerances(dataclasses.replace(plain, is_quantised=True), [rounding]) == {"y": 6.0}


def test_nan_and_infinity_equal_themselves() -> None:
    odd = floats(np.nan, np.inf, -np.inf, 1.0)
    assert largest_difference(odd, odd.copy(), "y") == 0.0
    assert largest_difference(odd + floats(0, 0, 0, 1), odd, "y") == 1.0


@pytest.mark.parametrize("found", [floats(np.nan), floats(np.inf), floats(-np.inf), floats(1, 2)])
def test_outputs_that_cannot_be_checked_are_refused(found: Array) -> None:
    with pytest.raises(BundleError, match="cannot be checked"):
        tolerances(recorded(floats(1.0)), [always(found)])


def steps_of(body: str) -> dict[str, float]:
    text = f'<ir_version: 8, opset_import: ["" : 17]> g (float[1,2] x) => (float[1,2] y) {body}'
    return output_steps(ir.from_proto(onnx.parser.parse_model(text)))


QUANTISED = (
    "s = Constant<value: tensor = float {0.5}>() z = Constant<value: tensor = uint8 {3}>()"
    "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)"
)


@pytest.mark.parametrize(
    ("tail", "step"),
    [
        ("y = Identity(d)", 0.5),
        ("r = Relu(d) y = Softmax(r)", 0.5),
        ("w = Constant<value: tensor = float[2,2] {1,-3,2,0}>() y = MatMul(d, w)", 1.5),
        ("c = Constant<value: tensor = float {4}>() y = Mul(c, d)", 2.0),
        ("t = Constant<value: tensor = float {0.125}>() u = Mul(d, t) y = Add(u, d)", 0.5),
        ("y = Exp(d)", None),
        ("y = MatMul(d, d)", None),
    ],
)
def test_the_step_of_an_output_follows_from_the_graph(tail: str, step: float | None) -> None:
    assert steps_of(f"{{ {QUANTISED} {tail} }}") == ({} if step is None else {"y": step})


def test_float8_has_the_step_of_its_largest_numbers() -> None:
    body = QUANTISED.replace("uint8 {3}", "float8e4m3fn {0}")
    header = '<ir_version: 9, opset_import: ["" : 19]>'
    text = f"{header} g (float[1,2] x) => (float[1,2] d) {{{body}}}"
    model = ir.from_proto(onnx.parser.parse_model(text))
    assert output_steps(model) == {"d": 0.5 * 32}


def test_weights_that_are_quantised_are_no_quantised_values() -> None:
    body = (
        "{ w = Constant<value: tensor = int8[2,2] {10,-20,3,4}>()"
        "s = Constant<value: tensor = float {0.5}>() v = DequantizeLinear(w, s)"
    )
    assert steps_of(f"{body} y = MatMul(x, v) }}") == {}
    both = "q = QuantizeLinear(x, s) d = DequantizeLinear(q, s) y = MatMul(d, v) }"
    assert steps_of(f"{body} {both}") == {"y": 0.5 * 20 * 0.5}


def test_a_long_float_graph_has_no_steps_and_no_recursion() -> None:
    chain = "".join(f"v{i + 1} = Relu(v{i}) " for i in range(3000))
    assert steps_of(f"{{ v0 = Relu(x) {chain} y = Relu(v3000) }}") == {}


def test_golden_files_are_plain_npy(tmp_path: Path) -> None:
    output = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    pair = Recorded([(X, {"y": output})], {}, 0.0, "artifact")
    ports = ((Port("x", "float32", (2,), (None,)),), (Port("y", "float32", (2, 3), (None, None)),))
    (golden,) = write_golden(tmp_path, "m", pair, {"y": 0.5}, ports)
    assert golden.outputs[0].file == "golden/m/0/output_0.npy"
    written = tmp_path / golden.outputs[0].file
    assert written.read_bytes()[:8] == b"\x93NUMPY\x01\x00"
    assert b"'fortran_order': False" in written.read_bytes()
    assert np.load(written).tolist() == output.tolist()


def test_types_that_the_runner_has_not_are_refused(tmp_path: Path) -> None:
    pair = Recorded([(X, {"y": np.array(["text"])})], {}, 0.0, "artifact")
    ports = ((Port("x", "float32", (2,), (None,)),), (Port("y", "float32", (1,), (None,)),))
    with pytest.raises(BundleError, match="no tensors of str"):
        write_golden(tmp_path, "m", pair, {"y": 0.5}, ports)
