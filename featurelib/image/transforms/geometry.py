"""Transforms that move the pixels of a whole picture: mirror, shift, turn, lay on a canvas."""

from __future__ import annotations

from typing import Any

import numpy as np

from featurelib import _checks
from featurelib.base import generator
from featurelib.errors import FeatureError
from featurelib.image import functional as F
from featurelib.image.transforms.base import ImageTransform

__all__ = [
    "FixExpand",
    "ImageAffine",
    "ImageExpand",
    "ImageHFlip",
    "ImageMirror",
    "ImageRandomRotate",
    "ImageRandomTranslate",
    "ImageRotate",
]


class ImageHFlip(ImageTransform):
    """Mirror left and right, always (Analytics Zoo's `ImageHFlip`); `ImageRandomPreprocessing` makes it random.

    >>> ImageHFlip()(np.array([[1, 2, 3]], np.uint8))["mat"].ravel().tolist()
    [3, 2, 1]
    """

    def apply_mat(self, mat: np.ndarray) -> np.ndarray:
        return F.hflip(mat)

    def geometry(self, mat: np.ndarray) -> np.ndarray:
        return F.flip_map(width=mat.shape[1])


class ImageMirror(ImageTransform):
    """Mirror left and right as well as top and bottom, always (Analytics Zoo's `ImageMirror`).

    >>> ImageMirror()(np.array([[1, 2], [3, 4]], np.uint8))["mat"].ravel().tolist()
    [4, 3, 2, 1]
    """

    def apply_mat(self, mat: np.ndarray) -> np.ndarray:
        return F.mirror(mat)

    def geometry(self, mat: np.ndarray) -> np.ndarray:
        return F.flip_map(width=mat.shape[1], height=mat.shape[0])


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
        dx = int(rng.random() * (2 * self.max_dx + 1)) - self.max_dx
        dy = int(rng.random() * (2 * self.max_dy + 1)) - self.max_dy
        return {"dx": dx, "dy": dy}

    def apply_mat(self, mat: np.ndarray, *, dx: int, dy: int) -> np.ndarray:
        return F.translate(mat, dx, dy, self.value)

    def geometry(self, mat: np.ndarray, *, dx: int, dy: int) -> np.ndarray:
        return F.shift_map(dx, dy)


class ImageRotate(ImageTransform):
    """Turn a picture by `angle` degrees counterclockwise about its middle; the size stays.

    What comes free is filled as `border` says: "constant" (`value`), "replicate" or "reflect". Linear interpolation.

    >>> ImageRotate(90)(np.array([[1, 2], [3, 4]], np.uint8))["mat"].ravel().tolist()
    [2, 4, 1, 3]
    """

    def __init__(self, angle: float, border: str = "constant", value: float = 0) -> None:
        _checks.finite("angle", angle)
        _checks.one_of("border", border, tuple(F.BORDERS))
        _checks.finite("value", value)
        self.angle = angle
        self.border = border
        self.value = value

    def sample(self, rng: np.random.Generator | None, mat: np.ndarray) -> dict[str, Any]:
        return {"matrix": _about_middle(mat, F.rotation_map(self.angle))}

    def apply_mat(self, mat: np.ndarray, *, matrix: np.ndarray) -> np.ndarray:
        return F.warp(mat, matrix, self.border, self.value)

    def geometry(self, mat: np.ndarray, *, matrix: np.ndarray) -> np.ndarray:
        return matrix


class ImageRandomRotate(ImageTransform):
    """Turn a picture by a random angle in [-max_angle, max_angle) degrees about its middle; not when scoring.

    `border` and `value` are those of `ImageRotate`.

    >>> ImageRandomRotate(10)(np.ones((8, 8), np.uint8), np.random.default_rng(1))["mat"].shape
    (8, 8, 1)
    """

    random = True

    def __init__(self, max_angle: float, border: str = "constant", value: float = 0) -> None:
        _checks.not_negative("max_angle", max_angle)
        _checks.one_of("border", border, tuple(F.BORDERS))
        _checks.finite("value", value)
        self.max_angle = max_angle
        self.border = border
        self.value = value

    def sample(self, rng: np.random.Generator | None, mat: np.ndarray) -> dict[str, Any]:
        return {"matrix": _about_middle(mat, F.rotation_map(_within(generator(self, rng), self.max_angle)))}

    def apply_mat(self, mat: np.ndarray, *, matrix: np.ndarray) -> np.ndarray:
        return F.warp(mat, matrix, self.border, self.value)

    def geometry(self, mat: np.ndarray, *, matrix: np.ndarray) -> np.ndarray:
        return matrix


class ImageAffine(ImageTransform):
    """Turn, slant, stretch and shift a picture about its middle, all at random; not when scoring. The size stays.

    The angle is in [-rotate, rotate) degrees, the slant of verticals in [-shear, shear) degrees, the factor in the
    range `scale`, the shift in [-translate, translate) of the picture's width and height. `border` and `value` are
    those of `ImageRotate`.

    >>> moved = ImageAffine(rotate=10, translate=0.1, scale=(0.9, 1.1), shear=5)
    >>> moved(np.ones((8, 8), np.uint8), np.random.default_rng(1))["mat"].shape
    (8, 8, 1)
    """

    random = True

    def __init__(
        self,
        rotate: float = 0.0,
        translate: float = 0.0,
        scale: tuple[float, float] = (1.0, 1.0),
        shear: float = 0.0,
        border: str = "constant",
        value: float = 0,
    ) -> None:
        _checks.not_negative("rotate", rotate)
        _checks.within("translate", translate, 0, 1)
        _checks.interval("scale", scale)
        _checks.within("shear", shear, 0, 89)
        _checks.one_of("border", border, tuple(F.BORDERS))
        _checks.finite("value", value)
        self.rotate = rotate
        self.translate = translate
        self.scale = scale
        self.shear = shear
        self.border = border
        self.value = value

    def sample(self, rng: np.random.Generator | None, mat: np.ndarray) -> dict[str, Any]:
        rng = generator(self, rng)
        turned = F.rotation_map(_within(rng, self.rotate)) @ F.shear_map(_within(rng, self.shear))
        scale = self.scale[0] + (self.scale[1] - self.scale[0]) * rng.random()
        dx, dy = (side * _within(rng, self.translate) for side in (mat.shape[1], mat.shape[0]))
        return {"matrix": F.shift_map(dx, dy) @ _about_middle(mat, F.scale_map(scale, scale) @ turned)}

    def apply_mat(self, mat: np.ndarray, *, matrix: np.ndarray) -> np.ndarray:
        return F.warp(mat, matrix, self.border, self.value)

    def geometry(self, mat: np.ndarray, *, matrix: np.ndarray) -> np.ndarray:
        return matrix


class ImageExpand(ImageTransform):
    """Lay a picture at a random place on a canvas of one colour, so that objects get smaller (Analytics Zoo's).

    The canvas is `min_expand_ratio` to `max_expand_ratio` times as wide and high; its colour is given as R, G, B, grey
    pictures get `means_r`, alpha 0. Not done when scoring. Raises `FeatureError` for pictures of other than 1, 3 or 4
    channels.

    >>> ImageExpand(min_expand_ratio=2, max_expand_ratio=2)(np.ones((4, 6), np.uint8), np.random.default_rng(1))[
    ...     "mat"
    ... ].shape
    (8, 12, 1)
    """

    random = True

    def __init__(
        self,
        means_r: float = 123,
        means_g: float = 117,
        means_b: float = 104,
        min_expand_ratio: float = 1.0,
        max_expand_ratio: float = 4.0,
    ) -> None:
        for name, mean in (("means_r", means_r), ("means_g", means_g), ("means_b", means_b)):
            _checks.finite(name, mean)
        _checks.finite("max_expand_ratio", max_expand_ratio)
        _checks.within("min_expand_ratio", min_expand_ratio, 1, max_expand_ratio)
        self.means_r = means_r
        self.means_g = means_g
        self.means_b = means_b
        self.min_expand_ratio = min_expand_ratio
        self.max_expand_ratio = max_expand_ratio

    def sample(self, rng: np.random.Generator | None, mat: np.ndarray) -> dict[str, Any]:
        rng = generator(self, rng)
        ratio = self.min_expand_ratio + (self.max_expand_ratio - self.min_expand_ratio) * rng.random()
        height, width = (int(side * ratio) for side in mat.shape[:2])
        top, left = (
            int(rng.random() * (big - side + 1)) for big, side in zip((height, width), mat.shape, strict=False)
        )
        return {"top": top, "left": left, "height": height, "width": width}

    def apply_mat(self, mat: np.ndarray, *, top: int, left: int, height: int, width: int) -> np.ndarray:
        colour = {1: (self.means_r,), 3: (self.means_b, self.means_g, self.means_r)}
        colour[4] = (*colour[3], 0)
        if mat.shape[2] not in colour:
            raise FeatureError(f"ImageExpand expects 1, 3 or 4 channels, received {mat.shape[2]}.")
        return F.pad(mat, top, left, height, width, colour[mat.shape[2]])

    def geometry(self, mat: np.ndarray, *, top: int, left: int, height: int, width: int) -> np.ndarray:
        return F.shift_map(left, top)


class FixExpand(ImageTransform):
    """Lay a picture in the middle of a black canvas of (expand_height, expand_width) (BigDL's `FixExpand`).

    Raises `FeatureError` for a picture that is larger, or of more than four channels.

    >>> FixExpand(1, 4)(np.array([[1, 2]], np.uint8))["mat"].ravel().tolist()
    [0, 1, 2, 0]
    """

    def __init__(self, expand_height: int, expand_width: int) -> None:
        _checks.whole("expand_height", expand_height, 1)
        _checks.whole("expand_width", expand_width, 1)
        self.expand_height = expand_height
        self.expand_width = expand_width

    def sample(self, rng: np.random.Generator | None, mat: np.ndarray) -> dict[str, Any]:
        height, width, channels = mat.shape
        if height > self.expand_height or width > self.expand_width or channels > 4:
            raise FeatureError(
                f"FixExpand expects an image of at most {self.expand_height}x{self.expand_width} pixels "
                f"(height x width) and 4 channels, received {height}x{width}x{channels}."
            )
        return {"top": (self.expand_height - height) // 2, "left": (self.expand_width - width) // 2}

    def apply_mat(self, mat: np.ndarray, *, top: int, left: int) -> np.ndarray:
        return F.pad(mat, top, left, self.expand_height, self.expand_width, (0,) * mat.shape[2])

    def geometry(self, mat: np.ndarray, *, top: int, left: int) -> np.ndarray:
        return F.shift_map(left, top)


def _about_middle(mat: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    x, y = mat.shape[1] / 2, mat.shape[0] / 2
    return F.shift_map(x, y) @ matrix @ F.shift_map(-x, -y)


def _within(rng: np.random.Generator, largest: float) -> float:
    return largest * (2 * rng.random() - 1)
