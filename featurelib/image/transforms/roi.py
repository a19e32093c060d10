"""Transforms for object detection: boxes by themselves, and crops that look at boxes.

Boxes under ``roi`` follow every transform that moves pixels (`ImageTransform`). BigDL's programs say so themselves:
`ImageExpand() >> RoiProject()`, `ImageHFlip() >> RoiHFlip()`. Those still mean what they meant: of the explicit steps
`RoiHFlip` and `RoiResize` find their work done, `RoiProject` adds its rule about the middle of boxes. Records without
boxes pass these steps, as when scoring.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from featurelib.base import Preprocessing, generator
from featurelib.errors import FeatureError
from featurelib.image import functional as F
from featurelib.image.feature import ImageFeature, as_feature
from featurelib.image.roi import iou
from featurelib.image.transforms.base import ImageTransform, carry, mat_of, roi_of
from featurelib.image.transforms.crop import part_of

__all__ = ["DetectionCrop", "RandomSampler", "RoiHFlip", "RoiNormalize", "RoiProject", "RoiResize"]

_LEAST_OVERLAPS = (0.1, 0.3, 0.5, 0.7, 0.9, 0.0)
_TRIALS = 50


class RoiNormalize(Preprocessing):
    """Boxes from pixels to shares of the picture, from 0 to 1 (BigDL's `RoiNormalize`).

    >>> from featurelib.image import Roi
    >>> record = ImageFeature(np.zeros((10, 20), np.uint8)).replace(roi=Roi([[5, 5, 10, 10]], [1]))
    >>> RoiNormalize()(record)["roi"].boxes.tolist()
    [[0.25, 0.5, 0.5, 1.0]]
    """

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> ImageFeature:
        feature = as_feature(value)
        if "roi" not in feature:
            return feature
        return feature.replace(roi=roi_of(self, feature).normalize(*mat_of(self, feature).shape[:2]))


class RoiProject(Preprocessing):
    """Drop the boxes whose middle was left outside by a crop (BigDL's `RoiProject`).

    Boxes have followed the picture and are cut to it already; without `need_meet_center_constraint` that is all.

    >>> from featurelib.image import ImageFixedCrop, Roi
    >>> record = ImageFeature(np.zeros((10, 10), np.uint8)).replace(roi=Roi([[0, 0, 6, 6], [4, 4, 6, 6]], [1, 2]))
    >>> (ImageFixedCrop(4, 4, 9, 9, normalized=False) >> RoiProject())(record)["roi"].classes.tolist()
    [2.0]
    """

    def __init__(self, need_meet_center_constraint: bool = True) -> None:
        self.need_meet_center_constraint = need_meet_center_constraint

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> ImageFeature:
        feature = as_feature(value)
        if "roi" not in feature or not self.need_meet_center_constraint:
            return feature
        roi = roi_of(self, feature)
        return feature.replace(roi=roi.keep(roi.centered))


class RoiHFlip(Preprocessing):
    """Leave boxes as they are: they have followed `ImageHFlip` already (BigDL's `RoiHFlip`).

    `normalized` is BigDL's argument; boxes know their unit themselves.

    >>> from featurelib.image import ImageHFlip, Roi
    >>> record = ImageFeature(np.zeros((10, 10), np.uint8)).replace(roi=Roi([[0, 0, 4, 6]], [1]))
    >>> (ImageHFlip() >> RoiHFlip(normalized=False))(record)["roi"].boxes.tolist()
    [[6.0, 0.0, 10.0, 6.0]]
    """

    def __init__(self, normalized: bool = True) -> None:
        self.normalized = normalized

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> ImageFeature:
        return as_feature(value)


class RoiResize(Preprocessing):
    """Leave boxes as they are: they have followed `ImageResize` already (BigDL's `RoiResize`).

    `normalized` is BigDL's argument; boxes know their unit themselves.

    >>> from featurelib.image import ImageResize, Roi
    >>> record = ImageFeature(np.zeros((10, 10), np.uint8)).replace(roi=Roi([[0, 0, 4, 6]], [1]))
    >>> (ImageResize(20, 10) >> RoiResize())(record)["roi"].boxes.tolist()
    [[0.0, 0.0, 4.0, 12.0]]
    """

    def __init__(self, normalized: bool = False) -> None:
        self.normalized = normalized

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> ImageFeature:
        return as_feature(value)


class RandomSampler(ImageTransform):
    """Cut out a part that shows an object well, as SSD is trained (BigDL's `RandomSampler`); nothing when scoring.

    Six times, up to 50 parts are drawn (0.3 to 1 of the picture's sides, aspect 0.5 to 2) until one overlaps a box by
    at least 0.1, 0.3, 0.5, 0.7, 0.9 or 0 (intersection over union). One of those found, or the whole picture, is taken,
    each equally likely. Boxes whose middle is outside are dropped.

    >>> from featurelib.image import Roi
    >>> record = ImageFeature(np.zeros((60, 80), np.uint8)).replace(roi=Roi([[10, 10, 50, 50]], [1]))
    >>> RandomSampler()(record, np.random.default_rng(2))["roi"].classes.tolist()
    [1.0]
    """

    random = True

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> ImageFeature:
        feature = as_feature(value)
        mat = mat_of(self, feature)
        boxes = roi_of(self, feature).normalize(*mat.shape[:2]).boxes
        part = _sampled(generator(self, rng), boxes)
        cut = carry(self, feature, mat, part_of(self, mat, part, normalized=True))
        return cut.replace(roi=cut["roi"].keep(cut["roi"].centered))

    def apply_mat(self, mat: np.ndarray, *, top: int, left: int, height: int, width: int) -> np.ndarray:
        return F.crop(mat, top, left, height, width)

    def geometry(self, mat: np.ndarray, *, top: int, left: int, height: int, width: int) -> np.ndarray:
        return F.shift_map(-left, -top)


class DetectionCrop(ImageTransform):
    """Cut out what a detector found first (BigDL's `DetectionCrop`).

    Under `roi_key` the record has detections (n, 6 or more): class, score, x1, y1, x2, y2, of which the first counts;
    or them flat after their number. `normalized` coordinates are shares of the picture. Without a detection the picture
    stays. Raises `FeatureError` where there is no such array, or its part has no pixel.

    >>> record = ImageFeature(np.arange(4, dtype=np.uint8).reshape(1, 4)).replace(
    ...     found=np.float32([[1, 0.9, 0.5, 0, 1, 1]])
    ... )
    >>> DetectionCrop("found")(record)["mat"].ravel().tolist()
    [2, 3]
    """

    def __init__(self, roi_key: str, normalized: bool = True) -> None:
        self.roi_key = roi_key
        self.normalized = normalized

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> ImageFeature:
        feature = as_feature(value)
        mat = mat_of(self, feature)
        found = _detections(feature.get(self.roi_key), self.roi_key)
        if not len(found):
            return feature
        box = tuple(float(edge) for edge in found[0, 2:6])
        return carry(self, feature, mat, part_of(self, mat, box, self.normalized))

    def apply_mat(self, mat: np.ndarray, *, top: int, left: int, height: int, width: int) -> np.ndarray:
        return F.crop(mat, top, left, height, width)

    def geometry(self, mat: np.ndarray, *, top: int, left: int, height: int, width: int) -> np.ndarray:
        return F.shift_map(-left, -top)


def _sampled(rng: np.random.Generator, boxes: np.ndarray) -> tuple[float, ...]:
    """x1, y1, x2, y2 of the part that was drawn, as shares of the picture."""
    options = [np.array([0.0, 0.0, 1.0, 1.0])]
    for least in _LEAST_OVERLAPS if len(boxes) else ():
        parts = _parts(rng.random((_TRIALS, 4)))
        good = np.flatnonzero((iou(parts, boxes) >= least).any(axis=1))
        options += [parts[i] for i in good[:1]]
    return tuple(options[int(rng.random() * len(options))].tolist())


def _parts(draws: np.ndarray) -> np.ndarray:
    scale = 0.3 + 0.7 * draws[:, 0]
    ratio = np.clip(0.5 + 1.5 * draws[:, 1], scale**2, 1 / scale**2)
    size = np.stack([scale * np.sqrt(ratio), scale / np.sqrt(ratio)], axis=1)
    corner = draws[:, 2:] * (1 - size)
    return np.concatenate([corner, corner + size], axis=1)


def _detections(found: Any, key: str) -> np.ndarray:
    array: np.ndarray = np.empty(())
    if isinstance(found, (np.ndarray, list, tuple)):
        array = np.asarray(found, np.float32)
    if array.ndim == 1 and len(array) % 6 == 1:
        array = array[1:].reshape(-1, 6)
    if array.ndim != 2 or array.shape[1] < 6 or not np.isfinite(array).all():
        raise FeatureError(
            f"DetectionCrop expects finite detections (n, 6) under {key!r}: class, score, x1, y1, x2, y2. "
            f"Received: {type(found).__name__} of shape {array.shape}."
        )
    return array
