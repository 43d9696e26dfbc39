"""Targets: what an artifact is made for, as ``engine-precision[:device[+device]]``."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from pathlib import Path

from bmopt.errors import TargetError

ENGINES: dict[str, tuple[str, ...]] = {
    "ort": ("fp32", "fp16", "int8"),
    "trt": ("fp32", "fp16", "bf16", "int8", "fp8"),
    "rtx": ("fp32", "fp16", "bf16", "int8", "fp8"),
    "tvm": ("fp32", "int8"),
}
"""Engine -> its precisions."""

_CPUS = ("x86-vnni", "x86-avx512", "x86-avx2", "arm64-dotprod", "arm64")
_RTX_SMS = ("sm75", "sm80", "sm86", "sm89", "sm120", "sm121")
_TVM_DEVICES = (
    "host",
    "cortex-a53",
    "cortex-a72",
    "cortex-a76",
    "armv7-neon",
    "riscv64-rvv",
    "x86-avx2",
    "x86-vnni",
    "cuda",
)

DEVICES: dict[str, tuple[str, ...]] = {
    "ort-fp32": ("cuda", "tensorrt"),
    "ort-fp16": ("cuda", "tensorrt"),
    "ort-int8": (*_CPUS, "tensorrt"),
    **{f"trt-{precision}": () for precision in ENGINES["trt"]},
    **{f"rtx-{precision}": _RTX_SMS for precision in ENGINES["rtx"] if precision != "fp8"},
    "rtx-fp8": ("sm89", "sm120", "sm121"),
    **{f"tvm-{precision}": _TVM_DEVICES for precision in ENGINES["tvm"]},
}
"""Target without device -> the devices it can be made for; none given means this host."""

QUANTIZED = ("int8", "fp8")
"""Precisions that need a quantisation plan."""

HALVES = {"fp16": "float16", "bf16": "bfloat16"}
"""Precisions that need a cast plan -> element type of their floats."""

_TAG = re.compile(r"[a-z0-9][\w.-]*(?:/[\w.,-]+)+")
"""How TVM's own names of devices look, ``raspberry-pi/4b-aarch64``; it knows which there are."""

_SPELLED, _FILE = "{", "@"
"""What TVM's own dictionary of a target begins with, as a device, and the name of its file."""


@dataclasses.dataclass(frozen=True)
class Target:
    """An engine, a precision, and the device if it is not this host.

    Attributes:
        engine: For example ``"ort"``.
        precision: For example ``"int8"``.
        device: For example ``"x86-vnni"``, or ``"sm86+sm89"``; empty for this host. One that TVM
            has a dictionary of is that dictionary, as JSON with sorted keys.
    """

    engine: str
    precision: str
    device: str = ""

    @classmethod
    def parse(cls, text: str) -> Target:
        """Parse ``engine-precision[:device[+device]]``.

        A device of TVM's may be ``{"kind": "llvm", ...}``, or ``@FILE`` with that in it.

        Raises:
            TargetError: A part is unknown; the message lists the valid ones. Or the file cannot
                be read, or holds no dictionary.
        """
        head, _, device = text.partition(":")
        engine, _, precision = head.partition("-")
        if engine not in ENGINES or precision not in ENGINES[engine]:
            raise TargetError(f"unknown target {text!r}; valid are {', '.join(all_targets())}")
        if engine == "tvm" and device.startswith((_SPELLED, _FILE)):
            return cls(engine, precision, _spelled_out(device))
        target = cls(engine, precision, device)
        if ":" in text:
            _check_devices(target, text)
        return target

    @property
    def head(self) -> str:
        """The target without its device."""
        return f"{self.engine}-{self.precision}"

    @property
    def devices(self) -> tuple[str, ...]:
        """Every device named."""
        if self.dictionary is not None:
            return (self.device,)
        return tuple(self.device.split("+")) if self.device else ()

    @property
    def dictionary(self) -> dict[str, object] | None:
        """TVM's dictionary of the device, None where the device has a name."""
        return dict(json.loads(self.device)) if self.device.startswith(_SPELLED) else None

    @property
    def file_name(self) -> str:
        """The target as a part of a file's name."""
        device = self.device
        if self.dictionary is not None:
            chip = self.dictionary.get("mcpu") or self.dictionary["kind"]
            device = f"{chip}-{hashlib.sha256(device.encode()).hexdigest()[:8]}"
        plain = re.sub(r"[^\w.+-]", "-", device)
        return f"{self.head}-{plain}" if plain else self.head

    @property
    def on_gpu(self) -> bool:
        """Whether it is for a GPU: an engine of NVIDIA's, or ONNX Runtime's provider of one."""
        return self.engine in ("trt", "rtx") or self.device in ("cuda", "tensorrt")

    def __str__(self) -> str:
        """Return the text that ``parse`` reads back."""
        return f"{self.head}:{self.device}" if self.device else self.head


def _spelled_out(text: str) -> str:
    """Return a dictionary in one spelling, from its text or ``@FILE``."""
    source = text
    if text.startswith(_FILE):
        try:
            source = Path(text[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise TargetError(f"cannot read the target {text!r}: {error}") from error
    try:
        found = json.loads(source)
    except json.JSONDecodeError as error:
        raise TargetError(f"the target {text!r} is no JSON: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("kind"), str):
        raise TargetError(
            f'the target {text!r} is no dictionary of TVM\'s, such as {{"kind": "llvm", '
            '"mtriple": "aarch64-linux-gnu", "mcpu": "cortex-a55"}'
        )
    return json.dumps(found, sort_keys=True)


def _check_devices(target: Target, text: str) -> None:
    valid = DEVICES[target.head]
    parts = target.device.split("+")
    for part in parts:
        if part not in valid and not (target.engine == "tvm" and _TAG.fullmatch(part)):
            listed = f"has {', '.join(valid)}" if valid else "takes none: it is made where it runs"
            other = part.startswith("sm") and target.engine == "rtx" and part not in _RTX_SMS
            advice = f"; TensorRT-RTX has no {part}: use trt-{target.precision}" if other else ""
            if target.engine == "tvm":
                advice = (
                    ", or a tag of TVM's own, such as raspberry-pi/4b-aarch64, a dictionary "
                    '({"kind": "llvm", ...}), or @FILE with one'
                )
            raise TargetError(
                f"unknown device {part!r} in {text!r}; {target.head} {listed}{advice}"
            )
    if len(parts) > 1 and target.engine != "rtx":
        raise TargetError(f"{text!r}: name one device; only rtx targets take several")
    if len(set(parts)) < len(parts):
        raise TargetError(f"{text!r}: names a device twice")


def all_targets() -> tuple[str, ...]:
    """Return every target without a device."""
    return tuple(f"{e}-{p}" for e, precisions in ENGINES.items() for p in precisions)
