"""How TVM targets want their 8-bit values.

The kernels multiply what those of ONNX Runtime multiply on the same class of processor: uint8 by
int8 where there is ``vpdpbusd``, int8 by int8 on ARM, so the encodings are the same. All products
can write float, convolutions too: results of the model, and what only float nodes read, are not
rounded to 8 bits.
"""

from __future__ import annotations

import dataclasses

from bmopt.backends.onnxruntime.schemes import SCHEMES
from bmopt.core.scheme import FloatRules, Scheme


def scheme_of(device_class: str) -> Scheme:
    """Return the scheme for a class of processors of ``ort-int8``, under a name of its own."""
    scheme = SCHEMES[device_class]
    return dataclasses.replace(
        scheme,
        name=f"tvm-{scheme.name}",
        output_optional=scheme.products,
        rules=FloatRules(),
    )
