"""Folders and lists of images: labels, decoding, and every refusal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bmopt.core.dataset import Dataset, InputSpec
from bmopt.core.runner import Array
from bmopt.data.open import open_dataset
from bmopt.errors import DataError, UsageError

SPEC = InputSpec("image", "float32", ("N", 3, 8, 8))
RAW = "?scale=1"


def picture(path: Path, seed: int = 0, side: int = 8) -> Array:
    """Write a lossless picture (or a JPEG) and return its pixels, [h, w, 3]."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3)).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def feeds(dataset: Dataset, batch_size: int = 2) -> Array:
    return np.concatenate([b.feeds["image"][: b.size] for b in dataset.batches(batch_size)])


def labels(dataset: Dataset) -> list[int]:
    found = [b.labels for b in dataset.batches(2)]
    return [int(label) for array in found if array is not None for label in array]


def test_loose_images_in_sorted_order_without_labels(tmp_path: Path) -> None:
    pixels = [picture(tmp_path / name, i) for i, name in enumerate(["a.png", "b.bmp", "c.PNG"])]
    (tmp_path / "notes.txt").write_text("not an image")
    dataset = open_dataset(f"{tmp_path}{RAW}", [SPEC])
    assert (dataset.size, dataset.has_labels) == (3, False)
    assert np.array_equal(feeds(dataset), np.stack(pixels).transpose(0, 3, 1, 2))


def test_sub_folders_are_classes_in_sorted_order(tmp_path: Path) -> None:
    for i, name in enumerate(["dog/1.png", "cat/2.png", "cat/deep/3.png", ".hidden/4.png"]):
        picture(tmp_path / name, i)
    (tmp_path / "ant").mkdir()
    assert labels(open_dataset(f"{tmp_path}{RAW}", [SPEC])) == [1, 1, 2]


def test_sub_folders_named_by_numbers_mean_them(tmp_path: Path) -> None:
    for name in ("10/a.png", "2/b.png", "0/c.png"):
        picture(tmp_path / name)
    assert labels(open_dataset(f"{tmp_path}{RAW}", [SPEC])) == [0, 10, 2]


@pytest.mark.parametrize("where", ["labels.csv", "../set_labels.csv", "other.csv"])
def test_labels_from_a_csv(tmp_path: Path, where: str) -> None:
    folder = tmp_path / "set"
    pixels = [picture(folder / name, i) for i, name in enumerate(["a.png", "b.png", "c.png"])]
    prefix = "set/" if where.startswith("..") else ""
    (folder / where).write_text(f"file,label\n{prefix}c.png,7\n{prefix}a.png,3\n")
    option = "&labels=other.csv" if where == "other.csv" else ""
    dataset = open_dataset(f"{folder}{RAW}{option}", [SPEC])
    assert labels(dataset) == [7, 3]
    assert np.array_equal(feeds(dataset)[0], pixels[2].transpose(2, 0, 1))


def test_a_csv_itself_with_the_toml_beside_it(tmp_path: Path) -> None:
    pixels = picture(tmp_path / "images" / "a.png")
    (tmp_path / "list.csv").write_text("label,file\n5,images/a.png\n")
    (tmp_path / "list.toml").write_text('channels = "BGR"\n')
    dataset = open_dataset(tmp_path / "list.csv", [SPEC])
    assert labels(dataset) == [5]
    assert np.array_equal(feeds(dataset)[0], pixels[..., ::-1].transpose(2, 0, 1))


def test_a_toml_in_the_folder_resizes_and_crops(tmp_path: Path) -> None:
    pixels = picture(tmp_path / "a.jpg", side=40)
    (tmp_path / "preprocess.toml").write_text('resize = 12\ncrop = 8\nscale = "1/255"\n')
    (batch,) = open_dataset(tmp_path, [SPEC]).batches(4)
    with Image.open(tmp_path / "a.jpg") as image:
        small = np.asarray(image.resize((12, 12), Image.Resampling.BILINEAR))[2:10, 2:10]
    expected = small.astype(np.float32) * np.float32(1 / 255)
    assert np.array_equal(batch.feeds["image"][0], expected.transpose(2, 0, 1))
    assert pixels.shape == (40, 40, 3)


def test_a_model_of_one_channel_gets_grey(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (batch,) = open_dataset(
        f"{tmp_path}{RAW}", [InputSpec("image", "float32", (1, 1, 8, 8))]
    ).batches(1)
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(batch.feeds["image"][0, 0], np.asarray(image.convert("L")))


def test_a_fixed_batch_is_filled_and_a_limit_taken(tmp_path: Path) -> None:
    for i in range(6):
        picture(tmp_path / f"{i // 3}" / f"{i}.png", i)
    spec = InputSpec("image", "float32", (4, 3, 8, 8))
    dataset = open_dataset(f"{tmp_path}{RAW}", [spec], limit=5)
    batches = list(dataset.batches(1))
    assert dataset.size == 5
    assert [(b.size, b.feeds["image"].shape[0]) for b in batches] == [(4, 4), (1, 4)]
    assert np.array_equal(batches[1].labels, [1])
    assert np.array_equal(batches[1].feeds["image"][3], batches[1].feeds["image"][0])


def test_fingerprint_follows_bytes_labels_and_options(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "x.png", 1)
    first = open_dataset(f"{tmp_path}{RAW}", [SPEC]).fingerprint
    assert open_dataset(f"{tmp_path}{RAW}", [SPEC]).fingerprint == first
    assert open_dataset(f"{tmp_path}?scale=2", [SPEC]).fingerprint != first
    picture(tmp_path / "a" / "x.png", 2)
    assert open_dataset(f"{tmp_path}{RAW}", [SPEC]).fingerprint != first


def refused(spec: str, message: str, kind: type[Exception] = DataError) -> None:
    with pytest.raises(kind) as caught:
        for _ in open_dataset(spec, [SPEC]).batches(8):
            pass
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_refuses_damaged_images_by_name(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:100])
    refused(f"{tmp_path}{RAW}", "b.png: is a damaged image")
    (tmp_path / "b.png").write_bytes(b"no image")
    refused(f"{tmp_path}{RAW}", "b.png: is no image that can be read")


def test_refuses_images_of_16_bits(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(tmp_path / "a.png")
    refused(f"{tmp_path}{RAW}", "a.png: has more than 8 bits per channel")


def test_refuses_sizes_that_do_not_fit(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", side=9)
    refused(f"{tmp_path}{RAW}", "gives [1, 3, 9, 9], but input 'image' wants [N, 3, 8, 8]")
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png", side=9)
    refused(f"{tmp_path}{RAW}", "b.png: is 9x9 pixels, but a.png is 8x8 pixels; add resize=HxW")


def test_refuses_folders_without_a_clear_meaning(tmp_path: Path) -> None:
    refused(f"{tmp_path}{RAW}", "has no images (.bmp, .jpeg, .jpg, .png)")
    picture(tmp_path / "a.png")
    refused(str(tmp_path), "say how pixels become float32: scale=1/255")
    picture(tmp_path / "cat" / "b.png")
    refused(f"{tmp_path}{RAW}", "images both beside and in sub-folders")
    refused(f"{tmp_path}{RAW}&x=a", "x= and y= are for .npz files", UsageError)
    refused(f"{tmp_path}{RAW}&labels=no.csv", "no.csv: no such file; labels= names a CSV")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,class\na.png,1\n", "has no columns 'file' and 'label'"),
        ("", "has no columns 'file' and 'label'"),
        ("file,label\n", "has no images"),
        ("file,label\na.png,cat\n", "line 2: label 'cat' is no class index"),
        ("file,label\na.png\n", "line 2: label None is no class index"),
        ("file,label\na.png,1\nz.png,1\n", "line 3: no such file: z.png"),
    ],
)
def test_refuses_bad_csvs(tmp_path: Path, text: str, message: str) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "list.csv").write_text(text)
    refused(f"{tmp_path / 'list.csv'}{RAW}", message)


def test_refuses_a_model_with_several_inputs(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    with pytest.raises(DataError, match="images feed one input, the model has image, other"):
        open_dataset(f"{tmp_path}{RAW}", [SPEC, InputSpec("other", "float32", (1,))])
