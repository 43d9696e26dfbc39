"""The prune plan: which channels of a model go, as an editable file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from bmopt.errors import PruningError

FORMAT_VERSION = 1


@dataclasses.dataclass(frozen=True)
class PrunePlan:
    """Which channels go; applied by the ``prune-channels`` pass.

    Attributes:
        model: Digest of the model it is for.
        removed: Dependency group, named by the first node that makes its channels -> those that
            go, numbered from 0, ascending. Groups that lose none may be left out.
        sizes: Group -> how many channels it has, for readers.
    """

    model: str
    removed: Mapping[str, tuple[int, ...]]
    sizes: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def require_model(self, digest: str) -> None:
        """Raise ``PruningError`` unless the plan is for the model ``digest``."""
        if digest != self.model:
            raise PruningError(
                f"the prune plan is for model {self.model[:12]}, not for {digest[:12]}"
            )

    def to_json(self) -> str:
        """Return the plan as readable JSON; ``from_json`` gives an equal plan back."""
        groups = {
            name: {"of": self.sizes.get(name, 0), "removed": list(channels)}
            for name, channels in self.removed.items()
        }
        document = {"bmopt_prune_plan": FORMAT_VERSION, "model": self.model, "groups": groups}
        text = json.dumps(document, indent=1)
        return _numbers_in_one_line(text) + "\n"

    @classmethod
    def from_json(cls, text: str, *, source: str = "prune plan") -> PrunePlan:
        """Parse ``to_json``'s text.

        Raises:
            PruningError: The text is no prune plan of this version.
        """
        try:
            document: dict[str, Any] = json.loads(text)
            if document["bmopt_prune_plan"] != FORMAT_VERSION:
                raise PruningError(f"{source}: plan of another version; make it again")
            groups: dict[str, Any] = document["groups"]
            removed = {name: tuple(map(int, one["removed"])) for name, one in groups.items()}
            sizes = {name: int(one["of"]) for name, one in groups.items()}
            return cls(str(document["model"]), removed, sizes)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise PruningError(f"{source}: is not a prune plan ({error!r})") from error


def _numbers_in_one_line(text: str) -> str:
    """Put lists of numbers into one line each."""
    import re

    return re.sub(r"\[[\s\d,]*\]", lambda found: " ".join(found[0].split()), text)
