"""The objects in a picture: boxes, their classes, and how boxes follow when pixels move."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from featurelib.errors import FeatureError

__all__ = ["Roi", "iou"]


@dataclass(frozen=True, eq=False, repr=False)
class Roi:
    """The objects of one picture, under the key ``roi`` of an `ImageFeature` (BigDL's `RoiLabel`).

    ==============  ===================================================================================
    field           value
    ==============  ===================================================================================
    ``boxes``       float32 (n, 4): x1, y1, x2, y2, in pixels or shares of the picture
    ``classes``     float32 (n,)
    ``difficult``   bool (n,); False where not given
    ``normalized``  whether boxes are shares of the picture's width and height, from 0 to 1
    ``centered``    bool (n,): whether the middle of each box was in the picture whenever it was cut to it
    ==============  ===================================================================================

    A pixel in column x covers x to x + 1: the box of the whole picture is (0, 0, width, height). `numpy.asarray` gives
    float32 (n, 6): class, difficult, x1, y1, x2, y2. Raises `FeatureError` for parts that do not fit each other.

    >>> roi = Roi([[2, 3, 6, 5]], [1])
    >>> roi.normalize(10, 20).boxes.tolist()
    [[0.10000000149011612, 0.30000001192092896, 0.30000001192092896, 0.5]]
    """

    boxes: np.ndarray
    classes: np.ndarray
    difficult: np.ndarray = None  # type: ignore[assignment]  # becomes an array below
    normalized: bool = False
    centered: np.ndarray = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        boxes = np.asarray(self.boxes, np.float32)
        boxes = boxes if boxes.size else boxes.reshape(0, 4)
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise FeatureError(f"boxes must be (n, 4). Received: shape {boxes.shape}.")
        parts = {"boxes": boxes, "classes": np.asarray(self.classes, np.float32).reshape(-1)}
        for name, missing in (("difficult", False), ("centered", True)):
            given = getattr(self, name)
            parts[name] = np.full(len(boxes), missing) if given is None else np.asarray(given, bool).reshape(-1)
        for name, part in parts.items():
            if len(part) != len(boxes):
                raise FeatureError(f"{name} must be as many as boxes: {len(boxes)}. Received: {len(part)}.")
            object.__setattr__(self, name, part)
        odd = ~np.isfinite(boxes).all(axis=1) | (boxes[:, 2:] < boxes[:, :2]).any(axis=1)
        if odd.any():
            raise FeatureError(f"boxes must be finite x1 <= x2, y1 <= y2. Received: {boxes[odd][0].tolist()}.")

    def __len__(self) -> int:
        return len(self.boxes)

    def __repr__(self) -> str:
        return f"Roi({len(self)} boxes, {'normalized' if self.normalized else 'in pixels'})"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.column_stack([self.classes, self.difficult, self.boxes]).astype(dtype or np.float32)

    def keep(self, kept: np.ndarray) -> Roi:
        """Those objects that a bool (n,) or an array of positions picks.

        >>> Roi([[0, 0, 1, 1], [0, 0, 2, 2]], [3, 4]).keep([1]).classes.tolist()
        [4.0]
        """
        parts = {name: getattr(self, name)[kept] for name in ("boxes", "classes", "difficult", "centered")}
        return replace(self, **parts)

    def normalize(self, height: int, width: int) -> Roi:
        """Boxes as shares of a picture of this size."""
        return self if self.normalized else replace(self, boxes=self.boxes / _extent(height, width), normalized=True)

    def in_pixels(self, height: int, width: int) -> Roi:
        """Boxes in pixels of a picture of this size."""
        return replace(self, boxes=self.boxes * _extent(height, width), normalized=False) if self.normalized else self

    def clip(self, height: int, width: int) -> Roi:
        """Cut boxes to a picture of this size; those that lie outside are dropped, as are boxes without an area.

        >>> Roi([[-2, 1, 3, 9], [8, 8, 9, 9]], [1, 2]).clip(5, 5).boxes.tolist()
        [[0.0, 1.0, 3.0, 5.0]]
        """
        return self._cut(self.boxes, _extent(1, 1) if self.normalized else _extent(height, width), self.normalized)

    def project(self, matrix: np.ndarray, before: tuple[int, ...], after: tuple[int, ...]) -> Roi:
        """Follow a map (3, 3) of pixels from a picture of size `before` to one of size `after`, and clip.

        Sizes are (height, width). A box that is turned becomes the upright one around it.

        >>> from featurelib.image.functional import flip_map
        >>> Roi([[0, 0, 4, 5]], [1]).project(flip_map(width=10), (5, 10), (5, 10)).boxes.tolist()
        [[6.0, 0.0, 10.0, 5.0]]
        """
        boxes = self.in_pixels(*before[:2]).boxes.astype(np.float64)
        corners = boxes[:, [[0, 1], [2, 1], [0, 3], [2, 3]]]  # (n, 4, 2)
        moved = corners @ matrix[:2, :2].T + matrix[:2, 2]
        around = np.concatenate([moved.min(axis=1), moved.max(axis=1)], axis=1).astype(np.float32)
        projected = self._cut(around, _extent(*after[:2]), False)
        return projected.normalize(*after[:2]) if self.normalized else projected

    def _cut(self, boxes: np.ndarray, limit: np.ndarray, normalized: bool) -> Roi:
        """These objects with other boxes, cut to (0, limit)."""
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        centered = self.centered & ((middle >= 0) & (middle <= limit[:2])).all(axis=1)
        cut = np.minimum(np.maximum(boxes, 0), limit)
        kept = (cut[:, 2:] > cut[:, :2]).all(axis=1)
        return Roi(cut[kept], self.classes[kept], self.difficult[kept], normalized, centered[kept])


def iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of every box (n, 4) with every other (m, 4): (n, m), 0 where both are empty.

    >>> iou(np.float32([[0, 0, 2, 2]]), np.float32([[1, 0, 2, 2], [5, 5, 6, 6]])).tolist()
    [[0.5, 0.0]]
    """
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas, other_areas = ((each[:, 2:] - each[:, :2]).prod(axis=1) for each in (boxes, others))
    union = areas[:, None] + other_areas[None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _extent(height: int, width: int) -> np.ndarray:
    return np.array([width, height, width, height], np.float32)
