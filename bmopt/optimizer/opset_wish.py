"""Which opset a model would have to have for its written-out functions to become single ops."""

from __future__ import annotations

import onnx_ir as ir

from bmopt.optimizer.arithmetic.written_out import functions_of
from bmopt.optimizer.rewrite import opset


def wanted_opset(model: ir.Model) -> int:
    """Return the lowest opset at which all fusions found in ``model`` are possible.

    LayerNormalization needs 17, HardSwish 14 and Gelu 20; it is the model's own where nothing
    asks for more. The model is only read, and need not have types: a fusion that is refused for
    another reason is counted all the same.
    """
    return max([opset(model), *(function.min_opset for function in functions_of(model))])
