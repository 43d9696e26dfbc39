"""Every kernel against ONNX Runtime, over sizes that fit no block and windows that fit no edge."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.backends.tvm.installed import model_of, needs_tvm
from tests.backends.tvm.lowering.lowered import agrees, expected, lowered

pytestmark = needs_tvm

_FEW = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)


def _conv(
    channels: tuple[int, int],
    size: tuple[int, int],
    kernel: tuple[int, int],
    groups: int = 1,
    attributes: str = "",
    batch: str = "1",
) -> onnx.ModelProto:
    inputs, outputs = channels
    weight = f"float[{outputs}, {inputs // groups}, {kernel[0]}, {kernel[1]}] w"
    return model_of(f"""
        g (float[{batch}, {inputs}, {size[0]}, {size[1]}] x) => (float[a, b, c, d] y)
        <{weight}, float[{outputs}] b> {{
            y = Conv<group = {groups}{attributes}>(x, w, b)
        }}
    """)


@_FEW
@given(
    channels=st.tuples(
        st.sampled_from([1, 2, 3, 8, 16, 20, 48]), st.sampled_from([1, 5, 8, 16, 33, 64])
    ),
    size=st.tuples(st.integers(1, 19), st.integers(1, 37)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilations=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    pads=st.tuples(*[st.integers(0, 3)] * 4),
)
def test_convolution(
    channels: tuple[int, int],
    size: tuple[int, int],
    kernel: tuple[int, int],
    strides: tuple[int, int],
    dilations: tuple[int, int],
    pads: tuple[int, int, int, int],
) -> None:
    for axis in range(2):
        reach = (kernel[axis] - 1) * dilations[axis] + 1
        assume(size[axis] + pads[axis] + pads[axis + 2] >= reach)
    model = _conv(
        channels, size, kernel,
        attributes=(
            f", strides = {list(strides)}, dilations = {list(dilations)}, pads = {list(pads)}"
        ),
    )  # fmt: skip
    assert agrees(model)["conv"] == 1


@_FEW
@given(
    channels=st.sampled_from([2, 3, 8, 16, 24, 48, 50]),
    size=st.tuples(st.integers(3, 15), st.integers(3, 33)),
    kernel=st.sampled_from([3, 2, 5]),
    stride=st.integers(1, 2),
    pad=st.integers(1, 2),
)
def test_depthwise_convolution(
    channels: int, size: tuple[int, int], kernel: int, stride: int, pad: int
) -> None:
    model = _conv(
        (channels, channels), size, (kernel, kernel), channels,
        f", strides = [{stride}, {stride}], pads = {[pad] * 4}",
    )  # fmt: skip
    assert agrees(model)["depthwise"] == 1


@pytest.mark.parametrize(
    ("channels", "groups", "kernel"),
    [
        ((32, 64), 2, "conv"),
        ((6, 64), 2, "conv"),
        ((8, 6), 2, "other"),
        ((4, 8), 4, "conv"),
        ((32, 96), 4, "conv"),
    ],
)
def test_grouped_convolution(channels: tuple[int, int], groups: int, kernel: str) -> None:
    model = _conv(channels, (7, 9), (3, 3), groups, ", pads = [1, 1, 1, 1]")
    assert kernel in agrees(model)


@pytest.mark.parametrize("mcpu", ["x86-64", "haswell"])
def test_narrower_vectors(mcpu: str) -> None:
    model = _conv((5, 20), (9, 11), (3, 3), attributes=", pads = [1, 1, 1, 1]")
    assert agrees(model, mcpu=mcpu)["conv"] == 1


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_batch_of_any_size_and_threads(batch: int, threads: int) -> None:
    model = _conv((24, 64), (21, 23), (3, 3), batch="N", attributes=", pads = [1, 1, 1, 1]")
    assert agrees(model, batch=batch, threads=threads)["conv"] == 1


@pytest.mark.parametrize("inputs", [1, 16, 70])
@pytest.mark.parametrize("outputs", [1, 10, 64])
def test_fully_connected(inputs: int, outputs: int) -> None:
    model = model_of(f"""
        g (float[N, {inputs}] x) => (float[N, {outputs}] y)
        <float[{outputs}, {inputs}] w, float[{outputs}] b> {{
            a = Gemm<transB = 1>(x, w, b)
            y = Relu(a)
        }}
    """)
    assert agrees(model, batch=2)["conv"] == 1


@pytest.mark.parametrize(
    "pool",
    [
        "MaxPool<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>",
        "MaxPool<kernel_shape = [2, 2], dilations = [2, 2]>",
        "AveragePool<kernel_shape = [3, 2], strides = [2, 1], pads = [1, 0, 1, 1]>",
        "AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1>",
        "AveragePool<kernel_shape = [3, 3], strides = [3, 3]>",
        "GlobalAveragePool",
    ],
)
@pytest.mark.parametrize("channels", [6, 20])
def test_pool(pool: str, channels: int) -> None:
    model = model_of(
        f"""
        g (float[N, 3, 11, 13] x) => (float[a, b, c, d] y) <float[{channels}, 3, 1, 1] w> {{
            a = Conv(x, w)
            b = Neg(a)
            c = Conv<group = {channels}, pads = [1, 1, 1, 1]>(a, v)
            y = {pool}(c)
        }}
    """.replace("w>", f"w, float[{channels}, 1, 3, 3] v>").replace("b = Neg(a)", "")
    )
    assert agrees(model, batch=2)["pool"] == 1


@pytest.mark.parametrize("channels", [3, 16, 20])
@pytest.mark.parametrize(
    "attributes",
    ["", "<pads = [1, 2], strides = [2]>", "<dilations = [2], pads = [2, 2]>"],
)
def test_one_axis_of_space(channels: int, attributes: str) -> None:
    model = model_of(f"""
        g (float[N, {channels}, 31] x) => (float[a, b, c] y)
        <float[24, {channels}, 3] w, float[24] b, float[24, 1, 3] v, float[1, 24, 1] s> {{
            a = Conv{attributes}(x, w, b)
            c = Relu(a)
            d = Mul(c, s)
            y = Conv<group = 24>(d, v)
        }}
    """)
    kernels = agrees(model, batch=2)
    assert (kernels["conv"], kernels["depthwise"], kernels["leave"]) == (1, 1, 1)


@pytest.mark.parametrize(
    "pool",
    [
        "MaxPool<kernel_shape = [3], strides = [2], pads = [1, 1]>",
        "AveragePool<kernel_shape = [3], pads = [1, 0]>",
        "GlobalAveragePool",
    ],
)
def test_pool_along_one_axis(pool: str) -> None:
    model = model_of(f"""
        g (float[N, 3, 31] x) => (float[a, b, c] y) <float[20, 3, 1] w> {{
            a = Conv(x, w)
            y = {pool}(a)
        }}
    """)
    assert agrees(model, batch=2)["pool"] == 1


def test_many_channels_that_come_plain_are_brought_into_blocks() -> None:
    model = model_of("""
        g (float[N, 32, 9, 9] x) => (float[a, b, c, d] y) <float[16, 32, 3, 3] w> {
            y = Conv(x, w)
        }
    """)
    assert agrees(model, batch=2)["enter"] == 1


def test_the_largest_of_nothing_but_minus_infinity() -> None:
    model = model_of("""
        g (float[1, 2, 6, 6] x) => (float[a, b, c, d] y) <float[2, 1, 1, 1] w> {
            a = Conv<group = 2>(x, w)
            y = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(a)
        }
    """)
    weights = onnx.numpy_helper.from_array(np.ones((2, 1, 1, 1), np.float32), "w")
    model.graph.initializer[0].CopyFrom(weights)
    feeds = {"x": np.full((1, 2, 6, 6), 1, np.float32)}
    feeds["x"][0, :, :3, :3] = -np.inf
    (got,), (want,) = lowered(model, feeds).outputs, expected(model, feeds)
    assert np.isneginf(want).any()
    np.testing.assert_array_equal(got, want)
