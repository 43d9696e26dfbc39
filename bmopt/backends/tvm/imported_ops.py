"""Which ops TVM's importer has, for where TVM is not installed.

From the table of the importer of TVM 0.27; a test asks the installed one again. The importer goes
by the op's name and does not look at its domain, so an op of ONNX Runtime's may be taken for the
standard's: what is listed here is what it computes right. ``NonMaxSuppression`` is not: the
function that it becomes does not compile.
"""

from __future__ import annotations

_MATHS = """
Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr
BitwiseXor Cast CastLike Ceil Clip Cos Cosh CumSum Div Einsum Elu Equal Erf Exp Floor Gelu Greater
GreaterOrEqual HardSigmoid HardSwish Hardmax IsInf IsNaN LeakyRelu Less LessOrEqual Log LogSoftmax
Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin
Sinh Softmax Softplus Softsign Sqrt Sub Sum Tan Tanh ThresholdedRelu Where Xor
"""
_LAYERS = """
AveragePool BatchNormalization Conv ConvTranspose DequantizeLinear Dropout DynamicQuantizeLinear
Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool GroupNormalization InstanceNormalization LRN
LayerNormalization LpPool MatMul MatMulInteger MaxPool MaxRoiPool MaxUnpool
MeanVarianceNormalization QuantizeLinear RMSNormalization ReduceL1 ReduceL2 ReduceLogSum
ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare RoiAlign
"""
_SHAPES = """
AffineGrid Compress Concat ConcatFromSequence Constant ConstantOfShape DepthToSpace Expand EyeLike
Flatten Gather GatherElements GatherND GridSample Identity If NonZero OneHot
Optional OptionalGetElement OptionalHasElement Pad Range Reshape Resize Scatter ScatterElements
ScatterND SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength
Shape Size Slice SpaceToDepth Split SplitToSequence Squeeze Tile TopK Transpose Trilu Unique
Unsqueeze Upsample
"""

STANDARD = frozenset(f"{_MATHS}{_LAYERS}{_SHAPES}".split())
"""Ops of the standard domain."""

RUNTIME_DOMAIN = "com.microsoft"
RUNTIME = frozenset(
    {
        "Attention",
        "BiasGelu",
        "EmbedLayerNormalization",
        "FastGelu",
        "Gelu",
        "MatMulInteger16",
        "SkipLayerNormalization",
    }
)
"""Ops of ONNX Runtime's domain."""

STANDARD_DOMAINS = ("", "ai.onnx")


def imports_op(domain: str, op_type: str) -> bool:
    """Whether TVM's importer has an op."""
    if domain in STANDARD_DOMAINS:
        return op_type in STANDARD
    return domain == RUNTIME_DOMAIN and op_type in RUNTIME
