"""What an engine file tells without the SDK and without a GPU.

The header's layout, little-endian: tag (4 bytes), version of the serialisation (u32, 0), 8 bytes
unknown, size of the file (u64), version of the SDK (4 bytes: major, minor, patch, build), tag of
the platform (4 bytes). Tag and version are what NVIDIA's trtexec prints with
``--getPlanVersionOnly`` (NVIDIA/TensorRT, samples/common/sampleEngines.cpp). Size, and the GPUs
of a TensorRT-RTX engine that follow as a bit mask, were found by comparing engines of
TensorRT-RTX 1.7.1, whose runtime asserts the size too.
"""

from __future__ import annotations

import dataclasses
import struct
from pathlib import Path
from typing import Literal

from bmopt.errors import ArtifactError

Engine = Literal["trt", "rtx"]

SDK_NAMES: dict[Engine, str] = {"trt": "TensorRT", "rtx": "TensorRT-RTX"}
REBUILD = "run `bmopt build ARTIFACT` on this device"
"""What to do about an engine that does not fit."""

_HEADER = struct.Struct("<4sI8xQ4B4sI")
_TAG_END = b"trt"
_RTX_TAG = b"vtrt"
_RTX_SMS = ("sm75", "sm80", "sm86", "sm89", "sm120", "sm121")
_FIRST_TENSORRT_MAJOR = 8
"""TensorRT had this layout from 8 on; TensorRT-RTX started again at 1."""


@dataclasses.dataclass(frozen=True)
class EngineHeader:
    """The header of an engine file.

    Attributes:
        engine: Which SDK wrote the file; None where the layout is a newer one.
        version: Its version, for example ``"1.7.1.116"``; empty for a newer layout.
        devices: The GPUs that a TensorRT-RTX engine is for, for example ``("sm86", "sm89")``.
        declared_bytes: The size that the file should have; 0 where it does not tell.
        size_bytes: The size that it has.
    """

    engine: Engine | None
    version: str
    devices: tuple[str, ...]
    declared_bytes: int
    size_bytes: int

    @property
    def damage(self) -> str:
        """What is wrong with the file's size; empty where it is as declared."""
        if not self.declared_bytes or self.size_bytes == self.declared_bytes:
            return ""
        kind = "truncated" if self.size_bytes < self.declared_bytes else "damaged"
        return f"is {kind}: {self.size_bytes} of {self.declared_bytes} bytes"

    def fault(self, engine: Engine) -> str:
        """Why the SDK ``engine`` need not try; empty where it has to.

        The size is only trusted where it was verified. TensorRT's own files are judged by its
        runtime, and only the reason for a refusal is read off their size.
        """
        if self.engine is not None and self.engine != engine:
            return f"is an engine of {SDK_NAMES[self.engine]}, not of {SDK_NAMES[engine]}"
        return self.damage if engine == "rtx" else ""


def read_header(path: Path) -> EngineHeader:
    """Read the header of an engine file.

    Raises:
        ArtifactError: There is no such file, it is empty, or no engine.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER.size)
        size = path.stat().st_size
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}); {REBUILD}") from error
    if not head:
        raise ArtifactError(f"{path}: is empty; {REBUILD}")
    if head[1 : 1 + len(_TAG_END)] != _TAG_END:
        raise ArtifactError(f"{path}: is no TensorRT engine; {REBUILD}")
    if len(head) < _HEADER.size:
        raise ArtifactError(f"{path}: is truncated: {size} bytes; {REBUILD}")
    return _parse(head, size)


def _parse(head: bytes, size: int) -> EngineHeader:
    tag, layout, declared, *version, _, mask = _HEADER.unpack(head)
    if layout != 0:
        return EngineHeader(None, "", (), 0, size)
    is_rtx = tag == _RTX_TAG and version[0] < _FIRST_TENSORRT_MAJOR
    devices = tuple(sm for bit, sm in enumerate(_RTX_SMS) if mask >> bit & 1) if is_rtx else ()
    text = ".".join(map(str, version))
    return EngineHeader("rtx" if is_rtx else "trt", text, devices, declared, size)


def refusal(header: EngineHeader, engine: Engine, version: str, sm: str) -> str:
    """Return why the SDK ``engine`` of ``version`` cannot run the file on a GPU ``sm``.

    Empty where the header gives no reason.
    """
    name = SDK_NAMES[engine]
    fault = header.fault(engine) or header.damage
    if fault:
        return fault
    if header.devices and sm not in header.devices:
        return f"was built for {'+'.join(header.devices)}, and this GPU is {sm}"
    if header.version and header.version != version:
        return f"was built by {name} {header.version}, and this is {version}"
    return ""
