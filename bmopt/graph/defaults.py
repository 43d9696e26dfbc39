"""Initialisers that are also inputs: defaults which a caller may override."""

from __future__ import annotations

import onnx_ir as ir


def freeze_defaults(model: ir.Model) -> tuple[str, ...]:
    """Make every input that has a default value a constant, in place; return their names.

    Exporters before IR version 4 had to list all weights among the inputs, and some went on
    doing so. No pass may fold what can be overridden, so a model whose weights are inputs stays
    as it is until they are frozen.
    """
    defaults = [value for value in model.graph.inputs if value.is_initializer()]
    if defaults:
        model.graph.inputs[:] = [v for v in model.graph.inputs if not v.is_initializer()]
    return tuple(str(value.name) for value in defaults)
