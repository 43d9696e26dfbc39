from __future__ import annotations

import numpy as np
import pytest

from bmopt.core.dataset import InputSpec
from bmopt.errors import UsageError
from bmopt.training.augment import augment_of

torch = pytest.importorskip("torch")

FIRST = InputSpec("x", "float32", ("N", 3, 6, 7))
LAST = InputSpec("x", "float32", ("N", 6, 7, 3))


def images(count: int = 64) -> np.ndarray:
    return np.random.default_rng(0).random((count, 3, 6, 7)).astype(np.float32)


def moved(options: list[str], spec: InputSpec = FIRST, seed: int = 0) -> np.ndarray:
    found = augment_of(options, [spec])
    assert found is not None
    given = images() if spec is FIRST else images().transpose(0, 2, 3, 1).copy()
    result = found.apply(torch, torch.from_numpy(given), np.random.default_rng(seed)).numpy()
    return result if spec is FIRST else result.transpose(0, 3, 1, 2)


def test_flip_mirrors_about_half_and_nothing_else() -> None:
    found, given = moved(["flip"]), images()
    same = (found == given).all(axis=(1, 2, 3))
    mirrored = (found == given[..., ::-1]).all(axis=(1, 2, 3))
    assert (same ^ mirrored).all()
    assert 16 < mirrored.sum() < 48


def test_crop_moves_by_up_to_as_many_pixels() -> None:
    found, given = moved(["crop:2"]), images()
    padded = np.pad(given, ((0, 0), (0, 0), (2, 2), (2, 2)), mode="reflect")
    offsets = [
        next(
            (down, right)
            for down in range(5)
            for right in range(5)
            if (image[:, down : down + 6, right : right + 7] == result).all()
        )
        for image, result in zip(padded, found, strict=True)
    ]
    assert {down for down, _ in offsets} == {right for _, right in offsets} == set(range(5))


def test_the_layout_makes_no_difference_and_neither_does_a_second_run() -> None:
    options = ["flip", "crop:1"]
    assert (moved(options) == moved(options, LAST)).all()
    assert (moved(options) == moved(options)).all()
    assert (moved(options) != moved(options, seed=1)).any()


@pytest.mark.parametrize("option", ["spin", "crop", "crop:0", "flip:2"])
def test_unknown_options_are_refused(option: str) -> None:
    with pytest.raises(UsageError, match="write flip"):
        augment_of([option], [FIRST])


def test_models_without_images_are_refused() -> None:
    with pytest.raises(UsageError, match="0 inputs of images"):
        augment_of(["flip"], [InputSpec("x", "float32", ("N", 40))])
    assert augment_of([], []) is None
