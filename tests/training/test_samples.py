from __future__ import annotations

import numpy as np
import pytest

from bmopt.errors import DataError
from bmopt.training.samples import Samples, shuffled, split
from tests.training.lessons import Labelled, quarters


@pytest.mark.parametrize("memory", [1 << 30, 0])
def test_samples_are_picked_in_any_order_from_memory_or_disk(memory: int) -> None:
    data = quarters(300)
    with Samples(data, memory_bytes=memory) as samples:
        picked = samples.pick(np.array([299, 0, 7]))
        assert samples.size == 300
    assert (picked.feeds["x"] == data.feeds["x"][[299, 0, 7]]).all()
    assert picked.labels is not None
    assert data.labels is not None
    assert (picked.labels == data.labels[[299, 0, 7]]).all()


def test_no_samples_are_refused() -> None:
    with pytest.raises(DataError, match="has no samples"):
        Samples(quarters(0))


def test_an_input_without_a_sample_axis_is_refused() -> None:
    data = Labelled({"x": np.zeros((3, 2), np.float32), "k": np.float32(1)}, None)

    class Odd(Labelled):
        def batches(self, batch_size: int):  # noqa: ANN202
            from bmopt.core.dataset import Batch

            yield Batch(self.feeds, 3)

    with pytest.raises(DataError, match="'k' has no sample axis"):
        Samples(Odd(data.feeds, None))


def test_a_split_has_every_sample_once() -> None:
    learned, held = split(100, 0.1, seed=3)
    assert len(held) == 10
    assert sorted([*learned, *held]) == list(range(100))
    assert (split(100, 0.1, seed=3)[1] == held).all()
    assert (split(100, 0.1, seed=4)[1] != held).any()


def test_an_epoch_has_full_batches_of_samples_that_differ() -> None:
    batches = shuffled(np.arange(50), 16, [0])
    assert [len(batch) for batch in batches] == [16, 16, 16]
    assert len(set(np.concatenate(batches))) == 48
    assert [len(b) for b in shuffled(np.arange(5), 16, [0])] == [5]
