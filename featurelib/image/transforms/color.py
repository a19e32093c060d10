"""Transforms of pixel values: normalisation, brightness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from featurelib import _checks
from featurelib.base import Streams, generator
from featurelib.errors import FeatureError
from featurelib.image import functional as F
from featurelib.image.feature import ImageFeature
from featurelib.image.transforms.base import ImageTransform, mats_of

__all__ = ["ImageBrightness", "ImageChannelNormalize"]


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
        channels = mat.shape[2]
        if channels == 1:
            return F.channel_normalize(mat, (self.mean_r,), (self.std_r,), out)
        if channels != 3:
            raise FeatureError(
                f"ImageChannelNormalize expects 1 or 3 channels, received {channels}. "
                "Hint: ImageBytesToMat(image_codec=1) drops alpha."
            )
        means, stds = (self.mean_b, self.mean_g, self.mean_r), (self.std_b, self.std_g, self.std_r)
        return F.channel_normalize(mat, means, stds, out)

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


class ImageBrightness(ImageTransform):
    """Add one random number in [delta_low, delta_high) to all pixels (Analytics Zoo's `ImageBrightness`).

    Integer pixels stay in their range, float pixels are not clipped. Nothing is added when scoring.

    >>> ImageBrightness(5, 5)(np.array([[1, 254]], np.uint8), np.random.default_rng(1))["mat"].ravel().tolist()
    [6, 255]
    """

    random = True

    def __init__(self, delta_low: float, delta_high: float) -> None:
        _checks.ordered("delta_low", delta_low, "delta_high", delta_high)
        self.delta_low = delta_low
        self.delta_high = delta_high

    def sample(self, rng: np.random.Generator | None, mat: np.ndarray) -> dict[str, Any]:
        return {"delta": self.delta_low + (self.delta_high - self.delta_low) * generator(self, rng).random()}

    def apply_mat(self, mat: np.ndarray, *, delta: float) -> np.ndarray:
        return F.adjust(mat, brightness=delta)
