"""``bmopt inspect``: facts about a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bmopt.workflow.source import as_file

if TYPE_CHECKING:
    from bmopt.graph.facts import ModelFacts


def inspect_model(source: Path, *, shapes: Sequence[str] = ()) -> ModelFacts:
    """Return the facts of ``source``, with numbers for the dynamic axes that ``shapes`` fix.

    Raises:
        ModelError: ``source`` is no model that can be run.
        UsageError: ``shapes`` does not fit.
    """
    from bmopt.graph.facts import model_facts
    from bmopt.graph.model_io import load_model
    from bmopt.workflow.shapes import parse_shapes

    with as_file(source) as path:
        usual = {name: profile.opt for name, profile in parse_shapes(shapes).items()}
        return model_facts(load_model(path), shapes=usual)
