"""Files to pictures and back: the one place where colour order, depth and orientation of files are settled."""

from __future__ import annotations

import cv2
import numpy as np

from featurelib.errors import DecodeError, FeatureError
from featurelib.image.functional.opencv import single_thread
from featurelib.image.header import read_header

__all__ = ["MAX_PIXELS", "as_mat", "decode", "encode_png"]

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

    `image_codec` is OpenCV's: < 0 channels and depth as stored, 0 grey uint8, > 0 B, G, R uint8.

    ==============================  =================================================================
    file                            with `image_codec` < 0
    ==============================  =================================================================
    grey, also of 1, 2 or 4 bits    one channel, uint8
    16 bits a channel               uint16; 0 and 1 give the upper eight bits
    alpha                           B, G, R, A; 0 and 1 drop it (nothing is blended)
    grey with alpha                 B, G, R, A with B = G = R
    palette                         B, G, R, with transparent colours B, G, R, A
    CMYK (JPEG)                     B, G, R
    animation, pages (GIF, PNG,     the first picture
    WebP, AVIF; TIFF)
    float TIFF                      float32; other numbers are a `DecodeError`
    wrong name or extension         what the content is
    ==============================  =================================================================

    Raises `DecodeError` for empty, truncated or unknown data, and for more than `max_pixels` pixels announced, before
    any memory is taken.

    >>> decode(encode_png(np.zeros((2, 3), np.uint8)), image_codec=1).shape
    (2, 3, 3)
    """
    header = read_header(data)
    if header.width * header.height > max_pixels:
        raise DecodeError(
            f"{header.format} image must have at most {max_pixels} pixels. Received: {header.width}x{header.height}. "
            "Hint: raise max_pixels if you trust the source."
        )
    single_thread()
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


def _upright(mat: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation: 2 to 4 mirror or turn by 180 degrees, 5 to 8 swap rows and columns as well."""
    if orientation == 1:
        return mat
    if orientation >= 5:
        mat = mat.swapaxes(0, 1)
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    return np.ascontiguousarray(mat[rows, columns])
