"""Transforms that cut a part out of a picture."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from featurelib import _checks
from featurelib.base import Preprocessing, generator
from featurelib.errors import FeatureError
from featurelib.image import functional as F
from featurelib.image.transforms.base import ImageTransform
from featurelib.image.transforms.resize import ImageResize

__all__ = [
    "ImageCenterCrop",
    "ImageFixedCrop",
    "ImageRandomCrop",
    "ImageRandomResizedCrop",
    "RandomAlterAspect",
    "RandomCropper",
]


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

    def sample(self, rng: np.random.Generator | None, mat: np.ndarray) -> dict[str, Any]:
        height, width = _size_within(self, mat)
        return {"top": (mat.shape[0] - height) // 2, "left": (mat.shape[1] - width) // 2}

    def apply_mat(self, mat: np.ndarray, *, top: int, left: int) -> np.ndarray:
        return F.crop(mat, top, left, self.crop_height, self.crop_width)

    def geometry(self, mat: np.ndarray, *, top: int, left: int) -> np.ndarray:
        return F.shift_map(-left, -top)


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
        height, width = _size_within(self, mat)
        return _anywhere(generator(self, rng), mat, height, width)

    def apply_mat(self, mat: np.ndarray, *, top: int, left: int) -> np.ndarray:
        return F.crop(mat, top, left, self.crop_height, self.crop_width)

    def geometry(self, mat: np.ndarray, *, top: int, left: int) -> np.ndarray:
        return F.shift_map(-left, -top)

    def deterministic(self) -> Preprocessing:
        return ImageCenterCrop(self.crop_width, self.crop_height, self.is_clip)


class ImageFixedCrop(ImageTransform):
    """Cut out the part from (x1, y1) to (x2, y2) (Analytics Zoo's `ImageFixedCrop`).

    `normalized` coordinates are shares of the picture, others are pixels; fractions of a pixel are dropped. With
    `is_clip` the part ends where the picture does, without it a part that sticks out is a `FeatureError`. So is one
    without a pixel.

    >>> ImageFixedCrop(0.5, 0, 1, 0.5)(np.arange(8, dtype=np.uint8).reshape(2, 4))["mat"].ravel().tolist()
    [2, 3]
    """

    def __init__(
        self, x1: float, y1: float, x2: float, y2: float, normalized: bool = True, is_clip: bool = True
    ) -> None:
        _checks.ordered("x1", x1, "x2", x2)
        _checks.ordered("y1", y1, "y2", y2)
        self.x1 = x1
        self.y1 = y1
        self.x2 = x2
        self.y2 = y2
        self.normalized = normalized
        self.is_clip = is_clip

    def sample(self, rng: np.random.Generator | None, mat: np.ndarray) -> dict[str, Any]:
        return part_of(self, mat, (self.x1, self.y1, self.x2, self.y2), self.normalized, self.is_clip)

    def apply_mat(self, mat: np.ndarray, *, top: int, left: int, height: int, width: int) -> np.ndarray:
        return F.crop(mat, top, left, height, width)

    def geometry(self, mat: np.ndarray, *, top: int, left: int, height: int, width: int) -> np.ndarray:
        return F.shift_map(-left, -top)


class ImageRandomResizedCrop(ImageTransform):
    """Cut out a part of random area, aspect and place and resize it to (height, width) pixels.

    `area` is the range of the part's share of the picture, `aspect` of its width by height (drawn evenly by its
    logarithm). Where no such part fits in ten draws it is the largest one in the middle of the nearest aspect. When
    scoring the whole picture is resized. `resize_mode` is that of `ImageResize`.

    >>> cut = ImageRandomResizedCrop(24, 32)
    >>> cut(np.zeros((80, 90), np.uint8), np.random.default_rng(1))["mat"].shape
    (24, 32, 1)
    """

    random = True

    def __init__(
        self,
        height: int,
        width: int,
        area: tuple[float, float] = (0.08, 1.0),
        aspect: tuple[float, float] = (3 / 4, 4 / 3),
        resize_mode: int = 1,
    ) -> None:
        _checks.whole("height", height, 1)
        _checks.whole("width", width, 1)
        _checks.interval("area", area, 1)
        _checks.interval("aspect", aspect)
        _checks.one_of("resize_mode", resize_mode, (0, 1, 2, 3, 4))
        self.height = height
        self.width = width
        self.area = area
        self.aspect = aspect
        self.resize_mode = resize_mode

    def sample(self, rng: np.random.Generator | None, mat: np.ndarray) -> dict[str, Any]:
        return _part_of_area(generator(self, rng), mat, self.area, self.aspect)

    def apply_mat(self, mat: np.ndarray, *, top: int, left: int, height: int, width: int) -> np.ndarray:
        return F.resize(F.crop(mat, top, left, height, width), self.height, self.width, self.resize_mode)

    def geometry(self, mat: np.ndarray, *, top: int, left: int, height: int, width: int) -> np.ndarray:
        return F.scale_map(self.width / width, self.height / height) @ F.shift_map(-left, -top)

    def deterministic(self) -> Preprocessing:
        return ImageResize(self.height, self.width, self.resize_mode)


class RandomAlterAspect(ImageTransform):
    """Cut out a part of random area and aspect and resize it to a square (BigDL's `RandomAlterAspect`).

    The part's share of the picture is in [min_area_ratio, max_area_ratio], its sides are multiplied and divided by a
    number in [min_aspect_ratio_change, 1 / min_aspect_ratio_change]. Where none fits in ten draws it is the largest
    one in the middle of the nearest aspect. When scoring the whole picture is resized. `interp_mode` is one of NEAREST,
    LINEAR, CUBIC, AREA and LANCZOS.

    >>> cut = RandomAlterAspect(0.08, 1, 0.75, "CUBIC", 24)
    >>> cut(np.zeros((80, 90), np.uint8), np.random.default_rng(1))["mat"].shape
    (24, 24, 1)
    """

    random = True

    def __init__(
        self,
        min_area_ratio: float = 0.08,
        max_area_ratio: float = 1.0,
        min_aspect_ratio_change: float = 0.75,
        interp_mode: str = "CUBIC",
        crop_length: int = 224,
    ) -> None:
        _checks.interval("(min_area_ratio, max_area_ratio)", (min_area_ratio, max_area_ratio), 1)
        _checks.interval("(min_aspect_ratio_change, 1)", (min_aspect_ratio_change, 1), 1)
        _checks.one_of("interp_mode", interp_mode, tuple(_MODES))
        _checks.whole("crop_length", crop_length, 1)
        self.min_area_ratio = min_area_ratio
        self.max_area_ratio = max_area_ratio
        self.min_aspect_ratio_change = min_aspect_ratio_change
        self.interp_mode = interp_mode
        self.crop_length = crop_length

    def sample(self, rng: np.random.Generator | None, mat: np.ndarray) -> dict[str, Any]:
        change = self.min_aspect_ratio_change**2
        area = (self.min_area_ratio, self.max_area_ratio)
        return _part_of_area(generator(self, rng), mat, area, (change, 1 / change))

    def apply_mat(self, mat: np.ndarray, *, top: int, left: int, height: int, width: int) -> np.ndarray:
        part = F.crop(mat, top, left, height, width)
        return F.resize(part, self.crop_length, self.crop_length, _MODES[self.interp_mode])

    def geometry(self, mat: np.ndarray, *, top: int, left: int, height: int, width: int) -> np.ndarray:
        return F.scale_map(self.crop_length / width, self.crop_length / height) @ F.shift_map(-left, -top)

    def deterministic(self) -> Preprocessing:
        return ImageResize(self.crop_length, self.crop_length, _MODES[self.interp_mode])


class RandomCropper(ImageTransform):
    """Cut out a part and perhaps mirror it left and right, half the time each (BigDL's `RandomCropper`).

    `cropper_method` is "Random", a random place, or "Center"; `mirror` says whether there is mirroring at all. The
    middle, not mirrored, when scoring. Raises `FeatureError` for a picture that is smaller or has not `channels`
    channels.

    >>> cut = RandomCropper(2, 1, False, "Center", 1)
    >>> cut(np.arange(12, dtype=np.uint8).reshape(3, 4))["mat"].ravel().tolist()
    [5, 6]
    """

    def __init__(
        self, crop_w: int, crop_h: int, mirror: bool, cropper_method: str = "Random", channels: int = 3
    ) -> None:
        _checks.whole("crop_w", crop_w, 1)
        _checks.whole("crop_h", crop_h, 1)
        _checks.one_of("cropper_method", cropper_method, ("Random", "Center"))
        _checks.whole("channels", channels, 1)
        self.crop_w = crop_w
        self.crop_h = crop_h
        self.mirror = mirror
        self.cropper_method = cropper_method
        self.channels = channels

    @property
    def random(self) -> bool:
        return self.mirror or self.cropper_method == "Random"

    def sample(self, rng: np.random.Generator | None, mat: np.ndarray) -> dict[str, Any]:
        height, width, channels = mat.shape
        if channels != self.channels:
            raise FeatureError(f"RandomCropper expects {self.channels} channels, received {channels}.")
        _check_covers(self, mat, self.crop_h, self.crop_w)
        found = {"top": (height - self.crop_h) // 2, "left": (width - self.crop_w) // 2}
        if self.cropper_method == "Random":
            found = _anywhere(generator(self, rng), mat, self.crop_h, self.crop_w)
        return {**found, "flip": self.mirror and generator(self, rng).random() < 0.5}

    def apply_mat(self, mat: np.ndarray, *, top: int, left: int, flip: bool) -> np.ndarray:
        part = F.crop(mat, top, left, self.crop_h, self.crop_w)
        return F.hflip(part) if flip else part

    def geometry(self, mat: np.ndarray, *, top: int, left: int, flip: bool) -> np.ndarray:
        return F.flip_map(width=self.crop_w if flip else None) @ F.shift_map(-left, -top)

    def deterministic(self) -> Preprocessing:
        return RandomCropper(self.crop_w, self.crop_h, False, "Center", self.channels) if self.random else self


_MODES = {"NEAREST": 0, "LINEAR": 1, "CUBIC": 2, "AREA": 3, "LANCZOS": 4}


def part_of(
    transform: ImageTransform, mat: np.ndarray, box: tuple[float, ...], normalized: bool, is_clip: bool = True
) -> dict[str, int]:
    """Top, left, height and width of a box x1, y1, x2, y2, cut to the picture; `FeatureError` where that is nothing."""
    height, width = mat.shape[:2]
    scales = (width, height, width, height) if normalized else (1, 1, 1, 1)
    # The small addition makes 0.7 of 10 pixels seven.
    left, top, right, bottom = (math.floor(edge * scale + 1e-6) for edge, scale in zip(box, scales, strict=True))
    if not is_clip and (left < 0 or top < 0 or right > width or bottom > height):
        raise FeatureError(
            f"{type(transform).__name__} expects an image that holds its part, received {height}x{width} for x from "
            f"{left} to {right}, y from {top} to {bottom}. Hint: is_clip=True takes what there is."
        )
    left, right = (min(max(edge, 0), width) for edge in (left, right))
    top, bottom = (min(max(edge, 0), height) for edge in (top, bottom))
    if left == right or top == bottom:
        raise FeatureError(
            f"{type(transform).__name__} must leave at least a pixel. Received: an image of {height}x{width}, of which "
            f"x from {left} to {right}, y from {top} to {bottom} is nothing."
        )
    return {"top": top, "left": left, "height": bottom - top, "width": right - left}


def _anywhere(rng: np.random.Generator, mat: np.ndarray, height: int, width: int) -> dict[str, int]:
    # random() costs a third of integers(), and its value does not follow numpy's choice of a rejection method.
    top = int(rng.random() * (mat.shape[0] - height + 1))
    return {"top": top, "left": int(rng.random() * (mat.shape[1] - width + 1))}


def _part_of_area(
    rng: np.random.Generator, mat: np.ndarray, area: tuple[float, float], aspect: tuple[float, float]
) -> dict[str, int]:
    rows, columns = mat.shape[:2]
    low, high = math.log(aspect[0]), math.log(aspect[1])
    for _ in range(10):
        pixels = rows * columns * (area[0] + (area[1] - area[0]) * rng.random())
        ratio = math.exp(low + (high - low) * rng.random())
        height, width = round(math.sqrt(pixels / ratio)), round(math.sqrt(pixels * ratio))
        if 0 < height <= rows and 0 < width <= columns:
            return {**_anywhere(rng, mat, height, width), "height": height, "width": width}
    ratio = min(max(columns / rows, aspect[0]), aspect[1])
    height, width = max(min(rows, round(columns / ratio)), 1), max(min(columns, round(rows * ratio)), 1)
    return {"top": (rows - height) // 2, "left": (columns - width) // 2, "height": height, "width": width}


def _size_within(transform: ImageCenterCrop | ImageRandomCrop, mat: np.ndarray) -> tuple[int, int]:
    height, width = transform.crop_height, transform.crop_width
    if not transform.is_clip:
        _check_covers(transform, mat, height, width, " Hint: is_clip=True takes what there is.")
    return min(height, mat.shape[0]), min(width, mat.shape[1])


def _check_covers(transform: ImageTransform, mat: np.ndarray, height: int, width: int, hint: str = "") -> None:
    if mat.shape[0] < height or mat.shape[1] < width:
        raise FeatureError(
            f"{type(transform).__name__} expects an image of at least {height}x{width} pixels (height x width), "
            f"received {mat.shape[0]}x{mat.shape[1]}.{hint}"
        )
