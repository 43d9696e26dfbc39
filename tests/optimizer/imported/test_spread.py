from __future__ import annotations

import pytest

from bmopt.optimizer.imported.importing import import_quantized
from tests.quantizing import named

PAIR = "q = QuantizeLinear(t, s, z)  d = DequantizeLinear(q, s, z)"
FORWARDS = {
    "Reshape": "r = Reshape(d, flat)",
    "Transpose": "r = Transpose(d)",
    "MaxPool": "r = MaxPool<kernel_shape=[2,2]>(d)",
    "Relu": "r = Relu(d)",
    "Slice": "r = Slice(d, flat, flat)",
    "Identity": "r = Identity(d)",
    "Squeeze": "r = Squeeze(d)",
    "Concat": "r = Concat<axis=0>(d, d)",
    "a chain": "a = Relu(d)  b = Flatten(a)  r = Transpose(b)",
}
BACKWARDS = {
    "Reshape": "t = Reshape(r, flat)",
    "Transpose": "t = Transpose(r)",
    "Concat": "t = Concat<axis=0>(r, r)",
    "a chain": "a = Flatten(r)  t = Transpose(a)",
}
NOT = {
    "AveragePool": "r = AveragePool<kernel_shape=[2,2]>(d)",
    "Tanh": "r = Tanh(d)",
    "Add": "r = Add(d, x)",
    "Concat with one unknown": "r = Concat<axis=0>(d, x)",
    "Clip above 0": "r = Clip(d, s)",
}
NOT_BACKWARDS = {
    "MaxPool": "t = MaxPool<kernel_shape=[2,2]>(r)",
    "Relu": "t = Relu(r)",
    "Slice": "t = Slice(r, flat, flat)",
}


def ranges(body: str, output: str) -> dict[str, float]:
    model = named(
        f"""
        g (float[2,2,4,4] x) => (float[N] y)
          <float s = {{0.5}}, int8 z = {{0}}, int64[1] flat = {{-1}}>
        {{ {body}  y = Sin({output}) }}
        """
    )
    return {name: entry.scale for name, entry in import_quantized(model).tensors.items()}


@pytest.mark.parametrize("body", FORWARDS.values(), ids=FORWARDS)
def test_what_is_moved_keeps_its_range(body: str) -> None:
    found = ranges(f"t = Neg(x)  {PAIR}  {body}", "r")
    assert found["r"] == 0.5
    assert "x" not in found


@pytest.mark.parametrize("body", NOT.values(), ids=NOT)
def test_what_is_computed_has_no_range(body: str) -> None:
    assert set(ranges(f"t = Neg(x)  {PAIR}  {body}", "r")) == {"t"}


@pytest.mark.parametrize("body", BACKWARDS.values(), ids=BACKWARDS)
def test_what_is_moved_whole_had_that_range(body: str) -> None:
    assert ranges(f"r = Neg(x)  {body}  {PAIR}", "d")["r"] == 0.5


@pytest.mark.parametrize("body", NOT_BACKWARDS.values(), ids=NOT_BACKWARDS)
def test_what_was_left_behind_may_be_larger(body: str) -> None:
    assert set(ranges(f"r = Neg(x)  {body}  {PAIR}", "d")) == {"t"}


def test_a_range_of_its_own_is_not_overwritten() -> None:
    body = f"t = Neg(x)  {PAIR}  r = Relu(d)  e = QuantizeLinear(r, o, z)"
    model = named(
        f"""
        g (float[2,2,4,4] x) => (float[2,2,4,4] y) <float s = {{0.5}}, float o = {{0.25}},
          int8 z = {{0}}>
        {{ {body}  y = DequantizeLinear(e, o, z) }}
        """
    )
    tensors = import_quantized(model).tensors
    assert {name: entry.scale for name, entry in tensors.items()} == {"t": 0.5, "y": 0.25}
