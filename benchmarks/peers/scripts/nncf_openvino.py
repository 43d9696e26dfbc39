"""NNCF's post-training quantisation of the model as OpenVINO reads it, with its defaults.

All samples are calibrated on; the result is OpenVINO's .xml with its .bin.
"""

from __future__ import annotations

import nncf
import openvino
from job import read_job


def main() -> None:
    job = read_job()
    feeds = list(job.feeds())
    model = openvino.convert_model(job.model)
    found = nncf.quantize(model, nncf.Dataset(feeds), subset_size=len(feeds))
    openvino.save_model(found, job.output, compress_to_fp16=False)


if __name__ == "__main__":
    main()
