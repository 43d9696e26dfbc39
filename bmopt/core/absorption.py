"""The absorption plan: which activations are stored less a constant, as an editable file.

``clip(W x + b, l, h) - c = clip(W x + b - c, l - c, h - c)``, and a product that reads the
activation gives back ``c`` times the sum of its weights through its own bias.
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
class Shift:
    """One activation that is stored less a constant, and what makes up for it.

    Attributes:
        tensor: The activation: what ``clip`` writes.
        writer: The product whose bias becomes smaller by ``amount``.
        clip: The Relu or Clip behind it, whose bounds do.
        readers: Products whose biases grow by ``amount`` times the sum of their weights, in graph
            order.
        amount: What is taken off, in the activation's unit.
    """

    tensor: str
    writer: str
    clip: str
    readers: tuple[str, ...]
    amount: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.amount):
            raise QuantizationError(f"tensor {self.tensor!r}: its shift is not a finite number")


@dataclasses.dataclass(frozen=True)
class AbsorptionPlan:
    """Shifts of a float model; applied by the ``absorb-bias`` pass before calibration.

    Attributes:
        model: Digest of the model it is for.
        shifts: They are independent of each other; a node may be in several.
        refused: Activation that could have been shifted but is not -> reason.
    """

    model: str
    shifts: tuple[Shift, ...]
    refused: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the model's digest and the shifts."""
        return of_json([self.model, [dataclasses.asdict(shift) for shift in self.shifts]])

    def require_model(self, digest: str) -> None:
        """Raise ``QuantizationError`` unless the plan is for the model ``digest``."""
        if digest != self.model:
            raise QuantizationError(
                f"the absorption plan is for model {self.model[:12]}, not for {digest[:12]}"
            )

    def to_json(self) -> str:
        """Return the plan as readable JSON; ``from_json`` gives an equal plan back."""
        document = {"bmopt_absorption": FORMAT_VERSION, **dataclasses.asdict(self)}
        return json.dumps(document, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, *, source: str = "plan") -> AbsorptionPlan:
        """Parse ``to_json``'s text.

        Raises:
            QuantizationError: The text is no plan of this version, or has a bad amount.
        """
        try:
            document: dict[str, Any] = json.loads(text)
            if document.pop("bmopt_absorption") != FORMAT_VERSION:
                raise QuantizationError(f"{source}: plan of another version; make it again")
            document["shifts"] = tuple(_shift(entry) for entry in document["shifts"])
            return cls(**document)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise QuantizationError(f"{source}: is not an absorption plan ({error!r})") from error


def _shift(entry: dict[str, Any]) -> Shift:
    return Shift(
        tensor=entry["tensor"],
        writer=entry["writer"],
        clip=entry["clip"],
        readers=tuple(entry["readers"]),
        amount=float(entry["amount"]),
    )
