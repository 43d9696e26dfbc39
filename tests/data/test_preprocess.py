"""Options: their text forms, their merging, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmopt.data.preprocess import Preprocess
from bmopt.errors import DataError, UsageError


def test_reads_every_key_from_flags() -> None:
    texts = [
        "x=images",
        "y=classes",
        "labels=l.csv",
        "resize=256",
        "crop=224x192",
        "channels=bgr",
        "scale=1/255",
        "mean=0.485,0.456,0.406",
        "std=0.5",
        "layout=nhwc",
        "dtype=float16",
    ]
    assert Preprocess.from_options(texts) == Preprocess(
        x="images",
        y="classes",
        labels="l.csv",
        resize=256,
        crop=(224, 192),
        channels="BGR",
        scale=1 / 255,
        mean=(0.485, 0.456, 0.406),
        std=(0.5,),
        layout="NHWC",
        dtype="float16",
    )


def test_toml_gives_the_same_as_flags(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text('x = "images"\nscale = "1/255"\nmean = [0.5, 1]\nstd = 2\nresize = [8, 9]\n')
    flags = ["x=images", "scale=1/255", "mean=0.5,1", "std=2", "resize=8,9"]
    assert Preprocess.from_toml(path) == Preprocess.from_options(flags)


def test_toml_maps_several_inputs_and_finds_labels_beside_itself(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text('labels = "l.csv"\n[x]\nids = "tokens"\nmask = "m"\n')
    options = Preprocess.from_toml(path)
    assert options.x == "ids:tokens,mask:m"
    assert options.labels == str(tmp_path / "l.csv")


def test_dict_round_trips_and_holds_only_what_is_set() -> None:
    options = Preprocess.from_options(["crop=4x5", "mean=1,2", "channels=GRAY"])
    assert options.to_dict() == {"crop": [4, 5], "channels": "GRAY", "mean": [1.0, 2.0]}
    assert Preprocess.from_mapping(options.to_dict(), "here") == options


def test_later_options_override_field_by_field() -> None:
    first = Preprocess.from_options(["scale=1/255", "mean=1"])
    assert first.merged(Preprocess(mean=(2.0,))) == Preprocess(scale=1 / 255, mean=(2.0,))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scael=1", "unknown key 'scael'; the keys are x, y, labels, resize, crop"),
        ("scale", "not of the form key=value"),
        ("scale=1/0", "scale='1/0' is wrong"),
        ("scale=many", "scale='many' is wrong"),
        ("scale=inf", "finite"),
        ("mean=1,,2", "mean='1,,2' is wrong"),
        ("std=0,1", "cannot be 0"),
        ("crop=0", "in pixels"),
        ("crop=1x2x3", "in pixels"),
        ("resize=2.5", "resize='2.5' is wrong"),
        ("channels=YUV", "expected one of RGB, BGR, GRAY"),
        ("x=", "expected a name"),
    ],
)
def test_refuses_bad_flags(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Preprocess.from_options([text])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("toml", "message"),
    [("scale =", "is not valid TOML"), ("scale = true", "is wrong"), ("a = 1", "unknown key 'a'")],
)
def test_refuses_bad_toml_and_names_the_file(tmp_path: Path, toml: str, message: str) -> None:
    path = tmp_path / "p.toml"
    path.write_text(toml)
    with pytest.raises(UsageError, match=r"p\.toml") as caught:
        Preprocess.from_toml(path)
    assert message in str(caught.value)


def test_refuses_a_toml_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        Preprocess.from_toml(tmp_path / "none.toml")
