"""Transforms of pixel values to a common scale; float32 out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from featurelib import _checks
from featurelib.base import Streams
from featurelib.errors import FeatureError
from featurelib.image import functional as F
from featurelib.image.feature import ImageFeature
from featurelib.image.transforms.base import ImageTransform, mats_of
from kernels.errors import ArgumentError

__all__ = ["ChannelScaledNormalizer", "ImageChannelNormalize", "ImagePixelNormalize", "PerImageNormalize"]

_NORM_TYPES = (1, 2, 4, 32)  # OpenCV: INF, L1, L2, MINMAX


class ImageChannelNormalize(ImageTransform):
    """(pixel - mean) / std for each colour (Analytics Zoo's `ImageChannelNormalize`).

    Means and deviations are given in the order R, G, B, pictures are B, G, R; grey pictures use mean_r and std_r.
    float32 out. Raises `FeatureError` for pictures of other than one or three channels.

    >>> ImageChannelNormalize(3.0, 2.0, 1.0)(np.array([[[11, 12, 13]]], np.uint8))["mat"].ravel().tolist()
    [10.0, 10.0, 10.0]
    """

    def __init__(
        self,
        mean_r: float,
        mean_g: float,
        mean_b: float,
        std_r: float = 1.0,
        std_g: float = 1.0,
        std_b: float = 1.0,
    ) -> None:
        for name, mean in (("mean_r", mean_r), ("mean_g", mean_g), ("mean_b", mean_b)):
            _checks.finite(name, mean)
        for name, std in (("std_r", std_r), ("std_g", std_g), ("std_b", std_b)):
            _checks.non_zero(name, std)
        self.mean_r = mean_r
        self.mean_g = mean_g
        self.mean_b = mean_b
        self.std_r = std_r
        self.std_g = std_g
        self.std_b = std_b

    def apply_mat(self, mat: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
        means, stds = (self.mean_r, self.mean_g, self.mean_b), (self.std_r, self.std_g, self.std_b)
        return F.channel_normalize(mat, _of_mat(self, mat, means), _of_mat(self, mat, stds), out)

    def batch(self, values: Sequence[Any], rngs: Streams | None = None) -> list[ImageFeature]:
        """As `apply`; pictures of one size come to lie in one array, ready to be the network's input."""
        features, mats = mats_of(self, values)
        height, width, channels = mats[0].shape if mats else (0, 0, 0)
        block = np.empty((len(mats), channels, height, width), np.float32)
        results = []
        for row, (feature, mat) in enumerate(zip(features, mats, strict=True)):
            out = block[row] if mat.shape == (height, width, channels) else None
            try:
                results.append(feature.replace(mat=self.apply_mat(mat, out=out)))
            except FeatureError as error:
                error.at_row(row)
                raise
        return results


class ChannelScaledNormalizer(ImageTransform):
    """(pixel - mean) * scale, one scale for all colours (BigDL's `ChannelScaledNormalizer`).

    Means are given in the order R, G, B; grey pictures use mean_r. float32 out. Raises `FeatureError` for pictures of
    other than one or three channels.

    >>> ChannelScaledNormalizer(3, 2, 1, 0.5)(np.array([[[11, 12, 13]]], np.uint8))["mat"].ravel().tolist()
    [5.0, 5.0, 5.0]
    """

    def __init__(self, mean_r: float, mean_g: float, mean_b: float, scale: float) -> None:
        for name, mean in (("mean_r", mean_r), ("mean_g", mean_g), ("mean_b", mean_b)):
            _checks.finite(name, mean)
        _checks.non_zero("scale", scale)
        self.mean_r = mean_r
        self.mean_g = mean_g
        self.mean_b = mean_b
        self.scale = scale

    def apply_mat(self, mat: np.ndarray) -> np.ndarray:
        means = _of_mat(self, mat, (self.mean_r, self.mean_g, self.mean_b))
        return F.channel_normalize(mat, means, (1 / self.scale,) * len(means))


class ImagePixelNormalize(ImageTransform):
    """pixel - mean with a mean of its own for every number of the picture (Analytics Zoo's `ImagePixelNormalize`).

    `means` is an array (height, width, channels), or flat in that order, as a list or an array; an array is faster, a
    list may also be saved when it is longer than 65,536. float32 out. Raises `FeatureError` for a picture of another
    size.

    >>> ImagePixelNormalize([1.0, 2.0])(np.array([[5, 5]], np.uint8))["mat"].ravel().tolist()
    [4.0, 3.0]
    """

    def __init__(self, means: Sequence[float] | np.ndarray) -> None:
        if not len(means) or np.asarray(means).dtype.kind not in "iuf" or not np.isfinite(means).all():
            raise ArgumentError(f"means must be finite numbers, one for each of a picture. Received: {means!r:.60}.")
        self.means = means

    def apply_mat(self, mat: np.ndarray) -> np.ndarray:
        return F.subtract(mat, np.asarray(self.means, np.float32))


class PerImageNormalize(ImageTransform):
    """Scale each picture so that its pixels go from `min` to `max` (Analytics Zoo's `PerImageNormalize`).

    `norm_type` is OpenCV's: 32 (MINMAX) does that; 1 (INF), 2 (L1) and 4 (L2) scale the norm of all pixels to `min`. A
    picture of one value becomes `min` throughout. float32 out.

    >>> PerImageNormalize(1, 3)(np.array([[10, 20, 30]], np.uint8))["mat"].ravel().tolist()
    [1.0, 2.0, 3.0]
    """

    def __init__(self, min: float, max: float, norm_type: int = 32) -> None:
        _checks.ordered("min", min, "max", max)
        _checks.one_of("norm_type", norm_type, _NORM_TYPES)
        self.min = min
        self.max = max
        self.norm_type = norm_type

    def apply_mat(self, mat: np.ndarray) -> np.ndarray:
        return F.normalize_range(mat, self.min, self.max, self.norm_type)


def _of_mat(transform: ImageTransform, mat: np.ndarray, rgb: tuple[float, ...]) -> tuple[float, ...]:
    """Numbers for R, G, B in the picture's own order; the first for grey."""
    channels = mat.shape[2]
    if channels not in (1, 3):
        raise FeatureError(
            f"{type(transform).__name__} expects 1 or 3 channels, received {channels}. "
            "Hint: ImageBytesToMat(image_codec=1) drops alpha."
        )
    return rgb[:1] if channels == 1 else rgb[::-1]
