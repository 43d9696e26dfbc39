"""Load scenarios, one subject after the other."""

from __future__ import annotations

from bmopt.core.scenario import ScenarioRun, ScenarioSettings, Trial
from bmopt.errors import BmoptError
from bmopt.workflow.benching.session import Session
from bmopt.workflow.benching.workers import Worker


def measure_scenarios(session: Session) -> None:
    """Run every scenario on every subject; a run that fails keeps the trials that ended."""
    for settings in session.options.scenario_settings():
        for worker in session.here(settings.scenario):
            session.progress.step(f"{settings.scenario}, {worker.name}")
            _put(session, _run(session, worker, settings))


def _run(session: Session, worker: Worker, settings: ScenarioSettings) -> ScenarioRun:
    trials: list[Trial] = []
    try:
        found: ScenarioRun = worker.ask(
            "scenario",
            seconds=settings.max_duration_s,
            told=trials.append,
            name=worker.name,
            settings=settings,
            samples_per_feed=session.samples.opened.pool[0].size,
        )
    except BmoptError as error:
        session.fail(worker.name, error)
        return ScenarioRun(worker.name, settings, tuple(trials), failure=str(error))
    except KeyboardInterrupt:
        _put(session, ScenarioRun(worker.name, settings, tuple(trials), failure="interrupted"))
        raise
    if found.failure:
        session.fail(worker.name, BmoptError(found.failure))
    return found


def _put(session: Session, run: ScenarioRun) -> None:
    session.put(scenarios=(*session.document.scenarios, run))
