"""The files that OpenVINO opens here: IRs and ONNX models."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from bmopt.errors import ModelError

SUFFIXES = (".xml", ".onnx")
"""How their names end."""


def weights_file(path: Path) -> Path:
    """Return where the weights of an IR lie."""
    return path.with_suffix(".bin")


def require_model(path: Path) -> None:
    """Check that a file is there and of a kind that is opened.

    OpenVINO would try its readers of all other formats on what is no IR, and these print.

    Raises:
        ModelError: It is not.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ModelError(f"{path}: is no model; OpenVINO runs {' or '.join(SUFFIXES)} files here")
    if suffix == ".xml" and _root(path) != "net":
        raise ModelError(f"{path}: is no OpenVINO IR (no <net> in it); convert the model again")


def _root(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return next((str(found.tag) for _, found in ET.iterparse(file, ["start"])), "")
    except ET.ParseError:
        return ""


def refusal(path: Path, error: Exception) -> ModelError:
    """Return the error of a file that OpenVINO refuses."""
    lost = path.suffix.lower() == ".xml" and not weights_file(path).is_file()
    hint = f"; {weights_file(path).name} has to lie beside it" if lost else ""
    return ModelError(f"{path}: OpenVINO refuses it ({one_line(error)}){hint}")


_NOISE = ("Exception from ", "Check '", "FrontEnd API failed", "Summary:")
_LONGEST = 300


def one_line(error: Exception) -> str:
    """Return what OpenVINO says without the places in its source that it says it from."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = " ".join(line for line in lines if line and not line.startswith(_NOISE))
    return (said or " ".join(str(error).split()))[:_LONGEST]
