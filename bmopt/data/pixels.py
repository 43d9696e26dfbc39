"""Images to input arrays: resize, crop, channels, normalisation, layout.

``x = (float32(pixel) * scale - mean) / std``, each step in float32 and in this order.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from bmopt.core.dataset import InputSpec
from bmopt.core.runner import Array
from bmopt.data.fit import is_float, numpy_dtype, shape_fits, shape_text
from bmopt.data.preprocess import Extent, Layout, Preprocess
from bmopt.errors import DataError

_IMAGE_CHANNELS = (1, 3)


def model_layout(options: Preprocess, spec: InputSpec) -> Layout:
    """Return the axis order of an image input: as asked, or as its shape suggests."""
    if options.layout is not None:
        return options.layout
    shape = spec.shape or ()
    if len(shape) == 4 and shape[1] not in _IMAGE_CHANNELS and shape[3] in _IMAGE_CHANNELS:
        return "NHWC"
    return "NCHW"


def wants_grey(options: Preprocess, spec: InputSpec) -> bool:
    """Return whether the model takes one channel."""
    if options.channels is not None:
        return options.channels == "GRAY"
    return _model_channels(options, spec) == 1


def convert(block: Array, options: Preprocess, spec: InputSpec, where: str) -> Array:
    """Return the input array of stored samples; axis 0 indexes samples.

    Args:
        block: ``[n, h, w]``, ``[n, h, w, c]`` or ``[n, c, h, w]`` images; anything else only
            takes the normalisation, with one mean and std or one per entry of the last axis.
        options: What to do.
        spec: The input that the array is for.
        where: What to call the samples in an error.

    Raises:
        DataError: The channel axis cannot be told, or an option does not fit the images.
    """
    if _is_image(block, spec):
        result = _convert_images(block, options, spec, where)
    elif options.resize or options.crop or options.channels:
        raise DataError(
            f"{where}: {shape_text(block.shape)} holds no images; drop resize, crop and channels"
        )
    else:
        result = _normalised(block, options, where) if options.normalises else block
    if options.dtype is None:
        return result
    return result.astype(numpy_dtype(options.dtype))


def sized(image: Image.Image, options: Preprocess) -> Image.Image:
    """Return the image resized (bilinear) as asked."""
    if options.resize is None:
        return image
    if isinstance(options.resize, tuple):
        height, width = options.resize
    else:
        short = min(image.size)
        width, height = (max(1, round(side * options.resize / short)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR)


def cropped(images: Array, crop: Extent | None, where: str) -> Array:
    """Return the centre of ``[n, h, w, c]`` images; odd margins lose the extra line at the end."""
    if crop is None:
        return images
    height, width = crop if isinstance(crop, tuple) else (crop, crop)
    top, left = (images.shape[1] - height) // 2, (images.shape[2] - width) // 2
    if top < 0 or left < 0:
        raise DataError(
            f"{where}: an image of {images.shape[1]}x{images.shape[2]} pixels is smaller than "
            f"the crop of {height}x{width}; add resize="
        )
    return images[:, top : top + height, left : left + width]


def _convert_images(block: Array, options: Preprocess, spec: InputSpec, where: str) -> Array:
    images = _channels_last(block, options, spec, where)
    if wants_grey(options, spec) and images.shape[-1] == 3:
        images = _per_image(images, lambda image: image.convert("L"), where)
    if options.resize is not None:
        images = _per_image(images, lambda image: sized(image, options), where)
    images = _ordered(cropped(images, options.crop, where), options, spec)
    if options.normalises or is_float(numpy_dtype(spec.dtype)):
        images = _normalised(images, options, where)
    if spec.shape is not None and len(spec.shape) == 3 and images.shape[-1] == 1:
        return np.ascontiguousarray(images[..., 0])
    if model_layout(options, spec) == "NCHW":
        images = images.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(images)


def _is_image(block: Array, spec: InputSpec) -> bool:
    rank = block.ndim if spec.shape is None else len(spec.shape)
    return (rank == 4 and block.ndim in (3, 4)) or (rank == 3 and block.ndim == 4)


def _model_channels(options: Preprocess, spec: InputSpec) -> int | None:
    shape = spec.shape
    if shape is None or len(shape) not in (3, 4):
        return None
    if len(shape) == 3:
        return 1
    count = shape[1] if model_layout(options, spec) == "NCHW" else shape[3]
    return count if isinstance(count, int) else None


def _channels_last(block: Array, options: Preprocess, spec: InputSpec, where: str) -> Array:
    if block.ndim == 3:
        return block[..., None]
    counts = (*_IMAGE_CHANNELS, _model_channels(options, spec))
    as_stored = shape_fits(block.shape[1:], None if spec.shape is None else spec.shape[1:])
    if as_stored and model_layout(options, spec) == "NCHW" and block.shape[1] in counts:
        return block.transpose(0, 2, 3, 1)
    if block.shape[-1] in counts:
        return block
    if block.shape[1] in counts:
        return block.transpose(0, 2, 3, 1)
    raise DataError(
        f"{where}: cannot tell the channel axis of {shape_text(block.shape)} for input "
        f"{spec.name!r}, which wants {shape_text(spec.shape or ())}"
    )


def _ordered(images: Array, options: Preprocess, spec: InputSpec) -> Array:
    count = images.shape[-1]
    if count == 1 and (
        options.channels in ("RGB", "BGR")
        or (options.channels is None and _model_channels(options, spec) == 3)
    ):
        return np.repeat(images, 3, axis=-1)
    return images[..., ::-1] if options.channels == "BGR" and count == 3 else images


def _normalised(values: Array, options: Preprocess, where: str) -> Array:
    result = values.astype(np.float32)
    for name, numbers in (("mean", options.mean), ("std", options.std)):
        if numbers is not None and len(numbers) not in (1, values.shape[-1]):
            raise DataError(
                f"{where}: {name} has {len(numbers)} values for {values.shape[-1]} channel(s)"
            )
    if options.scale is not None:
        result *= np.float32(options.scale)
    if options.mean is not None:
        result -= np.array(options.mean, np.float32)
    if options.std is not None:
        result /= np.array(options.std, np.float32)
    return result


def _per_image(images: Array, change: Callable[[Image.Image], Image.Image], where: str) -> Array:
    if images.dtype != np.uint8 or images.shape[-1] not in _IMAGE_CHANNELS:
        raise DataError(
            f"{where}: resize and GRAY need uint8 images with 1 or 3 channels, not "
            f"{images.dtype.name} {shape_text(images.shape)}"
        )
    flat = images[..., 0] if images.shape[-1] == 1 else images
    changed = np.stack([np.asarray(change(Image.fromarray(image))) for image in flat])
    return changed[..., None] if changed.ndim == 3 else changed
