from __future__ import annotations

from pathlib import Path

import pytest

from bmopt.bundle.formats.serving import FORMATS, default_out, require_out, write_format
from bmopt.errors import BundleError, OutputError
from tests.bundle.formats.packed_models import IMAGES, with_models, write_packed


def test_an_earlier_output_is_replaced_and_foreign_files_are_not(tmp_path: Path) -> None:
    bundle = write_packed(tmp_path / "bundle", IMAGES)
    out = tmp_path / "out"
    write_format("triton", bundle, out)
    (out / "stale").write_text("")
    write_format("mlflow", bundle, out)
    assert not (out / "stale").exists()
    assert not (out / "net").exists()
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("years")
    with pytest.raises(OutputError, match="holds other files"):
        require_out("triton", other)
    with pytest.raises(OutputError, match="holds other files"):
        write_format("triton", bundle, bundle)


def test_a_failure_leaves_the_earlier_output(tmp_path: Path) -> None:
    bundle = write_packed(tmp_path / "bundle", IMAGES)
    write_format("ort", bundle, tmp_path / "out")
    before = (tmp_path / "out/model.ort").read_bytes()
    (bundle / "models/m0/model.onnx").write_bytes(b"broken")
    with pytest.raises(BundleError):
        write_format("ort", bundle, tmp_path / "out")
    assert (tmp_path / "out/model.ort").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "out"]


@pytest.mark.parametrize("kind", FORMATS)
def test_messages_are_one_line(tmp_path: Path, kind: str) -> None:
    bundle = write_packed(tmp_path / "bundle", IMAGES, change=with_models(engine="tvm"))
    out = tmp_path / default_out(kind, "net")
    with pytest.raises(BundleError) as caught:
        write_format(kind, bundle, out)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_default_outputs_are_distinct() -> None:
    names = [str(default_out(kind, "net")) for kind in FORMATS]
    assert names == ["net.triton", "net.mar", "net.mlflow", "net.oci", "net.ort"]
