"""Transforms that decide by chance whether another one runs."""

from __future__ import annotations

from typing import Any

import numpy as np

from featurelib import _checks
from featurelib.base import Preprocessing, generator
from featurelib.image.feature import as_feature
from kernels.errors import ArgumentError

__all__ = ["ImageRandomPreprocessing"]


class ImageRandomPreprocessing(Preprocessing):
    """Apply an image transform with probability `prob` (Analytics Zoo's `ImageRandomPreprocessing`).

    When scoring it is never applied. `preprocessing` takes and gives an `ImageFeature`; it may be a chain, and random
    itself.

    >>> from featurelib.image import ImageHFlip
    >>> flip = ImageRandomPreprocessing(ImageHFlip(), 0.5)
    >>> rows = [flip(np.array([[1, 2]], np.uint8), np.random.default_rng(seed))["mat"] for seed in range(4)]
    >>> [row.ravel().tolist() for row in rows]
    [[1, 2], [1, 2], [2, 1], [2, 1]]
    """

    random = True

    def __init__(self, preprocessing: Preprocessing, prob: float) -> None:
        if not isinstance(preprocessing, Preprocessing):
            raise ArgumentError(f"preprocessing must be a Preprocessing. Received: {preprocessing!r}.")
        _checks.within("prob", prob, 0, 1)
        self.preprocessing = preprocessing
        self.prob = prob

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> Any:
        value = as_feature(value)
        return self.preprocessing.apply(value, rng) if generator(self, rng).random() < self.prob else value
