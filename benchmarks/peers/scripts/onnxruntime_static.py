"""ONNX Runtime's ``quantize_static`` (QDQ), as it comes and in the setting that suits x86.

``default`` is the function with its defaults on the model as it is, ``prepared`` the same after
ONNX Runtime's own pre-processing, which it asks for in a warning. The others pre-process too and
have uint8 activations and int8 weights with a scale per channel; they are named after the
calibrator.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from job import Job, Reader, read_job
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

CalibrationDataReader.register(Reader)


def _prepared(job: Job) -> str:
    path = str(Path(job.output).with_suffix(".prepared.onnx"))
    quant_pre_process(job.model, path)
    return path


def _options(job: Job) -> dict[str, Any]:
    if job.option in ("default", "prepared"):
        return {}
    return {
        "per_channel": True,
        "activation_type": QuantType.QUInt8,
        "weight_type": QuantType.QInt8,
        "calibrate_method": CalibrationMethod[job.option],
    }


def main() -> None:
    job = read_job()
    model = job.model if job.option == "default" else _prepared(job)
    quantize_static(model, job.output, Reader(job), **_options(job))


if __name__ == "__main__":
    main()
