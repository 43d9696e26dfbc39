"""Random small graphs, converted with random nodes in float32."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.casting import converted, plan_for
from tests.quantizing import named
from tests.rewriting import random_feeds, run_plain

UNARY = ("Relu", "Tanh", "Sigmoid", "Neg", "Identity", "Sin", "Softmax")
BINARY = ("Add", "Sub", "Mul", "Max")


@dataclasses.dataclass(frozen=True)
class Case:
    text: str
    float_nodes: tuple[str, ...]
    keep_io: bool


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A chain of ops on [2,3] tensors with shared constants, Casts and a branch."""
    values = ["x", "k"]
    lines = []
    for index in range(draw(st.integers(1, 7))):
        one, other = draw(st.sampled_from(values)), draw(st.sampled_from(values))
        name = f"n{index}"
        body = draw(st.sampled_from(("unary", "binary", "cast", "if")))
        if body == "unary":
            lines.append(f"{name} = {draw(st.sampled_from(UNARY))}({one})")
        elif body == "binary":
            lines.append(f"{name} = {draw(st.sampled_from(BINARY))}({one}, {other})")
        elif body == "cast":
            lines.append(f"{name}h = Cast<to=10>({one}) {name} = Cast<to=1>({name}h)")
        else:
            lines.append(
                f"{name} = If (q) <then_branch = t{index} () => (float[2,3] {name}a) "
                f"{{ {name}a = Tanh({one}) }}, else_branch = e{index} () => (float[2,3] {name}b) "
                f"{{ {name}b = Mul({other}, k) }}>"
            )
        values.append(name)
    outs = draw(st.lists(st.sampled_from(values[2:]), min_size=1, unique=True))
    declared = ", ".join(f"float[2,3] {name}" for name in outs)
    text = (
        f"g (float[2,3] x, bool q) => ({declared}) "
        f"<float[2,3] k = {{0.5, -1, 2, 1.5, -0.25, 1}}> {{ {' '.join(lines)} }}"
    )
    kept = draw(st.lists(st.sampled_from(values[2:]), unique=True))
    return Case(text, tuple(kept), draw(st.booleans()))


@settings(max_examples=60, deadline=None)
@given(cases())
def test_any_graph(case: Case) -> None:
    model = named(case.text)
    copy = converted(model, plan_for(*case.float_nodes, keep_io=case.keep_io))
    feeds = random_feeds(model)
    half = feeds if case.keep_io else feeds | {"x": feeds["x"].astype(np.float16)}
    for want, got in zip(run_plain(model, feeds), run_plain(copy, half), strict=True):
        np.testing.assert_allclose(got.astype(np.float32), want, rtol=0.03, atol=0.03)
