"""The kernels of a TensorRT engine, from the JSON of its inspector (10.x and 11.x).

TensorRT 11 replaced ``Bindings`` by ``I/O Tensors`` and split a tensor's ``Format/Datatype`` into
``Format`` and ``Datatype``. Kernels of the older libraries tell of their weights as
``"Weights": {"Type": "Int8", "Count": 864}``, those of the graph compiler list ``Constants``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bmopt.backends.nvinfer.kernel_types import element_type, node_names
from bmopt.core.engine import Kernel

_TYPE_KEYS = ("Datatype", "DataType", "Format/Datatype")
_WEIGHT_KEYS = ("Weights", "Bias")
_NODES_IN_A_NAME = " + "


def parse_inspection(text: str) -> tuple[Kernel, ...]:
    """Return the kernels that an engine inspector's JSON lists.

    Layers told by name only (of an engine built without detailed verbosity) have no types. Text
    that is no such JSON gives no kernels.
    """
    try:
        document = json.loads(text)
    except ValueError:
        return ()
    layers = document.get("Layers") if isinstance(document, Mapping) else None
    return tuple(map(_kernel, layers)) if isinstance(layers, list) else ()


def _kernel(layer: object) -> Kernel:
    if not isinstance(layer, Mapping):
        return Kernel(str(layer), "", (), (), (), _nodes("", str(layer)))
    name = str(layer.get("Name", ""))
    stored = tuple(filter(None, (_stored_type(layer.get(key)) for key in _WEIGHT_KEYS)))
    return Kernel(
        name=name,
        kind=str(layer.get("LayerType", "")),
        inputs=_types(layer.get("Inputs")),
        constants=_types(layer.get("Constants")) + stored,
        outputs=_types(layer.get("Outputs")),
        nodes=_nodes(str(layer.get("Metadata", "")), name),
        tactic=str(layer.get("TacticName", "")),
    )


def _stored_type(weights: object) -> str:
    if not isinstance(weights, Mapping) or not weights.get("Count", 1):
        return ""
    return element_type(str(weights.get("Type", "")))


def _types(tensors: object) -> tuple[str, ...]:
    if not isinstance(tensors, list):
        return ()
    return tuple(_type(tensor) for tensor in tensors if isinstance(tensor, Mapping))


def _type(tensor: Mapping[str, Any]) -> str:
    for key in _TYPE_KEYS:
        if key in tensor:
            return element_type(str(tensor[key]))
    return ""


def _nodes(metadata: str, name: str) -> tuple[str, ...]:
    return node_names(metadata) or tuple(name.split(_NODES_IN_A_NAME))
