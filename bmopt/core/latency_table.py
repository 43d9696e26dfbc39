"""How long parts of a model take in float and in integers on a device, as an editable file."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Collection, Mapping
from typing import Any

from bmopt.errors import QuantizationError

FORMAT_VERSION = 1


@dataclasses.dataclass(frozen=True)
class GroupLatency:
    """A node that can run in float or in integers, with what the engine fuses into it.

    Attributes:
        float_ns: Its time in one inference in float, in nanoseconds.
        int_ns: Its time in integers.
        op: Its op type.
        needs: Groups that have to be in integers where it is, because it reads what they write.
    """

    float_ns: float
    int_ns: float
    op: str = ""
    needs: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class BorderLatency:
    """A tensor between groups, and what it costs where float and integers meet in it.

    Attributes:
        quantize_ns: Paid once where its writer is in float and any reader in integers: the
            conversion and the changes of layout that come with it.
        dequantize_ns: Paid once where its writer is in integers and any reader in float.
        writer: The group that writes it; empty where float always does, as in a model's input.
        readers: The groups that read it.
        read_in_float: Something that is no group reads it too, or it is an output of the model.
    """

    quantize_ns: float
    dequantize_ns: float
    writer: str = ""
    readers: tuple[str, ...] = ()
    read_in_float: bool = False


@dataclasses.dataclass(frozen=True)
class LatencyTable:
    """The times of a model's groups and borders, bound to that model, a target and a host.

    Attributes:
        model: Digest of the float model, the one that a quantisation plan names.
        target: What it was measured as, ``engine-precision:device``.
        host: Model of the processor that it was measured on.
        threads: Threads of the measured sessions; 0 let the engine choose.
        groups: Node name -> its times, in graph order.
        borders: Tensor name -> its times, in graph order.
        rest_ns: Time of everything that is in no group.
    """

    model: str
    target: str
    host: str
    threads: int
    groups: Mapping[str, GroupLatency]
    borders: Mapping[str, BorderLatency]
    rest_ns: float = 0.0

    def require_model(self, digest: str) -> None:
        """Raise ``QuantizationError`` unless the table was measured on the model ``digest``."""
        if digest != self.model:
            raise QuantizationError(
                f"the latency table was measured on model {self.model[:12]}, not on "
                f"{digest[:12]}; measure one with 'bmopt bench FLOAT INT8 --latency-table FILE'"
            )

    def scaled(self, factor: float) -> LatencyTable:
        """Return the table with the costs of all borders multiplied by ``factor``."""
        borders = {
            name: dataclasses.replace(
                border,
                quantize_ns=border.quantize_ns * factor,
                dequantize_ns=border.dequantize_ns * factor,
            )
            for name, border in self.borders.items()
        }
        return dataclasses.replace(self, borders=borders)

    def predicted_ns(self, kept: Collection[str]) -> float:
        """Return what an inference takes with the groups ``kept`` in float, in nanoseconds."""
        spent = self.rest_ns
        for name, group in self.groups.items():
            spent += group.float_ns if name in kept else group.int_ns
        return spent + sum(
            border_ns(border, self.groups, kept) for border in self.borders.values()
        )

    def to_json(self) -> str:
        """Return the table as readable JSON; ``from_json`` gives an equal table back."""
        document = {"bmopt_latencies": FORMAT_VERSION, **dataclasses.asdict(self)}
        return json.dumps(document, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, *, source: str = "latency table") -> LatencyTable:
        """Parse ``to_json``'s text.

        Raises:
            QuantizationError: The text is no latency table of this version, a time is negative
                or no number, or a border or need names a group that is not there.
        """
        try:
            document: dict[str, Any] = json.loads(text)
            version = document.pop("bmopt_latencies")
            if version != FORMAT_VERSION:
                raise QuantizationError(
                    f"{source}: latency table version {version!r}, this bmopt reads "
                    f"{FORMAT_VERSION}; measure again"
                )
            document["groups"] = {k: _group(v) for k, v in document["groups"].items()}
            document["borders"] = {k: _border(v) for k, v in document["borders"].items()}
            table = cls(**document)
            _require_sound(table, source)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise QuantizationError(
                f"{source}: is not a bmopt latency table ({error!r})"
            ) from error
        return table


def border_ns(border: BorderLatency, groups: Collection[str], kept: Collection[str]) -> float:
    """Return what a border costs where the groups ``kept`` are in float and the others are not."""
    readers = [reader not in kept for reader in border.readers if reader in groups]
    if border.writer not in groups or border.writer in kept:
        return border.quantize_ns if any(readers) else 0.0
    stays = all(readers) and not border.read_in_float
    return 0.0 if stays else border.dequantize_ns


def _group(document: Mapping[str, Any]) -> GroupLatency:
    return GroupLatency(**{**document, "needs": tuple(document.get("needs", ()))})


def _border(document: Mapping[str, Any]) -> BorderLatency:
    return BorderLatency(**{**document, "readers": tuple(document.get("readers", ()))})


def _require_sound(table: LatencyTable, source: str) -> None:
    times = [("rest_ns", table.rest_ns)]
    named = []
    for name, group in table.groups.items():
        times += [(name, group.float_ns), (name, group.int_ns)]
        named += [(name, other) for other in group.needs]
    for name, border in table.borders.items():
        times += [(name, border.quantize_ns), (name, border.dequantize_ns)]
        named += [(name, other) for other in (border.writer, *border.readers) if other]
    for name, time in times:
        if not 0.0 <= time < math.inf:
            raise QuantizationError(f"{source}: {name!r} has a time of {time}; give ns, 0 or more")
    for name, other in named:
        if other not in table.groups:
            raise QuantizationError(
                f"{source}: {name!r} names the group {other!r}, of which there are no times"
            )
