"""NVIDIA's ModelOpt, INT8, with one of its calibrators, calibrating on the CPU.

What is not in 8 bits stays in FP32 rather than become FP16, its default, which ONNX Runtime's CPU
provider has few kernels for.
"""

from __future__ import annotations

from job import Reader, read_job
from modelopt.onnx.quantization import quantize
from onnxruntime.quantization import CalibrationDataReader

CalibrationDataReader.register(Reader)


def main() -> None:
    job = read_job()
    quantize(
        job.model,
        quantize_mode="int8",
        calibration_data_reader=Reader(job),
        calibration_method=job.option,
        calibration_eps=["cpu"],
        high_precision_dtype="fp32",
        output_path=job.output,
    )


if __name__ == "__main__":
    main()
