"""Pictures as a network takes them: float32 planes, values normalised."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import cv2
import numpy as np

from featurelib.errors import FeatureError
from featurelib.image.functional.opencv import call, single_thread

__all__ = ["channel_normalize", "normalize_range", "subtract", "to_tensor"]


def channel_normalize(
    mat: np.ndarray, mean: Sequence[float], std: Sequence[float], out: np.ndarray | None = None
) -> np.ndarray:
    """(pixel - mean) / std for each channel, float32 (height, width, channels).

    The result lies in memory as (channels, height, width), which is what a network takes: `to_tensor` then copies
    nothing. `out`, float32 (channels, height, width), is that memory where given. Raises `FeatureError` for another
    number of channels.

    >>> channel_normalize(np.full((1, 1, 1), 6, np.uint8), [4], [2]).tolist()
    [[[1.0]]]
    """
    if len(mean) != mat.shape[2]:
        raise FeatureError(f"normalisation by {len(mean)} means expects as many channels. Received: {mat.shape[2]}.")
    planes = _planes(mat, tuple(mean), tuple(std), out)
    return planes.transpose(1, 2, 0)


def normalize_range(mat: np.ndarray, low: float, high: float, norm_type: int = cv2.NORM_MINMAX) -> np.ndarray:
    """Scale one picture as a whole, float32: its lowest and highest pixel become `low` and `high`.

    With `norm_type` 1, 2 or 4 (OpenCV's INF, L1, L2) the norm of all pixels becomes `low`, and `high` is not used.

    >>> normalize_range(np.array([[[10], [20], [30]]], np.uint8), 1, 3).ravel().tolist()
    [1.0, 2.0, 3.0]
    """
    return call(cv2.normalize, mat, None, low, high, norm_type, cv2.CV_32F)


def subtract(mat: np.ndarray, means: np.ndarray) -> np.ndarray:
    """pixel - mean, float32; `means` float32 (height, width, channels), or flat in that order.

    >>> subtract(np.full((1, 2, 1), 5, np.uint8), np.float32([1, 2])).ravel().tolist()
    [4.0, 3.0]
    """
    if means.size != mat.size:
        raise FeatureError(
            f"an image of {mat.shape} expects a mean for each of its {mat.size} numbers. Received: {means.size}."
        )
    return np.subtract(mat, means.reshape(mat.shape), dtype=np.float32)


def to_tensor(mat: np.ndarray, to_rgb: bool = False, out: np.ndarray | None = None) -> np.ndarray:
    """(height, width, channels) of any type to float32 (channels, height, width), values unchanged.

    `to_rgb` turns B, G, R (alpha) into R, G, B (alpha). `out` is written where given; else the result shares the
    picture's memory where it already lies in that order.

    >>> to_tensor(np.array([[[1, 2, 3]]], np.uint8), to_rgb=True).ravel().tolist()
    [3.0, 2.0, 1.0]
    """
    count = mat.shape[2]
    order = [2, 1, 0, *range(3, count)] if to_rgb and count >= 3 else list(range(count))
    if mat.dtype == np.float32:
        planes = mat.transpose(2, 0, 1)
        planes = planes[order] if to_rgb else planes
        if out is None:
            return np.ascontiguousarray(planes)
        out[...] = planes
        return out
    mat = mat[:, :, order] if to_rgb else mat
    return _planes(mat, (0.0,) * count, (1.0,) * count, out)


def _planes(mat: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...], out: np.ndarray | None) -> np.ndarray:
    height, width, channels = mat.shape
    if out is None:
        out = np.empty((channels, height, width), np.float32)
    if mat.dtype == np.uint8:
        single_thread()
        # 256 possible pixels: looking results up is faster than computing them, and exactly equal.
        for plane, table, result in zip(cv2.split(mat), _tables(mean, std), out, strict=True):
            cv2.LUT(plane, table, dst=result)
        return out
    for channel, result in enumerate(out):
        np.subtract(mat[:, :, channel], np.float32(mean[channel]), out=result, dtype=np.float32, casting="unsafe")
        np.divide(result, np.float32(std[channel]), out=result)
    return out


@functools.lru_cache(maxsize=64)
def _tables(mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    values = np.arange(256, dtype=np.float32)
    table = (values - np.array(mean, np.float32)[:, None]) / np.array(std, np.float32)[:, None]
    table.flags.writeable = False
    return table
