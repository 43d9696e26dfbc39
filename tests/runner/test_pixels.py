"""The native preprocessing beside bmopt.data, which uses Pillow and NumPy."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from bmopt.core.dataset import InputSpec
from bmopt.data.images import open_images
from bmopt.data.preprocess import Preprocess
from tests.runner.native_probe import NativeError, NativeProbe, native_probe, stb_folder
from tests.shared_data import needs_shared, shared_dir

Pixels = npt.NDArray[np.uint8]

# What pixels.h promises of JPEG, in levels.
_MOST, _MOST_ON_AVERAGE = 4, 0.2
_HEIGHT_FIRST = int(PIL.__version__.partition(".")[0]) >= 13
_SIDES = st.integers(1, 70)

needs_pictures = pytest.mark.skipif(stb_folder() is None, reason="needs libstb-dev")


@pytest.fixture(scope="module")
def probe() -> NativeProbe:
    return native_probe()


def _noise(height: int, width: int, channels: int, seed: int = 0) -> Pixels:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (height, width, channels), dtype=np.uint8)


def _scene(height: int, width: int, channels: int = 3) -> Pixels:
    """Return waves with noise on them: smooth areas and edges, as in a photograph."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [127 + 120 * np.sin(x / (7 + 3 * k) + y / (11 + k)) for k in range(channels)]
    noise = np.random.default_rng(1).normal(0, 20, (height, width, channels))
    return np.clip(np.stack(waves, -1) + noise, 0, 255).astype(np.uint8)


def _image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def _resized(pixels: Pixels, height: int, width: int) -> Any:
    small = _image(pixels).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(small).reshape(height, width, pixels.shape[2])


def _python(path: Path, options: Preprocess, dtype: str, shape: list[int]) -> Any:
    """Return what bmopt.data makes of the one picture in a folder."""
    axes = tuple(None if size < 0 else size for size in shape)
    spec = InputSpec("x", dtype, axes)
    dataset = open_images(path, [spec], options, name="d", limit=None)
    (batch,) = dataset.batches(1)
    return batch.feeds["x"]


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(_SIDES, _SIDES, _SIDES, _SIDES, st.sampled_from([1, 3]))
def test_resizing_gives_pillows_bits(
    probe: NativeProbe, height: int, width: int, to_height: int, to_width: int, channels: int
) -> None:
    pixels = _noise(height, width, channels)
    found = probe.resize(pixels, to_height, to_width).astype(int)
    most = 0 if _HEIGHT_FIRST else 1
    assert np.abs(found - _resized(pixels, to_height, to_width)).max() <= most


@pytest.mark.parametrize(
    ("size", "to"),
    [
        ((500, 375), (341, 256)),
        ((375, 500), (224, 224)),
        ((10, 12), (640, 480)),
        ((3000, 2), (7, 2)),
    ],
)
def test_resizing_usual_sizes(
    probe: NativeProbe, size: tuple[int, int], to: tuple[int, int]
) -> None:
    pixels = _scene(*size)
    difference = probe.resize(pixels, *to).astype(int) - _resized(pixels, *to)
    assert np.abs(difference).max() <= (0 if _HEIGHT_FIRST else 1)


_RECIPES: dict[str, tuple[dict[str, Any], str, list[int]]] = {
    "imagenet": (
        {
            "resize": 36,
            "crop": [32, 32],
            "scale": 1 / 255,
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
        },
        "float32",
        [-1, 3, 32, 32],
    ),
    "bgr, one mean, channels last": (
        {"resize": [30, 41], "channels": "BGR", "scale": 1, "mean": [117.3], "layout": "NHWC"},
        "float32",
        [-1, 30, 41, 3],
    ),
    "layout by shape": ({"resize": [20, 21], "scale": 0.5}, "float32", [-1, 20, 21, 3]),
    "grey asked": (
        {"channels": "GRAY", "resize": 25, "crop": 25, "scale": 1 / 255, "std": [0.31]},
        "float32",
        [-1, 1, 25, 25],
    ),
    "grey by shape": (
        {"crop": [33, 20], "scale": 1 / 127.5, "mean": [1]},
        "float32",
        [1, 1, 33, 20],
    ),
    "no channel axis": ({"resize": [9, 8], "scale": 1}, "float32", [-1, 9, 8]),
    "raw": ({"crop": 30}, "uint8", [-1, 3, 30, 30]),
    "half": ({"scale": 1 / 255, "mean": [0.5], "std": [0.25]}, "float16", [-1, 3, 40, 53]),
    "double": ({"scale": 1 / 255}, "float64", [-1, 3, 40, 53]),
    "signed": ({"scale": 1, "mean": [128], "dtype": "int8"}, "int8", [-1, 3, 40, 53]),
    "wide": ({"resize": [5, 4]}, "int64", [-1, 3, 5, 4]),
}


@needs_pictures
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("recipe", _RECIPES)
def test_preprocessing_gives_pythons_bits(
    probe: NativeProbe, tmp_path: Path, recipe: str, channels: int
) -> None:
    table, dtype, shape = _RECIPES[recipe]
    _image(_scene(40, 53, channels)).save(tmp_path / "a.png")
    steps = {key: [v] if key in ("resize", "crop") and isinstance(v, int) else v
             for key, v in table.items()}  # fmt: skip
    found = probe.tensor(probe.decode(tmp_path / "a.png"), steps, dtype, shape)
    expected = _python(tmp_path, Preprocess.from_mapping(table, "test"), dtype, shape)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    if "resize" in table and not _HEIGHT_FIRST:
        pytest.skip("resizing differs by a level before Pillow 13")
    assert found.tobytes() == np.ascontiguousarray(expected).tobytes()


@pytest.mark.parametrize(
    ("steps", "dtype", "shape", "message"),
    [
        ({"crop": [64]}, "uint8", [-1, 3, 64, 64], "smaller than the crop"),
        ({"scale": 1}, "float32", [-1, 3, 8, 8], "gives [1, 3, 40, 53]"),
        ({"scale": 1}, "uint8", [-1, 3, 40, 53], "package it with dtype="),
        ({"scale": 1, "mean": [1, 2]}, "float32", [-1, 3, 40, 53], "mean has 2 values"),
        ({"scale": 1e9}, "float16", [-1, 3, 40, 53], "not finite as float16"),
        ({"scale": 1}, "float32", [-1, 10], "takes no picture"),
        ({"dtype": "uint8"}, "float32", [-1, 3, 40, 53], "is made uint8"),
    ],
)
def test_what_does_not_fit_is_refused(
    probe: NativeProbe, steps: dict[str, Any], dtype: str, shape: list[int], message: str
) -> None:
    with pytest.raises(NativeError) as caught:
        probe.tensor(_scene(40, 53), steps, dtype, shape)
    assert caught.value.status == 2
    assert message in str(caught.value)


def test_a_fixed_batch_repeats_the_picture(probe: NativeProbe) -> None:
    found = probe.tensor(_scene(4, 5), {}, "uint8", [3, 3, 4, 5])
    assert found.shape == (3, 3, 4, 5)
    assert np.array_equal(found[0], found[2])


@pytest.mark.parametrize(
    "dtype", ["float16", "float64", "int8", "uint8", "int16", "int32", "bool"]
)
def test_casts_are_numpys(probe: NativeProbe, dtype: str) -> None:
    values = [0.0, -0.0, 0.4, 1.5, -1.5, 2.5, 100.7, -100.7, 6e-8, 3e-8, 6.1e-5, 1e-5, 0.1]
    if dtype == "float16":
        generator = np.random.default_rng(0)
        values += [65504, 65519, 1e6, -1e9, np.inf, *generator.normal(0, 1e-4, 500)]
    floats = np.array([abs(v) for v in values] if dtype == "uint8" else values, np.float32)
    with np.errstate(over="ignore"):
        assert probe.cast(floats, dtype).tobytes() == floats.astype(dtype).tobytes()


@needs_pictures
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "interlaced"])
def test_png_gives_pillows_bits(probe: NativeProbe, tmp_path: Path, mode: str) -> None:
    picture = _image(_scene(21, 34))
    stored = picture if mode == "interlaced" else picture.convert(mode)
    stored.save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        wanted = "L" if mode in ("1", "L", "LA") else "RGB"
        expected = np.asarray(image.convert(wanted)).reshape(21, 34, -1)
    assert np.array_equal(probe.decode(tmp_path / "a.png"), expected)


def _require_close(found: Pixels, expected: Pixels) -> None:
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= _MOST
    assert difference.mean() <= _MOST_ON_AVERAGE


@needs_pictures
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("quality", [40, 95])
@pytest.mark.parametrize("is_progressive", [False, True])
def test_jpeg_is_close_to_pillow(
    probe: NativeProbe, tmp_path: Path, subsampling: str, quality: int, is_progressive: bool
) -> None:
    path = tmp_path / "a.jpg"
    _image(_scene(61, 83)).save(
        path, quality=quality, subsampling=subsampling, progressive=is_progressive
    )
    with Image.open(path) as image:
        _require_close(probe.decode(path), np.asarray(image.convert("RGB")))


@needs_pictures
@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("CMYK", 3)])
def test_other_jpegs(probe: NativeProbe, tmp_path: Path, mode: str, channels: int) -> None:
    path = tmp_path / "a.jpeg"
    _image(_scene(33, 47)).convert(mode).save(path, quality=90)
    with Image.open(path) as image:
        expected = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    _require_close(probe.decode(path), expected.reshape(33, 47, channels))


@needs_pictures
@needs_shared
def test_photographs_are_close_to_pillow(probe: NativeProbe) -> None:
    folder = shared_dir()
    assert folder is not None
    files = sorted((folder / "imagenet/calib").glob("*.jpg"))[:12]
    assert files
    for file in files:
        with Image.open(file) as image:
            _require_close(probe.decode(file), np.asarray(image.convert("RGB")))


def _encoded(kind: str) -> bytes:
    stream = io.BytesIO()
    _image(_scene(40, 40)).save(stream, kind)
    return stream.getvalue()


@needs_pictures
@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_a_truncated_picture_is_refused(probe: NativeProbe, tmp_path: Path, kind: str) -> None:
    whole = _encoded(kind)
    for size in (0, 1, 9, 60, len(whole) // 2, len(whole) - 3):
        (tmp_path / "a").write_bytes(whole[:size])
        with pytest.raises(NativeError, match="no whole JPEG or PNG"):
            probe.decode(tmp_path / "a")


@needs_pictures
def test_a_changed_png_is_refused(probe: NativeProbe, tmp_path: Path) -> None:
    data = bytearray(_encoded("png"))
    data[len(data) // 2] ^= 1
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(NativeError, match="a checksum in it is wrong"):
        probe.decode(tmp_path / "a.png")


@needs_pictures
def test_other_files_are_refused(probe: NativeProbe, tmp_path: Path) -> None:
    with pytest.raises(NativeError, match="missing"):
        probe.decode(tmp_path / "missing.png")
    _image(_scene(4, 4)).save(tmp_path / "a.bmp")
    with pytest.raises(NativeError, match="of another kind"):
        probe.decode(tmp_path / "a.bmp")
    Image.fromarray(np.full((4, 4), 30000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(NativeError, match="more than 8 bits"):
        probe.decode(tmp_path / "deep.png")


def test_labels_and_scores(probe: NativeProbe, tmp_path: Path) -> None:
    (tmp_path / "l").write_bytes(b"cat\r\nbig dog\n\nelk")
    assert probe.labels(tmp_path / "l") == ["cat", "big dog", "", "elk"]
    scores = np.array([1, np.nan, 3, 3, -np.inf, 2], np.float32)
    assert probe.top(scores, 4) == [2, 3, 5, 0]
    assert probe.top(scores, 9) == [2, 3, 5, 0, 4, 1]
