from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bmopt.core.dataset import InputSpec
from bmopt.errors import DataError, UsageError
from bmopt.graph.model_io import load_model
from bmopt.workflow.samples import (
    Head,
    SampleOptions,
    first_feeds,
    has_dynamic_batch,
    open_samples,
)
from tests.calibration.memory_dataset import MemoryDataset
from tests.engine import PlainRunner
from tests.quantizing import named
from tests.workflow.demo_runs import DEMO, images

MODEL = load_model(DEMO.model)


def spec(*shape: int | str | None) -> InputSpec:
    return InputSpec("x", "float32", shape)


@pytest.mark.parametrize(
    ("specs", "dynamic"),
    [
        ([spec("N", 3)], True),
        ([spec(None, 3)], True),
        ([spec(1, 3)], False),
        ([spec("N", 3), spec(1, 3)], False),
        ([spec("N", 3), spec()], True),  # a scalar has no batch axis
        ([spec()], False),
        ([InputSpec("x", "float32", None)], False),
        ([], False),
    ],
)
def test_whether_the_batch_is_dynamic(specs: list[InputSpec], dynamic: bool) -> None:
    assert has_dynamic_batch(specs) is dynamic


def test_the_head_ends_with_a_whole_batch() -> None:
    whole = MemoryDataset({"x": np.arange(10)[:, None]})
    head = Head(whole, 5)
    assert (head.size, head.name, head.has_labels) == (5, "memory", False)
    assert head.fingerprint != whole.fingerprint
    assert [batch.size for batch in head.batches(2)] == [2, 2, 2]
    assert [batch.size for batch in head.batches(5)] == [5]
    assert Head(whole, 99).size == 10
    assert sum(batch.size for batch in Head(whole, 99).batches(4)) == 10


def test_first_feeds() -> None:
    feeds = first_feeds(MemoryDataset({"x": np.arange(10)[:, None]}), 3, 2)
    assert [feed["x"].ravel().tolist() for feed in feeds] == [[0, 1], [2, 3], [4, 5]]
    assert len(first_feeds(MemoryDataset({"x": np.arange(2)[:, None]}), 3)) == 2


def test_a_file_with_its_preprocessing_beside_it() -> None:
    found = open_samples(str(DEMO.val), MODEL, PlainRunner, SampleOptions(limit=4))
    (batch,) = found.batches(8)
    np.testing.assert_allclose(batch.feeds["image"], images(4), rtol=1e-5, atol=1e-6)
    assert found.has_labels


def test_options_override_it() -> None:
    options = SampleOptions(preprocess=("mean=0",), limit=4)
    (batch,) = open_samples(DEMO.val, MODEL, PlainRunner, options).batches(8)
    assert batch.feeds["image"].min() == 0.0


def test_random_samples_have_shapes_that_the_model_takes() -> None:
    # The inner axis is dynamic, but only 16 fits the weight.
    model = named(
        "g (float[N,K] x) => (float[N,1] y) <float[16,1] w = {1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1}> "
        "{ y = MatMul(x, w) }"
    )
    found = open_samples("random:2", model, PlainRunner, SampleOptions())
    assert {batch.feeds["x"].shape[1:] for batch in found.batches(4)} == {(16,)}


def test_random_samples_depend_on_the_seed() -> None:
    one, two, three = (
        next(open_samples("random:2", MODEL, PlainRunner, SampleOptions(seed=seed)).batches(2))
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.feeds["image"], two.feeds["image"])
    assert (one.feeds["image"] != three.feeds["image"]).any()


def test_a_model_that_no_random_shape_fits_is_told() -> None:
    body = ", ".join(["1"] * 7)
    model = named(
        f"g (float[N,K] x) => (float[N,1] y) <float[7,1] w = {{{body}}}> {{ y = MatMul(x, w) }}"
    )
    with pytest.raises(DataError, match="name one with --shapes"):
        open_samples("random:2", model, PlainRunner, SampleOptions())


def test_bad_specs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="N must be a whole number"):
        open_samples("random:many", MODEL, PlainRunner, SampleOptions())
    with pytest.raises(DataError, match="no such file"):
        open_samples(tmp_path / "none.npz", MODEL, PlainRunner, SampleOptions())
