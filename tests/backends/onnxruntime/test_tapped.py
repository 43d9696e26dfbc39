from __future__ import annotations

import gc

import numpy as np
import onnx_ir as ir
import pytest

from bmopt.backends.onnxruntime.session import SessionConfig, open_model, open_plain
from bmopt.backends.onnxruntime.tapped import TappedRunner
from bmopt.core.runner import Array
from bmopt.errors import DataError
from tests.quantizing import CONV_NET, named, samples_for


def opened(model: ir.Model) -> TappedRunner:
    return TappedRunner(open_model(model, SessionConfig(threads=1)))


def chunks(count: int, size: int) -> list[dict[str, Array]]:
    x = samples_for(named(CONV_NET), count=count * size)["x"]
    return [{"x": x[i * size : (i + 1) * size]} for i in range(count)]


def test_every_run_answers_like_a_plain_session() -> None:
    model = named(CONV_NET)
    with opened(model) as tapped, open_plain(model) as plain:
        assert tapped.output_names == plain.output_names
        for feeds in [*chunks(3, 4), *chunks(3, 2), *chunks(2, 4)]:
            np.testing.assert_allclose(
                tapped.run(feeds)["y"], plain.run(feeds)["y"], rtol=1e-4, atol=1e-5
            )


def test_buffers_are_reused() -> None:
    with opened(named(CONV_NET)) as runner:
        first, second, third = (runner.run(feeds)["y"] for feeds in chunks(3, 4))
        assert second is third
        assert first is second


def test_feeds_need_not_be_contiguous_or_stay_alive() -> None:
    model = named(CONV_NET)
    with opened(model) as tapped, open_plain(model) as plain:
        for feeds in chunks(4, 4):
            turned = {"x": np.asfortranarray(feeds["x"])}
            answer = tapped.run(turned)["y"].copy()
            del turned
            gc.collect()
            np.testing.assert_allclose(answer, plain.run(feeds)["y"], rtol=1e-4, atol=1e-5)


def test_outputs_whose_shape_depends_on_the_data() -> None:
    model = named("g (float[N] x) => (int64[1,K] y, float[N] r) { y = NonZero(x) r = Relu(x) }")
    with opened(model) as runner:
        for ones in (3, 1, 0, 5, 5, 2):
            x = np.zeros(6, np.float32)
            x[:ones] = 1
            answer = runner.run({"x": x})
            assert answer["y"].tolist() == [list(range(ones))]
            np.testing.assert_array_equal(answer["r"], x)


def test_outputs_that_are_no_tensors() -> None:
    model = named(
        "g (float[N] x) => (seq(float[N]) y, float[N] r) { y = SequenceConstruct(x) r = Relu(x) }"
    )
    with opened(model) as runner:
        for value in (1.0, 2.0):
            answer = runner.run({"x": np.full(3, value, np.float32)})
            assert answer["y"][0].tolist() == [value] * 3


def test_wrong_feeds_end_in_one_line_and_spoil_nothing() -> None:
    model = named(CONV_NET)
    good, other = chunks(2, 4)
    with opened(model) as runner:
        expected = runner.run(good)["y"].copy()
        for wrong in ({}, {"z": good["x"]}, {"x": good["x"].astype(np.float64)}):
            with pytest.raises(DataError, match="cannot run these inputs"):
                runner.run(wrong)
        runner.run(other)
        np.testing.assert_allclose(runner.run(good)["y"], expected, rtol=1e-5)
