"""What image transforms share: a picture goes in, a picture comes out, the rest of the record is handed on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from featurelib.base import Preprocessing
from featurelib.errors import FeatureError
from featurelib.image.feature import ImageFeature, as_feature

__all__ = ["ImageTransform", "mat_of", "mats_of"]


class ImageTransform(Preprocessing):
    """A transform of the picture (``mat``) of an `ImageFeature`; a bare array (height, width[, channels]) is wrapped.

    A subclass writes `apply_mat`, one call into `functional`. A random one also writes `sample`, which draws all its
    numbers; `apply_mat` gets them as keyword arguments, so that pictures, boxes and masks can follow the same draw.

    >>> from featurelib.image import ImageHFlip
    >>> ImageHFlip()(np.array([[1, 2]], np.uint8))["mat"].ravel().tolist()
    [2, 1]
    """

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> ImageFeature:
        feature = as_feature(value)
        mat = mat_of(self, feature)
        return feature.replace(mat=self.apply_mat(mat, **self.sample(rng, mat)))

    def sample(self, rng: np.random.Generator | None, mat: np.ndarray) -> dict[str, Any]:
        """Draw the random numbers of one application to `mat`; nothing if the transform is not random."""
        return {}

    @abstractmethod
    def apply_mat(self, mat: np.ndarray, *args: Any, **kwargs: Any) -> np.ndarray:
        """The new picture; takes what `sample` drew as keyword arguments."""


def mat_of(transform: Preprocessing, feature: ImageFeature) -> np.ndarray:
    """The picture of a record; `FeatureError` if there is none yet."""
    mat = feature.get("mat")
    if mat is None:
        name, keys = type(transform).__name__, sorted(feature)
        raise FeatureError(f"{name} expects a decoded image, received only {keys}. Hint: ImageBytesToMat() first.")
    return mat


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
