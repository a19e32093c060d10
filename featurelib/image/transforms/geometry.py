"""Transforms that move pixels: resize, crop, mirror, shift."""

from __future__ import annotations

from typing import Any

import numpy as np

from featurelib import _checks
from featurelib.base import Preprocessing, generator
from featurelib.errors import FeatureError
from featurelib.image import functional as F
from featurelib.image.transforms.base import ImageTransform

__all__ = ["ImageCenterCrop", "ImageHFlip", "ImageRandomCrop", "ImageRandomTranslate", "ImageResize"]

_ANY_INTERPOLATION = -1
_INTERPOLATIONS = (0, 1, 2, 3, 4)  # OpenCV: nearest, linear, cubic, area, Lanczos


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
        _checks.one_of("resize_mode", resize_mode, (_ANY_INTERPOLATION, *_INTERPOLATIONS))
        self.resize_h = resize_h
        self.resize_w = resize_w
        self.resize_mode = resize_mode
        self.use_scale_factor = use_scale_factor

    @property
    def random(self) -> bool:
        return self.resize_mode == _ANY_INTERPOLATION

    def sample(self, rng: np.random.Generator | None, mat: np.ndarray) -> dict[str, Any]:
        if not self.random:
            return {"interpolation": self.resize_mode}
        return {"interpolation": _INTERPOLATIONS[_below(generator(self, rng), len(_INTERPOLATIONS))]}

    def apply_mat(self, mat: np.ndarray, *, interpolation: int) -> np.ndarray:
        return F.resize(mat, self.resize_h, self.resize_w, interpolation)

    def deterministic(self) -> Preprocessing:
        return ImageResize(self.resize_h, self.resize_w) if self.random else self


class ImageCenterCrop(ImageTransform):
    """Cut the middle out of a picture (Analytics Zoo's `ImageCenterCrop`).

    With `is_clip` a picture smaller than the crop gives what there is; without it that is a `FeatureError`.

    >>> ImageCenterCrop(2, 1)(np.arange(12, dtype=np.uint8).reshape(3, 4))["mat"].ravel().tolist()
    [5, 6]
    """

    def __init__(self, crop_width: int, crop_height: int, is_clip: bool = True) -> None:
        _checks.whole("crop_width", crop_width, 1)
        _checks.whole("crop_height", crop_height, 1)
        self.crop_width = crop_width
        self.crop_height = crop_height
        self.is_clip = is_clip

    def apply_mat(self, mat: np.ndarray) -> np.ndarray:
        _check_covers(self, mat)
        return F.center_crop(mat, self.crop_height, self.crop_width)


class ImageRandomCrop(ImageTransform):
    """Cut a part out of a picture at a random place (Analytics Zoo's `ImageRandomCrop`); its middle when scoring.

    With `is_clip` a picture smaller than the crop gives what there is; without it that is a `FeatureError`.

    >>> ImageRandomCrop(2, 2)(np.zeros((8, 8), np.uint8), np.random.default_rng(1))["mat"].shape
    (2, 2, 1)
    """

    random = True

    def __init__(self, crop_width: int, crop_height: int, is_clip: bool = True) -> None:
        _checks.whole("crop_width", crop_width, 1)
        _checks.whole("crop_height", crop_height, 1)
        self.crop_width = crop_width
        self.crop_height = crop_height
        self.is_clip = is_clip

    def sample(self, rng: np.random.Generator | None, mat: np.ndarray) -> dict[str, Any]:
        rng = generator(self, rng)
        top = _below(rng, max(mat.shape[0] - self.crop_height, 0) + 1)
        left = _below(rng, max(mat.shape[1] - self.crop_width, 0) + 1)
        return {"top": top, "left": left}

    def apply_mat(self, mat: np.ndarray, *, top: int, left: int) -> np.ndarray:
        _check_covers(self, mat)
        return F.crop(mat, top, left, self.crop_height, self.crop_width)

    def deterministic(self) -> Preprocessing:
        return ImageCenterCrop(self.crop_width, self.crop_height, self.is_clip)


class ImageHFlip(ImageTransform):
    """Mirror left and right, always (Analytics Zoo's `ImageHFlip`); `ImageRandomPreprocessing` makes it random.

    >>> ImageHFlip()(np.array([[1, 2, 3]], np.uint8))["mat"].ravel().tolist()
    [3, 2, 1]
    """

    def apply_mat(self, mat: np.ndarray) -> np.ndarray:
        return F.hflip(mat)


class ImageRandomTranslate(ImageTransform):
    """Shift a picture by up to `max_dx` pixels sideways and `max_dy` up or down; not at all when scoring.

    Whole pixels, each shift equally likely; what comes free is filled with `value`. Small shifts suit digits and other
    centred shapes. The size stays.

    >>> ImageRandomTranslate(2, 2)(np.ones((8, 8), np.uint8), np.random.default_rng(1))["mat"].shape
    (8, 8, 1)
    """

    random = True

    def __init__(self, max_dx: int, max_dy: int, value: float = 0) -> None:
        _checks.whole("max_dx", max_dx, 0)
        _checks.whole("max_dy", max_dy, 0)
        _checks.finite("value", value)
        self.max_dx = max_dx
        self.max_dy = max_dy
        self.value = value

    def sample(self, rng: np.random.Generator | None, mat: np.ndarray) -> dict[str, Any]:
        rng = generator(self, rng)
        dx = _below(rng, 2 * self.max_dx + 1) - self.max_dx
        dy = _below(rng, 2 * self.max_dy + 1) - self.max_dy
        return {"dx": dx, "dy": dy}

    def apply_mat(self, mat: np.ndarray, *, dx: int, dy: int) -> np.ndarray:
        return F.translate(mat, dx, dy, self.value)


def _below(rng: np.random.Generator, count: int) -> int:
    # random() costs a third of integers(), and its value does not follow numpy's choice of a rejection method.
    return int(rng.random() * count)


def _check_covers(transform: ImageCenterCrop | ImageRandomCrop, mat: np.ndarray) -> None:
    height, width = transform.crop_height, transform.crop_width
    if not transform.is_clip and (mat.shape[0] < height or mat.shape[1] < width):
        raise FeatureError(
            f"{type(transform).__name__} expects an image of at least {height}x{width} pixels (height x width), "
            f"received {mat.shape[0]}x{mat.shape[1]}. Hint: is_clip=True takes what there is."
        )
