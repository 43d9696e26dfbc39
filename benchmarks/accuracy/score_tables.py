"""Accuracy as Markdown: agreement beside the goals, top-1, and what was missed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from peers.tables import LACKING, share_text, table

from accuracy.goals import GOALS, OURS, Goal, missed, rivals
from accuracy.results import ModelResult, SchemeResult, Score

_LONGEST = 60
_AGREEMENT = "Share of the validation samples on which INT8 chooses the same class as FP32:"
_TOP1 = """\
Share of them that is right, and the paired 95 % interval of its difference to FP32's in points:"""
_ALL_REACHED = "Every goal is reached, and bmopt is above every rival that was measured."
_BEHIND = "**Losses.** Goals that are missed, and rivals that bmopt is not above:"
_OTHERS = "Tools for the other engine that agree with FP32 on more samples than bmopt does:"

_Rows = list[tuple[ModelResult, SchemeResult]]


def score_parts(models: Sequence[ModelResult]) -> Iterator[str]:
    """Yield the tables of accuracy and the lines below them."""
    yield from (f"**{model.name}**: {model.note}" for model in models if model.note)
    rows = [(model, found) for model in models for found in model.schemes]
    if not rows:
        return
    names = _columns(rows)
    heads = [head for _, head in names]
    yield _AGREEMENT
    cells = [_agreement_cells(model, found, [name for name, _ in names]) for model, found in rows]
    yield "\n".join(table(["model", "scheme", "goal", *heads, "verdict"], cells))
    yield from _losses(rows)
    yield _TOP1
    cells = [_top1_cells(model, found, [name for name, _ in names]) for model, found in rows]
    yield "\n".join(table(["model", "scheme", "samples", "FP32", *heads], cells))
    for model, found in rows:
        yield from (f"Warning: {model.name}, {found.target}: {one}" for one in found.warnings)


def _columns(rows: _Rows) -> list[tuple[str, str]]:
    return list(
        {row.name: (row.name, row.title) for _, found in rows for row in found.rows}.values()
    )


def _agreement_cells(model: ModelResult, found: SchemeResult, names: Sequence[str]) -> list[str]:
    goal = GOALS.get((model.name, found.target))
    return [
        model.name,
        found.target,
        _goal(goal),
        *(_agreement(found.row(name)) for name in names),
        "**missed**" if missed(model.name, found) else "reached",
    ]


def _goal(goal: Goal | None) -> str:
    if goal is None:
        return LACKING
    return f"{share_text(goal.agreement)}{', top-1 kept' if goal.keeps_top1 else ''}"


def _top1_cells(model: ModelResult, found: SchemeResult, names: Sequence[str]) -> list[str]:
    counts = f"{found.samples:,}"
    top1 = share_text(found.fp32_top1)
    return [model.name, found.target, counts, top1, *(_top1(found.row(name)) for name in names)]


def _agreement(row: Score | None) -> str:
    if row is None:
        return LACKING
    if row.agreement is None:
        return short(row.note) or LACKING
    return f"**{share_text(row.agreement)}**" if row.name == OURS else share_text(row.agreement)


def _top1(row: Score | None) -> str:
    if row is None or row.top1 is None:
        return LACKING
    if row.change is None:
        return share_text(row.top1)
    low, high = 100 * row.change.low, 100 * row.change.high
    return f"{share_text(row.top1)} [{low:+.2f}, {high:+.2f}]"


def short(note: str) -> str:
    """Return a note that fits a cell."""
    return note if len(note) <= _LONGEST else f"{note[: _LONGEST - 3]}..."


def _losses(rows: _Rows) -> Iterator[str]:
    lines = [
        f"- {model.name}, {found.target}: {'; '.join(missed(model.name, found))}"
        for model, found in rows
        if missed(model.name, found)
    ]
    yield "\n".join([_BEHIND, "", *lines]) if lines else _ALL_REACHED
    others = [line for model, found in rows for line in _above(model, found)]
    if others:
        yield "\n".join([_OTHERS, "", *others])


def _above(model: ModelResult, found: SchemeResult) -> Iterator[str]:
    """Yield a line where a tool that is no rival agrees with FP32 on more samples."""
    ours, known = found.row(OURS), {OURS, *(row.name for row in rivals(found))}
    if ours is None or ours.agreement is None:
        return
    better = [
        f"{row.title} {share_text(row.agreement)}"
        for row in found.rows
        if row.name not in known and (row.agreement or 0.0) > ours.agreement
    ]
    if better:
        yield (
            f"- {model.name}, {found.target}: {', '.join(better)}; "
            f"bmopt {share_text(ours.agreement)}"
        )
