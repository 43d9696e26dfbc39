from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
import pytest

from bmopt.calibration.plan import make_plan
from bmopt.calibration.sequence.range_choice import candidates, choose_ranges, stored_values
from bmopt.core.plan import ActivationQuant
from bmopt.core.ranges import METHODS, Method
from bmopt.core.runner import Array
from bmopt.core.scheme import Scheme
from bmopt.errors import DataError
from tests.calibration.memory_dataset import MemoryDataset
from tests.engine import PlainRunner
from tests.optimizer.literals import weights
from tests.quantizing import CONV_NET, inputs_scheme, measured, named, samples_for, scheme

SCHEMES = {"outputs": scheme(), "inputs": inputs_scheme()}
KEEPING = ("minmax", "moving-average")
"""Methods whose range holds an outlier of every batch."""


def chosen(
    model: ir.Model, samples: Mapping[str, Array], wanted: Scheme, **options: int
) -> dict[str, Method]:
    table = measured(model, samples)
    plan = make_plan(model, table, wanted)
    dataset = MemoryDataset(samples)
    return choose_ranges(model, plan, table, wanted, dataset, PlainRunner, **options)


def with_outlier(weight: float) -> tuple[ir.Model, dict[str, Array]]:
    """Return a convolution one of whose inputs has outliers, and by what it multiplies them."""
    model = named(
        f"g (float[N,4,6,6] x) => (float y) <{weights('w', (4, 4, 1, 1))}> {{ y = Conv(x, w) }}"
    )
    array = model.graph.initializers["w"].const_value.numpy().copy()
    array[:, 1] = weight
    model.graph.initializers["w"].const_value = ir.tensor(array)
    samples = samples_for(model, 64)
    samples["x"][::8, 1, 0, 0] = 40.0
    return model, samples


@pytest.mark.parametrize("side", SCHEMES)
def test_an_outlier_that_nothing_looks_for_is_clipped(side: str) -> None:
    model, samples = with_outlier(0.0)
    method = chosen(model, samples, SCHEMES[side])["x"]
    assert method not in KEEPING
    table = measured(model, samples)
    symmetric = SCHEMES[side].activation.symmetric
    assert table.tensors["x"].interval(method, symmetric=symmetric).high < 10


@pytest.mark.parametrize("side", SCHEMES)
def test_an_outlier_that_matters_is_kept(side: str) -> None:
    model, samples = with_outlier(3.0)
    assert chosen(model, samples, SCHEMES[side])["x"] in KEEPING


def test_what_a_relu_drops_does_not_matter() -> None:
    model, samples = with_outlier(-3.0)
    clipped = named(
        f"g (float[N,4,6,6] x) => (float y) <{weights('w', (4, 4, 1, 1))}>"
        " { c = Conv(x, w) y = Relu(c) }"
    )
    clipped.graph.initializers["w"].const_value = model.graph.initializers["w"].const_value
    assert chosen(model, samples, scheme())["x"] in KEEPING
    assert chosen(clipped, samples, scheme())["x"] not in KEEPING


@pytest.mark.parametrize("side", SCHEMES)
def test_without_outliers_the_choice_is_not_worse_than_any_method(side: str) -> None:
    model = named(
        f"g (float[N,4,6,6] x) => (float y) <{weights('w', (4, 4, 3, 3))}> {{ y = Conv(x, w) }}"
    )
    samples = samples_for(model, 64)
    found = chosen(model, samples, SCHEMES[side])["x"]
    table = measured(model, samples)
    with PlainRunner(model) as runner:
        wanted = runner.run(samples)["y"]
        errors = {}
        for method, quant in candidates(table, "x", SCHEMES[side].activation).items():
            off = runner.run({"x": stored_values(samples["x"], quant)})["y"] - wanted
            errors[method] = float(np.square(off).sum())
    assert errors[found] <= 1.02 * min(errors.values())


def test_tensors_that_are_only_moved_are_judged_where_they_are_read() -> None:
    model = named(CONV_NET)
    found = chosen(model, samples_for(model), scheme())
    assert set(found) == {"x", "r1", "c2", "p"}, "not m1 and f, which are r1's and p's numbers"
    assert set(found.values()) <= set(METHODS)


def test_tensors_that_no_matrix_tells_of_are_left_out() -> None:
    model = named(
        f"g (float[N,4,6,6] x) => (float y) <{weights('w', (4, 4, 2, 2))}>"
        "{ y = ConvTranspose(x, w) }"
    )
    assert chosen(model, samples_for(model), inputs_scheme()) == {}


def test_progress_and_few_samples() -> None:
    model = named(CONV_NET)
    samples = samples_for(model)
    table = measured(model, samples)
    plan = make_plan(model, table, scheme())
    seen: list[tuple[int, int]] = []
    choose_ranges(
        model,
        plan,
        table,
        scheme(),
        MemoryDataset(samples),
        PlainRunner,
        batch_size=1,
        samples=3,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    ("quant", "expected"),
    [
        (ActivationQuant("uint8", 0.5, 128), [-64.0, -0.5, 0.0, 0.5, 63.5]),
        (ActivationQuant("uint8", 0.5, 0), [0.0, 0.0, 0.0, 0.5, 127.5]),
        (ActivationQuant("int8", 0.5, 0), [-64.0, -0.5, 0.0, 0.5, 63.5]),
        (ActivationQuant("float8e4m3fn", 0.5, 0), [-224.0, -0.6875, 0.1015625, 0.625, 224.0]),
    ],
)
def test_what_is_left_of_stored_values(quant: ActivationQuant, expected: list[float]) -> None:
    values = np.array([-1000.0, -0.7, 0.1, 0.6, 1000.0], np.float32)
    found = stored_values(values, quant)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected)


def test_no_samples_is_an_error() -> None:
    model = named(CONV_NET)
    samples = samples_for(model)
    table = measured(model, samples)
    plan = make_plan(model, table, scheme())
    empty = MemoryDataset({"x": samples["x"][:0]})
    with pytest.raises(DataError, match="memory: has no samples"):
        choose_ranges(model, plan, table, scheme(), empty, PlainRunner)
