"""What a bundle's models need of a host, and which of it this host lacks."""

from __future__ import annotations

import re
import sys

from bmopt.backends.nvinfer.own_gpus import own_sms
from bmopt.backends.registry import backend_for
from bmopt.bundle.manifest import Manifest, Model, RuntimeNeed
from bmopt.bundle.runtimes import BUNDLED
from bmopt.core.cpuinfo import architecture
from bmopt.core.target import Target
from bmopt.errors import HostError, TargetError

_RELEASE = re.compile(r"\d+(?:\.\d+)*")
_NAMES = {
    "onnxruntime": "ONNX Runtime",
    "tensorrt": "TensorRT",
    "tensorrt_rtx": "TensorRT-RTX",
    "tvm": "TVM",
}
_ON_CPU = BUNDLED


def own_platform() -> str:
    """Return this host's platform, for example ``"x86_64-linux"``."""
    return f"{architecture()}-{sys.platform}"


def require_platform(manifest: Manifest, where: str) -> None:
    """Check that the bundle is for this kind of host.

    Raises:
        HostError: It is for another.
    """
    if manifest.platform != own_platform():
        raise HostError(
            f"{where}: is for {manifest.platform}, this host is {own_platform()}; "
            "run its smoke_test there"
        )


def lacks(model: Model, flags: frozenset[str]) -> str:
    """Return what a model needs that is not here, empty where it runs.

    Args:
        model: A model of a bundle for this platform.
        flags: What the CPU can do, by the names of /proc/cpuinfo.
    """
    missing = [" or ".join(any_of) for any_of in model.needs.cpu if not flags & set(any_of)]
    if missing:
        return f"needs {' and '.join(missing)}, which this CPU lacks"
    return _lacks_gpu(model) or _lacks_runtime(model)


def _lacks_gpu(model: Model) -> str:
    if not model.needs.gpu and model.engine in _ON_CPU:
        return ""
    own = own_sms()
    wanted = " or ".join(model.needs.gpu)
    runtime = _described(model.needs.runtime)
    if not own:
        return f"needs {runtime} and a GPU of NVIDIA{f' ({wanted})' if wanted else ''}"
    if wanted and own[0] not in model.needs.gpu:
        return f"needs {runtime} and a GPU that is {wanted}, this one is {own[0]}"
    return ""


def _lacks_runtime(model: Model) -> str:
    need = model.needs.runtime
    try:
        target = Target.parse(model.target)
    except TargetError:
        return f"needs {_described(need)}, which bmopt does not run: run the bundle's smoke_test"
    able = backend_for(target).probe(target)
    if not able.version and model.engine == "tvm":
        return f"needs {_described(need)}, which Python lacks here: run the bundle's smoke_test"
    if not able.version:
        return f"needs {_described(need)} ({able.reason})"
    is_exact = not need.min and bool(need.made_with)
    if able.version != need.made_with if is_exact else not _fits(able.version, need):
        return f"needs {_described(need)}, here is {able.version}"
    is_on_cpu = model.engine in _ON_CPU and not model.needs.gpu
    # On a CPU the manifest's flags decide, which are what its kernels use.
    return "" if is_on_cpu or able.run else f"needs {_described(need)} ({able.reason})"


def _described(need: RuntimeNeed) -> str:
    name = _NAMES.get(need.name, need.name)
    below = f" and below {need.below}" if need.below else ""
    return f"{name} {need.min} or newer{below}" if need.min else f"{name} {need.made_with}"


def _fits(version: str, need: RuntimeNeed) -> bool:
    own = _release(version)
    is_old_enough = not need.below or own < _release(need.below)
    return own >= _release(need.min) and is_old_enough


def _release(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, none for what has none."""
    match = _RELEASE.match(version)
    return tuple(map(int, match[0].split("."))) if match else ()
