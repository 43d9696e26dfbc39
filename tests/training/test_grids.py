from __future__ import annotations

import numpy as np
import pytest

from bmopt.calibration.plan import make_plan
from bmopt.core.runner import Array
from bmopt.graph.model_digest import model_digest
from bmopt.optimizer.passes.quantize import Quantize
from bmopt.training.grids import Grid, grids_of
from bmopt.training.parameters import parameters_of, with_arrays
from bmopt.training.student import Student
from tests.quantizing import inputs_scheme, measured, scheme, sqnr_db
from tests.training.lessons import net, outputs, quarters

torch = pytest.importorskip("torch")


def steps(weight: Array, limit: int) -> tuple[Array, Array]:
    """Return what is read for a weight with scale 0.5, and the gradient of its sum."""
    grid = Grid("n", 1, "w", np.array([[0.5]], np.float32), limit).on(torch, "cpu")
    variable = torch.from_numpy(weight).requires_grad_(True)
    read = grid.replaced({"w": variable})[("n", 1)]
    read.sum().backward()
    return read.detach().numpy(), variable.grad.numpy()


def test_weights_are_read_rounded_and_gradients_pass_but_where_they_are_clipped() -> None:
    read, gradient = steps(np.array([[0.2, 0.3, -9.0, 1.4]], np.float32), 3)
    assert read.tolist() == [[0.0, 0.5, -1.5, 1.5]]
    assert gradient.tolist() == [[1, 1, 0, 1]]


@pytest.mark.parametrize("wanted", [scheme(), inputs_scheme()], ids=["outputs", "inputs"])
def test_what_is_trained_computes_what_the_quantised_model_will(wanted) -> None:  # noqa: ANN001
    model, data = net(), quarters(32)
    plan = make_plan(model, measured(model, data.feeds), wanted, method="minmax")
    parameters = parameters_of(model)
    quantized = Quantize(plan)(model.clone()).model
    student = Student(torch, quantized, parameters, grids_of(model, plan, parameters))
    rng = np.random.default_rng(0)
    student.load({n: a + rng.normal(0, 0.02, a.shape) for n, a in student.arrays().items()})
    found = student.run({"x": torch.from_numpy(data.feeds["x"])}, ["y"])["y"].detach().numpy()
    trained = with_arrays(model, student.stored())
    assert model_digest(trained) != model_digest(model)
    again = Quantize(plan)(trained.clone()).model
    assert sqnr_db(outputs(again, data), found) > 40
    assert sqnr_db(outputs(quantized, data), found) < 35, "the test must see the change"
