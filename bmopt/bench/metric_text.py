"""Metrics as text: ``top1``, ``f1:micro``, ``map:boxes=B,scores=S``, ``module:function``.

What follows the first colon are options, the fields of the metric's class: ``name=value`` with
commas between them; one may stand without its name.
"""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Mapping
from fractions import Fraction

from bmopt.bench.agreement import Agreement
from bmopt.bench.classification_metrics import F1, Precision, Recall, Top1, Top5
from bmopt.bench.detection_metrics import MeanAveragePrecision, MeanAveragePrecision50
from bmopt.bench.metric import Metric
from bmopt.bench.regression_metrics import MeanAbsoluteError, MeanSquaredError
from bmopt.bench.relative_metrics import CosineSimilarity, SignalToNoise
from bmopt.bench.transcription_metrics import CharacterErrorRate, WordErrorRate
from bmopt.bench.user_function import names_function, user_function
from bmopt.bench.user_metric import UserMetric
from bmopt.errors import UsageError

METRIC_KINDS: Mapping[str, type[Metric]] = {
    metric.kind: metric
    for metric in (
        Top1,
        Top5,
        Precision,
        Recall,
        F1,
        MeanSquaredError,
        MeanAbsoluteError,
        MeanAveragePrecision,
        MeanAveragePrecision50,
        WordErrorRate,
        CharacterErrorRate,
        Agreement,
        SignalToNoise,
        CosineSimilarity,
    )
}


def parse_metric(text: str) -> Metric:
    """Return the metric that ``text`` names.

    Raises:
        UsageError: There is no such metric, option or function, or a value makes no sense.
    """
    kind, _, rest = text.strip().partition(":")
    if kind not in METRIC_KINDS:
        if names_function(text.strip()):
            user_function(text.strip())
            return UserMetric(function=text.strip())
        near = difflib.get_close_matches(kind, METRIC_KINDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(METRIC_KINDS)}"
        raise UsageError(f"metric {text!r}: {hint} or write module:function")
    metric = METRIC_KINDS[kind]
    hints = typing.get_type_hints(metric)
    known = {field.name for field in _options(metric)}
    values: dict[str, typing.Any] = {}
    for part in rest.split(",") if rest else []:
        name, found, value = part.partition("=")
        if not found and metric.positional is not None:
            name, value = metric.positional, part
        name = name.strip().replace("-", "_")
        if name not in known or (not found and metric.positional is None):
            raise UsageError(
                f"metric {text!r}: {part!r} is no option of {kind}; it has "
                f"{', '.join(sorted(known))}"
            )
        values[name] = _converted(text, part, value.strip(), hints[name])
    return metric(**values)


def metric_text(metric: Metric) -> str:
    """Return the text that ``parse_metric`` reads."""
    if isinstance(metric, UserMetric):
        return metric.function
    shown = []
    for field in _options(type(metric)):
        value = getattr(metric, field.name)
        if value != field.default:
            name = "" if field.name == metric.positional else f"{field.name}="
            shown.append(f"{name}{value}")
    return metric.kind + (":" + ",".join(shown) if shown else "")


def _options(metric: type[Metric]) -> list[dataclasses.Field[typing.Any]]:
    """Return the fields that a text sets."""
    return [field for field in dataclasses.fields(metric) if field.metadata.get("option", True)]


def _converted(text: str, part: str, value: str, hint: object) -> object:
    try:
        if hint is int:
            return int(value)
        # A scale is easier to write as 1/640.
        return float(Fraction(value)) if hint is float else value
    except (ValueError, ZeroDivisionError) as error:
        raise UsageError(f"metric {text!r}: {part!r} is no number") from error
