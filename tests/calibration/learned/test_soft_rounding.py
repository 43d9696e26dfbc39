from __future__ import annotations

import numpy as np
import pytest

from bmopt.calibration.learned.soft_rounding import SoftRounding

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(("share", "stay"), [(0.5, True), (0.05, False)])
def test_zeros_of_a_sparse_weight_do_not_move(share: float, stay: bool) -> None:
    rng = np.random.default_rng(0)
    ideal = np.where(rng.random((20, 40)) < share, 0.0, rng.uniform(-9, 9, (20, 40)))
    start = np.rint(ideal)
    rounding = SoftRounding(torch, start, ideal, 127)
    assert np.array_equal(rounding.whole().numpy(), start)
    optimizer = torch.optim.Adam([rounding.variable], lr=0.5)
    for _ in range(30):
        optimizer.zero_grad()
        (-rounding.soft().sum()).backward()  # everything is pulled up
        optimizer.step()
    zero = (start == 0) & (ideal == 0)
    found = rounding.whole().numpy()
    assert np.all(found[zero] == 0) == stay
    assert np.all(found[~zero] >= start[~zero])
    assert np.any(found[~zero] > start[~zero])
