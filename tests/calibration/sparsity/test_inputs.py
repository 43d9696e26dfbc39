from __future__ import annotations

import numpy as np
import pytest

from bmopt.calibration.sparsity.inputs import input_moments
from bmopt.errors import DataError
from bmopt.graph.model_digest import model_digest
from tests.calibration.memory_dataset import MemoryDataset
from tests.calibration.sparsity.nets import block, samples
from tests.engine import PlainRunner


def test_moments_are_those_of_what_is_read() -> None:
    model = block()
    found = input_moments(model, samples(), PlainRunner, samples=64)
    assert found.model == model_digest(model)
    assert set(found.forms) == {"c0", "c1", "c2", "c3", "m"}, "d is in groups, t is transposed"
    shown = model.clone()
    shown.graph.outputs.append(next(n for n in shown.graph if n.name == "p").outputs[0])
    with PlainRunner(shown) as runner:
        rows = runner.run(samples().arrays)["p"].astype(np.float64)
    np.testing.assert_allclose(found.forms["m"], rows.T @ rows / len(rows), rtol=1e-4, atol=1e-6)
    assert found.forms["c3"].shape == (12, 12)


def test_only_those_that_are_wanted() -> None:
    found = input_moments(
        block(), samples(), PlainRunner, wants=lambda product: product.node.op_type == "MatMul"
    )
    assert set(found.forms) == {"m"}
    none = input_moments(block(), samples(), PlainRunner, wants=lambda product: False)
    assert none.forms == {}


def test_no_samples_is_one_line() -> None:
    empty = MemoryDataset({"x": np.zeros((0, 4, 6, 6), np.float32)})
    with pytest.raises(DataError, match="memory: has no samples"):
        input_moments(block(), empty, PlainRunner)
