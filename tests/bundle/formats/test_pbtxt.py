from __future__ import annotations

from google.protobuf import struct_pb2, text_format
from hypothesis import given
from hypothesis import strategies as st

from bmopt.bundle.formats.pbtxt import Message, Symbol, text


@given(st.text())
def test_any_text_survives(value: str) -> None:
    written = text(Message.of(("string_value", value)))
    read = text_format.Parse(written, struct_pb2.Value())
    assert read.string_value == value


def test_messages_symbols_and_lists() -> None:
    message = Message.of(
        ("a", Message.of(("n", -1), ("ok", True))), ("kind", Symbol("TYPE_X")), ("dims", (1, -1))
    )
    assert text(message) == "a {\n  n: -1\n  ok: true\n}\nkind: TYPE_X\ndims: [ 1, -1 ]\n"
