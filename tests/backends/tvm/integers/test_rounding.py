from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.backends.tvm.integers.evaluating import (
    BASELINE,
    encoded,
    host,
    images,
    in_integers,
    needs_tvm,
    qdq_model,
    reference,
)

pytestmark = needs_tvm


def _computed(values: np.ndarray, divisor: float, target: dict[str, str]) -> np.ndarray:
    """Return what a kernel for ``target`` makes of ``values / divisor``, 8 at a time."""
    import tvm
    from tvm.tirx.script import builder as T  # noqa: N812

    from bmopt.backends.tvm.integers import emitting, rounding
    from bmopt.backends.tvm.integers.machine import machine_for

    aim = tvm.target.Target(target)
    machine, size = machine_for(aim), len(values)

    def body(source: Any, out: Any) -> None:
        with T.serial(0, size // 8) as i:
            value = emitting.load(source, i * 8, 8)
            emitting.store(out, rounding.quotient(value, divisor, 8, machine), i * 8, 8)

    made = emitting.function([((size,), "float32"), ((size,), "float32")], body)
    built = tvm.compile(tvm.IRModule({"f": made.with_attr("global_symbol", "f")}), aim)
    found = tvm.runtime.tensor(np.zeros(size, np.float32))
    built["f"](tvm.runtime.tensor(values), found)
    return np.asarray(found.numpy())


@pytest.mark.parametrize("target", [None, BASELINE], ids=["host", "baseline"])
def test_quotients_are_those_of_a_division(target: dict[str, str] | None) -> None:
    random = np.random.default_rng(0)
    values = (random.uniform(-300, 300, 1 << 15) * random.uniform(1e-4, 1e3, 1 << 15)).astype("f")
    all_ones = np.array(0x3C7FFFFF, np.int32).view(np.float32)
    divisors = [*random.uniform(1e-5, 2, 6).astype("f"), np.float32(0.25), all_ones]
    for divisor in divisors:
        found = _computed(values, float(divisor), target or host())
        np.testing.assert_array_equal(found, values / np.float32(divisor))


@pytest.mark.parametrize("op", ["Add", "Mul"])
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("target", [None, BASELINE], ids=["host", "baseline"])
def test_sums_and_products_are_equal_where_ties_are_common(
    op: str, dtype: str, target: dict[str, str] | None
) -> None:
    """With these scales, sums are ties in real arithmetic, which float32 takes either way."""
    shift = 0 if dtype == "uint8" else -128
    constants = encoded("a", 0.03, 110 + shift, dtype) | encoded("b", 0.015, 128 + shift, dtype)
    constants |= encoded("y", 0.03 if op == "Add" else 0.0045, 90 + shift, dtype)
    model = qdq_model(
        f"""g (float[N, 32] a, float[N, 32] b) => ({dtype}[N, 32] y) {{
            aq = QuantizeLinear(a, a_s, a_z) ad = DequantizeLinear(aq, a_s, a_z)
            bq = QuantizeLinear(b, b_s, b_z) bd = DequantizeLinear(bq, b_s, b_z)
            s = {op}(ad, bd) y = QuantizeLinear(s, y_s, y_z)
        }}""",
        constants,
    )
    feeds = {"a": images((500, 32)), "b": images((500, 32), -1.6, 1.6, seed=8)}
    (found,), (wanted,) = in_integers(model, feeds, target), reference(model, feeds)
    np.testing.assert_array_equal(found, wanted)


def test_concatenation_and_tables_are_equal_where_ties_are_common() -> None:
    constants = encoded("a", 0.03, 110) | encoded("b", 0.015, 128) | encoded("y", 0.03, 100)
    model = qdq_model(
        """g (float[N, 16] a, float[N, 16] b) => (uint8[N, 32] y, uint8[N, 16] z) {
            aq = QuantizeLinear(a, a_s, a_z) ad = DequantizeLinear(aq, a_s, a_z)
            bq = QuantizeLinear(b, b_s, b_z) bd = DequantizeLinear(bq, b_s, b_z)
            s = Concat<axis = 1>(ad, bd) y = QuantizeLinear(s, y_s, y_z)
            l = LeakyRelu<alpha = 0.5>(bd) z = QuantizeLinear(l, y_s, y_z)
        }""",
        constants,
    )
    feeds = {"a": images((500, 16)), "b": images((500, 16), -1.6, 1.6, seed=8)}
    for found, wanted in zip(in_integers(model, feeds), reference(model, feeds), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_infinite_inputs_saturate() -> None:
    model = qdq_model(
        """g (float[N, 4] a) => (uint8[N, 4] y) {
            aq = QuantizeLinear(a, a_s, a_z) ad = DequantizeLinear(aq, a_s, a_z)
            r = Relu(ad) y = QuantizeLinear(r, y_s, y_z)
        }""",
        encoded("a", 0.03, 110) | encoded("y", 0.02, 0),
    )
    feeds = {"a": np.array([[np.inf, -np.inf, 1e38, -3e38]], np.float32)}
    np.testing.assert_array_equal(in_integers(model, feeds)[0], reference(model, feeds)[0])
