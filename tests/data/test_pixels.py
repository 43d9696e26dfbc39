"""Pixel arithmetic against the plain formula, and the axes and channels it copes with."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bmopt.core.dataset import InputSpec
from bmopt.core.runner import Array
from bmopt.data.pixels import convert
from bmopt.data.preprocess import Preprocess
from bmopt.errors import DataError

RGB = InputSpec("image", "float32", ("N", 3, 8, 8))
GREY = InputSpec("image", "float32", ("N", 1, 8, 8))
ANY = InputSpec("image", "float32", ("N", None, None, None))


def pixels(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def changed(block: Array, spec: InputSpec, *options: str) -> Array:
    return convert(block, Preprocess.from_options(options), spec, "here")


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3), st.floats(0.001, 2), st.floats(-2, 2), st.floats(0.01, 3))
def test_is_the_formula_bit_for_bit(n: int, scale: float, mean: float, std: float) -> None:
    block = pixels(n, 8, 8, 3, seed=n)
    options = Preprocess(scale=scale, mean=(mean, 0.5, 1.0), std=(std, 1.0, 0.3))
    x = block.astype(np.float32)
    means, stds = (np.array(v, np.float32) for v in (options.mean, options.std))
    expected = ((x * np.float32(scale) - means) / stds).transpose(0, 3, 1, 2)
    result = convert(block, options, RGB, "here")
    assert result.dtype == np.float32
    assert result.flags.c_contiguous
    assert np.array_equal(result, expected)


def test_reverses_channels_for_bgr() -> None:
    block = pixels(2, 8, 8, 3)
    expected = block[..., ::-1].transpose(0, 3, 1, 2)
    assert np.array_equal(changed(block, RGB, "channels=BGR"), expected)


def test_keeps_channels_last_where_the_model_has_them_there() -> None:
    block = pixels(2, 8, 8, 3)
    spec = InputSpec("image", "float32", ("N", 8, 8, 3))
    assert np.array_equal(changed(block, spec, "scale=1"), block)
    assert np.array_equal(changed(block, ANY, "layout=NHWC"), block)


def test_takes_arrays_that_are_channels_first_already() -> None:
    block = pixels(2, 3, 8, 8)
    result = changed(block, RGB, "mean=1,2,3")
    expected = block.astype(np.float32) - np.array([1, 2, 3], np.float32)[:, None, None]
    assert np.array_equal(result, expected)


def test_grey_images_without_a_channel_axis() -> None:
    block = pixels(2, 8, 8)
    assert np.array_equal(changed(block, GREY, "scale=1"), block[:, None])
    flat = InputSpec("image", "float32", ("N", 8, 8))
    assert np.array_equal(changed(block[..., None], flat, "scale=2"), block * np.float32(2))


def test_grey_is_luma_and_a_grey_image_fills_three_channels() -> None:
    block = pixels(1, 8, 8, 3)
    luma = np.asarray(Image.fromarray(block[0]).convert("L"))
    assert np.array_equal(changed(block, GREY, "scale=1")[0, 0], luma)
    grey = pixels(1, 8, 8, 1)
    assert np.array_equal(
        changed(grey, RGB, "scale=1")[0], np.repeat(grey, 3, -1)[0].T.swapaxes(1, 2)
    )


def test_crops_the_centre() -> None:
    block = pixels(1, 11, 13, 3)
    expected = block[:, 1:9, 2:10].transpose(0, 3, 1, 2)
    assert np.array_equal(changed(block, RGB, "crop=8"), expected)


def test_resizes_the_short_side_and_keeps_the_ratio() -> None:
    block = pixels(1, 20, 40, 3)
    expected = Image.fromarray(block[0]).resize((16, 8), Image.Resampling.BILINEAR)
    result = changed(block, ANY, "resize=8")
    assert np.array_equal(result[0], np.asarray(expected).transpose(2, 0, 1))
    assert changed(block, ANY, "resize=5x6").shape == (1, 3, 5, 6)


def test_keeps_bytes_for_a_model_of_bytes() -> None:
    spec = InputSpec("image", "uint8", ("N", 3, 8, 8))
    assert changed(pixels(1, 8, 8, 3), spec, "channels=RGB").dtype == np.uint8


def test_normalises_arrays_that_are_no_images() -> None:
    spec = InputSpec("x", "float32", ("N", 5))
    block = np.arange(10, dtype=np.float64).reshape(2, 5)
    assert np.array_equal(changed(block, spec, "scale=0.5", "mean=1"), block * 0.5 - 1)


@pytest.mark.parametrize(
    ("shape", "option", "message"),
    [
        ((1, 7, 9, 3), "crop=8", "7x9 pixels is smaller than the crop of 8x8"),
        ((1, 8, 8, 3), "mean=1,2", "mean has 2 values for 3 channel"),
        ((1, 8, 8, 5), "scale=1", "cannot tell the channel axis of [1, 8, 8, 5]"),
        ((1, 8), "crop=2", "holds no images"),
    ],
)
def test_refuses_what_does_not_fit(shape: tuple[int, ...], option: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        changed(pixels(*shape), RGB, option)
    assert message in str(caught.value)


def test_refuses_to_resize_floats() -> None:
    with pytest.raises(DataError, match="need uint8 images"):
        changed(pixels(1, 8, 8, 3).astype(np.float32), RGB, "resize=4")
