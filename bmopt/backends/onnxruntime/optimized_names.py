"""How ONNX Runtime's names of new nodes lead back to the graph it was given.

Most nodes keep their names, and most tensors theirs. What ONNX Runtime replaces is named after the
old node (``conv_token_3``, ``fused conv``, ``product/MatMulAddFusion``), a convolution in its own
layout after the old output (``relu_out_nchwc``), and what it inserts after its op
(``ReorderOutput_token_1``).
"""

from __future__ import annotations

import re

_TOKEN = re.compile(r"(_token_\d+)+$")
_FUSION = re.compile(r"/\w+Fusion/?$")
_FUSED = "fused "
_LAYOUT = "_nchwc"


def node_stems(name: str) -> tuple[str, ...]:
    """Return names that the node which ``name`` was made from may have had, likely ones first."""
    bare = _TOKEN.sub("", name)
    return tuple(dict.fromkeys((name, bare, _FUSION.sub("", bare.removeprefix(_FUSED)))))


def value_stem(name: str) -> str | None:
    """Return the output that a node in ONNX Runtime's own layout is named after, else None."""
    bare = _TOKEN.sub("", name)
    return bare.removesuffix(_LAYOUT) if bare.endswith(_LAYOUT) else None
