"""Pass names -> classes; a module is imported when its pass is first asked for."""

from __future__ import annotations

import difflib
import importlib

from bmopt.errors import PassError
from bmopt.optimizer.pass_base import Pass

_PACKAGE = "bmopt.optimizer.passes"

PASSES: dict[str, str] = {
    "absorb-bias": "absorb_bias:AbsorbBias",
    "append-top-k": "append_top_k:AppendTopK",
    "cast-float": "cast_float:CastFloat",
    "correct-weights": "correct_weights:CorrectWeights",
    "decompose-ops": "decompose_ops:DecomposeOps",
    "drop-dead": "drop_dead:DropDead",
    "drop-no-ops": "drop_no_ops:DropNoOps",
    "equalize": "equalize:Equalize",
    "fold-affine": "fold_affine:FoldAffine",
    "fold-batch-norm": "fold_batch_norm:FoldBatchNorm",
    "fold-constants": "fold_constants:FoldConstants",
    "fold-pad": "fold_pad:FoldPad",
    "fold-preprocess": "fold_preprocess:FoldPreprocess",
    "fold-shapes": "fold_shapes:FoldShapes",
    "fuse-activations": "fuse_activations:FuseActivations",
    "fuse-layer-norm": "fuse_layer_norm:FuseLayerNorm",
    "fuse-matmul-add": "fuse_matmul_add:FuseMatMulAdd",
    "hoist-reshapes": "hoist_reshapes:HoistReshapes",
    "infer-shapes": "infer_shapes:InferShapes",
    "inline-branches": "inline_branches:InlineBranches",
    "inline-functions": "inline_functions:InlineFunctions",
    "lift-constants": "lift_constants:LiftConstants",
    "low-rank": "low_rank:LowRank",
    "merge-common": "merge_common:MergeCommon",
    "merge-initializers": "merge_initializers:MergeInitializers",
    "merge-reshapes": "merge_reshapes:MergeReshapes",
    "merge-slices": "merge_slices:MergeSlices",
    "merge-splits": "merge_splits:MergeSplits",
    "merge-transposes": "merge_transposes:MergeTransposes",
    "onnxsim": "onnxsim:Onnxsim",
    "pool-means": "pool_means:PoolMeans",
    "prune-channels": "prune_channels:PruneChannels",
    "quantize": "quantize:Quantize",
    "raise-opset": "raise_opset:RaiseOpset",
    "sparsify": "sparsify:Sparsify",
    "split-deconvolutions": "split_deconvolutions:SplitDeconvolutions",
    "strip-qdq": "strip_qdq:StripQdq",
    "unflatten-gemm": "unflatten_gemm:UnflattenGemm",
    "unroll-loops": "unroll_loops:UnrollLoops",
    "unroll-recurrent": "unroll_recurrent:UnrollRecurrent",
}
"""Pass name -> ``module:Class`` below ``bmopt.optimizer.passes``."""


def pass_names() -> tuple[str, ...]:
    """Return every pass' name, sorted."""
    return tuple(sorted(PASSES))


def find_pass(name: str) -> type[Pass]:
    """Return the class of the pass ``name``.

    Raises:
        PassError: There is no such pass; the message names near misses.
    """
    if name not in PASSES:
        near = difflib.get_close_matches(name, PASSES, n=3) or pass_names()
        raise PassError(f"unknown pass {name!r}; did you mean {', '.join(near)}?")
    module, _, attribute = PASSES[name].partition(":")
    found: type[Pass] = getattr(importlib.import_module(f"{_PACKAGE}.{module}"), attribute)
    return found
