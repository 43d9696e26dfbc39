"""Pipelines that have a name of their own."""

from __future__ import annotations

PRESETS: dict[str, str] = {
    "simplify": (
        "onnxsim,inline-functions,lift-constants,"
        "repeat(infer-shapes,fold-shapes,fold-constants,inline-branches,drop-no-ops,"
        "merge-reshapes,merge-transposes,fold-pad,fold-batch-norm,fold-affine,"
        "fuse-matmul-add,fuse-layer-norm,fuse-activations,merge-common,drop-dead),"
        "merge-initializers"
    ),
}
"""Name -> pipeline text, expanded where the name stands in a pipeline."""
