"""A model's inputs and outputs as the manifest has them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from bmopt.bundle.manifest import DTYPES, MAX_RANK, Port, Profile
from bmopt.core.dataset import InputSpec
from bmopt.core.engine import BuildOptions
from bmopt.core.runner import Feeds
from bmopt.data.pixels import model_layout, wants_grey
from bmopt.data.preprocess import Preprocess
from bmopt.errors import BundleError
from bmopt.graph.model_io import input_specs

_IMAGE_CHANNELS = (1, 3)


def input_ports(
    model: ir.Model, feeds: Feeds, ranges: Mapping[str, Any], options: BuildOptions | None
) -> tuple[Port, ...]:
    """Return the inputs: what is fed, without those that have a default.

    Args:
        model: The packed graph.
        feeds: A recorded inference, whose ranks count where the graph tells none.
        ranges: Tensor -> what calibration saw, as the range table's JSON has it.
        options: How an engine is built that is to be built on the device.

    Raises:
        BundleError: An input that the native runner cannot feed.
    """
    profiles = {} if options is None else options.profiles
    return tuple(
        dataclasses.replace(
            _port(spec, feeds, ranges),
            layout=_layout(spec),
            profile=_profile(profiles.get(spec.name)),
        )
        for spec in input_specs(model)
    )


def output_ports(model: ir.Model, answers: Feeds, ranges: Mapping[str, Any]) -> tuple[Port, ...]:
    """Return the outputs; see ``input_ports``."""
    return tuple(_port(_spec(value, answers), answers, ranges) for value in model.graph.outputs)


def _spec(value: ir.Value, answers: Feeds) -> InputSpec:
    name = str(value.name)
    if name not in answers:
        raise BundleError(f"no golden tensor was recorded for output {name!r}; compile again")
    shape = None if value.shape is None else tuple(value.shape)
    axes = None if shape is None else tuple(a if isinstance(a, int) else a.value for a in shape)
    dtype = answers[name].dtype.name if value.dtype is None else str(value.dtype.numpy())
    return InputSpec(name, dtype, axes)


def _port(spec: InputSpec, recorded: Feeds, ranges: Mapping[str, Any]) -> Port:
    shape = spec.shape
    if shape is None:
        shape = (None,) * recorded[spec.name].ndim
    if spec.dtype not in DTYPES or len(shape) > MAX_RANK:
        raise BundleError(
            f"{spec.name!r} is {spec.dtype} with {len(shape)} axes; the native runner takes "
            f"{', '.join(DTYPES)} with at most {MAX_RANK} (compile without --cast-io)"
        )
    return Port(
        name=spec.name,
        dtype=spec.dtype,
        shape=tuple(axis if isinstance(axis, int) else -1 for axis in shape),
        axes=tuple(axis if isinstance(axis, str) else None for axis in shape),
        range=_range(ranges.get(spec.name)),
    )


def _range(entry: Mapping[str, Any] | None) -> tuple[float, float] | None:
    if entry is None:
        return None
    low, high = float(entry["low"]), float(entry["high"])
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def _profile(profile: Any) -> Profile | None:  # noqa: ANN401 - bmopt.core.engine.Profile
    return None if profile is None else Profile(profile.min, profile.opt, profile.max)


def _layout(spec: InputSpec) -> str | None:
    """Return the axis order of an image input, None where it is not known to be one."""
    shape = spec.shape or ()
    is_image = len(shape) == 4 and any(shape[axis] in _IMAGE_CHANNELS for axis in (1, 3))
    return model_layout(Preprocess(), spec) if is_image else None


def pixel_options(options: Preprocess, specs: Sequence[InputSpec]) -> dict[str, Any] | None:
    """Return the manifest's ``preprocess``: how a picture becomes the input; None if it cannot.

    What the data set infers from the input's shape is written out: channels, layout and type.
    """
    if len(specs) != 1 or not options.touches_pixels:
        return None
    spec = specs[0]
    layout = model_layout(options, spec)
    if not _takes_pictures(spec, layout):
        return None
    channels = "GRAY" if wants_grey(options, spec) else options.channels or "RGB"
    found = options.to_dict()
    preprocess: dict[str, Any] = {"input": spec.name}
    for key in ("resize", "crop", "scale", "mean", "std"):
        if key in found:
            preprocess[key] = found[key]
    dtype = options.dtype or spec.dtype
    return {**preprocess, "channels": channels, "layout": layout, "dtype": dtype}


def _takes_pictures(spec: InputSpec, layout: str) -> bool:
    shape = spec.shape or ()
    if len(shape) == 3:
        return True
    return len(shape) == 4 and shape[1 if layout == "NCHW" else 3] in _IMAGE_CHANNELS


def with_layout(ports: Sequence[Port], preprocess: Mapping[str, Any] | None) -> tuple[Port, ...]:
    """Return the inputs, the image's with the axis order that its preprocessing has."""
    if preprocess is None:
        return tuple(ports)
    return tuple(
        dataclasses.replace(port, layout=preprocess["layout"])
        if port.name == preprocess["input"] and len(port.shape) == 4
        else port
        for port in ports
    )
