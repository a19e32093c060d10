"""What image transforms share: a picture goes in, a picture comes out, boxes follow, the rest is handed on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from featurelib.base import Preprocessing
from featurelib.errors import FeatureError
from featurelib.image.feature import ImageFeature, as_feature
from featurelib.image.roi import Roi

__all__ = ["ImageTransform", "carry", "mat_of", "mats_of", "roi_of"]


class ImageTransform(Preprocessing):
    """A transform of the picture (``mat``) of an `ImageFeature`; a bare array (height, width[, channels]) is wrapped.

    A subclass writes `apply_mat`, one call into `functional`. One that is random, or whose numbers depend on the size
    of the picture, also writes `sample`, which finds them all; one that moves pixels writes `geometry`, and the boxes
    under ``roi`` follow: they are cut to the new picture, and those that left it are dropped.

    >>> from featurelib.image import ImageHFlip
    >>> ImageHFlip()(np.array([[1, 2]], np.uint8))["mat"].ravel().tolist()
    [2, 1]
    """

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> ImageFeature:
        feature = as_feature(value)
        mat = mat_of(self, feature)
        return carry(self, feature, mat, self.sample(rng, mat))

    def sample(self, rng: np.random.Generator | None, mat: np.ndarray) -> dict[str, Any]:
        """Find the numbers of one application to `mat`: keyword arguments of `apply_mat` and `geometry`."""
        return {}

    @abstractmethod
    def apply_mat(self, mat: np.ndarray, *args: Any, **kwargs: Any) -> np.ndarray:
        """The new picture; takes what `sample` found as keyword arguments."""

    def geometry(self, mat: np.ndarray, *args: Any, **kwargs: Any) -> np.ndarray | None:
        """Where the pixels of `mat` go, a 3x3 map (`functional.shift_map` and others); None if they stay.

        Takes what `sample` found as keyword arguments.
        """
        return None


def carry(transform: ImageTransform, feature: ImageFeature, mat: np.ndarray, found: dict[str, Any]) -> ImageFeature:
    """The record with the new picture, its boxes having followed."""
    moved = transform.apply_mat(mat, **found)
    if "roi" not in feature:
        return feature.replace(mat=moved)
    roi, matrix = roi_of(transform, feature), transform.geometry(mat, **found)
    return feature.replace(mat=moved, roi=roi if matrix is None else roi.project(matrix, mat.shape, moved.shape))


def mat_of(transform: Preprocessing, feature: ImageFeature) -> np.ndarray:
    """The picture of a record; `FeatureError` if there is none yet."""
    mat = feature.get("mat")
    if mat is None:
        name, keys = type(transform).__name__, sorted(feature)
        raise FeatureError(f"{name} expects a decoded image, received only {keys}. Hint: ImageBytesToMat() first.")
    return mat


def roi_of(transform: Preprocessing, feature: ImageFeature) -> Roi:
    """The boxes of a record; `FeatureError` if there are none."""
    roi = feature.get("roi")
    if not isinstance(roi, Roi):
        name = type(transform).__name__
        raise FeatureError(f"{name} expects a Roi under 'roi'. Received: {type(roi).__name__} among {sorted(feature)}.")
    return roi


def mats_of(transform: Preprocessing, values: Sequence[Any]) -> tuple[list[ImageFeature], list[np.ndarray]]:
    """The records and pictures of a batch; `FeatureError` with the row that has none."""
    features, mats = [], []
    for row, value in enumerate(values):
        try:
            feature = as_feature(value)
            mats.append(mat_of(transform, feature))
        except FeatureError as error:
            error.at_row(row)
            raise
        features.append(feature)
    return features, mats
