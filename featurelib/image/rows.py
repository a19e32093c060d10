"""Pictures in Spark's image schema: OpenCV's type number, the `mode`, says what the bytes of a row are."""

from __future__ import annotations

import numpy as np

from featurelib.errors import FeatureError

__all__ = ["DROP", "FAIL", "MODES", "NULL", "UNREADABLE", "mode_of"]

FAIL, DROP, NULL = "fail", "drop", "null"
"""What becomes of a file that is no image: an error, nothing, an image without its picture."""

UNREADABLE = -1
"""The mode, height, width and channels of a row that stands for a file that is no image, as in Spark's own source."""

_DEPTHS: dict[int, np.dtype] = {0: np.dtype(np.uint8), 2: np.dtype(np.uint16), 5: np.dtype(np.float32)}

MODES = {depth + 8 * (count - 1): (kind, count) for depth, kind in _DEPTHS.items() for count in (1, 2, 3, 4)}
"""{mode: (type, channels)}; 16 is three channels of uint8, which is what most files hold."""

_NUMBERS = {kind: number for number, kind in MODES.items()}


def mode_of(mat: np.ndarray) -> int:
    """The mode of a picture (height, width, channels); `FeatureError` for one that has none.

    >>> mode_of(np.zeros((2, 2, 3), np.uint8)), mode_of(np.zeros((2, 2, 1), np.float32))
    (16, 5)
    """
    number = _NUMBERS.get((mat.dtype, mat.shape[2]))
    if number is None:
        raise FeatureError(
            "a picture in Spark's image schema must have 1 to 4 channels of uint8, uint16 or float32. "
            f"Received: {mat.shape[2]} of {mat.dtype}."
        )
    return number
