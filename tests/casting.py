"""Cast plans for tests, and everything that a conversion to half precision promises."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir

from bmopt.core.cast_plan import CastPlan, HalfType
from bmopt.graph.nesting import nodes_in
from bmopt.graph.origin import origin_of
from bmopt.optimizer.passes.cast_float import CastFloat
from tests.quantizing import as_bytes, sqnr_db
from tests.rewriting import random_feeds, run_plain, structure


def plan_for(*float_nodes: str, dtype: HalfType = "float16", keep_io: bool = True) -> CastPlan:
    return CastPlan("m" * 64, dtype, dict.fromkeys(float_nodes, "asked"), keep_io)


def needless_casts(model: ir.Model, source: ir.Model) -> list[str]:
    """Return Casts that ``source`` has not and that undo another one, or repeat it."""
    known = {node.name for node in nodes_in(source.graph)}
    seen: set[tuple[ir.Value, int]] = set()
    found = []
    for node in nodes_in(model.graph):
        if node.op_type != "Cast" or node.name in known:
            continue
        value, result = node.inputs[0], node.outputs[0]
        assert value is not None
        above = value.producer()
        undone = above.inputs[0] if above is not None and above.op_type == "Cast" else None
        key = (value, node.attributes.get_int("to", 0))
        if key in seen or (undone is not None and undone.dtype == result.dtype):
            found.append(node.name or "")
        seen.add(key)
    return found


def converted(model: ir.Model, plan: CastPlan) -> ir.Model:
    """Return a converted copy after checking the promises that need no run."""
    copy = model.clone()
    interface = [v.name for v in (*copy.graph.inputs, *copy.graph.outputs)]
    before = as_bytes(copy)
    outcome = CastFloat(plan)(copy)
    assert outcome.modified == (as_bytes(copy) != before)
    onnx.checker.check_model(ir.to_proto(copy), full_check=True)
    after = structure(copy)
    assert not CastFloat(plan)(copy).modified, "a second run must change nothing"
    assert structure(copy) == after
    assert [v.name for v in (*copy.graph.inputs, *copy.graph.outputs)] == interface
    assert all(origin_of(node) for node in nodes_in(copy.graph)), "a node lost its origin"
    assert needless_casts(copy, model) == []
    return copy


def require_close(model: ir.Model, plan: CastPlan, least_db: float = 50.0) -> ir.Model:
    """Convert ``model`` to float16; what it computes stays close."""
    copy = converted(model, plan)
    feeds = random_feeds(model)
    half = {v.name for v in copy.graph.inputs if v.dtype == ir.DataType.FLOAT16}
    cast = {n: a.astype(np.float16) if n in half else a for n, a in feeds.items()}
    for want, got in zip(run_plain(model, feeds), run_plain(copy, cast), strict=True):
        assert want.shape == got.shape
        assert sqnr_db(want.astype(np.float64), got.astype(np.float64)) > least_db
    return copy
