"""The ops that can be run in torch."""

from __future__ import annotations

from bmopt.calibration.learned.call import Op
from bmopt.calibration.learned.ops_elementwise import ELEMENTWISE
from bmopt.calibration.learned.ops_pool import POOLS
from bmopt.calibration.learned.ops_product import PRODUCTS
from bmopt.calibration.learned.ops_quantize import QUANTIZE
from bmopt.calibration.learned.ops_shape import SHAPES

OPS: dict[str, Op] = {**PRODUCTS, **ELEMENTWISE, **POOLS, **SHAPES, **QUANTIZE}
"""Op type of the standard domain -> how it runs."""
