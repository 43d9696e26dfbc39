"""The pixels that a server computes are those that the model was measured on, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bmopt.bundle.formats.python_side import write_code
from bmopt.core.dataset import InputSpec
from bmopt.core.runner import Array
from bmopt.data.images import open_images
from bmopt.data.preprocess import Preprocess
from tests.bundle.formats.packed_models import SEED, importable

PORTS = {
    "colour": InputSpec("x", "float32", (None, 3, None, None)),
    "grey": InputSpec("x", "float32", (None, 1, None, None)),
    "last": InputSpec("x", "float32", (None, None, None, 3)),
    "flat": InputSpec("x", "float32", (None, None, None)),
    "bytes": InputSpec("x", "uint8", (None, 3, None, None)),
}


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize(
    "options",
    [
        {"scale": 1 / 255, "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4), "channels": "RGB"},
        {"resize": 21, "crop": 17, "scale": 1 / 127, "mean": (1.0,), "channels": "BGR"},
        {"resize": (13, 19), "crop": (12, 16), "scale": 1.0},
    ],
    ids=["imagenet", "bgr", "sides"],
)
def test_same_as_the_data_set(
    tmp_path: Path, mode: str, port: str, options: dict[str, Any]
) -> None:
    spec = PORTS[port]
    if port == "bytes":
        options = {key: value for key, value in options.items() if key in ("resize", "crop")}
    if port in ("grey", "flat"):
        options = {**options, "channels": "GRAY"}
        options = {k: v if k not in ("mean", "std") else v[:1] for k, v in options.items()}
    image = tmp_path / "images/image.png"
    image.parent.mkdir()
    _picture(mode).save(image)
    asked = Preprocess(**options)
    dataset = open_images(image.parent, [spec], asked, name="", limit=None)
    (batch,) = dataset.batches(1)
    shape = [-1 if size is None else size for size in spec.shape or ()]
    described = {"shape": shape, "dtype": spec.dtype, "layout": None}
    found = convert(tmp_path, image.read_bytes(), asked.to_dict(), described)
    assert found.dtype == batch.feeds["x"].dtype
    np.testing.assert_array_equal(found, batch.feeds["x"])


def test_bad_images_say_what_is_wrong(tmp_path: Path) -> None:
    port = {"shape": [-1, 3, 8, 8], "dtype": "float32", "layout": "NCHW"}
    with pytest.raises(ValueError, match="no image that can be read"):
        convert(tmp_path, b"\x89PNG no picture", {}, port)
    image = tmp_path / "small.png"
    _picture("RGB").save(image)
    with pytest.raises(ValueError, match="smaller than 99x99"):
        convert(tmp_path, image.read_bytes(), {"crop": 99}, port)
    Image.fromarray(np.zeros((9, 9), np.uint16)).save(image)
    with pytest.raises(ValueError, match="more than 8 bits"):
        convert(tmp_path, image.read_bytes(), {}, port)


def convert(folder: Path, data: bytes, options: Any, port: Any) -> Array:
    write_code(folder)
    with importable(folder, "bmopt_pixels") as module:
        found: Array = module.from_image(data, options, port)
    return found


def _picture(mode: str) -> Image.Image:
    pixels = np.random.default_rng(SEED).integers(0, 256, (23, 31, 3), np.uint8)
    return Image.fromarray(pixels).convert(mode)
