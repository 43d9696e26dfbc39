from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from bmopt.backends.nvinfer.io_tensors import (
    DTYPES,
    IoTensor,
    Signature,
    check_feeds,
    choose_profile,
    read_signature,
)
from bmopt.core.engine import Profile
from bmopt.errors import ArtifactError, DataError
from tests.backends.nvinfer.fake_cuda import FakeCuda
from tests.backends.nvinfer.fake_runtime import FakeEngine, FakeSdk, FakeTensor

F32 = np.dtype(np.float32)
SMALL = Profile((1, 4), (1, 4), (2, 4))
LARGE = Profile((1, 4), (8, 4), (32, 4))


def _image(*profiles: Profile) -> Signature:
    return Signature((IoTensor("x", F32, (-1, 4), False, tuple(profiles)),), ())


def _batch(size: int) -> dict[str, np.ndarray]:
    return {"x": np.zeros((size, 4), np.float32)}


def test_the_signature_has_what_the_engine_says() -> None:
    triple = ((1, 4), (2, 4), (8, 4))
    tensors = (
        FakeTensor("x", (-1, 4), profiles=(triple, triple)),
        FakeTensor("shape", (2,), "INT32", host=True, values=(((1, 1), (2, 2), (9, 9)),) * 2),
        FakeTensor("y", (-1, 4), "BF16", copies="x"),
    )
    engine = FakeEngine(tensors, FakeCuda(), [], num_optimization_profiles=2)
    signature = read_signature(FakeSdk(engine), engine)
    span, values = Profile(*triple), Profile((1, 1), (2, 2), (9, 9))
    assert signature == Signature(
        (
            IoTensor("x", F32, (-1, 4), False, (span, span)),
            IoTensor("shape", np.dtype(np.int32), (2,), True, (), (values, values)),
        ),
        (IoTensor("y", np.dtype(ml_dtypes.bfloat16), (-1, 4), False),),
    )


def test_a_shape_input_without_values_in_the_profile_takes_any() -> None:
    engine = FakeEngine((FakeTensor("shape", (2,), "INT32", host=True),), FakeCuda(), [])
    signature = read_signature(FakeSdk(engine), engine)
    assert signature.inputs[0].values == ()
    assert choose_profile(signature, {"shape": np.array([5, 6], np.int32)}) == 0


@pytest.mark.parametrize("element", ["INT4", "FP4"])
def test_elements_of_four_bits_cannot_be_fed(element: str) -> None:
    engine = FakeEngine((FakeTensor("x", (4,), element),), FakeCuda(), [])
    with pytest.raises(ArtifactError, match=f"'x' has elements of type {element}"):
        read_signature(FakeSdk(engine), engine)


def test_the_sdk_has_all_element_types_and_no_unknown_ones() -> None:
    sdk = pytest.importorskip("tensorrt_rtx")
    assert set(sdk.DataType.__members__) - {"INT4", "FP4"} == set(DTYPES)
    # 1.7.1 does not know the size of E8M0.
    sizes = {name: sdk.DataType.__members__[name].itemsize or 1 for name in DTYPES}
    assert sizes == {name: dtype.itemsize for name, dtype in DTYPES.items()}


@pytest.mark.parametrize(
    ("feeds", "says"),
    [
        ({}, "input 'x' is missing; the engine takes x"),
        ({"x": np.zeros((1, 4), F32), "z": np.zeros(1)}, "no input 'z'; it takes x"),
        ({"x": np.zeros((1, 4))}, "'x' is float64, and the engine takes float32; cast it"),
        ({"x": np.zeros((1, 5), F32)}, r"shape 1x5, and the engine takes \?x4"),
        ({"x": np.zeros(4, F32)}, r"shape 4, and the engine takes \?x4"),
        ({"x": np.zeros((), F32)}, r"shape scalar, and the engine takes \?x4"),
    ],
)
def test_feeds_that_do_not_fit_are_refused(feeds: dict[str, np.ndarray], says: str) -> None:
    with pytest.raises(DataError, match=says):
        check_feeds(_image(SMALL), feeds)


def test_feeds_become_contiguous_and_keep_their_shape() -> None:
    signature = Signature((IoTensor("x", F32, (3, 2), False), IoTensor("s", F32, (), False)), ())
    values = np.arange(6, dtype=np.float32).reshape(2, 3).T
    arrays = check_feeds(signature, {"s": np.float32(3), "x": values})
    assert list(arrays) == ["x", "s"]
    assert arrays["x"].flags.c_contiguous
    assert arrays["x"].tolist() == values.tolist()
    assert arrays["s"].shape == ()


@pytest.mark.parametrize(("size", "index"), [(1, 0), (2, 0), (3, 1), (8, 1), (32, 1)])
def test_the_tightest_profile_that_fits_is_taken(size: int, index: int) -> None:
    assert choose_profile(_image(SMALL, LARGE), _batch(size)) == index
    assert choose_profile(_image(LARGE, SMALL), _batch(size)) == 1 - index


def test_a_profile_made_for_just_this_shape_is_taken_first() -> None:
    made_for = Profile((1, 4), (2, 4), (64, 4))
    assert choose_profile(_image(SMALL, made_for), _batch(2)) == 1


def test_an_engine_without_dynamic_axes_has_one_profile() -> None:
    signature = Signature((IoTensor("x", F32, (1, 4), False),), ())
    assert choose_profile(signature, _batch(1)) == 0


def test_a_shape_outside_all_profiles_is_told_the_range_and_what_to_do() -> None:
    with pytest.raises(DataError) as caught:
        choose_profile(_image(SMALL, LARGE), _batch(33))
    assert str(caught.value) == (
        "input 'x' has shape 33x4, and the engine was built for 1x4 to 2x4 or 1x4 to 32x4; "
        "feed one in that range, or build again with --shapes x:MIN:OPT:MAX"
    )


def test_values_outside_the_profile_are_refused_as_values() -> None:
    values = Profile((1, 1), (2, 2), (9, 9))
    shape = IoTensor("shape", np.dtype(np.int64), (2,), True, (), (values,))
    with pytest.raises(
        DataError, match="has values 3x10, and the engine was built for 1x1 to 9x9"
    ):
        choose_profile(Signature((shape,), ()), {"shape": np.array([3, 10])})


def test_inputs_that_only_fit_different_profiles_are_refused() -> None:
    one, other = Profile((1,), (1,), (1,)), Profile((2,), (2,), (2,))
    inputs = tuple(IoTensor(name, F32, (-1,), False, (one, other)) for name in "ab")
    arrays = {"a": np.zeros(1, F32), "b": np.zeros(2, F32)}
    with pytest.raises(DataError, match=r"'b' has shape 2, and .* 1 to 1 or 2 to 2"):
        choose_profile(Signature(inputs, ()), arrays)
