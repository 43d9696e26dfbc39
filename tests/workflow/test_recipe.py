from __future__ import annotations

import dataclasses
import math
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmopt.errors import UsageError
from bmopt.workflow.recipe import Recipe, read_options

FULL = Recipe(
    target="ort-int8:x86-vnni",
    calib="folder/calib.npz?x=images",
    val='with "quotes" and \\ back\\slashes',
    metric="top5",
    pipeline="fold-constants,merge-common",
    shapes=("input:1x3x224x224", "mask:1x8"),
    preprocess=("scale=1/255",),
    keep_float=("op:Gemm", "block[0]/*"),
    method="mse",
    placement="narrow_input=4",
    calib_limit=100,
    val_limit=1000,
    batch_size=8,
    threads=2,
    duration_s=1.25,
    seed=7,
)


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("recipe", [Recipe(), FULL])
def test_a_recipe_goes_through_toml(tmp_path: Path, recipe: Recipe) -> None:
    assert Recipe.from_toml(write(tmp_path, recipe.to_toml())) == recipe


@given(
    calib=st.text(st.characters(codec="utf-8")),
    keep=st.lists(st.text(st.characters(codec="utf-8")), max_size=3).map(tuple),
    duration=st.floats(0, 1e300),
)
def test_any_text_goes_through_toml(calib: str, keep: tuple[str, ...], duration: float) -> None:
    recipe = Recipe(calib=calib, keep_float=keep, duration_s=duration)
    with tempfile.TemporaryDirectory() as folder:
        assert Recipe.from_toml(write(Path(folder), recipe.to_toml())) == recipe


def test_a_file_sets_what_it_names(tmp_path: Path) -> None:
    path = write(tmp_path, 'target = "ort-fp32"\nduration_s = 3\nkeep_float = ["a"]\n')
    assert read_options(path) == {"target": "ort-fp32", "duration_s": 3.0, "keep_float": ("a",)}
    assert Recipe.from_toml(path) == Recipe(target="ort-fp32", duration_s=3.0, keep_float=("a",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("target = ", "is not TOML"),
        ('tagret = "ort-int8"', "unknown option 'tagret'; valid are target, calib"),
        ("target = 3", "option 'target' has the wrong type; the default is 'ort-int8'"),
        ("threads = 1.5", "option 'threads' has the wrong type"),
        ("threads = true", "option 'threads' has the wrong type"),
        ("duration_s = true", "option 'duration_s' has the wrong type"),
        ('duration_s = "1"', "option 'duration_s' has the wrong type"),
        ('keep_float = "a"', "option 'keep_float' has the wrong type"),
        ("keep_float = [1]", "option 'keep_float' has the wrong type"),
        ("[target]", "option 'target' has the wrong type"),
        ('method = "median"', "unknown method 'median'; valid are auto, minmax"),
        ('preset = "slow"', "unknown preset 'slow'; valid are fast, balanced, best"),
        ("max_drop = inf", "max-drop inf: give points of the metric, e.g. 0.3"),
        ('min_metric = "high"', "min-metric 'high': give a number in the metric's unit"),
        ("min_speedup = -1.0", "min-speedup -1.0: give a factor, e.g. 1.0"),
        ("threads = 0", "threads must be at least 1"),
        ("batch_size = 0", "batch-size must be at least 1"),
        ("calib_limit = -1", "calib-limit must not be negative"),
        ("val_limit = -1", "val-limit must not be negative"),
        ("seed = -1", "seed must not be negative"),
        ("duration_s = -1.0", "duration -1.0: give seconds"),
        ("duration_s = nan", "duration nan: give seconds"),
        ("duration_s = inf", "duration inf: give seconds"),
    ],
)
def test_a_bad_recipe_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        Recipe.from_toml(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_missing_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        Recipe.from_toml(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b'calib = "\xe4"')
    with pytest.raises(UsageError, match="is not TOML"):
        Recipe.from_toml(tmp_path / "latin.toml")


@pytest.mark.parametrize(
    "options",
    [
        {"threads": 0},
        {"preset": "x"},
        {"method": "median"},
        {"duration_s": math.nan},
        {"threads": "2"},
        {"keep_float": "op:Gemm"},
        {"keep_float": ["op:Gemm"]},
        {"keep_float": (1,)},
        {"calib": None},
    ],
)
def test_a_bad_option_is_refused_without_a_file_too(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        dataclasses.replace(Recipe(), **options)
