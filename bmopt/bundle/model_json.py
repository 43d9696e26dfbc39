"""One model of a manifest, read with everything checked."""

from __future__ import annotations

import math

from bmopt.bundle.json_fields import Fields
from bmopt.bundle.layout import checked_path
from bmopt.bundle.manifest import (
    DTYPES,
    ENGINES,
    MAX_RANK,
    RECORDED,
    AccuracyFact,
    Calibration,
    GoldenInput,
    GoldenOutput,
    GoldenPair,
    LatencyFact,
    Model,
    Needs,
    Port,
    Profile,
    RuntimeNeed,
    Source,
)
from bmopt.errors import BundleError

_LAYOUTS = ("NCHW", "NHWC")


def read_model(fields: Fields) -> Model:
    """Return the model in ``fields``.

    Raises:
        BundleError: It is malformed or contradicts itself.
    """
    model = Model(
        name=fields.text("name"),
        target=fields.text("target"),
        engine=fields.choice("engine", ENGINES),
        file=_path(fields),
        digest=fields.text("digest"),
        needs=_needs(fields.child("needs")),
        inputs=_ports(fields, "inputs"),
        outputs=_ports(fields, "outputs"),
        golden=tuple(_golden(pair) for pair in fields.objects("golden")),
        passes=fields.optional("passes", fields.text) or "",
        versions=fields.text_map("versions"),
        session=fields.text_map("session"),
        source=fields.optional("source", lambda key: _source(fields.child(key))),
        calibration=fields.optional("calibration", lambda key: _calibration(fields.child(key))),
        accuracy=fields.optional("accuracy", lambda key: _accuracy(fields.child(key))),
        latency=fields.optional("latency", lambda key: _latency(fields.child(key))),
    )
    _check_golden(model, fields.where)
    return model


def _path(fields: Fields) -> str:
    return checked_path(fields.text("file"), fields.where)


def _source(fields: Fields) -> Source:
    return Source(fields.text("file"), fields.text("sha256"), fields.text("digest"))


def _calibration(fields: Fields) -> Calibration:
    return Calibration(fields.text("fingerprint"), fields.integer("samples"))


def _accuracy(fields: Fields) -> AccuracyFact:
    return AccuracyFact(
        fields.text("metric"),
        fields.number("value"),
        fields.number("reference"),
        fields.integer("samples"),
        fields.text("how"),
    )


def _latency(fields: Fields) -> LatencyFact:
    low, high = fields.numbers("interval", 2)
    return LatencyFact(
        fields.number("p50_ns"),
        fields.number("ratio"),
        (low, high),
        fields.text("host"),
        fields.text("how"),
    )


def _needs(fields: Fields) -> Needs:
    runtime = fields.child("runtime")
    return Needs(
        cpu=tuple(_flags(entry, fields.where) for entry in fields.items("cpu")),
        gpu=fields.texts("gpu"),
        runtime=RuntimeNeed(*(runtime.text(key) for key in ("name", "min", "below", "made_with"))),
    )


def _flags(entry: object, where: str) -> tuple[str, ...]:
    flags = [entry] if isinstance(entry, str) else entry
    if not isinstance(flags, list) or not flags or not all(isinstance(f, str) for f in flags):
        raise BundleError(f"{where}: cpu has to be a list of flags, or of lists of such")
    return tuple(flags)


def _ports(fields: Fields, key: str) -> tuple[Port, ...]:
    ports = tuple(_port(item) for item in fields.objects(key))
    if not ports or len({port.name for port in ports}) < len(ports):
        raise BundleError(f"{fields.where}: {key} have to be there, each under a name of its own")
    return ports


def _port(fields: Fields) -> Port:
    shape = fields.integers("shape", least=-1)
    axes = fields.optional("axes", fields.items) or [None] * len(shape)
    if len(shape) > MAX_RANK or len(axes) != len(shape):
        raise BundleError(f"{fields.where}: shape has at most {MAX_RANK} axes, axes as many")
    if not all(axis is None or isinstance(axis, str) for axis in axes):
        raise BundleError(f"{fields.where}: axes have to be texts or null")
    bounds = fields.optional("range", lambda key: fields.numbers(key, 2))
    return Port(
        name=fields.text("name"),
        dtype=fields.choice("dtype", DTYPES),
        shape=shape,
        axes=tuple(axes),
        layout=fields.optional("layout", lambda key: fields.choice(key, _LAYOUTS)),
        range=None if bounds is None else (bounds[0], bounds[1]),
        profile=fields.optional("profile", lambda key: _profile(fields.child(key))),
    )


def _profile(fields: Fields) -> Profile:
    return Profile(*(fields.integers(key, least=0) for key in ("min", "opt", "max")))


def _golden(fields: Fields) -> GoldenPair:
    return GoldenPair(
        tuple(GoldenInput(item.text("name"), _path(item)) for item in fields.objects("inputs")),
        tuple(_golden_output(item) for item in fields.objects("outputs")),
    )


def _golden_output(fields: Fields) -> GoldenOutput:
    tolerance = fields.number("tolerance")
    step = fields.optional("step", fields.number)
    if not 0 <= tolerance < math.inf or (step is not None and step <= 0):
        raise BundleError(f"{fields.where}: tolerance must not be negative, step has to be more")
    recorded = fields.optional("recorded", lambda key: fields.choice(key, RECORDED))
    return GoldenOutput(
        fields.text("name"), _path(fields), tolerance, step, recorded or RECORDED[0]
    )


def _check_golden(model: Model, where: str) -> None:
    """Check that every golden pair has each input and output once."""
    for pair in model.golden:
        for tensors, ports in ((pair.inputs, model.inputs), (pair.outputs, model.outputs)):
            found = sorted(tensor.name for tensor in tensors)
            if found != sorted(port.name for port in ports):
                raise BundleError(f"{where}: golden has to have every input and output once")
