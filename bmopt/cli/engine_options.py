"""Options of engines that are built ahead of a run; ``compile`` and ``build`` share them."""

from __future__ import annotations

import argparse

from bmopt.cli.options import positive, seconds, whole


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add the options of an engine's builder, as a group of their own."""
    group = parser.add_argument_group("engines (TensorRT, TensorRT-RTX)")
    group.add_argument(
        "--level", metavar="N", type=whole, help="optimisation level of the builder, 0 to 5"
    )
    group.add_argument(
        "--workspace",
        dest="workspace_mib",
        metavar="MIB",
        type=positive,
        help="limit of scratch memory on the device",
    )
    group.add_argument(
        "--compat",
        metavar="C",
        help="version: newer TensorRT versions run the engine too; hardware: newer GPUs do; none",
    )
    group.add_argument(
        "--timing-cache", metavar="FILE", help="kernel timings that builds read and extend"
    )
    group.add_argument(
        "--weight-streaming",
        action="store_const",
        const=True,
        help="weights may stay in host memory",
    )
    group.add_argument(
        "--refit", action="store_const", const=True, help="weights can be exchanged later"
    )
    group.add_argument(
        "--strip", action="store_const", const=True, help="store the engine without its weights"
    )
    group.add_argument(
        "--sparse", metavar="S", help="2:4 kernels: auto where the weights are 2:4, on or off"
    )
    group.add_argument(
        "--dla", metavar="CORE", type=whole, help="run on this deep learning accelerator"
    )
    group.add_argument(
        "--cuda-graph",
        action="store_const",
        const=True,
        help="capture runs as a CUDA graph and replay it",
    )
    group.add_argument(
        "--build-timeout",
        dest="build_timeout_s",
        metavar="S",
        type=seconds,
        help="time limit of the build in seconds (default: 3600)",
    )


def add_tuning(parser: argparse.ArgumentParser) -> None:
    """Add the options of tuning, as a group of their own."""
    group = parser.add_argument_group("tuning (TVM)")
    group.add_argument(
        "--tune",
        metavar="N|TIME",
        help="measure other schedules of the kernels: so many (200), or so long (90s, 20min)",
    )
    group.add_argument(
        "--tuning-database",
        metavar="DIR",
        help="schedules that were tuned, to read and extend (default with --tune: in the cache)",
    )
