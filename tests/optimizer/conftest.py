from __future__ import annotations

import pytest

from bmopt.optimizer import pipeline_text, registry
from tests.optimizer import sample_passes


@pytest.fixture
def sample_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the pipeline's text name the sample passes too."""
    known = {
        kind.name: kind
        for kind in vars(sample_passes).values()
        if isinstance(kind, type) and hasattr(kind, "name")
    }
    monkeypatch.setattr(
        pipeline_text, "find_pass", lambda name: known.get(name) or registry.find_pass(name)
    )
