"""The pass ``fold-preprocess``."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

import onnx_ir as ir

from bmopt.optimizer.pass_base import Effect, Outcome, Pass, Refusal
from bmopt.optimizer.pixel_input import PixelInput, Prologue, pixel_input
from bmopt.optimizer.sweeps import RefusedError


@dataclasses.dataclass(frozen=True)
class FoldPreprocess(Pass):
    """Let the model take stored pixels, and prepare them in the graph.

    The input keeps its name and becomes uint8 ``[N, height, width, channels]`` with RGB or grey
    pixels. ``x = (float32(pixel) * scale - mean) / std`` follows, each step in float32 and in
    this order, so that the same bits come out as where samples are prepared outside; then the
    input's own type and axis order. Resizing and cropping stay outside.

    Refused: several inputs, one that is no picture of floats, and options that do not fit it.

    Attributes:
        layout: Axis order of the model's input: NCHW or NHWC.
        channels: What the model takes: RGB, BGR or GRAY; GRAY if it has one channel, else RGB, if
            left out.
        scale: Factor for the stored values (0..255).
        mean: One value, or one per channel, in units of the scaled values.
        std: One value, or one per channel, in units of the scaled values.
        size: Height and width where the input leaves them open.
    """

    name: ClassVar[str] = "fold-preprocess"
    effect: ClassVar[Effect] = "lossy"

    layout: Literal["NCHW", "NHWC"] = "NCHW"
    channels: Literal["RGB", "BGR", "GRAY"] | None = None
    scale: float | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    size: tuple[int, ...] = ()

    def call(self, model: ir.Model) -> Outcome:
        """Put the new nodes behind the input."""
        try:
            found = pixel_input(model, self.layout, self.size)
            self._require_fit(found)
        except RefusedError as error:
            return Outcome(model, False, (Refusal("the model", str(error)),))
        prologue = Prologue(model, found)
        self._prepare(prologue, found)
        prologue.finish()
        return Outcome(model, True)

    def _prepare(self, prologue: Prologue, found: PixelInput) -> None:
        prologue.cast(ir.DataType.FLOAT)
        if self.channels == "BGR":
            prologue.reverse_channels()
        if self.scale is not None:
            prologue.arithmetic("Mul", "scale", (self.scale,))
        if self.mean:
            prologue.arithmetic("Sub", "mean", self.mean)
        if self.std:
            prologue.arithmetic("Div", "std", self.std)
        if found.dtype != ir.DataType.FLOAT:
            prologue.cast(found.dtype)
        prologue.lay_out(self.layout)

    def _require_fit(self, found: PixelInput) -> None:
        count = found.axes[-1]
        wanted = {"RGB": 3, "BGR": 3, "GRAY": 1}.get(self.channels or "", count)
        if wanted != count:
            raise RefusedError(f"takes {count} channel(s), which {self.channels} is not")
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            if len(numbers) not in (0, 1, count):
                raise RefusedError(f"takes {count} channel(s), but {name} has {len(numbers)}")
        if 0.0 in self.std:
            raise RefusedError("cannot divide by a standard deviation of 0")
