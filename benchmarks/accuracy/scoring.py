"""All that was made of a model on the same validation samples, each as its engine computes."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from peers.making import Made, Task
from shared_models import SharedModel

from accuracy.goals import Scheme
from accuracy.results import SchemeResult, Score
from bmopt.backends.openvino.session import open_file as open_in_openvino
from bmopt.backends.registry import reference
from bmopt.bench.scoring import compare_models
from bmopt.bench.side_by_side import AGREEMENT, SideBySide
from bmopt.core.runner import Runner
from bmopt.data.open import open_dataset
from bmopt.errors import BmoptError
from bmopt.graph.model_io import input_specs, load_model

CONFIDENCE = 0.95
TOP1 = "top1"

_FP32 = "fp32"
_BATCH = 16


def scored(
    model: SharedModel,
    scheme: Scheme,
    made: Mapping[str, Made],
    titles: Mapping[str, str],
    val_limit: int,
    task: Task,
) -> SchemeResult:
    """Run everything that was made beside the FP32 model.

    Graphs of a scheme for another engine run on ONNX Runtime with their Q/DQ nodes as written,
    whoever made them; OpenVINO's own files run in OpenVINO.

    Args:
        model: The model.
        scheme: How graphs are run.
        made: Tool -> what it made.
        titles: Tool -> what the tables call it.
        val_limit: Validation samples at most; 0 for all.
        task: Of the peers; shortens messages.

    Raises:
        BmoptError: The model or the samples cannot be opened.
    """
    dataset = open_dataset(model.val, input_specs(load_model(model.path)), limit=val_limit or None)
    notes = {name: one.note for name, one in made.items() if not one.subject}
    with contextlib.ExitStack() as stack:
        runners: dict[str, Runner] = {
            _FP32: stack.enter_context(reference().open_graph(model.path, threads=1))
        }
        for name, one in made.items():
            if not one.subject:
                continue
            try:
                runners[name] = stack.enter_context(_opened(one.subject, scheme))
            except BmoptError as error:
                notes[name] = f"failed: {task.told(str(error))}"
        found = compare_models(runners, dataset, _BATCH)
    notes |= {n: f"failed: {task.told(str(error))}" for n, error in found.failures.items()}
    top1 = next((each.values[_FP32] for each in found.scored if each.metric.name == TOP1), None)
    rows = tuple(_score(name, titles[name], notes, found) for name in made)
    return SchemeResult(scheme.target, found.samples, top1, rows)


def _opened(subject: str, scheme: Scheme) -> Runner:
    engine, _, path = subject.partition(":")
    if engine == "openvino":
        return open_in_openvino(Path(path), threads=1)
    return reference().open_graph(Path(path), threads=1, keep_qdq=scheme.keeps_qdq)


def _score(name: str, title: str, notes: Mapping[str, str], found: SideBySide) -> Score:
    if name in notes:
        return Score(name, title, notes[name])
    known = {one.metric: one for one in found.comparisons(name, confidence=CONFIDENCE)}
    top1, agreement = known.get(TOP1), known.get(AGREEMENT)
    return Score(
        name,
        title,
        agreement=None if agreement is None else agreement.candidate,
        top1=None if top1 is None else top1.candidate,
        change=None if top1 is None or top1.difference is None else top1.difference.change,
        sqnr_db=min(found.likeness[name].sqnr_db.values(), default=None),
    )
