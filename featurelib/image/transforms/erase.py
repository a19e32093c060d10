"""Transforms that take detail away: rectangles of one value, blur."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from featurelib import _checks
from featurelib.base import generator
from featurelib.image import functional as F
from featurelib.image.transforms.base import ImageTransform
from kernels.errors import ArgumentError

__all__ = ["ImageCutout", "ImageFiller", "ImageGaussianBlur"]


class ImageFiller(ImageTransform):
    """Give a rectangle one value (Analytics Zoo's `ImageFiller`), in pictures of any kind kept in their range.

    The corners (start_x, start_y) and (end_x, end_y) are shares of the picture, from 0 to 1; fractions of a pixel count
    as a whole one. Boxes stay.

    >>> ImageFiller(0, 0, 0.5, 1)(np.array([[1, 2, 3, 4]], np.uint8))["mat"].ravel().tolist()
    [255, 255, 3, 4]
    """

    def __init__(self, start_x: float, start_y: float, end_x: float, end_y: float, value: float = 255) -> None:
        for name, share in (("start_x", start_x), ("start_y", start_y), ("end_x", end_x), ("end_y", end_y)):
            _checks.within(name, share, 0, 1)
        _checks.ordered("start_x", start_x, "end_x", end_x)
        _checks.ordered("start_y", start_y, "end_y", end_y)
        _checks.finite("value", value)
        self.start_x = start_x
        self.start_y = start_y
        self.end_x = end_x
        self.end_y = end_y
        self.value = value

    def sample(self, rng: np.random.Generator | None, mat: np.ndarray) -> dict[str, Any]:
        # The small subtraction makes 0.7 of 10 pixels seven.
        top, bottom = (math.ceil(share * mat.shape[0] - 1e-6) for share in (self.start_y, self.end_y))
        left, right = (math.ceil(share * mat.shape[1] - 1e-6) for share in (self.start_x, self.end_x))
        return {"top": top, "left": left, "height": bottom - top, "width": right - left}

    def apply_mat(self, mat: np.ndarray, *, top: int, left: int, height: int, width: int) -> np.ndarray:
        return F.fill(mat, top, left, height, width, self.value)


class ImageCutout(ImageTransform):
    """Give a rectangle of random area, aspect and place one value (random erasing); not when scoring.

    `area` is the range of its share of the picture, `aspect` of its width by height (drawn evenly by its logarithm); it
    is cut to the picture's size. Boxes stay. `ImageRandomPreprocessing` makes it happen now and then.

    >>> cut = ImageCutout(area=(0.25, 0.25), aspect=(1, 1), value=9)
    >>> int((cut(np.zeros((8, 8), np.uint8), np.random.default_rng(1))["mat"] == 9).sum())
    16
    """

    random = True

    def __init__(
        self, area: tuple[float, float] = (0.02, 0.33), aspect: tuple[float, float] = (0.3, 3.3), value: float = 0
    ) -> None:
        _checks.interval("area", area, 1)
        _checks.interval("aspect", aspect)
        _checks.finite("value", value)
        self.area = area
        self.aspect = aspect
        self.value = value

    def sample(self, rng: np.random.Generator | None, mat: np.ndarray) -> dict[str, Any]:
        rng = generator(self, rng)
        rows, columns = mat.shape[:2]
        pixels = rows * columns * (self.area[0] + (self.area[1] - self.area[0]) * rng.random())
        ratio = self.aspect[0] * (self.aspect[1] / self.aspect[0]) ** rng.random()
        height = min(max(round(math.sqrt(pixels / ratio)), 1), rows)
        width = min(max(round(math.sqrt(pixels * ratio)), 1), columns)
        top, left = int(rng.random() * (rows - height + 1)), int(rng.random() * (columns - width + 1))
        return {"top": top, "left": left, "height": height, "width": width}

    def apply_mat(self, mat: np.ndarray, *, top: int, left: int, height: int, width: int) -> np.ndarray:
        return F.fill(mat, top, left, height, width, self.value)


class ImageGaussianBlur(ImageTransform):
    """Blur by a Gaussian whose deviation is a random number of pixels in [sigma_low, sigma_high); not when scoring.

    `kernel_size` is odd: how many pixels across the Gaussian reaches. Beyond the edges the picture is mirrored.

    >>> ImageGaussianBlur(5)(np.full((1, 3), 7, np.uint8), np.random.default_rng(1))["mat"].ravel().tolist()
    [7, 7, 7]
    """

    random = True

    def __init__(self, kernel_size: int, sigma_low: float = 0.1, sigma_high: float = 2.0) -> None:
        _checks.whole("kernel_size", kernel_size, 1)
        if kernel_size % 2 == 0:
            raise ArgumentError(f"kernel_size must be odd. Received: {kernel_size!r}.")
        _checks.interval("(sigma_low, sigma_high)", (sigma_low, sigma_high))
        self.kernel_size = kernel_size
        self.sigma_low = sigma_low
        self.sigma_high = sigma_high

    def sample(self, rng: np.random.Generator | None, mat: np.ndarray) -> dict[str, Any]:
        return {"sigma": self.sigma_low + (self.sigma_high - self.sigma_low) * generator(self, rng).random()}

    def apply_mat(self, mat: np.ndarray, *, sigma: float) -> np.ndarray:
        return F.blur(mat, self.kernel_size, sigma)
