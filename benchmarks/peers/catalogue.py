"""The tools that are compared with, and how each one's model is run."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Peer:
    """One row of the tables.

    Attributes:
        name: What ``--peer`` calls it.
        title: What the table calls it.
        engine: Runs its model, as in ``engine:file``.
        suffix: Of its model.
        environment: Where its script runs; empty where the FP32 model runs as it is.
        script: Makes the model.
        option: The script's.
        is_for_tensorrt: Whether its model was never meant for the engine that runs it here.
    """

    name: str
    title: str
    engine: str = "ort"
    suffix: str = ".onnx"
    environment: str = ""
    script: str = ""
    option: str = ""
    is_for_tensorrt: bool = False


def _static(name: str, title: str, option: str) -> Peer:
    return Peer(
        name, title, environment="onnxruntime", script="onnxruntime_static.py", option=option
    )


def _modelopt(option: str) -> Peer:
    return Peer(
        f"modelopt_{option}",
        f"ModelOpt, {option}",
        environment="modelopt",
        script="modelopt_int8.py",
        option=option,
        is_for_tensorrt=True,
    )


PEERS = (
    _static("ort_default", "quantize_static, as it comes", "default"),
    _static("ort_prepared", "quantize_static, defaults after quant_pre_process", "prepared"),
    _static("ort_best", "quantize_static, u8/s8 per channel, min-max", "MinMax"),
    _static("ort_entropy", "quantize_static, u8/s8 per channel, entropy", "Entropy"),
    _static("ort_percentile", "quantize_static, u8/s8 per channel, percentile", "Percentile"),
    Peer("openvino", "OpenVINO, the FP32 model", engine="openvino"),
    Peer(
        "nncf_openvino",
        "NNCF",
        engine="openvino",
        suffix=".xml",
        environment="nncf",
        script="nncf_openvino.py",
    ),
    _modelopt("max"),
    _modelopt("entropy"),
)
"""In the order of the tables."""


def chosen(names: list[str]) -> list[Peer]:
    """Return the peers whose names start with one of these, all of them if there are none.

    Raises:
        ValueError: A name fits no peer.
    """
    known = [peer.name for peer in PEERS]
    for name in names:
        if not any(one.startswith(name) for one in known):
            raise ValueError(f"no peer {name!r}; peers are {', '.join(known)}")
    return [peer for peer in PEERS if not names or peer.name.startswith(tuple(names))]
