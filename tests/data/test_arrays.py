"""Samples in .npz and .npy files: keys, sample axes, labels, and every refusal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bmopt.core.dataset import Batch, Dataset, InputSpec
from bmopt.core.runner import Array
from bmopt.data.open import open_dataset
from bmopt.errors import DataError

VECTOR = InputSpec("x", "float32", ("N", 3))
IMAGE = InputSpec("image", "float32", ("N", 3, 4, 4))


def numbers(*shape: int) -> Array:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def saved(folder: Path, **arrays: Array) -> Path:
    path = folder / "data.npz"
    np.savez_compressed(path, **arrays)
    return path


def joined(dataset: Dataset, name: str, batch_size: int) -> Array:
    return np.concatenate([b.feeds[name][: b.size] for b in dataset.batches(batch_size)])


def sizes(dataset: Dataset, batch_size: int) -> list[int]:
    return [batch.size for batch in dataset.batches(batch_size)]


def test_slices_samples_and_labels_along_axis_0(tmp_path: Path) -> None:
    x, labels = numbers(10, 3), np.arange(10)
    dataset = open_dataset(saved(tmp_path, x=x, labels=labels), [VECTOR])
    assert (dataset.size, dataset.has_labels) == (10, True)
    assert sizes(dataset, 4) == [4, 4, 2]
    assert np.array_equal(joined(dataset, "x", 4), x)
    found = [batch.labels for batch in dataset.batches(4)]
    assert np.array_equal(np.concatenate([v for v in found if v is not None]), labels)


def test_every_iteration_gives_the_same(tmp_path: Path) -> None:
    dataset = open_dataset(saved(tmp_path, x=numbers(10, 3)), [VECTOR])
    assert np.array_equal(joined(dataset, "x", 4), joined(dataset, "x", 1))
    assert not dataset.has_labels


def test_limit_takes_the_first(tmp_path: Path) -> None:
    x = numbers(10, 3)
    dataset = open_dataset(saved(tmp_path, x=x, labels=np.arange(10)), [VECTOR], limit=5)
    assert dataset.size == 5
    assert np.array_equal(joined(dataset, "x", 4), x[:5])


def test_reads_npy_stored_and_column_order(tmp_path: Path) -> None:
    x = numbers(7, 3)
    np.save(tmp_path / "rows.npy", x)
    np.save(tmp_path / "columns.npy", np.asfortranarray(x))
    np.savez(tmp_path / "stored.npz", x=x)
    for file in ("rows.npy", "columns.npy", "stored.npz"):
        dataset = open_dataset(tmp_path / file, [VECTOR])
        assert np.array_equal(joined(dataset, "x", 3), x), file


def test_a_lone_array_needs_no_name_and_a_query_picks_others(tmp_path: Path) -> None:
    a, b = numbers(4, 3), numbers(6, 3)
    alone = open_dataset(saved(tmp_path, whatever=a, labels=np.arange(4)), [VECTOR])
    assert np.array_equal(joined(alone, "x", 4), a)
    path = saved(tmp_path, a=a, b=b, classes=np.arange(6))
    chosen = open_dataset(f"{path}?x=b&y=classes", [VECTOR])
    assert chosen.has_labels
    assert np.array_equal(joined(chosen, "x", 4), b)


def test_maps_several_inputs_even_with_colons_in_their_names(tmp_path: Path) -> None:
    inputs = [InputSpec("in::1", "int64", ("N", 2)), InputSpec("m:0", "float32", ("N",))]
    path = saved(tmp_path, ids=np.arange(6).reshape(3, 2), mask=numbers(3))
    dataset = open_dataset(f"{path}?x=in::1:ids,m:0:mask", inputs)
    (batch,) = dataset.batches(8)
    assert batch.feeds["in::1"].shape == (3, 2)
    assert batch.feeds["m:0"].shape == (3,)


def test_a_fixed_batch_is_filled_by_repeating_the_last_sample(tmp_path: Path) -> None:
    x = numbers(5, 3)
    path = saved(tmp_path, x=x, labels=np.arange(5))
    dataset = open_dataset(path, [InputSpec("x", "float32", (4, 3))])
    assert dataset.size == 5
    batches = list(dataset.batches(1))
    assert [b.size for b in batches] == [4, 1]
    assert [b.feeds["x"].shape for b in batches] == [(4, 3), (4, 3)]
    assert np.array_equal(batches[1].feeds["x"], np.repeat(x[4:], 4, axis=0))
    assert np.array_equal(batches[1].labels, [4])


def test_one_more_axis_holds_whole_feeds(tmp_path: Path) -> None:
    x = numbers(3, 2, 3)
    dataset = open_dataset(saved(tmp_path, x=x), [VECTOR])
    assert dataset.size == 6
    batches = list(dataset.batches(64))
    assert [b.size for b in batches] == [2, 2, 2]
    assert np.array_equal(batches[1].feeds["x"], x[1])


@pytest.mark.parametrize("labels", [np.arange(3), np.arange(6).reshape(3, 2)])
def test_whole_feeds_have_as_many_samples_as_labels(tmp_path: Path, labels: Array) -> None:
    dataset = open_dataset(saved(tmp_path, x=numbers(3, 2, 3), labels=labels), [VECTOR])
    assert dataset.size == labels.size
    last: Batch = list(dataset.batches(1))[-1]
    assert np.array_equal(last.labels, np.ravel(labels[2]))


def test_scalars_and_lone_states_are_constants(tmp_path: Path) -> None:
    inputs = [
        InputSpec("audio", "float32", (None, None)),
        InputSpec("state", "float32", (2, None, 4)),
        InputSpec("rate", "int64", ()),
    ]
    audio, state = numbers(5, 8), numbers(2, 1, 4)
    path = saved(tmp_path, audio=audio, state=state, rate=np.array(16000))
    batches = list(open_dataset(path, inputs).batches(4))
    # The state was made for one inference, so its samples cannot be batched.
    assert [b.feeds["audio"].shape for b in batches] == [(1, 8)] * 5
    assert all(np.array_equal(b.feeds["state"], state) for b in batches)
    assert all(b.feeds["rate"] == 16000 for b in batches)


def test_a_scalar_alone_leaves_batching_free(tmp_path: Path) -> None:
    inputs = [VECTOR, InputSpec("rate", "int64", ())]
    dataset = open_dataset(saved(tmp_path, x=numbers(5, 3), rate=np.array(7)), inputs)
    assert sizes(dataset, 4) == [4, 1]


def test_one_feed_whose_inputs_have_unlike_leading_axes(tmp_path: Path) -> None:
    inputs = [InputSpec("a", "float32", (2, 3)), InputSpec("b", "float32", (1, 4))]
    dataset = open_dataset(saved(tmp_path, a=numbers(2, 3), b=numbers(1, 4)), inputs)
    (batch,) = dataset.batches(8)
    assert (batch.size, batch.feeds["a"].shape, batch.feeds["b"].shape) == (1, (2, 3), (1, 4))


def test_whole_feeds_beside_a_constant(tmp_path: Path) -> None:
    inputs = [InputSpec("a", "float32", ("T", "N", 2)), InputSpec("h", "float32", ("N", 2))]
    a, h = numbers(4, 5, 3, 2), numbers(3, 2)
    batches = list(open_dataset(saved(tmp_path, a=a, h=h), inputs).batches(8))
    assert len(batches) == 4
    assert batches[0].size == 1
    assert np.array_equal(batches[3].feeds["a"], a[3])
    assert np.array_equal(batches[3].feeds["h"], h)


def test_converts_stored_pixels_with_the_toml_beside_them(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3)).astype(np.uint8)
    path = saved(tmp_path, images=pixels, labels=np.arange(5))
    path.with_suffix(".toml").write_text('scale = "1/255"\nmean = [0.5]\n')
    dataset = open_dataset(path, [IMAGE])
    expected = pixels.astype(np.float32) * np.float32(1 / 255) - np.float32(0.5)
    assert np.array_equal(joined(dataset, "image", 2), expected.transpose(0, 3, 1, 2))
    overridden = open_dataset(f"{path}?mean=0", [IMAGE])
    scaled = pixels.astype(np.float32) * np.float32(1 / 255)
    assert np.array_equal(joined(overridden, "image", 2), scaled.transpose(0, 3, 1, 2))
    assert overridden.fingerprint != dataset.fingerprint


def test_dtype_forces_a_cast_that_loses(tmp_path: Path) -> None:
    path = saved(tmp_path, x=np.array([[1.7, 2.2, -1.0]]))
    spec = InputSpec("x", "int64", ("N", 3))
    (batch,) = open_dataset(f"{path}?dtype=int64", [spec]).batches(1)
    assert np.array_equal(batch.feeds["x"], [[1, 2, -1]])


def test_fingerprint_is_of_content_options_and_limit(tmp_path: Path) -> None:
    path = saved(tmp_path, x=numbers(4, 3), z=numbers(4, 3))
    first = open_dataset(f"{path}?x=x", [VECTOR]).fingerprint
    (tmp_path / "copy").mkdir()
    copy = tmp_path / "copy" / "other.npz"
    copy.write_bytes(path.read_bytes())
    assert open_dataset(f"{copy}?x=x", [VECTOR]).fingerprint == first
    for other in (f"{path}?x=z", f"{path}?x=x&scale=2"):
        assert open_dataset(other, [VECTOR]).fingerprint != first
    assert open_dataset(f"{path}?x=x", [VECTOR], limit=2).fingerprint != first


@pytest.mark.parametrize(
    ("arrays", "spec", "query", "message"),
    [
        (
            {"a": numbers(2, 3), "b": numbers(2, 3)},
            VECTOR,
            "",
            "has no array 'x'; it has a, b, and the model wants x; map them with x=KEY",
        ),
        ({"x": numbers(2, 3)}, VECTOR, "?x=w", "has no array 'w'; it has x"),
        ({"x": numbers(2, 3)}, VECTOR, "?y=w", "has no array 'w' for the labels"),
        ({"x": numbers(2, 4)}, VECTOR, "", "is [2, 4], but input 'x' wants [N, 3]"),
        ({"x": numbers(3)}, VECTOR, "", "is [3], but input 'x' wants [N, 3]"),
        ({"x": numbers(0, 3)}, VECTOR, "", "is empty, [0, 3]"),
        ({"x": np.array([[1, 2, 2**30 + 1]])}, VECTOR, "", "does not fit into the float32"),
        ({"x": np.array([["a", "b", "c"]])}, VECTOR, "", "wants float32"),
        ({"x": numbers(2, 3)}, InputSpec("x", "int64", ("N", 3)), "", "wants int64"),
        ({"x": np.array([[1, None, 2]])}, VECTOR, "", "holds Python objects"),
        ({"x": np.full((2, 3), np.nan)}, VECTOR, "", "rows 0..0: 3 of 3 values are NaN"),
        ({"x": numbers(2, 3), "labels": np.arange(3)}, VECTOR, "", "has 3 labels of shape [3]"),
        ({"x": numbers(2, 3), "labels": np.eye(2)}, VECTOR, "", "class indices (integers)"),
        ({"x": numbers(2, 3), "labels": np.array(1)}, VECTOR, "", "class indices (integers)"),
        ({"x": np.zeros((1, 4, 4, 3), np.uint8)}, IMAGE, "", "say how they become floats"),
        ({"x": numbers(1, 4, 4, 3)}, IMAGE, "", "if its channels come last, say layout=NCHW"),
        (
            {"x": np.zeros((1, 5, 5, 3), np.uint8)},
            IMAGE,
            "?scale=1",
            "gives [1, 3, 5, 5], but input 'image' wants [N, 3, 4, 4]",
        ),
        ({"x": np.full((1, 3, 4, 4), np.inf)}, IMAGE, "?scale=1", "values are infinite"),
    ],
)
def test_refuses_in_one_line(
    tmp_path: Path, arrays: dict[str, Array], spec: InputSpec, query: str, message: str
) -> None:
    path = saved(tmp_path, **arrays)
    with pytest.raises(DataError) as caught:
        open_dataset(f"{path}{query}", [spec])
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_refuses_arrays_that_disagree(tmp_path: Path) -> None:
    inputs = [VECTOR, InputSpec("z", "float32", ("N", 2))]
    path = saved(tmp_path, x=numbers(5, 3), z=numbers(4, 2))
    with pytest.raises(DataError, match=r"disagree .*x \[5, 3\], z \[4, 2\]"):
        open_dataset(path, inputs)
    path = saved(tmp_path, x=numbers(5, 1, 3), z=numbers(4, 1, 2))
    with pytest.raises(DataError, match="disagree"):
        open_dataset(path, inputs)


def test_nan_is_found_where_it_is(tmp_path: Path) -> None:
    x = numbers(10, 3)
    x[7, 1] = np.nan
    dataset = open_dataset(saved(tmp_path, x=x), [VECTOR])
    with pytest.raises(DataError, match=r"array 'x', rows 6\.\.8: 1 of 9 values are NaN"):
        list(dataset.batches(3))


@pytest.mark.parametrize("name", ["bad.npz", "bad.npy"])
def test_refuses_files_that_are_no_arrays(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"certainly no array at all, and long enough for any header" * 3)
    with pytest.raises(DataError, match="is damaged or no NumPy file"):
        open_dataset(path, [VECTOR])
    path.write_bytes(b"")
    with pytest.raises(DataError, match="is damaged or no NumPy file"):
        open_dataset(path, [VECTOR])


def test_refuses_truncated_files(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, numbers(10, 3))
    path.write_bytes(path.read_bytes()[:-20])
    dataset = open_dataset(path, [VECTOR])
    with pytest.raises(DataError, match="ends early"):
        list(dataset.batches(4))
    whole = saved(tmp_path, x=numbers(10, 3))
    whole.write_bytes(whole.read_bytes()[:-20])
    with pytest.raises(DataError, match="damaged"):
        open_dataset(whole, [VECTOR])


def test_refuses_an_npz_without_arrays(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no arrays"):
        open_dataset(saved(tmp_path), [VECTOR])
