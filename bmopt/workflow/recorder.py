"""Recording in a process of its own, where a model that crashes or hangs its engine does no harm.

``python -m bmopt.workflow.recorder MODEL FOLDER DATA KEEP`` is the child.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir

from bmopt.backends.registry import reference
from bmopt.core.isolate import run_isolated
from bmopt.core.runner import Feeds
from bmopt.errors import BmoptError, DataError, IsolatedToolError
from bmopt.graph.model_io import load_model
from bmopt.workflow.recording import Recording, inferred_only, record
from bmopt.workflow.samples import SampleOptions, first_feeds, open_samples

_ANSWER = "recording.json"
_RANDOM = "random:1"


def record_apart(
    path: Path, model: ir.Model, data: str, folder: Path, *, keep_values: bool, timeout_s: float
) -> Recording:
    """Record the tensors of ``model``, which lies in ``path``, on the first sample of ``data``.

    Args:
        path: The ``.onnx`` file.
        model: What was loaded from it.
        data: The samples; a random one if empty.
        folder: An empty folder, for the values and the answer.
        keep_values: Keep the values.
        timeout_s: Seconds it may take.

    Raises:
        DataError: The samples of ``data`` are missing or do not fit.
    """
    keep = "values" if keep_values else ""
    argv = [sys.executable, "-m", __name__, str(path), str(folder), data, keep]
    try:
        run_isolated(argv, timeout_s=timeout_s, name="running the model")
    except IsolatedToolError as error:
        return inferred_only(model, str(error))
    answer: dict[str, Any] = json.loads((folder / _ANSWER).read_text(encoding="utf-8"))
    if answer.get("error"):
        raise DataError(str(answer["error"]))
    return Recording.from_dict(answer, folder if keep_values else None)


def main(argv: Sequence[str]) -> int:
    """Record, and write the answer into the folder."""
    path, folder, data, keep = argv
    model = load_model(Path(path))
    try:
        feeds = _sample(model, data)
    except BmoptError as error:
        answer: dict[str, Any] = {"error": str(error)}
    else:
        values = Path(folder) if keep else None
        answer = record(reference(), model, feeds, values).to_dict()
    (Path(folder) / _ANSWER).write_text(json.dumps(answer), encoding="utf-8")
    return 0


def _sample(model: ir.Model, data: str) -> Feeds | None:
    """Return one sample; None where no random one works."""
    try:
        opened = open_samples(
            data or _RANDOM, model, reference().open_checked, SampleOptions(limit=1)
        )
        return first_feeds(opened, 1)[0]
    except BmoptError:
        if data:
            raise
        return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
