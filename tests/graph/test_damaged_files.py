"""Damaged files: they load, or are refused in one line; nothing else happens."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmopt.errors import ModelError
from bmopt.graph import runnable
from bmopt.graph.model_digest import model_digest
from bmopt.graph.model_io import load_model
from tests.graph.model_files import proto_of

_TEXT = """g (bool c, float[N,4,2] x, int64[2] s = {-1, 2}) => (float[N,M] y, float[1,N,3] h) {
    seq, h = LSTM<hidden_size = 3, direction = "forward">(x, w, r)
    k = Constant<value = float[2] {3.0, 4.0}>()
    a = Mul(x, k)
    b = Reshape(a, s)
    y = If(c) <then_branch = t () => (float[N,M] p) { p = Relu(b) },
               else_branch = e () => (float[N,M] q) { q = LeakyRelu<alpha = 0.5>(b) }> }"""
_WEIGHTS = {"w": np.ones((1, 12, 2), np.float32), "r": np.ones((1, 12, 3), np.float32)}
_GOOD = proto_of(_TEXT, _WEIGHTS).SerializeToString()


@pytest.fixture(autouse=True, scope="module")
def _runtime_agrees_with_the_checker() -> object:
    # Asking ONNX Runtime in a process of its own for each example would take minutes.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runnable, "_opens", lambda path: False)
        yield


def _try(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.onnx"
        path.write_bytes(data)
        refusal = ""
        try:
            model_digest(load_model(path))
        except ModelError as error:
            refusal = str(error)
        assert "\n" not in refusal


def test_the_undamaged_file_loads(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(_GOOD)
    assert len(list(load_model(path).graph.all_nodes())) == 7


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.integers(0, len(_GOOD) - 1))
def test_truncated(length: int) -> None:
    _try(_GOOD[:length])


_FLIPS = st.lists(st.tuples(st.integers(0, len(_GOOD) - 1), st.integers(0, 255)), max_size=6)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(_FLIPS)
def test_overwritten_bytes(flips: list[tuple[int, int]]) -> None:
    data = bytearray(_GOOD)
    for place, byte in flips:
        data[place] = byte
    _try(bytes(data))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    _try(data)
