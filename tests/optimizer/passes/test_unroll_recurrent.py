"""Recurrent ops written out, against ONNX Runtime's own."""

from __future__ import annotations

import itertools

import numpy as np
import onnx_ir as ir
import pytest

from bmopt.graph.origin import stamp_origins
from bmopt.optimizer.passes.unroll_recurrent import UnrollRecurrent
from tests.rewriting import check_pass, run_plain

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
_SIZE, _INPUTS = 3, 2


def _model(
    op: str,
    *,
    steps: int | str = 4,
    batch: int | str = 2,
    direction: str = "forward",
    state: str = "none",
    peepholes: bool = False,
    bias: bool = True,
    opset: int = 17,
    lengths: list[int] | None = None,
    **attributes: object,
) -> ir.Model:
    rng = np.random.default_rng(7)
    count, layout = 2 if direction == "bidirectional" else 1, attributes.get("layout", 0)
    gates = _GATES[op] * _SIZE
    weights = {
        "W": rng.standard_normal((count, gates, _INPUTS)),
        "R": rng.standard_normal((count, gates, _SIZE)),
    }
    if bias:
        weights["B"] = rng.standard_normal((count, 2 * gates))
    if peepholes:
        weights["P"] = rng.standard_normal((count, 3 * _SIZE))
    shape = [batch, steps, _INPUTS] if layout else [steps, batch, _INPUTS]
    place = [batch, count, _SIZE] if layout else [count, batch, _SIZE]
    values = {"X": _value("X", shape)}
    if state == "fed":
        values |= {name: _value(name, place) for name in ("h", "c")[: 1 + (op == "LSTM")]}
    fed = list(values.values())
    for name, array in weights.items():
        values[name] = _constant(name, array.astype(np.float32))
    if lengths is not None:
        values["L"] = _constant("L", np.array(lengths, np.int32))
    names = ["X", "W", "R", "B", "L", "h", "c", "P"][: 8 if op == "LSTM" else 6]
    node = ir.node(
        op,
        [values.get(name) for name in names],
        attributes={"hidden_size": _SIZE, "direction": direction, **attributes},
        num_outputs=3 if op == "LSTM" else 2,
        name="cell",
    )
    for out, name, rank in zip(node.outputs, ("Y", "Yh", "Yc"), (4, 3, 3), strict=False):
        out.name, out.type = name, ir.TensorType(ir.DataType.FLOAT)
        out.shape = ir.Shape([f"{name}{axis}" for axis in range(rank)])
    constants = [one for one in values.values() if one.const_value is not None]
    graph = ir.Graph(
        fed,
        node.outputs,
        nodes=[node],
        initializers=constants,
        opset_imports={"": opset},
        name="g",
    )
    model = ir.Model(graph, ir_version=8)
    stamp_origins(model)
    return model


def _value(name: str, shape: list[int | str]) -> ir.Value:
    return ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.FLOAT))


def _constant(name: str, array: np.ndarray) -> ir.Value:
    tensor = ir.tensor(array, name=name)
    return ir.Value(
        name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor
    )


def _check(model: ir.Model) -> None:
    outcome = check_pass(UnrollRecurrent(), model)
    assert outcome.modified
    assert {n.op_type for n in model.graph}.isdisjoint(_GATES)


@pytest.mark.parametrize("op", _GATES)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(("batch", "state"), list(itertools.product((2, "N"), ("none", "fed"))))
def test_directions_and_states(op: str, direction: str, batch: int | str, state: str) -> None:
    _check(_model(op, direction=direction, batch=batch, state=state))


@pytest.mark.parametrize("opset", [7, 11, 13, 14])
@pytest.mark.parametrize("op", _GATES)
def test_opsets(op: str, opset: int) -> None:
    _check(_model(op, opset=opset, direction="bidirectional", bias=opset > 11))


def test_peepholes() -> None:
    _check(_model("LSTM", peepholes=True, state="fed"))
    _check(_model("LSTM", peepholes=True, direction="bidirectional"))


@pytest.mark.parametrize("state", ["none", "fed"])
@pytest.mark.parametrize("bias", [True, False])
def test_reset_behind_the_product(state: str, bias: bool) -> None:
    _check(_model("GRU", linear_before_reset=1, state=state, bias=bias))


def test_other_functions_and_one_step() -> None:
    _check(_model("RNN", activations=["Relu"]))
    _check(_model("GRU", activations=["Tanh", "Softsign"]))
    _check(_model("LSTM", steps=1, state="fed"))


def test_lengths_that_are_all_the_steps() -> None:
    _check(_model("GRU", lengths=[4, 4]))


@pytest.mark.parametrize("op", _GATES)
def test_batch_first(op: str) -> None:
    """ONNX Runtime has no batch first, so the same weights steps first are the witness."""
    first, second = _model(op, layout=1, batch=2, steps=4), _model(op, batch=2, steps=4)
    assert UnrollRecurrent()(first).modified
    feeds = np.random.default_rng(1).standard_normal((4, 2, _INPUTS)).astype(np.float32)
    got = run_plain(first, {"X": feeds.transpose(1, 0, 2)})
    want = run_plain(second, {"X": feeds})
    np.testing.assert_allclose(got[0], want[0].transpose(2, 0, 1, 3), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got[1], want[1].transpose(1, 0, 2), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"steps": "T"}, "unknown number of steps"),
        ({"steps": 129}, "129 steps, more than 128"),
        ({"steps": 65, "direction": "bidirectional"}, "65 steps, more than 64"),
        ({"lengths": [4, 3]}, "several lengths"),
        ({"clip": 1.0}, "clips"),
        ({"activations": ["HardSigmoid", "Tanh", "Tanh"]}, "Hardsigmoid"),
        ({"input_forget": 1}, "input_forget"),
    ],
)
def test_refused_with_a_reason(options: dict[str, object], reason: str) -> None:
    model = _model("LSTM", **options)  # type: ignore[arg-type] # options by name
    before = len(model.graph.initializers)
    outcome = UnrollRecurrent()(model)
    assert not outcome.modified
    (refusal,) = outcome.refusals  # type: ignore[attr-defined] # an Outcome
    assert refusal.node == "cell"
    assert reason in refusal.reason
    assert len(model.graph.initializers) == before
