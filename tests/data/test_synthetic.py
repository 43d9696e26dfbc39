"""Random samples: shapes, ranges, seeds, batching, and what cannot be guessed."""

from __future__ import annotations

import numpy as np
import pytest

from bmopt.core.dataset import InputSpec
from bmopt.data.open import open_dataset
from bmopt.errors import BmoptError, DataError, UsageError

FLOAT = InputSpec("x", "float32", ("N", 3))


def test_sample_i_depends_on_the_seed_and_i_only() -> None:
    whole = open_dataset("random:5", [FLOAT])
    together = np.concatenate([b.feeds["x"] for b in whole.batches(4)])
    single = np.concatenate([b.feeds["x"] for b in open_dataset("random", [FLOAT]).batches(1)])
    assert [b.size for b in whole.batches(4)] == [4, 1]
    assert single.shape == (32, 3)
    assert np.array_equal(together, single[:5])
    other = next(open_dataset("random:5", [FLOAT], seed=1).batches(5)).feeds["x"]
    assert not np.array_equal(other, together)


def test_values_follow_the_type() -> None:
    types = ["float32", "float16", "bfloat16", "int64", "uint8", "int8", "bool"]
    inputs = [InputSpec(name, name, ("N", 500)) for name in types]
    (batch,) = open_dataset("random:2", inputs).batches(2)
    bounds = {"int64": (0, 9), "uint8": (0, 255), "int8": (0, 127), "bool": (0, 1)}
    for name, array in batch.feeds.items():
        assert array.dtype.name == name
        low, high = bounds.get(name, (-1.0, 1.0))
        values = array.astype(np.float64)
        assert low <= values.min() <= low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) <= values.max() <= high


def test_fixed_and_scalar_inputs_go_in_one_at_a_time() -> None:
    inputs = [FLOAT, InputSpec("rate", "int64", ()), InputSpec("h", "float32", (2, "N", 4))]
    batches = list(open_dataset("random:3", inputs).batches(8))
    assert [b.size for b in batches] == [1, 1, 1]
    assert {name: a.shape for name, a in batches[0].feeds.items()} == {
        "x": (1, 3),
        "rate": (),
        "h": (2, 1, 4),
    }


def test_given_shapes_bind_their_symbols() -> None:
    inputs = [
        InputSpec("audio", "float32", ("batch", "time")),
        InputSpec("mask", "bool", (1, "time")),
        InputSpec("any", "float32", None),
    ]
    shapes = {"audio": [2, 16], "any": [3]}
    batch = next(open_dataset("random:1", inputs, shapes=shapes).batches(1))
    assert {name: a.shape for name, a in batch.feeds.items()} == {
        "audio": (2, 16),
        "mask": (1, 16),
        "any": (3,),
    }


def test_limit_and_fingerprint() -> None:
    short = open_dataset("random:8", [FLOAT], limit=3)
    assert short.size == 3
    assert short.fingerprint == open_dataset("random:3", [FLOAT]).fingerprint
    assert short.fingerprint != open_dataset("random:3", [FLOAT], seed=1).fingerprint


@pytest.mark.parametrize(
    ("spec", "inputs", "shapes", "kind", "message"),
    [
        ("random:0", [FLOAT], {}, UsageError, "at least 1"),
        ("random:many", [FLOAT], {}, UsageError, "random:many: N must be a whole number"),
        (
            "random",
            [InputSpec("x", "float32", ("N", "T", None))],
            {},
            DataError,
            "is [N, T, ?]; say how large its dynamic axes are, for example --shapes x:1x16x16",
        ),
        ("random", [InputSpec("x", "float32", None)], {}, DataError, "is unknown"),
        ("random", [InputSpec("x", "object", ("N",))], {}, DataError, "give real samples"),
        ("random", [FLOAT], {"z": [1]}, UsageError, "there is no input 'z'; the model has x"),
        ("random", [FLOAT], {"x": [1, 4]}, UsageError, "[1, 4] does not fit input 'x'"),
    ],
)
def test_refuses_what_it_cannot_guess(
    spec: str,
    inputs: list[InputSpec],
    shapes: dict[str, list[int]],
    kind: type[BmoptError],
    message: str,
) -> None:
    with pytest.raises(kind) as caught:
        open_dataset(spec, inputs, shapes=shapes)
    assert message in str(caught.value)
