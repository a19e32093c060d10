"""Arithmetic on volumes (depth, height, width[, channels]): pure functions, nothing random.

The interpolation is numpy: it is eight products, and SciPy is 35 MB on every executor for just these.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

__all__ = ["affine", "crop", "interpolate", "rotation"]


def crop(volume: np.ndarray, start: Sequence[int], size: Sequence[int]) -> np.ndarray:
    """Return the part of `size` (depth, height, width) that begins at `start`; a view.

    >>> crop(np.arange(8).reshape(2, 2, 2), (0, 1, 1), (2, 1, 1)).ravel().tolist()
    [3, 7]
    """
    return volume[tuple(slice(first, first + count) for first, count in zip(start, size, strict=True))]


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Return the matrix Rz(yaw) Ry(pitch) Rx(roll), for coordinates in the order (depth, height, width).

    As in Analytics Zoo, x is the depth axis, y the width axis and z the height axis. Angles are in radians.

    >>> np.round(rotation(0.0, 0.0, np.pi / 2) @ [0, 0, 1]).tolist()
    [0.0, 1.0, 0.0]
    """
    (cz, sz), (cy, sy), (cx, sx) = ((math.cos(angle), math.sin(angle)) for angle in (yaw, pitch, roll))
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    order = [0, 2, 1]  # of x, y, z: depth, width, height
    return (about_z @ about_y @ about_x)[np.ix_(order, order)]


def affine(
    volume: np.ndarray, matrix: np.ndarray, translation: np.ndarray, margin: float = math.inf, pad: float = 0.0
) -> np.ndarray:
    """Return the volume of its own size with out[p] = volume[c + matrix (p - c) - translation], c being its middle.

    Between voxels it is interpolated; `margin` and `pad` are those of `interpolate`. float32 out.

    >>> affine(np.arange(3.0).reshape(1, 1, 3), np.diag([1, 1, -1]), np.zeros(3)).ravel().tolist()
    [2.0, 1.0, 0.0]
    """
    size = np.array(volume.shape[:3])
    middle = (size - 1) / 2
    out = np.empty(volume.shape, np.float32)
    rows, columns = np.indices(volume.shape[1:3])
    for depth in range(size[0]):  # slice by slice: the coordinates of a whole volume are six times its size
        place = np.stack([np.full(rows.shape, depth), rows, columns], axis=-1)
        out[depth] = interpolate(volume, (place - middle) @ matrix.T + middle - translation, margin, pad)
    return out


def interpolate(volume: np.ndarray, places: np.ndarray, margin: float = math.inf, pad: float = 0.0) -> np.ndarray:
    """Return the values at `places` (..., 3), trilinear between the eight voxels around each.

    Places outside the volume have the value of its border, those farther out than `margin` voxels are `pad`.

    >>> interpolate(np.arange(4.0).reshape(1, 1, 4), np.array([[0, 0, 1.5], [0, 0, 9]]), margin=0, pad=-1).tolist()
    [1.5, -1.0]
    """
    low, high, weights, outside = [], [], [], np.zeros(places.shape[:-1], bool)
    for axis in range(3):
        wanted, last = places[..., axis], volume.shape[axis] - 1
        inside = np.clip(wanted, 0, last)
        outside |= np.abs(wanted - inside) > margin
        low.append(inside.astype(np.intp))
        high.append(np.minimum(low[-1] + 1, last))
        weights.append((inside - low[-1]).reshape(inside.shape + (1,) * (volume.ndim - 3)))  # one for all channels
    values = [volume[corner] for corner in itertools.product(*zip(low, high, strict=True))]
    for weight in reversed(weights):
        values = [(1 - weight) * a + weight * b for a, b in zip(values[::2], values[1::2], strict=True)]
    values[0][outside] = pad
    return values[0]
