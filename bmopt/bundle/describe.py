"""The texts of a bundle that name what is in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from string import Template

from bmopt.bundle import layout
from bmopt.bundle.manifest import Manifest, Model
from bmopt.bundle.runtimes import BUNDLED

TEMPLATES = Path(__file__).parent / "templates"

_EXECUTABLE = frozenset({layout.SMOKE_TEST, f"{layout.BIN}/{layout.RUNNER}"})
_EXAMPLES = ("CMakeLists.txt", "Dockerfile", "bmopt-runner.service", "infer.c", "infer.cpp")
_PLACES = {
    layout.README: layout.README,
    layout.SMOKE_TEST: layout.SMOKE_TEST,
    **{name: f"{layout.EXAMPLES}/{name}" for name in _EXAMPLES},
}
"""Template -> its path in a bundle."""


def is_executable(path: str) -> bool:
    """Whether a file of a bundle is a program."""
    return path in _EXECUTABLE


def texts(manifest: Manifest, *, is_slim: bool) -> dict[str, str]:
    """Return path -> text of the examples, ``smoke_test`` and ``README.txt``."""
    values = {
        "name": manifest.name,
        "platform": manifest.platform,
        "docker": "arm64" if manifest.platform.startswith("aarch64") else "amd64",
        "models": "\n".join(_line(model) for model in manifest.models),
        "runtime": _runtime(manifest, is_slim=is_slim),
    }
    return {path: filled(TEMPLATES / name, values) for name, path in _PLACES.items()}


class _Filled(Template):
    """``@name@`` is replaced: dollar signs belong to the shell, CMake and systemd."""

    delimiter = "@"
    pattern = r"@(?:(?P<named>[a-z]+)@|(?P<escaped>(?!))|(?P<braced>(?!))|(?P<invalid>(?!)))"  # type: ignore[assignment]


def filled(file: Path, values: Mapping[str, str]) -> str:
    """Return a template's text with every ``@name@`` that ``values`` has replaced."""
    return _Filled(file.read_text(encoding="utf-8")).safe_substitute(values)


def _line(model: Model) -> str:
    runtime = model.needs.runtime
    below = f", below {runtime.below}" if runtime.below else ""
    versions = f"{runtime.min} or newer{below}" if runtime.min else runtime.made_with
    parts = [f"{model.target}, {runtime.name} {versions}"]
    if model.needs.cpu:
        flags = " and ".join(" or ".join(entry) for entry in model.needs.cpu)
        parts.append(f"a CPU with {flags}")
    if model.needs.gpu:
        parts.append(f"a GPU of {' or '.join(model.needs.gpu)}")
    return f"  {model.name}: {'; '.join(parts)}"


def _runtime(manifest: Manifest, *, is_slim: bool) -> str:
    engines = {model.engine for model in manifest.models}
    where = "to be installed on the device, or named with --library" if is_slim else "in lib/"
    lines = []
    if "onnxruntime" in engines:
        lines.append(f"ONNX Runtime's library is {where}.")
    if "tvm" in engines:
        lines.append(f"TVM's libraries, libtvm_runtime.so and libtvm_ffi.so, are {where}.")
    if engines - set(BUNDLED):
        lines.append("NVIDIA's libraries are not included: they come with the device's system.")
    return "\n".join(lines)
