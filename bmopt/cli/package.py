"""``bmopt package``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from bmopt.cli.options import add_json, positive
from bmopt.cli.output import print_json, print_table, say
from bmopt.cli.units import size_text
from bmopt.cli.verb import Verb

if TYPE_CHECKING:
    from bmopt.bundle.manifest import Model
    from bmopt.workflow.packaging import Package

_PLATFORMS = ("x86_64-linux", "aarch64-linux")
_NATIVE = "native"
_FORMATS = (_NATIVE, "triton", "torchserve", "mlflow", "oci", "ort")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "artifacts",
        metavar="ARTIFACT",
        nargs="+",
        type=Path,
        help="artifact folders; the device runs the first that it can",
    )
    parser.add_argument(
        "--for",
        dest="platform",
        choices=_PLATFORMS,
        required=True,
        help="the device's platform",
    )
    parser.add_argument(
        "-o",
        "--out",
        metavar="OUT",
        type=Path,
        help="a folder, or an archive .tar.zst, .tar.gz or .zip (default: NAME.PLATFORM.tar.zst)",
    )
    parser.add_argument(
        "--format",
        dest="kind",
        choices=_FORMATS,
        default=_NATIVE,
        help="native: a bundle that runs without Python (default); else what a server or another "
        "build of ONNX Runtime loads",
    )
    parser.add_argument(
        "--fold-preprocess",
        action="store_true",
        help="let the packed graph take stored pixels (uint8) and prepare them itself",
    )
    parser.add_argument(
        "--top-k",
        metavar="N",
        type=positive,
        default=0,
        help="let the packed graph give the N highest scores and their classes",
    )
    parser.add_argument(
        "--slim", action="store_true", help="leave the engine's runtime library out"
    )
    parser.add_argument(
        "--sign", metavar="KEY", type=Path, help="sign with an ed25519 private key (a PEM file)"
    )
    parser.add_argument(
        "--labels", metavar="FILE", type=Path, help="the classes' names, one a line"
    )
    parser.add_argument(
        "--name", metavar="NAME", default="", help="name of the bundle (default: the model's)"
    )
    parser.add_argument(
        "--runtime",
        metavar="FILE",
        type=Path,
        help="ONNX Runtime's wheel or shared library for the device, or a folder with TVM's two "
        "wheels (default: the versions installed here)",
    )
    add_json(parser)


def _run(arguments: argparse.Namespace) -> int:
    from bmopt.cli.progress import shown_progress
    from bmopt.workflow.packaging import PackageOptions, package
    from bmopt.workflow.packaging_formats import package_as

    options = PackageOptions(
        platform=arguments.platform,
        is_slim=arguments.slim,
        key=arguments.sign,
        labels=arguments.labels,
        name=arguments.name,
        runtime=arguments.runtime,
        fold_preprocess=arguments.fold_preprocess,
        top_k=arguments.top_k,
    )
    with shown_progress() as progress:
        if arguments.kind == _NATIVE:
            found = package(arguments.artifacts, options, arguments.out, progress)
        else:
            given = arguments.kind, arguments.artifacts, options, arguments.out
            found = package_as(*given, progress)
    if arguments.json:
        print_json(_document(found, arguments.kind))
    else:
        _print(found, _next(found, arguments.kind))
    return 0


def _next(found: Package, kind: str) -> str:
    """Return what to do with what was written."""
    if kind == _NATIVE:
        return "on the device, unpacked: ./smoke_test"
    from bmopt.bundle.formats.serving import FORMATS

    return FORMATS[kind].use(found.path, found.manifest.name)


def _document(found: Package, kind: str) -> dict[str, object]:
    from bmopt.bundle.manifest_json import to_json

    manifest = json.loads(to_json(found.manifest))
    written = {"format": kind, "path": str(found.path), "bytes": found.size_bytes}
    return {**written, "manifest": manifest}


def _print(found: Package, advice: str) -> None:
    rows = [(model.name, _needs(model), _tolerances(model)) for model in found.manifest.models]
    print_table(("model", "needs", "golden outputs within"), rows)
    platform = found.manifest.platform
    say(f"\n{found.path}: {size_text(found.size_bytes)} for {platform}", style="bold")
    say(advice)


def _needs(model: Model) -> str:
    runtime = model.needs.runtime
    flags = [" or ".join(entry) for entry in model.needs.cpu]
    gpus = [" or ".join(model.needs.gpu)] if model.needs.gpu else []
    below = f" below {runtime.below}" if runtime.below else ""
    versions = f"{runtime.min}+{below}" if runtime.min else runtime.made_with
    return ", ".join([*flags, *gpus, f"{runtime.name} {versions}"])


def _tolerances(model: Model) -> str:
    first = model.golden[0].outputs if model.golden else ()
    return ", ".join(f"{output.tolerance:g} ({output.name})" for output in first)


VERB = Verb(
    "package",
    "make a bundle that runs without Python, or what a server loads",
    _add_arguments,
    _run,
)
