from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bmopt.backends.tvm import probe
from tests.backends.tvm.installed import needs_tvm

if not probe.why_not():
    import tvm
    from tvm import relax, tirx

    from bmopt.backends.tvm.lowering.fallback import scheduled
    from bmopt.backends.tvm.lowering.machine import Machine
    from bmopt.backends.tvm.tuning.search_space import applied, has_shared_loops, proposed
    from bmopt.backends.tvm.tuning.tasks import as_module, is_fixed, structure_of

pytestmark = needs_tvm

_SIZES = (2, 24, 16)


def product(batch: Any = _SIZES[0]) -> Any:
    """Return the function of a product of two activations, as TVM lowers it."""
    builder = relax.BlockBuilder()
    kinds = ((batch, _SIZES[1], _SIZES[2]), (batch, _SIZES[2], _SIZES[1]))
    inputs = [relax.Var(f"x{i}", relax.TensorType(s, "float32")) for i, s in enumerate(kinds)]
    with builder.function("main", inputs):
        with builder.dataflow():
            out = builder.emit_output(relax.op.matmul(*inputs))
        builder.emit_func_output(out)
    module = relax.transform.LegalizeOps()(builder.get())
    return next(f for f in module.functions.values() if isinstance(f, tirx.PrimFunc))


@pytest.fixture(scope="module")
def target() -> Any:
    return tvm.target.Target({"kind": "llvm", "num-cores": 2})


@pytest.fixture(scope="module")
def traces(target: Any) -> list[str]:
    return proposed(as_module(product()), target, [], 4)


def test_traces_are_drawn_with_a_seed(target: Any, traces: list[str]) -> None:
    assert traces
    assert proposed(as_module(product()), target, [], 4) == traces


def test_later_ones_are_others(target: Any, traces: list[str]) -> None:
    known = [(trace, 0.5 + place / 10) for place, trace in enumerate(traces)]
    later = proposed(as_module(product()), target, known, 4)
    assert later
    assert not set(later) & set(traces)


@pytest.mark.parametrize("shares", [True, False])
def test_a_trace_changes_no_result(target: Any, traces: list[str], shares: bool) -> None:
    random = np.random.default_rng(0)
    one = random.standard_normal(_SIZES).astype(np.float32)
    other = random.standard_normal((2, 16, 24)).astype(np.float32)
    all_made = [applied(product(), trace, shares=shares) for trace in traces]
    assert any(map(has_shared_loops, all_made)) == shares
    for made in all_made:
        out = tvm.runtime.tensor(np.zeros((2, 24, 24), np.float32))
        call = tvm.compile(as_module(made), target)["main"]
        call(tvm.runtime.tensor(one), tvm.runtime.tensor(other), out)
        np.testing.assert_allclose(out.numpy(), one @ other, rtol=0, atol=1e-4)


def test_a_trace_of_another_function_does_not_apply(traces: list[str]) -> None:
    with pytest.raises(Exception, match=r"."):
        applied(product().with_body(tirx.Evaluate(0)), traces[0], shares=True)


def test_functions_are_known_by_what_they_compute(target: Any) -> None:
    assert structure_of(product()) == structure_of(product())
    assert structure_of(product(3)) != structure_of(product())
    assert is_fixed(product())
    assert not is_fixed(product(tirx.Var("n", "int64")))


def test_what_is_small_is_not_shared(target: Any) -> None:
    module = scheduled(tvm.IRModule({"main": product()}), Machine(8, 16, 2))
    assert not has_shared_loops(module["main"])
