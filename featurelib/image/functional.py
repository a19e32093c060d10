"""Pure functions on pictures; the only place that calls OpenCV.

A picture (mat) is an array (height, width, channels), channels in the order B, G, R (and alpha), or one of grey;
uint8 or uint16 as stored, or float32. No function changes its input; results may share its memory.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import cv2
import numpy as np

from featurelib.errors import DecodeError, FeatureError
from featurelib.image.header import read_header

__all__ = [
    "MAX_PIXELS",
    "adjust",
    "as_mat",
    "center_crop",
    "channel_normalize",
    "crop",
    "decode",
    "encode_png",
    "hflip",
    "resize",
    "to_tensor",
    "translate",
]

MAX_PIXELS = 1 << 27  # 134 megapixels: above any camera in use, 400 MB when decoded
_DTYPES = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32))
_DTYPE_NAMES = "uint8, uint16 or float32"


def as_mat(array: np.ndarray) -> np.ndarray:
    """Bring an array into a picture's form: (height, width) gets a channel axis, float64 becomes float32.

    Raises `FeatureError` for another rank, an empty picture or another type.

    >>> as_mat(np.zeros((4, 5))).shape
    (4, 5, 1)
    """
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or not array.size:
        raise FeatureError(f"an image must be (height, width, channels). Received: shape {array.shape}.")
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    if array.dtype not in _DTYPES:
        raise FeatureError(f"an image must be of {_DTYPE_NAMES}. Received: {array.dtype}.")
    return array


def decode(data: bytes, image_codec: int = -1, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode an image file to (height, width, channels), upright by its EXIF orientation.

    `image_codec` is OpenCV's: < 0 channels and depth as stored (alpha and 16 bits kept), 0 grey uint8, > 0 B, G, R
    uint8. Of an animation the first picture. CMYK becomes B, G, R. Raises `DecodeError` for empty, truncated or unknown
    data, and for more than `max_pixels` pixels announced, before any memory is taken.

    >>> decode(encode_png(np.zeros((2, 3), np.uint8)), image_codec=1).shape
    (2, 3, 3)
    """
    header = read_header(data)
    if header.width * header.height > max_pixels:
        raise DecodeError(
            f"{header.format} image must have at most {max_pixels} pixels. Received: {header.width}x{header.height}. "
            "Hint: raise max_pixels if you trust the source."
        )
    _single_thread()
    # OpenCV turns pictures by EXIF for some flags and not for others: here it never does, and `_upright` always.
    flags = cv2.IMREAD_UNCHANGED if image_codec < 0 else min(image_codec, 1) | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        mat = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise DecodeError(f"{header.format} image cannot be decoded: {error.err}.") from None
    if mat is None:
        raise DecodeError(
            f"{header.format} image of {header.width}x{header.height} pixels cannot be decoded from {len(data)} bytes: "
            "truncated, damaged, or of a kind that OpenCV does not read."
        )
    if mat.dtype not in _DTYPES and mat.dtype != np.float64:
        raise DecodeError(f"{header.format} image must hold {_DTYPE_NAMES}. Received: {mat.dtype}.")
    return as_mat(_upright(mat, header.orientation))


def encode_png(mat: np.ndarray) -> bytes:
    """Encode a picture, uint8 or uint16 (height, width) or (height, width, 1, 3 or 4), as PNG.

    >>> encode_png(np.zeros((2, 3), np.uint8))[1:4]
    b'PNG'
    """
    mat = as_mat(mat)
    if mat.dtype == np.float32 or mat.shape[2] not in (1, 3, 4):
        raise FeatureError(f"a PNG holds 1, 3 or 4 channels of uint8 or uint16. Received: {mat.shape} {mat.dtype}.")
    return cv2.imencode(".png", np.ascontiguousarray(mat))[1].tobytes()


def resize(mat: np.ndarray, height: int, width: int, interpolation: int = cv2.INTER_LINEAR) -> np.ndarray:
    """Resize by OpenCV's `interpolation` (0 nearest, 1 linear, 2 cubic, 3 area, 4 Lanczos); the input if it fits.

    >>> resize(np.zeros((4, 6, 3), np.uint8), 2, 3).shape
    (2, 3, 3)
    """
    if mat.shape[:2] == (height, width):
        return mat
    _single_thread()
    resized = cv2.resize(np.ascontiguousarray(mat), (width, height), interpolation=interpolation)
    return resized.reshape(height, width, mat.shape[2])


def crop(mat: np.ndarray, top: int, left: int, height: int, width: int) -> np.ndarray:
    """The part of a picture that a box covers, as a view.

    >>> crop(np.arange(12).reshape(3, 4, 1), 1, 2, 5, 2)[..., 0].tolist()
    [[6, 7], [10, 11]]
    """
    return mat[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]


def center_crop(mat: np.ndarray, height: int, width: int) -> np.ndarray:
    """The middle of a picture, at most (height, width); the odd pixel goes to the far side.

    >>> center_crop(np.arange(5).reshape(1, 5, 1), 1, 2)[..., 0].tolist()
    [[1, 2]]
    """
    rows, columns = min(height, mat.shape[0]), min(width, mat.shape[1])
    return crop(mat, (mat.shape[0] - rows) // 2, (mat.shape[1] - columns) // 2, rows, columns)


def hflip(mat: np.ndarray) -> np.ndarray:
    """Mirror left and right.

    >>> hflip(np.arange(3, dtype=np.uint8).reshape(1, 3, 1)).ravel().tolist()
    [2, 1, 0]
    """
    _single_thread()
    return cv2.flip(np.ascontiguousarray(mat), 1).reshape(mat.shape)


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


def adjust(mat: np.ndarray, contrast: float = 1.0, brightness: float = 0.0) -> np.ndarray:
    """pixel * contrast + brightness; integers are rounded to even halves and kept in their range, floats are not.

    >>> adjust(np.array([[[0, 100, 250]]], np.uint8), brightness=20).ravel().tolist()
    [20, 120, 255]
    """
    if mat.dtype == np.uint8:
        table = np.clip(np.rint(np.arange(256) * contrast + brightness), 0, 255).astype(np.uint8)
        _single_thread()
        return cv2.LUT(np.ascontiguousarray(mat), table).reshape(mat.shape)
    if mat.dtype == np.uint16:
        return np.clip(np.rint(mat * np.float64(contrast) + brightness), 0, 65535).astype(np.uint16)
    return mat * np.float32(contrast) + np.float32(brightness)


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
        _single_thread()
        # 256 possible pixels: looking results up is faster than computing them, and exactly equal.
        for plane, table, result in zip(cv2.split(np.ascontiguousarray(mat)), _tables(mean, std), out, strict=True):
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


def _upright(mat: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation: 2 to 4 mirror or turn by 180 degrees, 5 to 8 swap rows and columns as well."""
    if orientation == 1:
        return mat
    if orientation >= 5:
        mat = mat.swapaxes(0, 1)
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    return np.ascontiguousarray(mat[rows, columns])


@functools.cache
def _single_thread() -> None:
    """Keep OpenCV to the calling thread: tasks are the parallelism, and its own pool does not survive a fork."""
    cv2.setNumThreads(0)
