from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tests.backends.tvm.integers.evaluating import (
    Arrays,
    images,
    in_integers,
    needs_tvm,
    reference,
)
from tests.quantizing import CONV_NET, named, quantized

pytestmark = needs_tvm

_FEEDS = {"x": images((3, 8, 10, 10), -2, 2)}


def _names(model: ir.Model) -> list[str]:
    return [value.name or "" for value in model.graph.outputs]


def _fed(model: ir.Model) -> tuple[ir.Model, Arrays, Arrays]:
    """Return the graph in parts, its feeds, and what the whole graph says of every tensor."""
    from bmopt.backends.tvm.separating import separate

    separated = separate(model)
    whole = separated.whole
    known = dict(zip(_names(whole), reference(whole, _FEEDS), strict=True))
    feeds = dict(_FEEDS)
    for cut in separated.cuts:
        steps = known[cut.tensor].astype(np.float32) - np.float32(cut.zero)
        feeds[cut.fed] = steps * np.float32(cut.scale)
    return separated.parts, feeds, known


def test_parts_compute_what_the_whole_graph_does() -> None:
    parts, feeds, known = _fed(quantized(named(CONV_NET))[0])
    assert len(known) == 7
    for name, array in zip(_names(parts), reference(parts, feeds), strict=True):
        np.testing.assert_array_equal(array, known[name])


def test_a_wrong_tensor_moves_only_what_reads_it() -> None:
    parts, feeds, _ = _fed(quantized(named(CONV_NET))[0])
    before = reference(parts, feeds)
    feeds["bmopt_fed_1"] = feeds["bmopt_fed_1"] + np.float32(0.5)
    after = reference(parts, feeds)
    moved = [
        i for i, pair in enumerate(zip(before, after, strict=True)) if np.any(pair[0] != pair[1])
    ]
    assert len(moved) == 1


def test_every_kernel_is_at_most_a_step_off_and_seldom() -> None:
    for device in ("x86-vnni", "x86-avx2", "arm64"):
        parts, feeds, known = _fed(quantized(named(CONV_NET), device=device)[0])
        for name, found in zip(_names(parts), in_integers(parts, feeds), strict=True):
            if found.dtype != np.float32:
                steps = np.abs(found.astype(int) - known[name].astype(int))
                assert steps.max() <= 1
                assert (steps > 0).mean() < 1e-3


def test_given_model_is_not_changed() -> None:
    from bmopt.backends.tvm.separating import separate

    model = quantized(named(CONV_NET))[0]
    before = ir.to_proto(model).SerializeToString()
    separate(model)
    assert ir.to_proto(model).SerializeToString() == before
