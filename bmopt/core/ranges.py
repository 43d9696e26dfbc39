"""The range table: what calibration found out about every tensor, for every target alike."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Literal, get_args

from bmopt.errors import CalibrationError

FORMAT_VERSION = 1

Method = Literal["minmax", "moving-average", "percentile", "entropy", "mse"]
METHODS: tuple[Method, ...] = get_args(Method)
"""How a tensor's range can be chosen; each has an asymmetric and a symmetric variant."""


@dataclasses.dataclass(frozen=True)
class Interval:
    """A closed interval of real values."""

    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class TensorRange:
    """What calibration saw of one tensor.

    Attributes:
        low: Smallest finite value seen.
        high: Largest finite value seen.
        count: How many finite values were seen.
        infinities: How many infinite values were seen (legitimate in attention masks).
        affine: Method -> interval for an asymmetric 8-bit encoding.
        symmetric: Method -> interval for a symmetric 8-bit encoding (``low == -high``).
        channels: The same for every channel, where that was asked for.
    """

    low: float
    high: float
    count: int
    affine: Mapping[str, Interval]
    symmetric: Mapping[str, Interval]
    infinities: int = 0
    channels: ChannelRanges | None = None

    @property
    def is_zero(self) -> bool:
        """Whether the tensor never left zero."""
        return self.low == 0.0 and self.high == 0.0

    def interval(self, method: Method, *, symmetric: bool) -> Interval:
        """Return the interval that ``method`` chose."""
        return (self.symmetric if symmetric else self.affine)[method]


@dataclasses.dataclass(frozen=True)
class ChannelRanges:
    """What calibration saw of every index of one axis.

    Attributes:
        axis: The axis.
        ranges: One range per index, none of which has channels of its own.
    """

    axis: int
    ranges: tuple[TensorRange, ...]


@dataclasses.dataclass(frozen=True)
class RangeTable:
    """Tensor name -> range, bound to the model and the samples it was measured with.

    Attributes:
        model: Digest of the model whose tensors these are.
        dataset: Fingerprint of the calibration samples.
        samples: How many samples were seen.
        tensors: Tensor name -> its range.
    """

    model: str
    dataset: str
    samples: int
    tensors: Mapping[str, TensorRange]

    def require_model(self, digest: str) -> None:
        """Raise ``CalibrationError`` unless the table was measured on the model ``digest``."""
        if digest != self.model:
            raise CalibrationError(
                f"the range table was measured on model {self.model[:12]}, not on "
                f"{digest[:12]}; run 'bmopt calibrate' on this model"
            )

    def to_json(self) -> str:
        """Return the table as readable JSON; ``from_json`` gives an equal table back."""
        document = {
            "bmopt_ranges": FORMAT_VERSION,
            "model": self.model,
            "dataset": self.dataset,
            "samples": self.samples,
            "tensors": {name: _tensor_to_dict(entry) for name, entry in self.tensors.items()},
        }
        return json.dumps(document, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, *, source: str = "range table") -> RangeTable:
        """Parse ``to_json``'s text.

        Raises:
            CalibrationError: The text is no range table of this version.
        """
        try:
            document = json.loads(text)
            version = document["bmopt_ranges"]
            if version != FORMAT_VERSION:
                raise CalibrationError(
                    f"{source}: range table version {version!r}, this bmopt reads "
                    f"{FORMAT_VERSION}; calibrate again"
                )
            return cls(
                model=document["model"],
                dataset=document["dataset"],
                samples=int(document["samples"]),
                tensors={k: _tensor_from_dict(v) for k, v in document["tensors"].items()},
            )
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise CalibrationError(
                f"{source}: is not a bmopt range table ({error!r}); "
                "make one with 'bmopt calibrate'"
            ) from error


def _tensor_to_dict(entry: TensorRange) -> dict[str, Any]:
    document: dict[str, Any] = {
        "low": entry.low,
        "high": entry.high,
        "count": entry.count,
        "affine": {k: [v.low, v.high] for k, v in entry.affine.items()},
        "symmetric": {k: v.high for k, v in entry.symmetric.items()},
    }
    if entry.infinities:
        document["infinities"] = entry.infinities
    if entry.channels is not None:
        channels = [_tensor_to_dict(channel) for channel in entry.channels.ranges]
        document["channels"] = {"axis": entry.channels.axis, "ranges": channels}
    return document


def _tensor_from_dict(document: Mapping[str, Any]) -> TensorRange:
    channels = document.get("channels")
    return TensorRange(
        low=float(document["low"]),
        high=float(document["high"]),
        count=int(document["count"]),
        affine={k: Interval(float(v[0]), float(v[1])) for k, v in document["affine"].items()},
        symmetric={k: Interval(-float(v), float(v)) for k, v in document["symmetric"].items()},
        infinities=int(document.get("infinities", 0)),
        channels=None
        if channels is None
        else ChannelRanges(
            int(channels["axis"]), tuple(_tensor_from_dict(c) for c in channels["ranges"])
        ),
    )
