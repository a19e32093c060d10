"""Pixel values: brightness, contrast, hue, saturation, blur, patches.

Colour belongs to pictures of three channels, or four with alpha, which stays as it is; one or two channels have none.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from featurelib.errors import FeatureError
from featurelib.image.functional.opencv import call, single_thread

__all__ = ["adjust", "adjust_colour", "adjust_in_turn", "blur", "fill", "reorder"]


def adjust(mat: np.ndarray, contrast: float = 1.0, brightness: float = 0.0) -> np.ndarray:
    """pixel * contrast + brightness; integers are rounded to even halves and kept in their range, floats are not.

    >>> adjust(np.array([[[0, 100, 250]]], np.uint8), brightness=20).ravel().tolist()
    [20, 120, 255]
    """
    return adjust_in_turn(mat, [(contrast, brightness)])


def adjust_in_turn(mat: np.ndarray, steps: Sequence[tuple[float, float]]) -> np.ndarray:
    """`adjust` by one (contrast, brightness) after the other; pixels of uint8 are looked up once for all.

    >>> adjust_in_turn(np.array([[[0, 100, 250]]], np.uint8), [(1, 20), (0.5, 0)]).ravel().tolist()
    [10, 60, 128]
    """
    if mat.dtype == np.uint8:
        table = np.arange(256)
        for contrast, brightness in steps:
            table = np.clip(np.rint(table * contrast + brightness), 0, 255)
        return call(cv2.LUT, mat, table.astype(np.uint8))
    for contrast, brightness in steps:
        if mat.dtype == np.uint16:
            mat = np.clip(np.rint(mat * np.float64(contrast) + brightness), 0, 65535).astype(np.uint16)
        else:
            mat = mat * np.float32(contrast) + np.float32(brightness)
    return mat


def adjust_colour(mat: np.ndarray, hue: float = 0.0, saturation: float = 1.0) -> np.ndarray:
    """Turn the hue by `hue` of 180 (OpenCV's unit, two degrees), then multiply the saturation (in HSV).

    The hue goes round, the saturation stays in its range. A picture without colour is returned as it is. Float pictures
    may have any scale, but no negative pixels.

    >>> adjust_colour(np.array([[[0, 0, 200]]], np.uint8), hue=60).ravel().tolist()
    [0, 200, 0]
    """
    if mat.shape[2] < 3:
        return mat
    single_thread()
    colours, values = _three(mat), np.arange(256)
    if mat.dtype == np.uint8:
        h, s, v = cv2.split(cv2.cvtColor(colours, cv2.COLOR_BGR2HSV))
        h = cv2.LUT(h, (np.rint(values + hue) % 180).astype(np.uint8))
        s = cv2.LUT(s, np.clip(np.rint(values * saturation), 0, 255).astype(np.uint8))
    else:
        h, s, v = cv2.split(cv2.cvtColor(colours.astype(np.float32, copy=False), cv2.COLOR_BGR2HSV))
        h = (h + np.float32(2 * hue)) % np.float32(360)
        s = np.clip(s * np.float32(saturation), 0, 1)
    turned = cv2.cvtColor(cv2.merge([h, s, v]), cv2.COLOR_HSV2BGR)
    turned = np.rint(turned).astype(mat.dtype) if mat.dtype == np.uint16 else turned
    return turned if mat.shape[2] == 3 else np.dstack([turned, mat[:, :, 3]])


def reorder(mat: np.ndarray, order: Sequence[int]) -> np.ndarray:
    """Put the three colours into another order; a picture without colour is returned as it is.

    >>> reorder(np.array([[[1, 2, 3]]], np.uint8), [2, 0, 1]).ravel().tolist()
    [3, 1, 2]
    """
    if mat.shape[2] < 3:
        return mat
    _three(mat)
    single_thread()
    channels = cv2.split(mat)
    return cv2.merge([channels[i] for i in (*order, *range(3, mat.shape[2]))])


def blur(mat: np.ndarray, kernel_size: int, sigma: float) -> np.ndarray:
    """Blur by a Gaussian of deviation `sigma`, cut to `kernel_size` pixels (odd); edges are mirrored.

    >>> blur(np.full((3, 3, 1), 9, np.uint8), 3, 1.0).ravel().tolist()
    [9, 9, 9, 9, 9, 9, 9, 9, 9]
    """
    return call(cv2.GaussianBlur, mat, (kernel_size, kernel_size), sigma)


def fill(mat: np.ndarray, top: int, left: int, height: int, width: int, value: float) -> np.ndarray:
    """A copy with a rectangle of one value (kept in the range of the pixels).

    >>> fill(np.zeros((1, 4, 1), np.uint8), 0, 1, 1, 2, 300).ravel().tolist()
    [0, 255, 255, 0]
    """
    filled = mat.copy()
    highest = None if mat.dtype.kind == "f" else np.iinfo(mat.dtype).max
    filled[top : top + height, left : left + width] = value if highest is None else min(max(round(value), 0), highest)
    return filled


def _three(mat: np.ndarray) -> np.ndarray:
    if mat.shape[2] > 4:
        raise FeatureError(f"colours expect 3 channels, or 4 with alpha. Received: {mat.shape[2]}.")
    return mat[:, :, :3]
