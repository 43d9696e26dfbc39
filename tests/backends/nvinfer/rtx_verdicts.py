"""What TensorRT-RTX makes of models: ``python rtx_verdicts.py FOLDER [SM]``.

Prints one line of JSON for each ``*.onnx`` file: what the parser said, whether an engine was
built, and its kernels. A program of its own, because a model that upsets the SDK ends the process.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any

_KERNEL = re.compile(
    r"Name: (?P<name>.*?), LayerType: (?P<kind>\w+), Inputs: \[(?P<inputs>.*?)\], "
    r"(?:Constants: \[(?P<constants>.*?)\], )?Outputs: \[(?P<outputs>.*?)\], TacticName: .*?"
    r"Metadata: (?P<nodes>.*)$"
)


def verdict_of(path: Path, device: str) -> dict[str, Any]:
    """Return errors, ``built`` and kernels of one file."""
    trt: Any = importlib.import_module("tensorrt_rtx")
    lines: list[str] = []

    class Log(trt.ILogger):  # type: ignore[misc]
        def log(self, severity: Any, message: str) -> None:
            lines.append(f"{severity.name[0]} {message}")

    log = Log()
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(path)):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        said = [f"{e.node_name()} [{e.node_operator()}]: {e.desc()}" for e in errors]
        return {"errors": said or ["refused"], "built": False, "kernels": []}
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, device), 0)
    engine = builder.build_serialized_network(network, config)
    failures = [line for line in lines if line.startswith("E ")]
    return {
        "errors": [],
        "built": engine is not None,
        "failures": failures,
        "kernels": [k for line in lines for k in _kernels(line)],
    }


def _kernels(text: str) -> list[dict[str, Any]]:
    found = [_KERNEL.search(line) for line in text.splitlines()]
    return [
        {
            "kind": match["kind"],
            "inputs": re.findall(r"Datatype: (\w+)", match["inputs"]),
            "constants": re.findall(r"Datatype: (\w+)", match["constants"] or ""),
            "outputs": re.findall(r"Datatype: (\w+)", match["outputs"]),
            "nodes": re.findall(r"\[ONNX Layer: (.*?)\]", match["nodes"]),
        }
        for match in found
        if match is not None
    ]


if __name__ == "__main__":
    _DEVICE = sys.argv[2] if len(sys.argv) > 2 else "SM89"
    for _path in sorted(Path(sys.argv[1]).glob("*.onnx")):
        print(json.dumps({"case": _path.stem, **verdict_of(_path, _DEVICE)}), flush=True)
