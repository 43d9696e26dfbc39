"""The same ``.ort`` file for the same model, whatever the addresses in the process were.

ONNX Runtime lays out its table of kernel types in the order of a hash map that is seeded with an
address, in front of the model. Here that table is written anew, in order, in front of the same
bytes: positions in a flat buffer are relative and aligned from its end, so the model stays as it
is. The tables and their fields are those of onnxruntime/core/flatbuffers/schema/ort.fbs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flatbuffers
from flatbuffers.number_types import SOffsetTFlags, VOffsetTFlags
from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs.InferenceSession import (
    InferenceSession,
)

_ALIGNMENT = 16
_IDENTIFIER = b"ORTM"
_VERSION, _MODEL, _STATE, _RESOLVER = range(4)
_FIELDS = 4


def canonical(data: bytes) -> bytes:
    """Return the content of an ``.ort`` file with its table of kernel types in order.

    A file that has no such table, or fields that are not known here, is returned as it is.
    """
    session: Any = InferenceSession.GetRootAs(data, 0)
    resolver = session.KernelTypeStrResolver()
    if resolver is None or not _is_known(session._tab):
        return data
    model = session.Model()._tab
    writer = _Writer(data[_start(model) :])
    version = writer.text(session.OrtVersion())
    found = _sorted(resolver.OpKernelTypeStrArgs, resolver.OpKernelTypeStrArgsLength(), "OpId")
    types = writer.table({0: writer.vector([_op(writer, op) for op in found])})
    fields = {_VERSION: version, _MODEL: len(data) - model.Pos, _RESOLVER: types}
    return writer.finished(writer.table(fields))


def _is_known(table: Any) -> bool:  # noqa: ANN401 - flatbuffers' Table
    """Whether a session's table has no fields but those that are written here."""
    shape = table.Pos - table.Get(SOffsetTFlags, table.Pos)
    fields = (table.Get(VOffsetTFlags, shape) - 4) // 2
    return bool(fields <= _FIELDS and not table.Offset(4 + 2 * _STATE))


def _start(table: Any) -> int:  # noqa: ANN401 - flatbuffers' Table
    """Return where a table and all that it names begins: with the description of its fields.

    That lies in front of the table, or behind it where another table has the same one.
    """
    return min(int(table.Pos), int(table.Pos - table.Get(SOffsetTFlags, table.Pos)))


def _sorted(item: Callable[[int], Any], count: int, key: str) -> list[Any]:
    return sorted((item(index) for index in range(count)), key=lambda entry: getattr(entry, key)())


def _op(writer: _Writer, op: Any) -> int:  # noqa: ANN401 - a table of ONNX Runtime's
    found = _sorted(op.KernelTypeStrArgs, op.KernelTypeStrArgsLength(), "KernelTypeStr")
    types = [_type(writer, entry) for entry in found]
    return writer.table({0: writer.text(op.OpId()), 1: writer.vector(types)})


def _type(writer: _Writer, entry: Any) -> int:  # noqa: ANN401
    arguments = [
        writer.argument(argument.ArgType(), argument.Index())
        for argument in (entry.Args(index) for index in range(entry.ArgsLength()))
    ]
    name = writer.text(entry.KernelTypeStr())
    return writer.table({0: name, 1: writer.vector(arguments)})


class _Writer:
    """Writes in front of the bytes of a flat buffer's end; positions count from the end."""

    def __init__(self, end: bytes) -> None:
        self._builder = flatbuffers.Builder(0)
        self._builder.Bytes = bytearray(end)
        self._builder.head = 0
        self._builder.minalign = _ALIGNMENT

    def text(self, value: bytes) -> int:
        return int(self._builder.CreateString(value))

    def vector(self, positions: Sequence[int]) -> int:
        self._builder.StartVector(4, len(positions), 4)
        for position in reversed(positions):
            self._builder.PrependUOffsetTRelative(position)
        return int(self._builder.EndVector())

    def table(self, positions: dict[int, int]) -> int:
        self._builder.StartObject(max(positions) + 1)
        for field, position in positions.items():
            self._builder.PrependUOffsetTRelativeSlot(field, position, 0)
        return int(self._builder.EndObject())

    def argument(self, kind: int, index: int) -> int:
        self._builder.StartObject(2)
        self._builder.PrependUint32Slot(1, index, 0)
        self._builder.PrependInt8Slot(0, kind, 0)
        return int(self._builder.EndObject())

    def finished(self, root: int) -> bytes:
        self._builder.Finish(root, file_identifier=_IDENTIFIER)
        return bytes(self._builder.Output())
