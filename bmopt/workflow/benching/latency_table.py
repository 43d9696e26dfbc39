"""``bmopt bench FLOAT INT8 --latency-table FILE``: what a model's parts take on this device."""

from __future__ import annotations

from bmopt.core.latency_table import LatencyTable
from bmopt.errors import BmoptError
from bmopt.workflow.benching.session import Session

_SECONDS = 10.0


def measure_latency_table(session: Session) -> None:
    """Measure the table in the process of the second subject; say so where it cannot be."""
    session.progress.step("latency table")
    names = session.names
    workers = {worker.name: worker for worker in session.workers}
    if len(names) != 2 or set(names) != set(workers):
        # Whatever did not open has been told of.
        return
    source = workers[names[0]].opened.graph
    try:
        text = workers[names[1]].ask(
            "latency_table", seconds=_SECONDS, source=source, length_s=_SECONDS
        )
    except BmoptError as error:
        session.problems.append(f"no latency table: {' '.join(str(error).split())}")
        return
    session.latency_table = LatencyTable.from_json(text)
