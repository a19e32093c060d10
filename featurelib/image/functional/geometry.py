"""Pixels to other places: resize, crop, flip, pad, warp; and the same maps as matrices, for boxes to follow.

A map is a 3x3 matrix on (x, y, 1) in pixels, x to the right and y down. The pixel (row, column) covers the square from
(column, row) to (column + 1, row + 1), so a picture ends at (width, height).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from featurelib.errors import FeatureError
from featurelib.image.functional.codec import MAX_PIXELS
from featurelib.image.functional.opencv import call

__all__ = [
    "BORDERS",
    "crop",
    "flip_map",
    "hflip",
    "mirror",
    "pad",
    "resize",
    "rotation_map",
    "scale_map",
    "shear_map",
    "shift_map",
    "translate",
    "warp",
]

BORDERS = {"constant": cv2.BORDER_CONSTANT, "replicate": cv2.BORDER_REPLICATE, "reflect": cv2.BORDER_REFLECT_101}


def resize(mat: np.ndarray, height: int, width: int, interpolation: int = cv2.INTER_LINEAR) -> np.ndarray:
    """Resize by OpenCV's `interpolation` (0 nearest, 1 linear, 2 cubic, 3 area, 4 Lanczos); the input if it fits.

    Raises `FeatureError` for more than `MAX_PIXELS` pixels.

    >>> resize(np.zeros((4, 6, 3), np.uint8), 2, 3).shape
    (2, 3, 3)
    """
    if mat.shape[:2] == (height, width):
        return mat
    _check_pixels(height, width)
    return call(cv2.resize, mat, (width, height), interpolation=interpolation)


def crop(mat: np.ndarray, top: int, left: int, height: int, width: int) -> np.ndarray:
    """The part of a picture that a box covers, as a view.

    >>> crop(np.arange(12).reshape(3, 4, 1), 1, 2, 5, 2)[..., 0].tolist()
    [[6, 7], [10, 11]]
    """
    return mat[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]


def hflip(mat: np.ndarray) -> np.ndarray:
    """Mirror left and right.

    >>> hflip(np.arange(3, dtype=np.uint8).reshape(1, 3, 1)).ravel().tolist()
    [2, 1, 0]
    """
    return call(cv2.flip, mat, 1)


def mirror(mat: np.ndarray) -> np.ndarray:
    """Mirror left and right as well as top and bottom: half a turn.

    >>> mirror(np.arange(4, dtype=np.uint8).reshape(2, 2, 1)).ravel().tolist()
    [3, 2, 1, 0]
    """
    return call(cv2.flip, mat, -1)


def translate(mat: np.ndarray, dx: int, dy: int, value: float = 0) -> np.ndarray:
    """Move a picture `dx` pixels right and `dy` down; what leaves is lost, what comes free is `value` (kept in range).

    >>> translate(np.arange(1, 4, dtype=np.uint8).reshape(1, 3, 1), 1, 0).ravel().tolist()
    [0, 1, 2]
    """
    if dx == 0 and dy == 0:
        return mat
    height, width = mat.shape[:2]
    highest = None if mat.dtype.kind == "f" else np.iinfo(mat.dtype).max
    moved = np.full_like(mat, value if highest is None else min(max(round(value), 0), highest))
    moved[max(dy, 0) : max(height + dy, 0), max(dx, 0) : max(width + dx, 0)] = mat[
        max(-dy, 0) : max(height - dy, 0), max(-dx, 0) : max(width - dx, 0)
    ]
    return moved


def pad(mat: np.ndarray, top: int, left: int, height: int, width: int, colour: Sequence[float]) -> np.ndarray:
    """Lay a picture on a canvas of (height, width) at (top, left); up to four channels, a number of `colour` for each.

    Raises `FeatureError` for more than `MAX_PIXELS` pixels.

    >>> pad(np.ones((1, 1, 1), np.uint8), 0, 1, 1, 3, [7]).ravel().tolist()
    [7, 1, 7]
    """
    _check_pixels(height, width)
    bottom, right = height - top - mat.shape[0], width - left - mat.shape[1]
    return call(cv2.copyMakeBorder, mat, top, bottom, left, right, cv2.BORDER_CONSTANT, value=tuple(colour))


def warp(
    mat: np.ndarray, matrix: np.ndarray, border: str = "constant", value: float = 0, interpolation: int = 1
) -> np.ndarray:
    """Move every point of a picture by an affine map; the size stays. What comes free is filled as `border` says.

    `border` is "constant" (`value`), "replicate" or "reflect".

    >>> warp(np.arange(3, dtype=np.uint8).reshape(1, 3, 1), shift_map(1, 0), value=9).ravel().tolist()
    [9, 0, 1]
    """
    # OpenCV counts from the middle of the first pixel, maps from its corner.
    inner = shift_map(-0.5, -0.5) @ matrix @ shift_map(0.5, 0.5)
    size, fill = (mat.shape[1], mat.shape[0]), (value,) * 4
    return call(cv2.warpAffine, mat, inner[:2], size, None, interpolation, BORDERS[border], fill)


def shift_map(dx: float, dy: float) -> np.ndarray:
    """The map that moves by `dx` to the right and `dy` down.

    >>> (shift_map(2, 3) @ [1, 1, 1]).tolist()
    [3.0, 4.0, 1.0]
    """
    return np.array([[1.0, 0, dx], [0, 1.0, dy], [0, 0, 1.0]])


def scale_map(sx: float, sy: float) -> np.ndarray:
    """The map that stretches by `sx` across and `sy` down.

    >>> (scale_map(2, 3) @ [1, 1, 1]).tolist()
    [2.0, 3.0, 1.0]
    """
    return np.diag([sx, sy, 1.0])


def rotation_map(degrees: float) -> np.ndarray:
    """The map that turns about the origin, counterclockwise as seen.

    >>> np.rint(rotation_map(90) @ [1, 0, 1]).tolist()
    [0.0, -1.0, 1.0]
    """
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1.0]])


def shear_map(degrees_x: float, degrees_y: float = 0.0) -> np.ndarray:
    """The map that slants verticals by `degrees_x` and horizontals by `degrees_y`.

    >>> np.rint(shear_map(45) @ [0, 2, 1]).tolist()
    [2.0, 2.0, 1.0]
    """
    return np.array(
        [[1.0, math.tan(math.radians(degrees_x)), 0], [math.tan(math.radians(degrees_y)), 1.0, 0], [0, 0, 1.0]]
    )


def flip_map(width: float | None = None, height: float | None = None) -> np.ndarray:
    """The map that mirrors a picture `width` wide left and right, one `height` high top and bottom; None: not.

    >>> (flip_map(width=10) @ [1, 1, 1]).tolist()
    [9.0, 1.0, 1.0]
    """
    matrix = np.eye(3)
    for axis, extent in enumerate((width, height)):
        if extent is not None:
            matrix[axis, axis], matrix[axis, 2] = -1.0, extent
    return matrix


def _check_pixels(height: int, width: int) -> None:
    """A small file can hold a wide picture, and a factor of it be more than memory."""
    if height * width > MAX_PIXELS:
        raise FeatureError(f"an image must have at most {MAX_PIXELS} pixels. Received: {height}x{width} to be made.")
