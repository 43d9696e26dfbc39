"""An artifact's ``report.json`` as the document of a benchmark, so that it can be drawn."""

from __future__ import annotations

import base64
import dataclasses
import json
import shlex
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from bmopt.bench.paired import Paired
from bmopt.core.bench_document import (
    Accuracy,
    BenchDocument,
    PlacedNode,
    Placement,
    Subject,
    TensorSqnr,
)
from bmopt.core.measurement import Measurement
from bmopt.core.prune_trials import PruneTrials
from bmopt.core.ranges import Interval
from bmopt.errors import ArtifactError
from bmopt.workflow.measuring import ARTIFACT, SOURCE

REPORT_KEY = "bmopt_report"

_VERSION = 1
_NO_SCORE = ("none", "agreement")

Json = Mapping[str, Any]


def from_artifact_report(
    report: Json, manifest: Json | None = None, *, source: str = "report"
) -> BenchDocument:
    """Return what ``bmopt compile`` measured on an artifact as a benchmark of two subjects.

    Args:
        report: The content of ``report.json``.
        manifest: That of ``manifest.json``, which has the digests.
        source: What the report is called in messages.

    Raises:
        ArtifactError: It is no report of an artifact, or one of another version.
    """
    if report.get(REPORT_KEY) != _VERSION:
        raise ArtifactError(
            f"{source}: report version {report.get(REPORT_KEY)!r}, this bmopt reads {_VERSION}; "
            "compile again"
        )
    try:
        return _document(report, manifest or {}, source)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(
            f"{source}: is no report of an artifact ({error!r}); compile again"
        ) from error


def _document(report: Json, manifest: Json, source: str) -> BenchDocument:
    measurement = _measurement(report, source)
    accuracy = report.get("accuracy")
    return BenchDocument(
        command=_command(report),
        bmopt=str(manifest.get("bmopt", "")),
        subjects=_subjects(report, manifest, _rival(report)),
        measurement=measurement,
        accuracy=() if accuracy is None else _accuracy(accuracy),
        layer_sqnr=(*(() if accuracy is None else _sqnr(accuracy)), *_layers(report)),
        placement=_placement(report.get("placement")),
        pruning=_pruning(report.get("pruning")),
        environment={} if measurement is None else dict(measurement.environment.facts),
        warnings=(*map(str, report["warnings"]), *_notes(report)),
    )


def _command(report: Json) -> str:
    recipe = PurePath(report["artifact"]["path"]) / "recipe.toml"
    return shlex.join(["bmopt", "compile", str(report["source"]["file"]), "--recipe", str(recipe)])


def _rival(report: Json) -> str:
    """Return what latency was compared with: the source model, or a target."""
    return str((report.get("latency") or {}).get("reference", SOURCE))


def _subjects(report: Json, manifest: Json, rival: str) -> tuple[Subject, ...]:
    target, made = str(report["target"]), report["artifact"]
    versions = {str(name): str(text) for name, text in report.get("versions", {}).items()}
    engine = report.get("engine")
    name = "" if engine is None else f"{engine['engine']} {engine['version']}"
    before = Subject(
        SOURCE,
        str(report["source"]["file"]),
        "model",
        digest=str(manifest.get("source", {}).get("digest", "")),
        size_bytes=int(report["source"]["size_bytes"]),
    )
    others = () if rival == SOURCE else (Subject(rival, "", "engine", rival),)
    after = Subject(
        ARTIFACT,
        str(made["path"]),
        "artifact",
        target,
        str(manifest.get("digest", "")),
        int(made["size_bytes"]),
        name,
        versions,
    )
    return (before, *others, after)


def _measurement(report: Json, source: str) -> Measurement | None:
    """Return the samples, the reference under its own name where it is not the source model."""
    if report.get("measurement") is None:
        return None
    found = Measurement.from_dict(report["measurement"], source=source)
    names = {SOURCE: _rival(report)}
    return dataclasses.replace(
        found,
        variants=tuple(names.get(name, name) for name in found.variants),
        blocks=tuple(
            dataclasses.replace(block, variant=names.get(block.variant, block.variant))
            for block in found.blocks
        ),
    )


def _accuracy(found: Json) -> tuple[Accuracy, ...]:
    samples, decides = int(found["samples"]), found["metric"]
    interval = found.get("difference")
    rows = [
        Accuracy(
            ARTIFACT,
            str(metric),
            float(value),
            float(found["reference"][metric]),
            Interval(*map(float, interval)) if interval and metric == "top1" else None,
            _p_value(found) if metric == "top1" else None,
            samples,
        )
        for metric, value in found["candidate"].items()
        if metric not in _NO_SCORE
    ]
    rows.sort(key=lambda row: row.metric != decides)
    if found.get("agreement") is not None:
        rows.append(Accuracy(ARTIFACT, "agreement", float(found["agreement"]), samples=samples))
    return tuple(rows)


def _p_value(found: Json) -> float | None:
    """Return McNemar's p of the samples that each got right; None without labels."""
    packed = found.get("top1")
    if packed is None:
        return None
    bits = (base64.b64decode(packed[side]) for side in ("reference", "candidate"))
    return Paired(int(packed["samples"]), *bits).mcnemar().mid_p


def _sqnr(found: Json) -> tuple[TensorSqnr, ...]:
    outputs = found["sqnr_db"].items()
    return tuple(TensorSqnr(str(name), float(value), ARTIFACT) for name, value in outputs)


def _layers(report: Json) -> tuple[TensorSqnr, ...]:
    """Return how far every refined layer is from float."""
    layers = (report.get("refinement") or {}).get("layers", ())
    return tuple(
        TensorSqnr(
            f"{layer['node']} ({', '.join(layer['steps'])})", float(layer["after_db"]), ARTIFACT
        )
        for layer in layers
    )


def placement_of(path: Path, subject: str) -> Placement | None:
    """Return where the nodes of an artifact run, as its ``report.json`` tells; None without.

    Raises:
        ArtifactError: The file is no report.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get("placement")
        placed = _placement(found)
    except FileNotFoundError:
        return None
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(f"{path}: is no report ({error!r}); compile again") from error
    return dataclasses.replace(placed[0], subject=subject) if placed else None


def _placement(found: Json | None) -> tuple[Placement, ...]:
    if found is None:
        return ()
    nodes = tuple(
        PlacedNode(str(n["node"]), str(n["op"]), bool(n["integer"]), str(n["kernel"]), n["reason"])
        for n in found["nodes"]
    )
    texts = (str(found.get(key, "")) for key in ("scheme", "method", "rules"))
    return (Placement(ARTIFACT, nodes, *texts),)


def _pruning(found: Json | None) -> tuple[PruneTrials, ...]:
    return () if found is None else (PruneTrials.from_report(found),)


def _notes(report: Json) -> list[str]:
    latency = report.get("latency_note")
    accuracy = (report.get("accuracy") or {}).get("note")
    notes = (
        f"latency was not measured: {latency}" if latency else "",
        f"accuracy is {accuracy}" if accuracy else "",
        str(report.get("engine_note") or ""),
    )
    return [note for note in notes if note]
