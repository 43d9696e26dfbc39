"""Which ops the ONNX parsers of TensorRT and TensorRT-RTX import.

From the parser's list of operators (onnx-tensorrt, docs/operators.md) and what
``OnnxParser.supports_operator`` of TensorRT-RTX 1.7 answers; tests ask the installed one again.
The parser goes by the op's name and ignores its domain.
"""

from __future__ import annotations

_MATHS = """
Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh BlackmanWindow Cast CastLike Ceil Celu
Clip Cos Cosh CumSum Div Einsum Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HammingWindow
HannWindow HardSigmoid HardSwish Hardmax IsInf IsNaN LeakyRelu Less LessOrEqual Log LogSoftmax Max
Mean Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu Round STFT Selu Shrink Sigmoid Sign Sin
Sinh Softmax Softplus Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor
"""
_LAYERS = """
Attention AveragePool BatchNormalization CausalConvWithState Conv ConvTranspose DequantizeLinear
Dropout GRU Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool GroupNormalization
InstanceNormalization LRN LSTM LayerNormalization LinearAttention LpNormalization LpPool MatMul
MaxPool MeanVarianceNormalization QuantizeLinear RMSNormalization RNN RotaryEmbedding ReduceL1
ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
ReduceSumSquare
"""
_SHAPES = """
Concat Constant ConstantOfShape DepthToSpace Expand EyeLike Flatten Gather GatherElements GatherND
GridSample Identity If Loop OneHot Pad RandomNormal RandomNormalLike RandomUniform
RandomUniformLike Range Reshape Resize ReverseSequence Scan Scatter ScatterElements ScatterND Shape
Size Slice SpaceToDepth Split Squeeze TensorScatter Tile TopK Transpose Trilu Unsqueeze Upsample
"""
_CONTRIBUTED = """
GroupQueryAttention MatMulNBits MultiHeadAttention SimplifiedLayerNormalization
SkipSimplifiedLayerNormalization
"""
_BY_PLUGIN = ("DeformConv", "NonMaxSuppression", "NonZero", "RoiAlign")
"""Ops whose importer needs a plugin that TensorRT brings and TensorRT-RTX does not."""

_EVERYWHERE = frozenset(f"{_MATHS}{_LAYERS}{_SHAPES}{_CONTRIBUTED}".split())

IMPORTED: dict[str, frozenset[str]] = {
    "rtx": _EVERYWHERE,
    "trt": _EVERYWHERE.union(_BY_PLUGIN),
}
"""Engine -> names of ops; ONNX Runtime's TensorRT provider brings the engine ``trt``."""


def imports_op(engine: str, op_type: str) -> bool:
    """Whether an engine's parser has an importer for ``op_type``.

    NVIDIA's own ops (``TRT_...``) count, and so do the plugins that come with TensorRT
    (``..._TRT``).
    """
    name = "rtx" if engine == "rtx" else "trt"
    if op_type in IMPORTED[name] or op_type.startswith("TRT_"):
        return True
    return name == "trt" and op_type.endswith("_TRT")
