"""Where the time goes, in terms of the original model's nodes, under this host's roof."""

from __future__ import annotations

import dataclasses

from bmopt.core.bench_document import TensorSqnr
from bmopt.errors import BmoptError
from bmopt.workflow.benching.session import Session

_SECONDS = 3.0


def measure_layers(session: Session) -> None:
    """Profile every subject whose engine tells, in a run of its own."""
    session.progress.step("where the time goes")
    source = session.reference.opened.graph
    found = [
        times
        for _, times in session.each(
            lambda worker: worker.ask(
                "layers", seconds=_SECONDS, name=worker.name, source=source, length_s=_SECONDS
            )
        )
        if times is not None
    ]
    session.put(layers=tuple(found))


def measure_layer_noise(session: Session) -> None:
    """Compare the tensors inside of every subject with those of the reference."""
    reference = session.reference
    if reference.opened.graph is None:
        return
    session.progress.step("error inside")
    for worker in session.workers[1:]:
        if worker.opened.graph is None:
            continue
        try:
            found = session.samples.layer_noise(reference.opened, worker.opened)
        except BmoptError as error:
            session.notes.append(f"error inside {worker.name} was not measured: {error}")
            continue
        named = (dataclasses.replace(one, subject=worker.name) for one in found)
        outputs = {one.tensor for one in session.document.layer_sqnr if one.subject == worker.name}
        fresh: tuple[TensorSqnr, ...] = tuple(one for one in named if one.tensor not in outputs)
        session.put(layer_sqnr=(*session.document.layer_sqnr, *fresh))
