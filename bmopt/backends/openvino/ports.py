"""Inputs and outputs of a compiled model under the names and types that users know."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from bmopt.core.dataset import InputSpec
from bmopt.errors import ModelError

_SINK = re.compile(r"/sink_port_\d+$")
_DTYPES = {
    "bf16": "bfloat16",
    "boolean": "bool",
    "f16": "float16",
    "f32": "float32",
    "f64": "float64",
    "i8": "int8",
    "i16": "int16",
    "i32": "int32",
    "i64": "int64",
    "u8": "uint8",
    "u16": "uint16",
    "u32": "uint32",
    "u64": "uint64",
}


def port_names(ports: Iterable[Any]) -> tuple[str, ...]:
    """Return a name for every port, no two alike.

    A tensor has several names where OpenVINO dropped what only renamed it. The model's own is the
    one that the node is called after: ``y`` of a result ``y/sink_port_0``. A tensor without any
    name is called like its node.
    """
    names: dict[str, None] = {}
    for port in ports:
        full = str(port.node.friendly_name)
        known = sorted(port.names)
        own = [name for name in (full, _SINK.sub("", full)) if name in known]
        names[next(name for name in (*own, *known, full) if name not in names)] = None
    return tuple(names)


def input_spec(port: Any, name: str) -> InputSpec:  # noqa: ANN401 - an object without types
    """Return what has to be fed to an input; axes that are dynamic or have bounds are open.

    Raises:
        ModelError: NumPy has no arrays of its element type.
    """
    shape = port.partial_shape
    return InputSpec(
        name=name,
        dtype=_dtype(port, name),
        shape=None
        if shape.rank.is_dynamic
        else tuple(axis.get_length() if axis.is_static else None for axis in shape),
    )


def _dtype(port: Any, name: str) -> str:  # noqa: ANN401
    kind = port.element_type.get_type_name()
    if kind not in _DTYPES:
        raise ModelError(f"input {name!r} is of type {kind}; convert the model with another one")
    return _DTYPES[kind]
