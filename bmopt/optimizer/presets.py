"""Pipelines that have a name of their own."""

from __future__ import annotations

_TIDY = (
    "repeat(infer-shapes,fold-shapes,fold-constants,inline-branches,drop-no-ops,"
    "merge-reshapes,merge-splits,merge-transposes,fold-pad,fold-batch-norm,fold-affine,"
    "fuse-matmul-add,fuse-layer-norm,fuse-activations,merge-common,drop-dead)"
)

_WRITTEN_OUT = "lift-constants,decompose-ops,unroll-loops,unroll-recurrent,split-deconvolutions"

PRESETS: dict[str, str] = {
    "simplify": (
        f"onnxsim,inline-functions,lift-constants,{_TIDY},"
        f"unflatten-gemm,raise-opset,lift-constants,{_TIDY},merge-initializers"
    ),
    "decompose": (
        f"raise-opset{{to=13}},{_WRITTEN_OUT},{_TIDY},{_WRITTEN_OUT},{_TIDY},merge-initializers"
    ),
}
"""Name -> pipeline text, expanded where the name stands in a pipeline.

``simplify`` starts with onnxsim, because that works on the file while the rest is imported. Its
Gemms are unflattened after their Reshapes had a chance to merge with others. The opset is raised
once the model is tidy, when it can be seen whether a fusion needs it; where it is not, the passes
after it have nothing new to see and are not run.

``decompose`` is for engines that lack ops, or old forms of them. It goes twice over the model: how
often a loop turns may be known only when what is around it has been written out.
"""
