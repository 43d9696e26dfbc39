"""The equalisation plan: which channels are multiplied by what, as an editable file.

With a positive factor per channel, ``f * relu(W x + b) = relu(f W x + f b)``, so what is
multiplied into the weights before an activation can be divided out of the weights behind it.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

from bmopt.core.digest import of_json
from bmopt.errors import QuantizationError

FORMAT_VERSION = 1


@dataclasses.dataclass(frozen=True)
class ChannelScaling:
    """One activation whose channels are multiplied, and what makes up for it.

    Attributes:
        tensor: The activation, as the first of ``readers`` reads it.
        axis: Its channel axis, counted from the front.
        factors: What each channel is multiplied by; positive, no unit.
        writers: Nodes whose constants are multiplied along their output channels.
        readers: Nodes whose constants are divided along their input channels. Where a node has a
            multiple of as many channels (behind a Flatten), each factor counts for a run of them.
    """

    tensor: str
    axis: int
    factors: tuple[float, ...]
    writers: tuple[str, ...]
    readers: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.factors or not all(0.0 < factor < math.inf for factor in self.factors):
            raise QuantizationError(
                f"tensor {self.tensor!r}: a factor of its channels is not a positive number"
            )


@dataclasses.dataclass(frozen=True)
class EqualizationPlan:
    """Scalings of a float model; applied by the ``equalize`` pass before calibration.

    Attributes:
        model: Digest of the model it is for.
        scalings: They are independent of each other; a node may be in several.
        refused: Activation that could have been scaled but is not -> reason.
    """

    model: str
    scalings: tuple[ChannelScaling, ...]
    refused: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the model's digest and the scalings."""
        return of_json([self.model, [dataclasses.asdict(scaling) for scaling in self.scalings]])

    def require_model(self, digest: str) -> None:
        """Raise ``QuantizationError`` unless the plan is for the model ``digest``."""
        if digest != self.model:
            raise QuantizationError(
                f"the equalisation plan is for model {self.model[:12]}, not for {digest[:12]}"
            )

    def to_json(self) -> str:
        """Return the plan as readable JSON; ``from_json`` gives an equal plan back."""
        document = {"bmopt_equalization": FORMAT_VERSION, **dataclasses.asdict(self)}
        return json.dumps(document, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, *, source: str = "plan") -> EqualizationPlan:
        """Parse ``to_json``'s text.

        Raises:
            QuantizationError: The text is no plan of this version, or has a bad factor.
        """
        try:
            document: dict[str, Any] = json.loads(text)
            if document.pop("bmopt_equalization") != FORMAT_VERSION:
                raise QuantizationError(f"{source}: plan of another version; make it again")
            document["scalings"] = tuple(_scaling(entry) for entry in document["scalings"])
            return cls(**document)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise QuantizationError(
                f"{source}: is not an equalisation plan ({error!r})"
            ) from error


def _scaling(entry: dict[str, Any]) -> ChannelScaling:
    return ChannelScaling(
        tensor=entry["tensor"],
        axis=int(entry["axis"]),
        factors=tuple(float(factor) for factor in entry["factors"]),
        writers=tuple(entry["writers"]),
        readers=tuple(entry["readers"]),
    )
