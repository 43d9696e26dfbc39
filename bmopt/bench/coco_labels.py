"""Boxes and classes of images, from COCO's annotations in JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bmopt.core.runner import Array
from bmopt.errors import DataError

Categories = Literal["index", "id"]


def load_coco(file: str, *, categories: Categories, relative: bool) -> Array:
    """Return float64 ``[images, boxes, 6]`` rows: class, x1, y1, x2, y2, crowd.

    Images are in the order of their file names, as a folder of them is read. Rows without a box
    have class -1.

    Args:
        file: COCO's JSON with ``images``, ``annotations`` and ``categories``.
        categories: Classes are a category's ``index`` among the sorted ids, or its ``id``.
        relative: Divide boxes by the image's width and height. The overlap of boxes does not
            change by that, and labels then fit a model whose input is a resized image.

    Raises:
        DataError: The file is missing or is no such JSON.
    """
    try:
        document = json.loads(Path(file).read_text(encoding="utf-8"))
        return _boxes(document, categories, relative)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read ({error})") from error
    except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise DataError(
            f"{file}: is no COCO JSON with images, annotations and categories ({error!r})"
        ) from error


def _boxes(document: Any, categories: Categories, relative: bool) -> Array:  # noqa: ANN401 - JSON
    ids = sorted(entry["id"] for entry in document["categories"])
    classes = {i: index if categories == "index" else i for index, i in enumerate(ids)}
    found: dict[Any, list[list[float]]] = defaultdict(list)
    for entry in document["annotations"]:
        x, y, width, height = map(float, entry["bbox"])
        corners = [x, y, x + width, y + height]
        crowd = float(bool(entry.get("iscrowd", 0)))
        found[entry["image_id"]].append([classes[entry["category_id"]], *corners, crowd])
    images = sorted(document["images"], key=lambda image: str(image["file_name"]))
    most = max((len(rows) for rows in found.values()), default=0)
    labels = np.full((len(images), most, 6), -1.0)
    for place, image in zip(labels, images, strict=True):
        rows = found[image["id"]]
        if rows:
            place[: len(rows)] = rows
        if relative:
            sizes = [image["width"], image["height"]] * 2
            place[: len(rows), 1:5] /= np.array(sizes, np.float64)
    return labels
