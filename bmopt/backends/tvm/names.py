"""What a compiled library says of itself, since TVM's functions know neither names nor processors.

A function ``bmopt_signature`` in the library returns it as JSON, so it cannot get lost beside it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

FUNCTION = "bmopt_signature"
"""Name of the function that returns the signature."""

MAIN = "main"
"""Name of the function that computes: inputs in order, outputs as a tuple in order."""


@dataclasses.dataclass(frozen=True)
class Port:
    """One input or output.

    Attributes:
        name: As the model has it.
        dtype: Element type, as NumPy names it; empty where it is not known.
        shape: Sizes, and symbols of dynamic axes; None where the rank is not known.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...] | None

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Port:
        """Return the port that a signature's JSON has."""
        shape = document["shape"]
        return cls(
            str(document["name"]), str(document["dtype"]), None if shape is None else tuple(shape)
        )


@dataclasses.dataclass(frozen=True)
class Signature:
    """What a library computes, and what it needs to do so.

    Attributes:
        inputs: What it takes, in order.
        outputs: What it gives, in order.
        architecture: Of the processors that it is for.
        flags: Instruction sets that they must have.
        version: Of the TVM that compiled it.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    architecture: str
    flags: tuple[str, ...]
    version: str

    def to_json(self) -> str:
        """Return the text that ``from_json`` reads."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Signature:
        """Return the signature that ``to_json`` wrote.

        Raises:
            ValueError, LookupError, TypeError: It is none.
        """
        document: dict[str, Any] = json.loads(text)
        return cls(
            inputs=tuple(map(Port.from_dict, document["inputs"])),
            outputs=tuple(map(Port.from_dict, document["outputs"])),
            architecture=str(document["architecture"]),
            flags=tuple(document["flags"]),
            version=str(document["version"]),
        )
