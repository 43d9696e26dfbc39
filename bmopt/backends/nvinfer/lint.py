"""Finds what TensorRT and TensorRT-RTX refuse in a model, and what they silently run in float.

No SDK is needed: the rules look at the ONNX graph alone. Every rule was checked against the parser
and the kernels of TensorRT-RTX 1.7, and the tests check them again where it is installed.
TensorRT itself shares the parser; its kernels may run more in 8 bits, never less by these rules.
"""

from __future__ import annotations

import onnx_ir as ir

from bmopt.backends.nvinfer import (
    rules_devices,
    rules_encoding,
    rules_graph,
    rules_notes,
    rules_products,
    rules_shapes,
    rules_types,
)
from bmopt.backends.nvinfer.linted import linted
from bmopt.core.finding import LEVELS, Finding, Rule
from bmopt.core.target import Target

_MODULES = (
    rules_encoding,
    rules_graph,
    rules_shapes,
    rules_types,
    rules_products,
    rules_devices,
    rules_notes,
)

RULES: tuple[Rule, ...] = tuple(
    sorted((rule for module in _MODULES for rule in module.RULES), key=lambda rule: rule.id)
)
"""Every rule, by id."""


def lint(model: ir.Model, target: Target) -> tuple[Finding, ...]:
    """Return what is wrong with ``model`` for a ``trt`` or ``rtx`` target, errors first.

    The model is not changed. Findings of one level are in the order of rules, then of nodes.
    """
    facts = linted(model, target)
    findings = [
        finding for module in _MODULES for check in module.CHECKS for finding in check(facts)
    ]
    return tuple(sorted(findings, key=lambda f: (LEVELS.index(f.rule.level), f.rule.id)))
