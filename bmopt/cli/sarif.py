"""Findings as SARIF 2.1.0, which code hosts and editors show (OASIS, sarif-schema-2.1.0)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bmopt import __version__
from bmopt.core.finding import Finding, Rule

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif_document(findings: Sequence[Finding], model: Path) -> dict[str, Any]:
    """Return the SARIF log of one run over the file ``model``."""
    rules = list(dict.fromkeys(finding.rule for finding in findings))
    driver = {"name": "bmopt", "version": __version__, "rules": [_rule(rule) for rule in rules]}
    results = [_result(f, rules.index(f.rule), _uri(model)) for f in findings]
    run = {"tool": {"driver": driver}, "results": results}
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "name": rule.name,
        "shortDescription": {"text": rule.summary},
        "defaultConfiguration": {"level": rule.level},
    }


def _result(finding: Finding, index: int, uri: str) -> dict[str, Any]:
    location: dict[str, Any] = {"physicalLocation": {"artifactLocation": {"uri": uri}}}
    if finding.node:
        location["logicalLocations"] = [{"name": finding.node, "kind": "node"}]
    return {
        "ruleId": finding.rule.id,
        "ruleIndex": index,
        "level": finding.rule.level,
        "message": {"text": f"{_subject(finding)}{finding.message}. Fix: {finding.fix}."},
        "locations": [location],
        "properties": {"fix": finding.fix},
    }


def _subject(finding: Finding) -> str:
    return f"{finding.node}: " if finding.node else ""


def _uri(path: Path) -> str:
    """Return a relative reference for a relative path, else a ``file:`` URI."""
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())
