"""Quantisation that a model came with is taken out."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import onnx_ir as ir

from bmopt.graph.quantized import is_quantized
from bmopt.optimizer.imported.stripping import strip
from bmopt.optimizer.pass_base import Effect, Outcome, Pass


@dataclasses.dataclass(frozen=True)
class StripQdq(Pass):
    """Turn a model that came quantised into the float model that it stands for.

    1. Pairs of QuantizeLinear and DequantizeLinear go, also where ops that only move values
       stand between them.
    2. Weights and biases behind a DequantizeLinear become the float32 numbers that they stand
       for; a weight between a pair is rounded for good.
    3. QLinearConv, QLinearMatMul and ONNX Runtime's ops on integers become their float ops.
    4. Where an encoding starts at 0 and nothing else keeps values from being negative, a Relu
       stands in for its saturation, or a Clip where it ends at 6.
    5. Inputs and outputs that are integers stay so, with the arithmetic written out.
    6. Parts in float16 and bfloat16 become float32; inputs and outputs keep their types.

    Refused with an error that names the node: scales that are computed at run time, blocked
    scales, activations per channel or of other types than int8, uint8 and float8 E4M3, and ops
    on integers that have no float op.
    """

    name: ClassVar[str] = "strip-qdq"
    effect: ClassVar[Effect] = "lossy"

    def call(self, model: ir.Model) -> Outcome:
        """Rewrite every graph of ``model`` in place.

        Raises:
            QuantizationError: The model is quantised in a way that cannot be taken out.
        """
        if not is_quantized(model):
            return Outcome(model, modified=False)
        strip(model)
        return Outcome(model, modified=True)
