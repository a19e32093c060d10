"""Transforms of a picture's size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from featurelib import _checks
from featurelib.base import Preprocessing, generator
from featurelib.image import functional as F
from featurelib.image.transforms.base import ImageTransform

__all__ = ["ImageAspectScale", "ImageRandomAspectScale", "ImageResize", "RandomResize"]


_ANY_INTERPOLATION = -1
_INTERPOLATIONS = (0, 1, 2, 3, 4)  # OpenCV: nearest, linear, cubic, area, Lanczos
_RESIZE_MODES = (_ANY_INTERPOLATION, *_INTERPOLATIONS)


class ImageResize(ImageTransform):
    """Resize to (resize_h, resize_w) pixels (Analytics Zoo's `ImageResize`).

    `resize_mode` is OpenCV's interpolation: 0 nearest, 1 linear, 2 cubic, 3 area, 4 Lanczos; -1 draws one of them each
    time (linear when scoring). `use_scale_factor` is the peers' argument; both values give OpenCV the same sizes and so
    the same result.

    >>> ImageResize(2, 3)(np.zeros((4, 6, 3), np.uint8))["mat"].shape
    (2, 3, 3)
    """

    def __init__(self, resize_h: int, resize_w: int, resize_mode: int = 1, use_scale_factor: bool = True) -> None:
        _checks.whole("resize_h", resize_h, 1)
        _checks.whole("resize_w", resize_w, 1)
        _checks.one_of("resize_mode", resize_mode, _RESIZE_MODES)
        self.resize_h = resize_h
        self.resize_w = resize_w
        self.resize_mode = resize_mode
        self.use_scale_factor = use_scale_factor

    @property
    def random(self) -> bool:
        return self.resize_mode == _ANY_INTERPOLATION

    def sample(self, rng: np.random.Generator | None, mat: np.ndarray) -> dict[str, Any]:
        return {"interpolation": _interpolation(self, rng)}

    def apply_mat(self, mat: np.ndarray, *, interpolation: int) -> np.ndarray:
        return F.resize(mat, self.resize_h, self.resize_w, interpolation)

    def geometry(self, mat: np.ndarray, *, interpolation: int) -> np.ndarray:
        return _stretch(mat, self.resize_h, self.resize_w)

    def deterministic(self) -> Preprocessing:
        return ImageResize(self.resize_h, self.resize_w) if self.random else self


class ImageAspectScale(ImageTransform):
    """Resize so that the short side is `min_size`, keeping the aspect (Analytics Zoo's `ImageAspectScale`).

    The long side is at most `max_size`, which counts more than `min_size`. Both sides are rounded down to multiples of
    `scale_multiple_of`. A `min_scale` > 0 is the least factor. `resize_mode` and `use_scale_factor` are those of
    `ImageResize`.

    >>> ImageAspectScale(20)(np.zeros((10, 30), np.uint8))["mat"].shape
    (20, 60, 1)
    """

    def __init__(
        self,
        min_size: int,
        scale_multiple_of: int = 1,
        max_size: int = 1000,
        resize_mode: int = 1,
        use_scale_factor: bool = True,
        min_scale: float = -1.0,
    ) -> None:
        _checks.whole("min_size", min_size, 1)
        _checks.whole("scale_multiple_of", scale_multiple_of, 1)
        _checks.whole("max_size", max_size, scale_multiple_of)
        _checks.one_of("resize_mode", resize_mode, _RESIZE_MODES)
        _checks.finite("min_scale", min_scale)
        self.min_size = min_size
        self.scale_multiple_of = scale_multiple_of
        self.max_size = max_size
        self.resize_mode = resize_mode
        self.use_scale_factor = use_scale_factor
        self.min_scale = min_scale

    @property
    def random(self) -> bool:
        return self.resize_mode == _ANY_INTERPOLATION

    def sample(self, rng: np.random.Generator | None, mat: np.ndarray) -> dict[str, Any]:
        scale = _aspect_scale(mat, self.min_size, self.max_size, self.min_scale)
        height, width = _multiples(mat, scale, self.scale_multiple_of)
        return {"height": height, "width": width, "interpolation": _interpolation(self, rng)}

    def apply_mat(self, mat: np.ndarray, *, height: int, width: int, interpolation: int) -> np.ndarray:
        return F.resize(mat, height, width, interpolation)

    def geometry(self, mat: np.ndarray, *, height: int, width: int, interpolation: int) -> np.ndarray:
        return _stretch(mat, height, width)

    def deterministic(self) -> Preprocessing:
        rest = {"use_scale_factor": self.use_scale_factor, "min_scale": self.min_scale}
        fixed = ImageAspectScale(self.min_size, self.scale_multiple_of, self.max_size, **rest)  # type: ignore[arg-type]
        return fixed if self.random else self


class ImageRandomAspectScale(ImageTransform):
    """`ImageAspectScale` to a short side drawn from `scales` (Analytics Zoo's `ImageRandomAspectScale`).

    When scoring the short side is the middle one of `scales`.

    >>> scale = ImageRandomAspectScale([20, 40])
    >>> scale(np.zeros((10, 30), np.uint8), np.random.default_rng(1))["mat"].shape
    (40, 120, 1)
    """

    random = True

    def __init__(self, scales: Sequence[int], scale_multiple_of: int = 1, max_size: int = 1000) -> None:
        _checks.sizes("scales", scales)
        _checks.whole("scale_multiple_of", scale_multiple_of, 1)
        _checks.whole("max_size", max_size, scale_multiple_of)
        self.scales = scales
        self.scale_multiple_of = scale_multiple_of
        self.max_size = max_size

    def sample(self, rng: np.random.Generator | None, mat: np.ndarray) -> dict[str, Any]:
        options = _checks.sizes("scales", self.scales)
        scale = _aspect_scale(mat, options[int(generator(self, rng).random() * len(options))], self.max_size)
        height, width = _multiples(mat, scale, self.scale_multiple_of)
        return {"height": height, "width": width}

    def apply_mat(self, mat: np.ndarray, *, height: int, width: int) -> np.ndarray:
        return F.resize(mat, height, width)

    def geometry(self, mat: np.ndarray, *, height: int, width: int) -> np.ndarray:
        return _stretch(mat, height, width)

    def deterministic(self) -> Preprocessing:
        options = sorted(_checks.sizes("scales", self.scales))
        return ImageAspectScale(options[len(options) // 2], self.scale_multiple_of, self.max_size)


class RandomResize(ImageTransform):
    """Resize so that the short side is a random one from `min_size` to `max_size` (BigDL's `RandomResize`).

    The aspect is kept; cubic interpolation. When scoring the short side is midway.

    >>> RandomResize(20, 20)(np.zeros((10, 30), np.uint8))["mat"].shape
    (20, 60, 1)
    """

    def __init__(self, min_size: int, max_size: int) -> None:
        _checks.whole("min_size", min_size, 1)
        _checks.whole("max_size", max_size, min_size)
        self.min_size = min_size
        self.max_size = max_size

    @property
    def random(self) -> bool:
        return self.min_size < self.max_size

    def sample(self, rng: np.random.Generator | None, mat: np.ndarray) -> dict[str, Any]:
        extra = int(generator(self, rng).random() * (self.max_size - self.min_size + 1)) if self.random else 0
        scale = (self.min_size + extra) / min(mat.shape[:2])
        height, width = (max(int(side * scale + 1e-9), 1) for side in mat.shape[:2])
        return {"height": height, "width": width}

    def apply_mat(self, mat: np.ndarray, *, height: int, width: int) -> np.ndarray:
        return F.resize(mat, height, width, 2)

    def geometry(self, mat: np.ndarray, *, height: int, width: int) -> np.ndarray:
        return _stretch(mat, height, width)

    def deterministic(self) -> Preprocessing:
        middle = (self.min_size + self.max_size) // 2
        return RandomResize(middle, middle) if self.random else self


def _interpolation(transform: ImageResize | ImageAspectScale, rng: np.random.Generator | None) -> int:
    if not transform.random:
        return transform.resize_mode
    return _INTERPOLATIONS[int(generator(transform, rng).random() * len(_INTERPOLATIONS))]


def _stretch(mat: np.ndarray, height: int, width: int) -> np.ndarray:
    return F.scale_map(width / mat.shape[1], height / mat.shape[0])


def _aspect_scale(mat: np.ndarray, min_size: int, max_size: int, min_scale: float = -1.0) -> float:
    short, long = sorted(mat.shape[:2])
    scale = max(min_size / short, min_scale)
    return scale if math.floor(scale * long + 0.5) <= max_size else max_size / long


def _multiples(mat: np.ndarray, scale: float, of: int) -> tuple[int, int]:
    """The picture's size times `scale`, rounded, or rounded down to multiples; at least one of them."""
    sides = (side * scale for side in mat.shape[:2])
    height, width = (math.floor(side + 0.5) if of == 1 else math.floor(side / of + 1e-9) * of for side in sides)
    return max(height, of), max(width, of)
