from __future__ import annotations

import numpy as np
import pytest

from bmopt.backends.tvm.tuning.decisions import writing
from tests.backends.tvm.integers.evaluating import (
    Arrays,
    bias,
    encoded,
    images,
    in_integers,
    needs_tvm,
    qdq_model,
    weights,
)
from tests.backends.tvm.tuning.forcing import Forced

pytestmark = needs_tvm

_SHAPES = {"tile": (48, 32, 3, 3), "pixels": (32, 1, 3, 3)}


@pytest.mark.parametrize("name", list(_SHAPES))
@pytest.mark.parametrize("which", [1, 2, -1])
def test_a_decision_changes_no_result(name: str, which: int) -> None:
    shape = _SHAPES[name]
    constants: Arrays = encoded("x", 5 / 255, 112) | encoded("y", 0.35, 128)
    constants |= weights("w", shape)
    constants |= bias("b", constants["w_s"] * constants["x_s"])
    groups = 32 // shape[1]
    model = qdq_model(
        f"""g (float[N, 32, 9, 12] x) => (uint8[N, C, H, W] y) {{
            xq = QuantizeLinear(x, x_s, x_z)
            xd = DequantizeLinear(xq, x_s, x_z)
            wd = DequantizeLinear<axis = 0>(w, w_s, w_z)
            bd = DequantizeLinear<axis = 0>(b, b_s)
            c = Conv<pads = [1, 1, 1, 1], group = {groups}>(xd, wd, bd)
            y = QuantizeLinear(c, y_s, y_z)
        }}""",
        constants,
    )
    feeds = {"x": images((2, 32, 9, 12))}
    (wanted,) = in_integers(model, feeds)
    forced = Forced(name, lambda options: options[which])
    with writing(forced):
        (found,) = in_integers(model, feeds)
    assert forced.taken
    np.testing.assert_array_equal(found, wanted)
    assert len(np.unique(wanted)) > 50
