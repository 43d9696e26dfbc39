from __future__ import annotations

import pytest

from bmopt.graph.shift_chains import shift_chains
from tests.graph.chain_models import chained
from tests.graph.shift_models import SHIFTABLE, STUCK


@pytest.mark.parametrize("name", SHIFTABLE)
def test_writers_and_readers(name: str) -> None:
    text, expected = SHIFTABLE[name]
    found = shift_chains(chained(text).graph).found
    assert {
        chain.tensor.name: (chain.writer.name, [node.name for node in chain.readers])
        for chain in found
    } == expected


@pytest.mark.parametrize("name", STUCK)
def test_refusals(name: str) -> None:
    text, reason = STUCK[name]
    chains = shift_chains(chained(text).graph)
    assert not chains.found
    assert chains.refused == {"r": reason}


def test_read_in_a_sub_graph() -> None:
    model = chained("""g (float[N,3,6,6] x, bool q) => (float[N,A,B,C] y)
    <float[4,3,1,1] w = {1,2,3,4,5,6,7,8,9,10,11,12}, float[1,4,1,1] v = {1,2,3,4}>
    { c = Conv(x, w)  r = Relu(c)  y = If(q) <
        then_branch = a () => (float[N,A,B,C] s) { s = Conv(r, v) },
        else_branch = e () => (float[N,A,B,C] t) { t = Identity(r) }> }""")
    assert shift_chains(model.graph).refused == {"r": "'r' is read in a sub-graph"}
