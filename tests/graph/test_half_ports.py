from __future__ import annotations

import pytest

from bmopt.core.cast_plan import HalfType
from bmopt.graph.half_ports import HalfPorts, Ports
from tests.optimizer.literals import batch_norm
from tests.quantizing import named

RESIZE = "g (float[1,1,2,2] x) => (float[1,1,4,4] y) <float[4] s = {1,1,2,2}> { y = Resize(x,,s) }"
NORM = f"g (float[N,4,3] x) => (float[N,4,3] y) <{batch_norm(4)}> {{ y = BatchNormalization"


@pytest.mark.parametrize(
    ("text", "opset", "expected"),
    [
        (RESIZE, 19, Ports((0,), (0,), (2,))),
        (f"{NORM}(x,g,b,m,v) }}", 14, Ports((0, 1, 2), (0,), (3, 4))),
        (f"{NORM}(x,g,b,m,v) }}", 13, Ports((0, 1, 2, 3, 4), (0,))),
        (f"{NORM}(x,g,b,m,v) }}", 15, Ports((0,), (0,), (1, 2, 3, 4))),
        ("g (float[3] x) => (int64[1] y) { y = Shape(x) }", 17, Ports((), ())),
        ("g (float[3] x) => (int64[3] y) { y = Cast<to=7>(x) }", 17, Ports((), ())),
        ("g (int64[3] x) => (float[3] y) { y = Cast<to=1>(x) }", 17, Ports((), (0,))),
        (
            "g (bool[3] c, float[3] x) => (float[3] y) { y = Where(c,x,x) }",
            17,
            Ports((1, 2), (0,)),
        ),
        ("g (float[3] x) => (int64[1] y) { y = ArgMax(x) }", 17, Ports((0,), ())),
    ],
)
def test_ports(text: str, opset: int, expected: Ports) -> None:
    model = named(text, opset)
    assert HalfPorts(model, "float16").ports(model.graph[0]) == expected


@pytest.mark.parametrize(
    ("text", "dtype", "reason"),
    [
        ("y = Celu(x)", "float16", "ONNX has no float16 Celu"),
        ("y = MeanVarianceNormalization(x)", "float16", "ONNX has no float16 MeanVariance"),
        ("y = com.microsoft.QuickGelu(x)", "float16", "of domain com.microsoft"),
        ("y = RandomNormalLike<dtype=1>(x)", "float16", "it draws numbers"),
        ("s = SequenceConstruct(x, x) y = ConcatFromSequence<axis=0>(s)", "float16", "no tensor"),
        ("v, i = TopK(x, k) y = Add(v, v)", "bfloat16", "ONNX has no bfloat16 TopK"),
    ],
)
def test_obstacles(text: str, dtype: HalfType, reason: str) -> None:
    header = '<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>'
    graph = f"g (float[1,3,4,4] x) => (float[1,3,4,4] y) <int64[1] k = {{1}}> {{ {text} }}"
    model = named(header + graph)
    assert reason in (HalfPorts(model, dtype).obstacle(model.graph[0]) or "")


@pytest.mark.parametrize(
    ("op", "dtype", "opset"),
    [("Relu", "float16", 9), ("Relu", "bfloat16", 13), ("MaxPool", "bfloat16", 22)],
)
def test_the_lowest_opset(op: str, dtype: HalfType, opset: int) -> None:
    kernel = "<kernel_shape=[1,1]>" if op == "MaxPool" else ""
    model = named(f"g (float[1,3,4,4] x) => (float[1,3,4,4] y) {{ y = {op}{kernel}(x) }}", 9)
    ports = HalfPorts(model, dtype)
    assert ports.opset_for(model.graph[0]) == opset
    assert ports.obstacle(model.graph[0]) is None
