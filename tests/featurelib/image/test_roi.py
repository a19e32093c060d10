"""Boxes by themselves."""

from __future__ import annotations

import numpy as np
import pytest

from featurelib import FeatureError
from featurelib.image import Roi
from featurelib.image.functional import flip_map, rotation_map, scale_map, shift_map
from featurelib.image.roi import iou


def test_parts_become_arrays() -> None:
    roi = Roi([[1, 2, 3, 4]], [5])
    assert [part.dtype.name for part in (roi.boxes, roi.classes, roi.difficult, roi.centered)] == [
        *("float32", "float32", "bool", "bool"),
    ]
    np.testing.assert_array_equal(np.asarray(roi), np.float32([[5, 0, 1, 2, 3, 4]]))
    assert np.asarray(Roi([], [])).shape == (0, 6)
    assert len(Roi([], [])) == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (([[1, 2, 3, 4]], [1, 2]), "classes must be as many as boxes: 1. Received: 2."),
        (([[1, 2, 3, 4]], [1], [True, False]), "difficult must be as many"),
        (([[3, 2, 1, 4]], [1]), "boxes must be finite x1 <= x2"),
        (([[np.nan, 2, 3, 4]], [1]), "boxes must be finite"),
        (([[1, 2, np.inf, 4]], [1]), "boxes must be finite"),
        (([1, 2, 3], [1]), r"boxes must be \(n, 4\). Received: shape \(3,\)."),
    ],
)
def test_what_does_not_fit(args: tuple, message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        Roi(*args)


def test_clip_drops_what_is_outside_and_notes_the_middle() -> None:
    roi = Roi([[-4, -4, 2, 2], [1, 1, 3, 3], [10, 0, 12, 5], [3, 3, 3, 9], [-9, 0, -1, 5]], range(5))
    clipped = roi.clip(8, 10)
    assert clipped.boxes.tolist() == [[0, 0, 2, 2], [1, 1, 3, 3]]
    assert clipped.centered.tolist() == [False, True]
    assert clipped.clip(8, 10).centered.tolist() == [False, True]


def test_units() -> None:
    roi = Roi([[2, 1, 4, 3]], [1])
    shares = roi.normalize(4, 8)
    np.testing.assert_array_equal(shares.boxes, [[0.25, 0.25, 0.5, 0.75]])
    assert shares.normalize(9, 9) is shares
    np.testing.assert_array_equal(shares.in_pixels(4, 8).boxes, roi.boxes)
    assert roi.in_pixels(9, 9) is roi
    moved = shares.project(scale_map(3, 2), (4, 8), (8, 24))
    np.testing.assert_array_equal(moved.boxes, shares.boxes)


@pytest.mark.parametrize(
    ("matrix", "after", "expected"),
    [
        (shift_map(-1, -2), (8, 10), [[1, 1, 3, 3]]),
        (scale_map(0.5, 2), (16, 5), [[1, 6, 2, 10]]),
        (flip_map(width=10), (8, 10), [[6, 3, 8, 5]]),
        (flip_map(height=8), (8, 10), [[2, 3, 4, 5]]),
        (shift_map(0, 10) @ rotation_map(90), (10, 8), [[3, 6, 5, 8]]),
    ],
)
def test_project(matrix: np.ndarray, after: tuple[int, int], expected: list) -> None:
    moved = Roi([[2, 3, 4, 5]], [1], [True]).project(matrix, (8, 10), after)
    np.testing.assert_allclose(moved.boxes, expected, atol=1e-6)
    assert moved.difficult.tolist() == [True]


def test_a_turned_box_is_the_upright_one_around_it() -> None:
    moved = Roi([[-1, -1, 1, 1]], [1]).project(shift_map(5, 5) @ rotation_map(45), (10, 10), (10, 10))
    np.testing.assert_allclose(moved.boxes, [[5 - 2**0.5, 5 - 2**0.5, 5 + 2**0.5, 5 + 2**0.5]], rtol=1e-6)


def test_iou() -> None:
    boxes = np.float32([[0, 0, 2, 2], [1, 1, 3, 3], [5, 5, 5, 5]])
    np.testing.assert_allclose(iou(boxes, boxes), [[1, 1 / 7, 0], [1 / 7, 1, 0], [0, 0, 0]], rtol=1e-6)
