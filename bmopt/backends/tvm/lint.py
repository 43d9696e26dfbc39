"""Finds what TVM's importer refuses in a model, and what is compiled to slow code.

TVM need not be installed: the rules look at the ONNX graph alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from bmopt.backends.tvm.imported_ops import STANDARD_DOMAINS, imports_op
from bmopt.backends.tvm.lint_forms import FORMS
from bmopt.core.finding import LEVELS, Finding, Rule
from bmopt.core.target import Target
from bmopt.graph.nesting import nodes_in

OP = Rule("TVM001", "unsupported-op", "error", "TVM's importer has every op.")
INPUT = Rule("TVM002", "input-without-rank", "error", "Inputs are tensors of known rank.")
FORM = Rule("TVM003", "unsupported-form", "error", "Ops are used in a form that is imported.")
BRANCH = Rule(
    "TVM101",
    "kept-branch",
    "note",
    "Nothing depends on a condition that is only known at run time.",
)
SIZES = Rule(
    "TVM102", "dynamic-image", "note", "Convolutions and pools have a known height and width."
)

RULES: tuple[Rule, ...] = (OP, INPUT, FORM, BRANCH, SIZES)
"""Every rule, by id."""

_BLOCKED = ("AveragePool", "Conv", "MaxPool")
_IMAGE_RANK = 4


def lint(model: ir.Model, target: Target) -> tuple[Finding, ...]:
    """Return what is wrong with ``model`` for a ``tvm`` target, errors first.

    The model is not changed. Findings of one level are in the order of rules, then of nodes.
    """
    findings = [*_inputs(model), *_ops(model), *_forms(model), *_branches(model), *_images(model)]
    return tuple(sorted(findings, key=lambda f: (LEVELS.index(f.rule.level), f.rule.id)))


def _ops(model: ir.Model) -> Iterator[Finding]:
    functions = {(f.domain, f.name) for f in model.functions.values()}
    owners: list[ir.Graph | ir.Function] = [model.graph, *model.functions.values()]
    for owner in owners:
        for node in nodes_in(owner):
            if imports_op(node.domain, node.op_type) or (node.domain, node.op_type) in functions:
                continue
            standard = node.domain in STANDARD_DOMAINS
            name = node.op_type if standard else f"{node.domain}.{node.op_type}"
            message = f"TVM's importer has no {name}"
            fix = "use a target of ONNX Runtime (ort-...), or export the model without it"
            yield Finding(OP, _name(node), message, fix)


def _forms(model: ir.Model) -> Iterator[Finding]:
    for node in nodes_in(model.graph):
        form = FORMS.get(node.op_type) if node.domain in STANDARD_DOMAINS else None
        problem = "" if form is None else form(node)
        if problem:
            message = f"{node.op_type} {problem}"
            yield Finding(FORM, _name(node), message, "export the model for inference")


def _inputs(model: ir.Model) -> Iterator[Finding]:
    for value in model.graph.inputs:
        if value.is_initializer():
            continue
        if value.type is not None and not isinstance(value.type, ir.TensorType):
            message = f"input {value.name!r} is no tensor"
            yield Finding(INPUT, "", message, "export the model with tensors as inputs")
        elif value.shape is None:
            message = f"input {value.name!r} has no declared rank"
            yield Finding(INPUT, "", message, f"give it sizes: --shapes {value.name}:1x3x224x224")


def _branches(model: ir.Model) -> Iterator[Finding]:
    for node in nodes_in(model.graph):
        if node.op_type == "If":
            message = "the condition is computed, so the whole model is scheduled as TVM does"
            yield Finding(BRANCH, _name(node), message, "export the branch that is wanted")


def _images(model: ir.Model) -> Iterator[Finding]:
    for node in nodes_in(model.graph):
        shape = node.inputs[0].shape if node.inputs and node.inputs[0] is not None else None
        if node.op_type not in _BLOCKED or shape is None or len(shape) != _IMAGE_RANK:
            continue
        if any(not isinstance(axis, int) for axis in list(shape)[1:]):
            message = f"reads {_text(shape)}: for sizes that are not known there is only slow code"
            yield Finding(SIZES, _name(node), message, "fix them with --shapes")


def _text(shape: ir.Shape) -> str:
    return "x".join(str(axis) for axis in shape)


def _name(node: ir.Node) -> str:
    return node.name or (node.outputs[0].name if node.outputs else "") or node.op_type
