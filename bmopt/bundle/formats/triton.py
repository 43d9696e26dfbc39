"""Model repositories of the Triton Inference Server.

The layout and the fields are those of Triton's model repository and model configuration pages,
the parameters those that its ONNX Runtime backend reads.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bmopt.bundle.formats.packed import Packed, batches, require_engine
from bmopt.bundle.formats.pbtxt import Message, Symbol, Value, text
from bmopt.bundle.manifest import Model, Port
from bmopt.core.files import write_text
from bmopt.core.runner import Array
from bmopt.errors import BundleError

MAX_BATCH = 8
"""Largest batch of a model whose batch axis is free; the server's user may raise it."""

_QUEUE_US = 100
_VERSION = "1"
_TYPES = {
    "bool": "TYPE_BOOL",
    **{f"float{bits}": f"TYPE_FP{bits}" for bits in (16, 32, 64)},
    **{f"{kind}{bits}": f"TYPE_{kind.upper()}{bits}" for kind in ("int", "uint")
       for bits in (8, 16, 32, 64)},
}  # fmt: skip
_FILES = {"onnxruntime": "model.onnx", "tensorrt": "model.plan"}
_SETTINGS = frozenset({"session.use_device_allocator_for_initializers"})
"""Session settings that Triton's ONNX Runtime backend passes on."""


def check(packed: Packed) -> None:
    """Check that Triton can serve the models of a bundle as they were compiled.

    Raises:
        BundleError: It cannot.
    """
    for model in packed.manifest.models:
        require_engine(model, "triton", *_FILES)
        lost = sorted(set(model.session) - _SETTINGS)
        if lost:
            raise BundleError(
                f"{model.name}: needs ONNX Runtime's {lost[0]}, which Triton cannot set; "
                "compile for a trt target, whose engine Triton loads, or use --format torchserve"
            )


def write(packed: Packed, out: Path) -> None:
    """Write a repository with one folder per model."""
    for model in packed.manifest.models:
        name = _name(packed, model)
        folder = out / name
        packed.copy_model(model, folder / _VERSION, _FILES[model.engine])
        labels = packed.labels()
        if labels:
            write_text(folder / "labels.txt", "".join(f"{label}\n" for label in labels))
        write_text(folder / "config.pbtxt", _config(packed, model, name, len(labels)))
        _write_warmup(packed, model, folder / "warmup")


def _name(packed: Packed, model: Model) -> str:
    """Return what clients call a model: as the bundle is called, where it has just one."""
    name = packed.manifest.name
    return name if len(packed.manifest.models) == 1 else f"{name}-{model.name}"


def _config(packed: Packed, model: Model, name: str, labels: int) -> str:
    most = _max_batch(model)
    labelled = _labelled(model, labels)
    fields: list[tuple[str, Value]] = [
        ("name", name),
        *_backend(model),
        ("max_batch_size", most),
        *(("input", _port(port, most > 0)) for port in model.inputs),
        *(("output", _port(port, most > 0, port is labelled)) for port in model.outputs),
        ("instance_group", _instances(model)),
        *([("dynamic_batching", _batching(most))] if most > 1 else []),
        *(("model_warmup", sample) for sample in _warmups(packed, model, most)),
        *(("parameters", _parameter(*item)) for item in _parameters(model)),
    ]
    return f"{_comment(model)}{text(Message(tuple(fields)))}"


def _comment(model: Model) -> str:
    needs = [" or ".join(flags) for flags in model.needs.cpu]
    runtime = model.needs.runtime
    lines = [f"Compiled for {model.target} from the artifact {model.digest}."]
    lines += [f"The server's processor must have: {', '.join(needs)}."] if needs else []
    lines += [f"The server's GPU: one of {', '.join(model.needs.gpu)}."] if model.needs.gpu else []
    if runtime.min:
        below = f", below {runtime.below}" if runtime.below else ""
        lines.append(f"The backend's {runtime.name}: {runtime.min} or newer{below}.")
    return "".join(f"# {line}\n" for line in lines)


def _backend(model: Model) -> list[tuple[str, str]]:
    if model.engine == "tensorrt":
        return [("platform", "tensorrt_plan"), ("backend", "tensorrt")]
    return [("platform", "onnxruntime_onnx"), ("backend", "onnxruntime")]


def _max_batch(model: Model) -> int:
    """Return the largest batch, 0 where the first axis is no batch axis."""
    if not batches(model):
        return 0
    profiles = [port.profile.max[0] for port in model.inputs if port.profile is not None]
    return min(profiles, default=MAX_BATCH)


def _port(port: Port, is_batched: bool, is_labelled: bool = False) -> Message:
    dims = port.shape[1:] if is_batched else port.shape
    # Triton wants a dimension; a reshape takes it away again.
    fields: list[tuple[str, Value]] = [
        ("name", port.name),
        ("data_type", Symbol(_TYPES[port.dtype])),
        ("dims", dims or (1,)),
    ]
    if not dims:
        fields.append(("reshape", Message.of(("shape", ()))))
    if is_labelled:
        fields.append(("label_filename", "labels.txt"))
    return Message(tuple(fields))


def _labelled(model: Model, labels: int) -> Port | None:
    """Return the first output with one value per label, in their order."""
    names = {port.name for port in model.outputs}
    fits = (port for port in model.outputs if labels and port.shape[-1:] == (labels,))
    return next((port for port in fits if not _is_ranked(port.name, names)), None)


def _is_ranked(name: str, names: set[str]) -> bool:
    """Whether an output is one of a top-k in the graph."""
    stem = name.removesuffix("_scores").removesuffix("_classes")
    return {f"{stem}_scores", f"{stem}_classes"} <= names


def _instances(model: Model) -> Message:
    kind = "KIND_GPU" if model.engine == "tensorrt" else "KIND_CPU"
    return Message.of(("count", 1), ("kind", Symbol(kind)))


def _batching(most: int) -> Message:
    preferred = sorted({max(2, most // 2), most})
    return Message.of(
        ("preferred_batch_size", preferred), ("max_queue_delay_microseconds", _QUEUE_US)
    )


def _warmups(packed: Packed, model: Model, most: int) -> list[Message]:
    """Return one warm-up for a single sample, and one for the largest batch."""
    feeds = packed.golden(model)
    if not feeds:
        return []
    inputs = tuple(
        (
            "inputs",
            Message.of(("key", port.name), ("value", _warm_input(port, index, feeds, most))),
        )
        for index, port in enumerate(model.inputs)
    )
    sizes = (1, most) if most > 1 else (1,)
    return [
        Message.of(("name", f"golden, batch of {size}"), ("batch_size", size), *inputs)
        for size in sizes
    ]


def _warm_input(port: Port, index: int, feeds: dict[str, Array], most: int) -> Message:
    shape = feeds[port.name].shape[1:] if most else feeds[port.name].shape
    return Message.of(
        ("data_type", Symbol(_TYPES[port.dtype])),
        ("dims", shape or (1,)),
        ("input_data_file", _warm_file(index)),
    )


def _write_warmup(packed: Packed, model: Model, folder: Path) -> None:
    """Write the recorded inputs as raw values; one sample of them where there is a batch axis."""
    feeds = packed.golden(model)
    most = _max_batch(model)
    for index, port in enumerate(model.inputs if feeds else ()):
        folder.mkdir(exist_ok=True)
        values = feeds[port.name][0] if most else feeds[port.name]
        (folder / _warm_file(index)).write_bytes(np.ascontiguousarray(values).tobytes())


def _warm_file(index: int) -> str:
    return f"input_{index}.bin"


def _parameters(model: Model) -> list[tuple[str, str]]:
    if model.engine != "onnxruntime":
        return []
    settings = sorted(model.session.items())
    return [*settings, ("execution_mode", "0"), ("intra_op_thread_count", "0")]


def _parameter(key: str, value: str) -> Message:
    return Message.of(("key", key), ("value", Message.of(("string_value", value))))
