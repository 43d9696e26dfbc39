"""Load scenarios: the headline of each, latencies from the intended send time, rates tried."""

from __future__ import annotations

from bmopt.bench.quantities import digits, time_text
from bmopt.bench.report.badge import badge
from bmopt.bench.report.distribution_chart import Latencies, distribution_chart
from bmopt.bench.report.markup import Child, Markup, element, table
from bmopt.bench.report.percentiles import percentile_table
from bmopt.bench.report.run import Run
from bmopt.bench.scenario_summary import RateTrial, ScenarioSummary, summary
from bmopt.bench.statements import Statement
from bmopt.bench.trial_rules import latencies_ns
from bmopt.core.scenario import CONFIRM, MEASURE, OFFLINE, SEARCH, ScenarioRun, Trial

_HEADLINES = (CONFIRM, MEASURE, SEARCH)


def scenario_section(run: Run) -> Markup:
    """Return what every run of a scenario says, and what it is read off."""
    runs = run.document.scenarios
    found = [summary(one) for one in runs]
    shown = [(_label(one), one.subject, latencies_ns(_trial(one))) for one in runs if _timed(one)]
    rows = [Latencies(label, taken, run.hue(subject)) for label, subject, taken in shown]
    latencies = [(label, taken) for label, _, taken in shown]
    note = "Latency counts from the intended send time: a query that waits pays for it."
    return run.section(
        "scenarios",
        "Scenarios",
        table(
            ("", "scenario", "result", "queries", "valid by LoadGen's rules"),
            [_headline(one) for one in found],
            numbers=(3,),
            caption="Results",
        ),
        distribution_chart(f"{run.prefix}-scenarios", "Latencies under load", rows),
        percentile_table("scenario", latencies, "Latency under load"),
        *(_rates(one) for one in found),
        element("p", note, class_="quiet") if runs else None,
    )


def _headline(found: ScenarioSummary) -> tuple[Child, ...]:
    word = Statement("valid", "same", "") if found.valid else Statement("not valid", "open", "")
    why = "; ".join((*found.reasons, *found.notes))
    said = element("span", badge(word), f" {why}")
    return (found.subject, found.scenario, _result(found), _of(found), said)


def _result(found: ScenarioSummary) -> str:
    if found.value is None:
        return "no result"
    value = time_text(found.value) if found.unit == "ns" else f"{digits(found.value)} {found.unit}"
    return f"{found.metric}: {value}"


def _of(found: ScenarioSummary) -> str:
    return f"{found.queries} of {found.needed} needed"


def _timed(one: ScenarioRun) -> bool:
    """Whether its queries have latencies that mean something: offline all are due at once."""
    return one.settings.scenario != OFFLINE and bool(_trial(one).end_ns)


def _trial(one: ScenarioRun) -> Trial:
    """Return the trial that counts: the last one that confirms, else measures, else searches."""
    for role in _HEADLINES:
        found = [trial for trial in one.trials if trial.role == role]
        if found:
            return found[-1]
    return Trial(MEASURE, (), (), ())


def _label(one: ScenarioRun) -> str:
    return f"{one.settings.scenario}, {one.subject}"


def _rates(found: ScenarioSummary) -> Markup:
    """Return the trials of a server in the order they ran."""
    caption = f"Rates tried, {found.subject}"
    headers = ("for", "queries per second", "queries", "slow", "bound")
    return table(headers, [_rate(one) for one in found.trials], numbers=(1, 2, 3), caption=caption)


def _rate(one: RateTrial) -> tuple[str, ...]:
    held = "holds" if one.passed else "broken"
    return (one.role, digits(one.rate), str(one.ran), str(one.slow), held)
