"""Contact sheets: many pictures on one, each with a caption."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from featurelib.errors import FeatureError
from featurelib.image.functional import as_mat, resize

__all__ = ["contact_sheet"]

_CAPTION = 18
_MARGIN = 6


def contact_sheet(
    pictures: Sequence[np.ndarray], captions: Sequence[str], columns: int = 8, tile: int = 64
) -> np.ndarray:
    """Lay out uint8 pictures (h, w[, 1 or 3]) in rows of `columns`, `tile` pixels each, over captions; B, G, R uint8.

    Pictures keep their proportions. Raises `FeatureError` unless there is a picture, and a caption for each.

    >>> contact_sheet([np.zeros((28, 28), np.uint8)] * 3, ["a", "b", "c"], columns=2, tile=64).shape
    (182, 146, 3)
    """
    if not pictures or len(pictures) != len(captions):
        raise FeatureError(
            f"A contact sheet needs as many captions as pictures. Received: {len(pictures)} and {len(captions)}."
        )
    rows = -(-len(pictures) // columns)
    high, wide = tile + _CAPTION, tile
    sheet = np.full((rows * (high + _MARGIN) + _MARGIN, columns * (wide + _MARGIN) + _MARGIN, 3), 255, np.uint8)
    for number, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        top = _MARGIN + number // columns * (high + _MARGIN)
        left = _MARGIN + number % columns * (wide + _MARGIN)
        shown = _coloured(_fitted(as_mat(picture), tile))
        height, width = shown.shape[:2]
        y, x = top + (tile - height) // 2, left + (tile - width) // 2
        sheet[y : y + height, x : x + width] = shown
        place = (left, top + tile + _CAPTION - 5)
        cv2.putText(sheet, caption, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    return sheet


def _fitted(mat: np.ndarray, tile: int) -> np.ndarray:
    longest = max(mat.shape[:2])
    return resize(mat, *(max(1, round(side * tile / longest)) for side in mat.shape[:2]))


def _coloured(mat: np.ndarray) -> np.ndarray:
    return np.repeat(mat, 3, axis=2) if mat.shape[2] == 1 else mat[:, :, :3]
