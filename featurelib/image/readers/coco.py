"""COCO: a folder of pictures, and one JSON file with the boxes of all of them."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from featurelib.errors import FeatureError
from featurelib.image.feature import ImageFeature
from featurelib.image.files import named_bytes, origin_of
from featurelib.image.roi import Roi

__all__ = ["read_coco"]

MAX_JSON = 1 << 30


def read_coco(folder: str | Path, annotations: str | Path) -> list[ImageFeature]:
    """The pictures that an ``instances`` file lists, in its order, as the bytes of the files in `folder` with ``roi``.

    COCO's boxes are x, y, width, height; here they are corners. Classes count from 1 in the order of COCO's category
    numbers, which have gaps. Crowds are marked as difficult. Boxes without an area are left out. Raises `FeatureError`,
    which names the file, for what is missing or damaged.
    """
    found = _loaded(annotations)
    try:
        identifiers = sorted(int(category["id"]) for category in found["categories"])
        numbers = {identifier: number for number, identifier in enumerate(identifiers, 1)}
        boxes: dict[Any, list[tuple[float, ...]]] = defaultdict(list)
        for each in found.get("annotations", []):
            x, y, width, height = map(float, each["bbox"])
            if width > 0 and height > 0:
                crowd = float(each.get("iscrowd", 0))
                boxes[each["image_id"]].append((x, y, x + width, y + height, numbers[each["category_id"]], crowd))
        pictures = [(picture["id"], str(picture["file_name"])) for picture in found["images"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FeatureError(
            f"{annotations}: it must hold 'images', 'annotations' and 'categories' as COCO writes them. "
            f"Received: {type(error).__name__}: {error}."
        ) from None
    return [_feature(Path(folder), name, boxes.get(identifier, [])) for identifier, name in pictures]


def _feature(folder: Path, name: str, boxes: list[tuple[float, ...]]) -> ImageFeature:
    path = folder / name
    if ".." in Path(name).parts or Path(name).is_absolute():
        raise FeatureError(f"{folder}: a file name must lie below the folder. Received: {name!r}.")
    table = np.array(boxes, np.float32).reshape(len(boxes), 6)
    try:
        roi = Roi(table[:, :4].copy(), table[:, 4].copy(), table[:, 5] > 0)
    except FeatureError as error:
        raise FeatureError(f"boxes of {name!r}: {error}") from None
    return ImageFeature(named_bytes(path), path=origin_of(str(path))).replace(roi=roi)


def _loaded(path: str | Path) -> dict[str, Any]:
    try:
        return json.loads(named_bytes(path, MAX_JSON))
    except (ValueError, RecursionError) as error:
        raise FeatureError(f"{path}: annotations must be JSON. Received: {error}.") from None
