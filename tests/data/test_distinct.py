from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bmopt.core.dataset import Batch, InputSpec
from bmopt.core.runner import Array
from bmopt.data.distinct import require_distinct, sample_digests
from bmopt.data.open import open_dataset
from bmopt.errors import DataError
from tests.calibration.memory_dataset import MemoryDataset

SPEC = InputSpec("x", "float32", ("N", 3))
ROWS = np.random.default_rng(7).normal(size=(200, 3)).astype(np.float32)


@dataclasses.dataclass
class Feeds:
    """Batches as they are given."""

    given: list[Batch]
    name: str = "feeds"
    has_labels: bool = False

    @property
    def fingerprint(self) -> str:
        return f"feeds {id(self)}"

    @property
    def size(self) -> int:
        return sum(batch.size for batch in self.given)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        return iter(self.given)


def saved(path: Path, rows: Array) -> str:
    np.savez(path, x=rows)
    return str(path)


@pytest.mark.parametrize(
    ("val", "message"),
    [
        (ROWS[99::-1], "100 of 100 validation samples are calibration samples, first at index 0"),
        (ROWS[40:60], "20 of 20 validation samples"),
        (ROWS[90:150], "10 of 60 validation samples are calibration samples, first at index 0 of"),
        (ROWS[[150, 151, 5]], "1 of 3 validation samples .* first at index 2 of .*val.npz; valid"),
    ],
    ids=["turned", "subset", "overlap", "single"],
)
def test_shared_samples_are_found_in_any_order(tmp_path: Path, val: Array, message: str) -> None:
    calib = open_dataset(saved(tmp_path / "calib.npz", ROWS[:100]), [SPEC])
    other = open_dataset(saved(tmp_path / "val.npz", val), [SPEC])
    with pytest.raises(DataError, match=message):
        require_distinct(calib, other)


def test_other_samples_and_those_beyond_the_limit_are_fine(tmp_path: Path) -> None:
    calib = saved(tmp_path / "calib.npz", ROWS[:100])
    val = saved(tmp_path / "val.npz", ROWS[100:])
    require_distinct(open_dataset(calib, [SPEC]), open_dataset(val, [SPEC]))
    all_rows = open_dataset(saved(tmp_path / "all.npz", ROWS), [SPEC], limit=100)
    require_distinct(all_rows, open_dataset(val, [SPEC]))


def test_few_equal_samples_are_told_and_let_pass() -> None:
    rng = np.random.default_rng(3)
    calib, val = rng.random((50, 4), np.float32), rng.random((200, 4), np.float32)
    val[7] = calib[3]
    few = require_distinct(MemoryDataset({"x": calib}), MemoryDataset({"x": val}, fingerprint="v"))
    assert few.startswith("1 of 200 validation samples are calibration samples, first at index 7")
    val[8], val[9] = calib[4], calib[5]
    with pytest.raises(DataError, match="3 of 200"):
        require_distinct(MemoryDataset({"x": calib}), MemoryDataset({"x": val}, fingerprint="v"))


def test_the_source_does_not_matter(tmp_path: Path) -> None:
    calib = open_dataset(saved(tmp_path / "calib.npz", ROWS[:20]), [SPEC])
    with pytest.raises(DataError, match=r"1 of 3 validation samples .* first at index 1"):
        require_distinct(calib, open_dataset(lambda: iter([{"x": ROWS[[50, 19, 51]]}]), [SPEC]))


def test_random_samples_are_not_compared(tmp_path: Path) -> None:
    random = open_dataset("random:4", [SPEC])
    (batch,) = random.batches(4)
    same = open_dataset(saved(tmp_path / "same.npz", batch.feeds["x"]), [SPEC])
    require_distinct(random, same)
    require_distinct(same, random)


def test_padding_is_no_sample() -> None:
    fixed = InputSpec("x", "float32", (4, 3))
    first = Batch({fixed.name: np.repeat(ROWS[:1], 4, axis=0)}, 1)
    second = Batch({fixed.name: ROWS[[1, 2, 3, 3]]}, 3)
    third = Batch({fixed.name: ROWS[[4, 5, 6, 0]]}, 4)
    require_distinct(Feeds([first]), Feeds([second]))
    with pytest.raises(DataError, match=r"1 of 4 validation samples .* first at index 3"):
        require_distinct(Feeds([first]), Feeds([third]))


def test_every_input_counts_and_constants_belong_to_all() -> None:
    mask = np.ones(7, np.float32)
    feeds = {"x": ROWS[:4], "ids": np.arange(4), "mask": mask}
    calib = Feeds([Batch(feeds, 4)])
    require_distinct(calib, Feeds([Batch({**feeds, "ids": np.arange(4) + 1}, 4)]))
    require_distinct(calib, Feeds([Batch({**feeds, "mask": 0 * mask}, 4)]))
    one = {"x": ROWS[2:3], "ids": np.array([2]), "mask": mask}
    with pytest.raises(DataError, match="1 of 1 validation"):
        require_distinct(calib, Feeds([Batch(one, 1)]))


def test_a_feed_without_an_axis_of_samples_is_one_sample() -> None:
    tokens = [np.array([5, 6, 7]), np.array([5, 9]), np.array([5, 5, 5]), np.array([5, 5])]
    digests = [next(sample_digests(Batch({"ids": t}, 1))) for t in tokens]
    assert len(set(digests)) == 4
    texts = [np.array(t, dtype=object) for t in (["a", "b"], ["ab"], ["a", "b"])]
    found = [next(sample_digests(Batch({"t": t[None]}, 1))) for t in texts]
    assert found[0] == found[2] != found[1]


@settings(max_examples=30, deadline=None)
@given(cut=st.integers(1, 9), seed=st.integers(0, 2**31))
def test_digests_do_not_depend_on_batches(cut: int, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(10)
    whole = list(sample_digests(Batch({"x": ROWS[:10]}, 10)))
    parts = [Batch({"x": ROWS[order[a]]}, len(order[a])) for a in (slice(cut), slice(cut, None))]
    assert [d for b in parts for d in sample_digests(b)] == [whole[i] for i in order]
    assert len(set(whole)) == 10


def test_copies_of_images_are_found(tmp_path: Path) -> None:
    spec = InputSpec("image", "float32", ("N", 3, 8, 8))
    for folder, seeds in (("calib", (1, 2, 3)), ("val", (4, 2)), ("other", (5, 6))):
        (tmp_path / folder).mkdir()
        for seed in seeds:
            generator = np.random.default_rng(seed)
            pixels = generator.integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{folder}{9 - seed}.png")
    calib, val, other = (
        open_dataset(f"{tmp_path / name}?scale=1/255", [spec])
        for name in ("calib", "val", "other")
    )
    require_distinct(calib, other)
    with pytest.raises(
        DataError, match=r"1 of 2 validation samples .* first at index 1 of .*val[?].*;"
    ):
        require_distinct(calib, val)
