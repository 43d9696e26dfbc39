"""Which nodes of an 8-bit model run in integers: those for which it pays, by the clock."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bmopt.core.digest import of_bytes
from bmopt.core.host import host_facts
from bmopt.core.latency_table import LatencyTable
from bmopt.core.ranges import Method
from bmopt.core.scheme import FloatRules
from bmopt.errors import UsageError
from bmopt.graph.products import multiply_adds, product_of
from bmopt.workflow.contenders import Contenders
from bmopt.workflow.latency_probing import Probing, probe_latencies
from bmopt.workflow.preparing import Job
from bmopt.workflow.quantizing import Quantizer, candidates, format_rules, parse_rules
from bmopt.workflow.racing import Candidate, Race, winner
from bmopt.workflow.recipe import MEASURED, RULES
from bmopt.workflow.stand_in import is_foreign

_FIELD = 8
_SHORTLIST = 3
_FINALISTS = 2
_HEATS = (0.35, 0.3, 0.35)
_PROBING = 0.5
_LEAST_INTEGER_SHARE = 0.5
_SECONDS_PER_ENGINE = 0.5


@dataclasses.dataclass(frozen=True)
class Placed:
    """A placement and how it was come by.

    Attributes:
        keep_float: Nodes to keep in float by name.
        rules: Rules that keep others in float; none where the placement was measured.
        table: What the model's parts take; None where that was not measured.
        ratios: Every candidate's latency relative to the float model's, the fastest first; empty
            where none was timed.
        pays: Whether it is faster than the float model, as far as was measured or predicted.
        note: What a reader of a report should know of the choice, in a sentence; may be empty.
    """

    keep_float: tuple[str, ...] = ()
    rules: FloatRules = dataclasses.field(default_factory=FloatRules)
    table: LatencyTable | None = None
    ratios: Mapping[str, float] = dataclasses.field(default_factory=dict)
    pays: bool = True
    note: str = ""

    def to_json(self) -> str:
        """Return text that ``from_json`` makes an equal value of."""
        table = None if self.table is None else self.table.to_json()
        return json.dumps({**dataclasses.asdict(self), "table": table})

    @classmethod
    def from_json(cls, text: str) -> Placed:
        """Parse ``to_json``'s text."""
        document: dict[str, Any] = json.loads(text)
        table = document.pop("table")
        return cls(
            **{
                **document,
                "keep_float": tuple(document["keep_float"]),
                "rules": FloatRules(**document["rules"]),
                "table": None if table is None else LatencyTable.from_json(table),
            }
        )


def choose_placement(job: Job, quantizer: Quantizer, method: Method) -> Placed:
    """Return the placement that the recipe asks for; the fastest one where it is to be measured.

    Raises:
        UsageError: The latency table cannot be read.
        QuantizationError: It is damaged, or of another model.
    """
    wanted = job.recipe.placement
    if wanted not in (MEASURED, RULES):
        return Placed(rules=parse_rules(wanted))
    by_rules = Placed(rules=quantizer.scheme.rules)
    if wanted == RULES:
        return by_rules
    if job.recipe.latency_table:
        return _from_table(job, quantizer, method)
    if not job.able.run:
        return by_rules
    if job.recipe.duration_s <= 0:
        job.progress.warn(
            "placement was not measured, as --duration is 0: the target's rules decide what runs "
            "in integers, whether it pays or not"
        )
        return by_rules
    job.progress.step("choose placement")
    measure = _raced_rules if _has_no_profile(job, quantizer) else _measured
    return Placed.from_json(_cached(job, quantizer, method, measure))


def read_table(path: Path) -> LatencyTable:
    """Return the latency table in a file.

    Raises:
        UsageError: The file cannot be read.
        QuantizationError: It is no latency table.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is no latency table, but not even text") from error
    return LatencyTable.from_json(text, source=str(path))


def _has_no_profile(job: Job, quantizer: Quantizer) -> bool:
    """Whether the target's engine does not tell how long its kernels take."""
    return is_foreign(job.target) or quantizer.scheme.side == "inputs"


def _cached(
    job: Job,
    quantizer: Quantizer,
    method: Method,
    measure: Callable[[Job, Quantizer, Method], Placed],
) -> str:
    return job.cache.text(
        lambda: measure(job, quantizer, method).to_json(),
        "placement",
        weight_scales={name: list(s) for name, s in quantizer.weight_scales.items()},
        table=of_bytes(quantizer.table.to_json().encode()),
        scheme=quantizer.scheme.name,
        keep_float=list(quantizer.keep_float),
        method=method,
        target=str(job.target),
        float_type=job.recipe.float_type,
        threads=job.recipe.threads,
        cpu=host_facts().model,
        gpus=[str(gpu) for gpu in host_facts().gpus],
    )


def _from_table(job: Job, quantizer: Quantizer, method: Method) -> Placed:
    """Return the fastest placement by a table that was measured elsewhere."""
    path = Path(job.recipe.latency_table)
    table = read_table(path)
    table.require_model(quantizer.table.model)
    if table.target != str(job.target):
        job.progress.warn(f"{path}: was measured on {table.target}, this is for {job.target}")
    contenders = Contenders(quantizer, method, table)
    best = contenders.cut()
    in_float = contenders.table.predicted_ns(contenders.table.groups)
    assert best.predicted_ns is not None
    share = best.predicted_ns / in_float if in_float else 1.0
    return Placed(
        keep_float=best.keep_float,
        table=table,
        pays=bool(best.plan.integer) and share < 1.0,
        note=f"{path.name} predicts {share:.3f} of the float model's latency",
    )


def _measured(job: Job, quantizer: Quantizer, method: Method) -> Placed:
    """Measure a table, and race what it suggests."""
    feeds, seconds = job.pool(), job.recipe.duration_s
    probing = Probing(
        job.reference,
        str(job.target),
        feeds,
        job.recipe.threads,
        _PROBING * seconds,
        job.progress.advance,
    )
    table = probe_latencies(quantizer, method, probing)
    contenders = Contenders(quantizer, method, table)
    with Race(quantizer, feeds) as race:
        field = race.enter(contenders.first(_FIELD))
        field = race.heat(field, _HEATS[0] * seconds)[:_SHORTLIST]
        if field:
            field = [*field, *race.enter(contenders.neighbours(field[0]))]
            field = race.heat(field, _HEATS[1] * seconds)[:_FINALISTS]
            field = race.heat(field, _HEATS[2] * seconds)
        ratios = race.ratios
    placed = _judged(winner(field, ratios), ratios, quantizer, method)
    return dataclasses.replace(placed, table=table)


def _raced_rules(job: Job, quantizer: Quantizer, method: Method) -> Placed:
    """Race placements by rules, on an engine that does not tell where its time goes."""
    field = _by_rules(quantizer, method)
    seconds = min(job.recipe.duration_s, _SECONDS_PER_ENGINE * (len(field) + 1))
    with Race(quantizer, job.pool()) as race:
        field = race.heat(race.enter(field), seconds)
        ratios = race.ratios
    return _judged(winner(field, ratios), ratios, quantizer, method)


def _by_rules(quantizer: Quantizer, method: Method) -> list[Candidate]:
    """Return what rules make that has at least half of the most integers."""
    found = []
    for rules in candidates(quantizer.scheme.rules, quantizer.scheme.side):
        plan = quantizer.plan(method, rules)
        members = set(plan.weights)
        products = [product_of(n) for n in quantizer.model.graph if (n.name or "") in members]
        work = sum(multiply_adds(p) or 1 for p in products if p is not None)
        found.append(Candidate(format_rules(rules), plan, rules=rules, integer_work=work))
    most = max(one.integer_work for one in found)
    return [one for one in found if one.integer_work >= _LEAST_INTEGER_SHARE * most]


def _judged(
    best: Candidate | None, ratios: Mapping[str, float], quantizer: Quantizer, method: Method
) -> Placed:
    if best is not None:
        return Placed(best.keep_float, best.rules, ratios=ratios, note=f"placement: {best.name}")
    nearest = min(ratios.values(), default=1.0)
    return Placed(
        keep_float=tuple(quantizer.plan(method, FloatRules()).weights),
        ratios=ratios,
        pays=False,
        note=f"no placement is faster than float here, the nearest takes {nearest:.3f} of its "
        "latency",
    )
