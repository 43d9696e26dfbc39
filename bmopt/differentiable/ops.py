"""The ops that can be run in torch."""

from __future__ import annotations

from bmopt.differentiable.call import Op
from bmopt.differentiable.ops_elementwise import ELEMENTWISE
from bmopt.differentiable.ops_logic import LOGIC
from bmopt.differentiable.ops_norm import NORMS
from bmopt.differentiable.ops_pool import POOLS
from bmopt.differentiable.ops_product import PRODUCTS
from bmopt.differentiable.ops_quantize import QUANTIZE
from bmopt.differentiable.ops_recurrent import RECURRENT
from bmopt.differentiable.ops_resize import RESIZES
from bmopt.differentiable.ops_shape import SHAPES

OPS: dict[str, Op] = {
    **PRODUCTS,
    **ELEMENTWISE,
    **NORMS,
    **LOGIC,
    **POOLS,
    **SHAPES,
    **RESIZES,
    **RECURRENT,
    **QUANTIZE,
}
"""Op type of the standard domain -> how it runs."""
