"""Calibration beside plain inference and ONNX Runtime's Entropy calibrator, one thread each.

Times exclude imports and opening sessions; repeats are interleaved and the fastest counts. The
calibrators read the same images. Memory is the peak of a child process that calibrates 64 or
1,024 images, or only infers them; the images are preprocessed as they are needed.

    python benchmarks/calibration.py --data ../shared/data --json calibration.json
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import functools
import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
from PIL import Image

from bmopt.backends.onnxruntime.session import Level, SessionConfig, open_model
from bmopt.backends.onnxruntime.tapped import TappedRunner
from bmopt.calibration.collect import collect_ranges
from bmopt.core.dataset import Batch
from bmopt.core.runner import Array, Feeds, Runner

ROOT = Path(__file__).resolve().parents[1]
CASES = {"mobilenet_v1_025_224_imagenet": 512, "resnet32_cifar10": 1024}
MEMORY_IMAGES = (64, 1024)
BATCH_SIZE = 16


@dataclasses.dataclass(frozen=True)
class Images:
    """The first ``distinct`` calibration images of a model, over and over, ``size`` in all.

    ``distinct`` is a multiple of the batch size.
    """

    data: Path
    model: str
    size: int
    distinct: int
    name: str = "calibration images"
    fingerprint: str = "0" * 64
    has_labels: bool = False

    @functools.cached_property
    def pixels(self) -> Array:
        """The images, ``uint8 [distinct, height, width, 3]``."""
        source = self.data / self.spec["data"]["calib"]["file"]
        if source.suffix == ".npz":
            with np.load(source) as arrays:
                images = arrays[self.spec["data"]["calib"]["x"]][: self.distinct]
            return np.ascontiguousarray(images)
        with source.open(newline="") as lines:
            files = [row["file"] for row in csv.DictReader(lines)][: self.distinct]
        size = int(self.spec["preprocess"]["center_crop"])
        return np.stack([_cropped(source.parent / file, size) for file in files])

    @functools.cached_property
    def spec(self) -> dict[str, Any]:
        """The model's entry of the manifest."""
        manifest = json.loads((self.data / "manifest.json").read_text())
        entry: dict[str, Any] = manifest["models"][self.model]
        return entry

    def prepared(self, which: slice) -> Array:
        """Return preprocessed images, ``float32 [n, 3, height, width]``."""
        how = self.spec["preprocess"]
        scaled = self.pixels[which] * np.float32(how["scale"])
        normal = (scaled - np.float32(how["mean"])) / np.float32(how["std"])
        return np.ascontiguousarray(normal.transpose(0, 3, 1, 2), dtype=np.float32)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield batches, preprocessed one by one."""
        name = self.spec["input"]["name"]
        for start in range(0, self.size, batch_size):
            first = start % len(self.pixels)
            prepared = self.prepared(slice(first, first + min(batch_size, self.size - start)))
            yield Batch({name: prepared}, len(prepared))


@dataclasses.dataclass(frozen=True)
class Prepared(Images):
    """The same with the preprocessing already done, so that it is not timed."""

    @functools.cached_property
    def all_prepared(self) -> Array:
        """Every distinct image, preprocessed."""
        return super().prepared(slice(None))

    def prepared(self, which: slice) -> Array:
        """Return preprocessed images."""
        whole: Array = self.all_prepared
        return whole[which]


def _cropped(path: Path, size: int) -> Array:
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    top, left = ((length - size) // 2 for length in pixels.shape[:2])
    return pixels[top : top + size, left : left + size]


class Reader:
    """ONNX Runtime's protocol for calibration data."""

    def __init__(self, feeds: Iterator[Feeds]) -> None:
        self._feeds = feeds

    def get_next(self) -> Feeds | None:
        """Return the next feeds, or None after the last."""
        return next(self._feeds, None)


def single_feeds(images: Images) -> Iterator[Feeds]:
    return (batch.feeds for batch in images.batches(1))


def infer(path: Path, images: Images) -> float:
    with open_model(ir.load(path), SessionConfig(threads=1)) as runner:
        start = time.perf_counter()
        for feeds in single_feeds(images):
            runner.run(feeds)
        return time.perf_counter() - start


def calibrate(path: Path, images: Images, level: Level) -> float:
    model = ir.load(path)
    opening = 0.0

    def timed_open(tapped: ir.Model) -> Runner:
        nonlocal opening
        start = time.perf_counter()
        runner = TappedRunner(open_model(tapped, SessionConfig(threads=1, level=level)))
        opening += time.perf_counter() - start
        return runner

    start = time.perf_counter()
    collect_ranges(model, images, timed_open, model_digest="", batch_size=BATCH_SIZE)
    return time.perf_counter() - start - opening


def calibrate_with_ort(path: Path, images: Images, chunk: int) -> float:
    from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator

    with tempfile.TemporaryDirectory() as folder:
        augmented = str(Path(folder) / "augmented.onnx")
        calibrator = create_calibrator(
            path, None, augmented, calibrate_method=CalibrationMethod.Entropy
        )
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        providers = ["CPUExecutionProvider"]
        calibrator.infer_session = ort.InferenceSession(augmented, options, providers)
        start = time.perf_counter()
        feeds = single_feeds(images)
        for _ in range(0, images.size, chunk):
            calibrator.collect_data(Reader(itertools.islice(feeds, chunk)))
        calibrator.compute_data()
        return time.perf_counter() - start


def simplified(path: Path, folder: Path) -> Path:
    """Write what bmopt calibrates: the model after its own exact passes."""
    from bmopt.optimizer.simplify import optimize_file

    target = folder / path.name
    ir.save(optimize_file(path).model, target)
    return target


def time_case(
    path: Path, images: Images, repeats: int, level: Level, chunk: int
) -> dict[str, list[float]]:
    works: dict[str, Callable[[], float]] = {
        "inference": lambda: infer(path, images),
        "bmopt": lambda: calibrate(path, images, level),
        "ort_entropy": lambda: calibrate_with_ort(path, images, chunk),
    }
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            seconds[name].append(work())
    return seconds


def measure_memory(path: Path, args: argparse.Namespace, model: str) -> dict[str, int]:
    peaks = {}
    for work in ("inference", "bmopt"):
        for count in MEMORY_IMAGES:
            command = [sys.executable, __file__, "--data", str(args.data), "--level", args.level]
            command += ["--child", work, str(path), model, str(count)]
            answer = subprocess.run(command, check=True, capture_output=True, text=True)
            peaks[f"{work}_{count}"] = int(answer.stdout)
    return peaks


def run_child(args: argparse.Namespace) -> None:
    work, path, model, count = args.child
    images = Images(args.data, model, int(count), distinct=MEMORY_IMAGES[0])
    if work == "inference":
        infer(Path(path), images)
    else:
        calibrate(Path(path), images, args.level)
    print(peak_bytes())


def peak_bytes() -> int:
    """Return this process' peak resident memory.

    ``ru_maxrss`` would include the parent's, which the child had before it started its program.
    """
    status = Path("/proc/self/status")
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def show(label: str, images: int, seconds: dict[str, list[float]], peaks: dict[str, int]) -> None:
    best = {name: min(values) for name, values in seconds.items()}
    print(f"{label}, {images} images")
    for name, value in best.items():
        print(f"  {name:12} {value:8.3f} s   {value / best['inference']:6.2f} x inference")
    print(f"  bmopt is {best['ort_entropy'] / best['bmopt']:.1f} x faster than ORT Entropy")
    peak_text = ", ".join(f"{name} {value / 1e6:.0f} MB" for name, value in peaks.items())
    print(f"  peak memory: {peak_text}", flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--json", type=Path, help="write the raw samples here")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--level", choices=("off", "basic", "all"), default="all")
    parser.add_argument("--as-given", action="store_true", help="time unsimplified models too")
    parser.add_argument(
        "--ort-chunk",
        type=int,
        default=0,
        help="images per call of ONNX Runtime's calibrator, which keeps all activations of one "
        "call; 0 for all images in one, as quantize_static does",
    )
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    return parser.parse_args()


def measure_all(args: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    results = []
    for model, count in CASES.items():
        given = args.data / "models" / f"{model}.onnx"
        paths = {"simplified": simplified(given, folder)}
        if args.as_given:
            paths["as given"] = given
        images = Prepared(args.data, model, count, distinct=min(count, 1024))
        images.all_prepared  # noqa: B018 - preprocess before the clock runs
        for kind, path in paths.items():
            seconds = time_case(
                path, images, args.repeats, args.level, args.ort_chunk or images.size
            )
            peaks = measure_memory(path, args, model)
            show(f"{model} ({kind})", count, seconds, peaks)
            results.append(
                {
                    "model": model,
                    "kind": kind,
                    "images": count,
                    "level": args.level,
                    "seconds": seconds,
                    "peak_bytes": peaks,
                }
            )
    return results


def main() -> None:
    args = parse_arguments()
    if args.child:
        run_child(args)
        return
    with tempfile.TemporaryDirectory() as folder:
        results = measure_all(args, Path(folder))
    if args.json:
        args.json.write_text(
            json.dumps({"calibration_benchmark": 1, "results": results}, indent=1)
        )


if __name__ == "__main__":
    main()
