"""Latency, the ladder and costs as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from peers.catalogue import PEERS
from peers.results import ModelResult as LatencyResult
from peers.results import Row
from peers.tables import LACKING, ratio_text, share_text, table

from accuracy.compiling import decibels
from accuracy.goals import OURS, head
from accuracy.latency import (
    LEAST_AGREEMENT,
    geometric_mean,
    is_usable,
    mean_ours_over_fp32,
    ours_over,
    rows_by_peer,
)
from accuracy.results import Cost, Ladder, ModelResult, Step
from accuracy.score_tables import short

_HEADS = {peer.name: head(peer) for peer in PEERS}
_FOREIGN = " \\*"
_RATIOS = """\
bmopt's latency over FP32's in ONNX Runtime and over every peer's, below 1 where bmopt is faster,
with its 99 % interval; *agrees*: of the very model that was timed, with FP32:"""
_FOREIGN_NOTE = """\
\\* made for TensorRT: that its graph is slow on ONNX Runtime says nothing about the tool, which is
no candidate for the best peer."""
_MEANS = f"""\
Geometric means over {{count}}; where a peer makes no model, or one that agrees with FP32 on less
than {LEAST_AGREEMENT:.0%} of the samples, FP32 counts in its place:"""


def latency_parts(models: Sequence[ModelResult]) -> Iterator[str]:
    """Yield the table of latencies, the means, and what the measurement distrusts."""
    found = [model.latency for model in models if model.latency is not None]
    measured = [one for one in found if one.rows]
    yield from (f"**{one.name}**: {one.note}" for one in found if one.note)
    if not measured:
        return
    names = [name for name, _ in rows_by_peer(measured)]
    foreign = {row.name for one in measured for row in one.rows if row.is_for_tensorrt}
    heads = [f"/ {_HEADS.get(n, n)}{_FOREIGN if n in foreign else ''}" for n in names]
    yield _RATIOS
    cells = [_ratio_cells(one, names) for one in measured]
    yield "\n".join(table(["model", "agrees", "bmopt / FP32", *heads], cells))
    yield from _means(measured, foreign)
    if foreign:
        yield _FOREIGN_NOTE
    for one in measured:
        yield from (f"Warning: {one.name}: {warning}" for warning in one.warnings)


def _ratio_cells(found: LatencyResult, names: Sequence[str]) -> list[str]:
    rows = {row.name: row for row in found.rows}
    ours = rows[OURS]
    if ours.note:
        return [found.name, short(ours.note), LACKING, *(LACKING for _ in names)]
    theirs = [_beside(rows[name]) if name in rows else LACKING for name in names]
    return [found.name, share_text(ours.agreement), ratio_text(ours.to_fp32), *theirs]


def _beside(row: Row) -> str:
    if row.note:
        return short(row.note)
    if is_usable(row):
        return ratio_text(row.ours_to_it)
    return f"agrees on {share_text(row.agreement)} only"


def _means(found: Sequence[LatencyResult], foreign: set[str]) -> Iterator[str]:
    means, rows = {}, []
    for name, pairs in rows_by_peer(found):
        means[name] = geometric_mean([ours_over(ours, its) for ours, its in pairs])
        replaced = sum(not is_usable(its) for _, its in pairs)
        title = f"{_HEADS.get(name, name)}{_FOREIGN if name in foreign else ''}"
        rows.append([title, f"{means[name]:.3f}", str(replaced) if replaced else LACKING])
    fp32 = mean_ours_over_fp32(found)
    yield _MEANS.format(count="1 model" if len(found) == 1 else f"{len(found)} models")
    heads = ["peer", "bmopt / it", "models that FP32 stands in for"]
    yield "\n".join(table(heads, [["FP32", f"{fp32:.3f}", LACKING], *rows]))
    candidates = {name: mean for name, mean in means.items() if name not in foreign}
    if candidates:
        best = max(candidates, key=lambda name: candidates[name])
        ratio = candidates[best]
        loss = " **That is slower.**" if ratio > 1 else ""
        yield f"The best single peer is {_HEADS.get(best, best)}: bmopt / it is {ratio:.3f}.{loss}"


def ladder_parts(models: Sequence[ModelResult]) -> Iterator[str]:
    """Yield a table per scheme: a model's agreement and SQNR with every rung and all below."""
    ladders = [(model.name, ladder) for model in models for ladder in model.ladders]
    for target in dict.fromkeys(ladder.target for _, ladder in ladders):
        rows = [(name, ladder) for name, ladder in ladders if ladder.target == target]
        rungs = list(dict.fromkeys(step.name for _, ladder in rows for step in ladder.steps))
        yield f"`{target}`:"
        yield "\n".join(
            table(["model", *rungs], [_ladder_cells(name, ladder, rungs) for name, ladder in rows])
        )


def _ladder_cells(name: str, ladder: Ladder, rungs: Sequence[str]) -> list[str]:
    steps = {step.name: step for step in ladder.steps}
    return [name, *(_step(steps[rung]) if rung in steps else LACKING for rung in rungs)]


def _step(step: Step) -> str:
    if step.note:
        return short(step.note)
    return f"{share_text(step.agreement)}, {decibels(step.sqnr_db)}"


def cost_parts(models: Sequence[ModelResult]) -> Iterator[str]:
    """Yield the table of what quantising takes."""
    rows = [model for model in models if model.costs]
    names = list({cost.name: cost.title for model in rows for cost in model.costs}.items())
    ours = [name for name, _ in names if name.startswith(OURS)]
    heads = ["model", "samples", "inference", *(title for _, title in names)]
    ratios = [f"refinement / inference, {name.removeprefix(f'{OURS}-')}" for name in ours]
    if rows:
        cells = [_cost_cells(model, [name for name, _ in names], ours) for model in rows]
        yield "\n".join(table([*heads, *ratios], cells))


def _cost_cells(model: ModelResult, names: Sequence[str], ours: Sequence[str]) -> list[str]:
    costs = {cost.name: cost for cost in model.costs}
    plain = model.inference_seconds
    return [
        model.name,
        f"{model.calibrated:,}",
        LACKING if plain is None else f"{plain:.3f} s",
        *(_cost(costs.get(name)) for name in names),
        *(_ratio(costs.get(name), plain) for name in ours),
    ]


def _cost(cost: Cost | None) -> str:
    if cost is None:
        return LACKING
    if cost.note or cost.seconds is None:
        return short(cost.note) or LACKING
    memory = "" if cost.peak_bytes is None else f", {cost.peak_bytes / 1e6:,.0f} MB"
    return f"{cost.seconds:.1f} s{memory}"


def _ratio(cost: Cost | None, plain: float | None) -> str:
    if cost is None or cost.refine_seconds is None or not plain:
        return LACKING
    return f"{cost.refine_seconds / plain:.1f}"
