"""One helper for rewrites: ONNX text before and after, and everything a pass promises."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
from onnx_ir.passes.common import NameFixPass

from bmopt.graph.origin import origin_of, stamp_origins
from bmopt.optimizer.pass_base import Outcome, Pass

_HEADER = '<ir_version: 8, opset_import: ["" : {opset}]>\n'


def parse(text: str, opset: int = 17) -> ir.Model:
    """Parse a graph's text; a full model's text (with its own header) is taken as it is."""
    full = text if text.lstrip().startswith("<") else _HEADER.format(opset=opset) + text
    model = ir.from_onnx_text(full)
    NameFixPass()(model)
    stamp_origins(model)
    return model


def structure(model: ir.Model) -> list[str]:
    """Return what a reader would compare: nodes with ops, inputs, outputs, attributes."""
    lines = [f"in {v.name}" for v in model.graph.inputs]
    names: dict[str, str] = {v.name or "": v.name or "" for v in model.graph.inputs}
    names |= {v.name or "": v.name or "" for v in model.graph.outputs}
    for node in model.graph.all_nodes():
        reads = [_label(v, names) for v in node.inputs]
        for out in node.outputs:
            names.setdefault(out.name or "", f"%{len(names)}")
        writes = [names[v.name or ""] for v in node.outputs]
        plain = {k: _plain(a) for k, a in sorted(node.attributes.items())}
        lines.append(f"{', '.join(writes)} = {node.op_type}({', '.join(reads)}) {plain}")
    return [*lines, *(f"out {v.name}" for v in model.graph.outputs)]


def _plain(attribute: ir.Attr) -> object:
    if attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS):
        return "<graph>"
    if attribute.type == ir.AttributeType.TENSOR:
        return attribute.as_tensor().numpy().tolist()
    value = attribute.value
    return list(value) if isinstance(value, (list, tuple)) else value


def _label(value: ir.Value | None, names: dict[str, str]) -> str:
    if value is None:
        return "-"
    if value.const_value is not None and not value.is_graph_input():
        array = value.const_value.numpy()
        body = np.array2string(array.astype(np.float64), precision=4, threshold=16)
        return f"{value.const_value.dtype.name}{list(array.shape)}{body}".replace("\n", "")
    return names.setdefault(value.name or "", f"%{len(names)}")


def random_feeds(model: ir.Model, seed: int = 0) -> dict[str, np.ndarray]:
    """Return seeded feeds; dynamic axes get 2."""
    rng = np.random.default_rng(seed)
    feeds: dict[str, np.ndarray] = {}
    for value in model.graph.inputs:
        if value.is_initializer():
            continue
        assert value.shape is not None
        assert value.dtype is not None
        shape = [d if isinstance(d, int) else 2 for d in value.shape]
        dtype = value.dtype.numpy()
        if np.issubdtype(dtype, np.floating):
            feeds[value.name or ""] = rng.standard_normal(shape).astype(dtype)
        else:
            feeds[value.name or ""] = rng.integers(0, 2, shape).astype(dtype)
    return feeds


def run_plain(model: ir.Model, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Run on ONNX Runtime with its own optimisations off."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    data = ir.to_proto(model).SerializeToString()
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


def check_pass(
    rewrite: Pass, model: ir.Model, *, compare: bool = True, tolerance: float = 1e-4
) -> Outcome:
    """Run ``rewrite`` and check all it promises: validity, truthfulness, idempotence, results."""
    before_structure = structure(model)
    feeds = random_feeds(model) if compare else {}
    expected = run_plain(model, feeds) if compare else []
    names = [v.name for v in (*model.graph.inputs, *model.graph.outputs)]
    outcome = rewrite(model)
    assert isinstance(outcome, Outcome)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert [v.name for v in (*model.graph.inputs, *model.graph.outputs)] == names
    assert outcome.modified == (structure(model) != before_structure), "modified must be truthful"
    after_structure = structure(model)
    again = rewrite(model)
    assert not again.modified, "a second run must change nothing"
    assert structure(model) == after_structure
    assert all(origin_of(node) for node in model.graph.all_nodes()), "a node lost its origin"
    for want, got in zip(expected, run_plain(model, feeds) if compare else [], strict=True):
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)
    return outcome


def assert_rewrites(
    rewrite: Pass, *, before: str, after: str, opset: int = 17, compare: bool = True
) -> Outcome:
    """Check that ``rewrite`` turns ``before`` into ``after`` (compared by structure)."""
    model = parse(before, opset)
    outcome = check_pass(rewrite, model, compare=compare)
    assert outcome.modified
    assert structure(model) == structure(parse(after, opset))
    return outcome


def assert_keeps(rewrite: Pass, text: str, *, opset: int = 17, compare: bool = True) -> Outcome:
    """Check that ``rewrite`` leaves ``text`` as it is."""
    model = parse(text, opset)
    outcome = check_pass(rewrite, model, compare=compare)
    assert not outcome.modified
    return outcome
