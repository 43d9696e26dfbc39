"""Encoded images to input arrays, as the samples became arrays that the model was measured on.

``x = (float32(pixel) * scale - mean) / std``, each step in float32 and in this order.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np

_WIDE_MODES = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})


def from_image(data: bytes, options: dict[str, Any], port: dict[str, Any]) -> Any:  # noqa: ANN401
    """Return the input array of one encoded image, with a first axis of size 1.

    Args:
        data: The content of an image file.
        options: resize, crop, channels, scale, mean, std, layout and dtype; any may be missing.
        port: Shape (-1 where an axis is free), dtype and layout of the model's input.

    Raises:
        ValueError: It is no image that can be read, or is smaller than the crop.
    """
    layout = _layout(options, port)
    array = _cropped(_decoded(data, options, port, layout), options.get("crop"))
    if options.get("channels") == "BGR":
        array = array[..., ::-1]
    wanted = np.dtype(port["dtype"])
    if wanted.kind == "f" or any(options.get(key) is not None for key in ("scale", "mean", "std")):
        array = _normalised(array, options)
    if len(port["shape"]) == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    elif layout == "NCHW":
        array = array.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(array).astype(options.get("dtype") or wanted).astype(wanted)


def _layout(options: dict[str, Any], port: dict[str, Any]) -> str:
    named = options.get("layout") or port.get("layout")
    if named:
        return str(named)
    shape = port["shape"]
    is_last = len(shape) == 4 and shape[1] not in (1, 3) and shape[3] in (1, 3)
    return "NHWC" if is_last else "NCHW"


def _is_grey(options: dict[str, Any], port: dict[str, Any], layout: str) -> bool:
    if options.get("channels"):
        return bool(options["channels"] == "GRAY")
    shape = port["shape"]
    return len(shape) == 3 or shape[1 if layout == "NCHW" else -1] == 1


def _decoded(data: bytes, options: dict[str, Any], port: dict[str, Any], layout: str) -> Any:  # noqa: ANN401
    """Return uint8 ``[1, h, w, c]``, resized."""
    from PIL import Image

    mode = "L" if _is_grey(options, port, layout) else "RGB"
    try:
        with Image.open(io.BytesIO(data)) as image:
            is_wide = image.mode in _WIDE_MODES
            sized = _sized(image.convert(mode), options.get("resize"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"is no image that can be read ({error})") from error
    if is_wide:
        raise ValueError("an image has more than 8 bits per channel; convert it")
    array = np.asarray(sized)
    return array[None, ..., None] if array.ndim == 2 else array[None]


def _sized(image: Any, resize: Any) -> Any:  # noqa: ANN401 - an image; a side, or two
    from PIL import Image

    if resize is None:
        return image
    if isinstance(resize, int):
        short = min(image.size)
        width, height = (max(1, round(side * resize / short)) for side in image.size)
    else:
        height, width = resize
    return image.resize((width, height), Image.Resampling.BILINEAR)


def _cropped(images: Any, crop: Any) -> Any:  # noqa: ANN401
    if crop is None:
        return images
    height, width = (crop, crop) if isinstance(crop, int) else crop
    top, left = (images.shape[1] - height) // 2, (images.shape[2] - width) // 2
    if top < 0 or left < 0:
        have = f"{images.shape[1]}x{images.shape[2]}"
        raise ValueError(f"an image of {have} pixels is smaller than {height}x{width}")
    return images[:, top : top + height, left : left + width]


def _normalised(images: Any, options: dict[str, Any]) -> Any:  # noqa: ANN401
    result = images.astype(np.float32)
    if options.get("scale") is not None:
        result *= np.float32(options["scale"])
    if options.get("mean") is not None:
        result -= np.array(options["mean"], np.float32)
    if options.get("std") is not None:
        result /= np.array(options["std"], np.float32)
    return result
