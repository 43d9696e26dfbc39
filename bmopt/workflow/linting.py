"""``bmopt lint``: what a target's engine would refuse in a model, or not run as asked."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bmopt.backends.registry import linter_for, pipeline_for
from bmopt.core.finding import LEVELS, Finding, Level
from bmopt.core.target import Target, all_targets
from bmopt.errors import ArtifactError, UsageError
from bmopt.workflow.auditing import refusals_in, with_reasons
from bmopt.workflow.engines import MODEL

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclasses.dataclass(frozen=True)
class LintReport:
    """What a linter says of one file.

    Attributes:
        model: The ``.onnx`` file.
        target: What it was looked at for.
        findings: Errors first.
    """

    model: Path
    target: str
    findings: tuple[Finding, ...]

    @property
    def counts(self) -> Mapping[Level, int]:
        """Number of findings by level."""
        found = collections.Counter(finding.rule.level for finding in self.findings)
        return {level: found[level] for level in LEVELS}


def lint_file(path: Path, target_text: str) -> LintReport:
    """Return the findings on an ``.onnx`` file, or on the graph of an artifact folder.

    Raises:
        ArtifactError: ``path`` is a folder without a graph.
        ModelError: The file is no model that can be run.
        TargetError: ``target_text`` is no target.
        UsageError: The target has no linter.
    """
    target = Target.parse(target_text)
    linter = linter_for(target)
    if linter is None:
        having = ", ".join(t for t in all_targets() if linter_for(Target.parse(t)) is not None)
        raise UsageError(f"{target} has no linter; these have one: {having}")
    from bmopt.graph.model_io import load_model

    file = _graph_file(path)
    model = load_model(file)
    refusals: dict[str, str] = {}
    if text := pipeline_for(target):
        # Compiling goes over the model with the same passes first.
        model, refusals = _rewritten(model, text)
    findings = with_reasons(linter(model, target), refusals)
    return LintReport(file, str(target), tuple(findings))


def _rewritten(model: ir.Model, text: str) -> tuple[ir.Model, dict[str, str]]:
    """Return the model after the passes ``text``, and node -> why one left it as it is."""
    from bmopt.optimizer.pipeline import Pipeline

    result = Pipeline.parse(text).run(model)
    return result.model, refusals_in(dataclasses.asdict(result.log))


def _graph_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    if not (path / MODEL).is_file():
        raise ArtifactError(f"{path}: holds no {MODEL}; name an .onnx file or an artifact folder")
    return path / MODEL
