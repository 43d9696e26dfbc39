from __future__ import annotations

import pytest

from bmopt.graph.scaling_chains import Port, scaling_chains
from tests.graph.chain_models import REFUSED, SCALABLE, chained
from tests.optimizer.literals import weights
from tests.quantizing import named


def _names(ports: tuple[Port, ...]) -> list[str]:
    return [port.node.name or "" for port in ports]


@pytest.mark.parametrize("name", SCALABLE)
def test_chains(name: str) -> None:
    text, wanted = SCALABLE[name]
    chains = scaling_chains(chained(text).graph)
    found = {c.tensor.name: (_names(c.writers), _names(c.readers)) for c in chains.found}
    assert found == wanted


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    text, tensor, reason = REFUSED[name]
    chains = scaling_chains(chained(text).graph)
    assert tensor not in {chain.tensor.name for chain in chains.found}
    assert reason in chains.refused[tensor]


def test_flattened_channels_are_runs() -> None:
    chain, _ = scaling_chains(chained(SCALABLE["flatten"][0]).graph).found
    assert (chain.tensor.name, chain.axis, chain.channels) == ("f0", 1, 4)


def test_bounds_are_reported_where_they_cut() -> None:
    model = chained(f"""g (float[N,3,6,6] x) => (float[N,A,B,C] y) <{weights("w", (4, 3, 1, 1))},
    {weights("v", (4, 4, 1, 1))}, float z = {{0}}, float h = {{6}}>
    {{ c = Conv(x, w)  r = Clip(c, z, h)  m = MaxPool<kernel_shape=[2,2]>(r)  d = Conv(m, v)
       s = Clip(d, z)  y = Conv(s, v) }}""")
    first, second = scaling_chains(model.graph).found
    assert [(c.output.name, c.axis, c.bound) for c in first.clips] == [("r", 1, 6.0)]
    assert second.clips == ()


def test_unknown_shapes() -> None:
    model = named(SCALABLE["pools"][0])
    assert scaling_chains(model.graph).found == ()
