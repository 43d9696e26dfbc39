"""The cast plan: which nodes compute in half precision, as an editable file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Literal, get_args

from bmopt.errors import QuantizationError

FORMAT_VERSION = 1
HalfType = Literal["float16", "bfloat16"]


@dataclasses.dataclass(frozen=True)
class CastPlan:
    """Which floats of a model become ``dtype``; applied by the ``cast-float`` pass.

    Attributes:
        model: Digest of the model it is for.
        dtype: ``"float16"`` or ``"bfloat16"``.
        float_nodes: Node that goes on computing in float32 -> reason.
        keep_io: Inputs and outputs of the model keep their element types.
    """

    model: str
    dtype: HalfType
    float_nodes: Mapping[str, str]
    keep_io: bool = True

    def require_model(self, digest: str) -> None:
        """Raise ``QuantizationError`` unless the plan is for the model ``digest``."""
        if digest != self.model:
            raise QuantizationError(
                f"the cast plan is for model {self.model[:12]}, not for {digest[:12]}"
            )

    def to_json(self) -> str:
        """Return the plan as readable JSON; ``from_json`` gives an equal plan back."""
        document = {"bmopt_cast_plan": FORMAT_VERSION, **dataclasses.asdict(self)}
        return json.dumps(document, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, *, source: str = "cast plan") -> CastPlan:
        """Parse ``to_json``'s text.

        Raises:
            QuantizationError: The text is no cast plan of this version.
        """
        try:
            document: dict[str, Any] = json.loads(text)
            if document.pop("bmopt_cast_plan") != FORMAT_VERSION:
                raise QuantizationError(f"{source}: plan of another version; compile again")
            plan = cls(**document)
            if plan.dtype not in get_args(HalfType):
                raise QuantizationError(f"{source}: unknown element type {plan.dtype!r}")
            plan.float_nodes.items()
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise QuantizationError(f"{source}: is not a cast plan ({error!r})") from error
        return plan
