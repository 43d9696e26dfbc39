"""The engines' runtime libraries that go into a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bmopt.bundle import layout
from bmopt.bundle.runtime_libraries import onnxruntime_for
from bmopt.bundle.tvm_runtime import TvmNeed, common_need, is_tvm, tvm_for
from bmopt.bundle.wheel_files import WheelFiles
from bmopt.errors import BundleError

BUNDLED = ("onnxruntime", "tvm")
"""Engines whose runtime a bundle may hold; others come with the device's system."""

_ORT, _TVM = BUNDLED


def runtimes_for(
    platform: str,
    engines: Sequence[str],
    tvm: Mapping[str, TvmNeed],
    given: Path | None = None,
) -> dict[str, WheelFiles]:
    """Return name -> the libraries by their names in ``lib``, and their licences.

    Args:
        platform: The bundle's.
        engines: Of its models.
        tvm: What those of them that TVM compiled want, by their names.
        given: What to take instead of the installed or published versions: ONNX Runtime's wheel
            or library, a wheel of TVM's, or a folder of wheels.

    Raises:
        BundleError: One cannot be had, or ``given`` is for none of the engines.
    """
    if given is not None and not given.exists():
        raise BundleError(f"{given}: no such wheel, shared library or folder of wheels")
    found: dict[str, WheelFiles] = {}
    if _ORT in engines:
        ort = onnxruntime_for(platform, _of_ort(given))
        found[_ORT] = WheelFiles({layout.ORT_LIBRARY: ort.library}, ort.licences)
    if _TVM in engines:
        wheels = given if given is not None and is_tvm(given) else None
        if given is not None and wheels is None and _ORT not in engines:
            raise BundleError(f"{given}: is no wheel of TVM's, nor a folder with both")
        found |= tvm_for(platform, common_need(tvm), wheels)
    return found


def _of_ort(given: Path | None) -> Path | None:
    """Return what the user gave that is ONNX Runtime's."""
    if given is None or (is_tvm(given) and not given.is_dir()):
        return None
    if not given.is_dir():
        return given
    wheels = sorted(given.glob(f"{_ORT}-*.whl"))
    return wheels[0] if len(wheels) == 1 else None
