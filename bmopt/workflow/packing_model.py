"""One artifact as a model of a bundle: its files, and what it says of itself."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx_ir as ir

from bmopt.bundle import golden, layout
from bmopt.bundle.manifest import Calibration, Model, Port, Source
from bmopt.bundle.measured import accuracy_of, latency_of, printable
from bmopt.bundle.ports import input_ports, output_ports, with_layout
from bmopt.bundle.target_needs import EngineFacts, needs_of
from bmopt.bundle.tvm_library import signature_in
from bmopt.bundle.tvm_runtime import FFI, RUNTIME, pair_of
from bmopt.bundle.writer import copy_files
from bmopt.errors import ArtifactError
from bmopt.graph.model_io import save_model
from bmopt.workflow import artifact
from bmopt.workflow.engines import MODEL, read_engine, read_options
from bmopt.workflow.packed_artifact import Packed
from bmopt.workflow.packing_folded import profiles_for_pixels
from bmopt.workflow.packing_golden import allowed_in, recorded_in, warn_of_loose
from bmopt.workflow.progress import Progress


def pack_model(bundle: Path, packed: Packed, progress: Progress) -> Model:
    """Copy an artifact's model and golden tensors into ``bundle``, and describe it.

    Raises:
        ArtifactError: A file of the artifact is damaged.
        BundleError: A tensor is of a type that the runner has not, or cannot be checked.
    """
    recorded = recorded_in(packed, _place_model(bundle, packed))
    ranges = _ranges(packed)
    feeds, answers = recorded.pairs[0]
    options = None if packed.engine_file else read_options(packed.path)
    options = profiles_for_pixels(options, packed)
    inputs = input_ports(packed.graph, feeds, ranges, options)
    ports = (
        with_layout(inputs, packed.preprocess),
        output_ports(packed.graph, answers, ranges),
    )
    allowed = allowed_in(packed, recorded)
    warn_of_loose(packed, recorded, allowed, progress)
    pairs = golden.write_golden(bundle, packed.name, recorded, allowed, ports)
    return dataclasses.replace(_described(packed, *ports), golden=pairs)


def _ranges(packed: Packed) -> Mapping[str, Any]:
    """Return what calibration saw of every tensor, nothing where it was not asked."""
    file = packed.path / artifact.RANGES
    if not file.is_file():
        return {}
    # Of the floats that an input of pixels becomes under another name.
    pixels = packed.folded.pixels if packed.folded is not None else {}
    try:
        tensors = dict(json.loads(file.read_text(encoding="utf-8"))["tensors"])
        return {name: entry for name, entry in tensors.items() if name != pixels.get("input")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{file}: is no range table ({error!r}); compile again") from error


def _place_model(bundle: Path, packed: Packed) -> Path:
    """Put the model's files into the bundle; return the first of them."""
    if packed.folded is None:
        files = _model_files(packed)
        copy_files(bundle, files)
        return bundle / next(iter(files))
    path = bundle / layout.MODELS / packed.name / MODEL
    path.parent.mkdir(parents=True)
    save_model(packed.graph, path)
    return path


def _model_files(packed: Packed) -> dict[str, Path]:
    place = f"{layout.MODELS}/{packed.name}"
    if packed.engine_file:
        return {f"{place}/{packed.engine_file}": packed.path / packed.engine_file}
    # Weights may lie beside the graph, in files that are named after it.
    names = [name for name in packed.manifest["files"] if name.startswith(MODEL)]
    return {f"{place}/{name}": packed.path / name for name in names}


def _described(packed: Packed, inputs: tuple[Port, ...], outputs: tuple[Port, ...]) -> Model:
    manifest = packed.manifest
    report = artifact.read_report(packed.path)
    versions = {str(k): printable(str(v)) for k, v in manifest.get("versions", {}).items()}
    return Model(
        name=packed.name,
        target=str(packed.target),
        engine=packed.engine,
        file=f"{layout.MODELS}/{packed.name}/{packed.engine_file or MODEL}",
        digest=str(manifest["digest"]),
        needs=needs_of(
            packed.target,
            _made_with(packed, versions),
            _engine_facts(packed),
            _opset(packed.graph),
        ),
        inputs=inputs,
        outputs=outputs,
        golden=(),
        passes=printable(_passes(packed)),
        versions=versions,
        session=_session(packed, versions),
        source=_source(manifest.get("source")),
        calibration=_calibration(manifest.get("calibration")),
        accuracy=accuracy_of(report),
        latency=latency_of(report),
    )


def _made_with(packed: Packed, versions: Mapping[str, str]) -> str:
    """Return the version of the runtime that an artifact was made with, empty without one."""
    engine = packed.target.engine
    if engine == "tvm":
        return pair_of(versions)[RUNTIME.name]
    return versions.get({"trt": "tensorrt", "rtx": "tensorrt_rtx"}.get(engine, "onnxruntime"), "")


def _session(packed: Packed, versions: Mapping[str, str]) -> dict[str, str]:
    """Return what the runner's plugin is told.

    TVM's library tells no version and the one below it only its release, which is compared.
    """
    if packed.target.engine != "tvm":
        return {}
    release = re.match(r"\d+(\.\d+)*", pair_of(versions)[FFI.name])
    return {"tvm_ffi": release[0]} if release else {}


def _passes(packed: Packed) -> str:
    """Return the passes between the source model and the packed one."""
    done = str(packed.manifest.get("pipeline", ""))
    added = "" if packed.folded is None else packed.folded.passes
    return ",".join(filter(None, (done, added)))


def _engine_facts(packed: Packed) -> EngineFacts | None:
    built = read_engine(packed.path) if packed.engine_file else None
    if built is None:
        return None
    options = read_options(packed.path)
    is_portable = options is not None and options.compat == "version"
    is_tvm = packed.target.engine == "tvm"
    flags = signature_in(packed.path / packed.engine_file).flags if is_tvm else ()
    return EngineFacts(built.version, built.devices, is_portable, flags)


def _opset(model: ir.Model) -> int:
    return int(model.opset_imports.get("", 0))


def _source(entry: Mapping[str, Any] | None) -> Source | None:
    if not entry:
        return None
    return Source(*(printable(str(entry.get(key, ""))) for key in ("file", "sha256", "digest")))


def _calibration(entry: Mapping[str, Any] | None) -> Calibration | None:
    if not entry:
        return None
    return Calibration(str(entry["fingerprint"]), int(entry["samples"]))
