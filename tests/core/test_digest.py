from __future__ import annotations

import hashlib
from pathlib import Path

from bmopt.core import digest


def test_bytes_have_their_sha256() -> None:
    assert digest.of_bytes(b"abc") == hashlib.sha256(b"abc").hexdigest()


def test_json_does_not_depend_on_key_order() -> None:
    assert digest.of_json({"a": 1, "b": {"c": 2, "d": 3}}) == digest.of_json(
        {"b": {"d": 3, "c": 2}, "a": 1}
    )


def test_json_tells_values_apart() -> None:
    values = [None, 0, 1, "1", 1.5, [], [1], ["1"], {}, {"a": 1}, {"a": "1"}, "ä", [[1], 2], True]
    assert len({digest.of_json(value) for value in values}) == len(values)


def test_a_file_has_the_digest_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "big"
    data = bytes(range(256)) * 5000  # more than one chunk
    path.write_bytes(data)
    assert digest.of_file(path) == digest.of_bytes(data)
