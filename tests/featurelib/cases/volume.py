"""Rows of the table: volumes."""

from __future__ import annotations

import numpy as np

from featurelib import ChainedPreprocessing, FeatureError
from featurelib import volume as V
from tests.featurelib.cases.case import Case


def volume(seed: int, *shape: int, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(dtype)


FLOATS = [volume(seed, 6, 7, 8) for seed in range(3)]
BYTES = [volume(seed, 6, 7, 8, dtype="uint8") for seed in range(3)]
CHANNELS = [volume(0, 6, 7, 8, 2), volume(1, 9, 8, 7, 2)]
LISTS = [volume(0, 6, 7, 8).tolist()]
ALL = [FLOATS, BYTES, CHANNELS, LISTS, []]
NO_VOLUME = [
    (None, FeatureError, "expects numbers (depth, height, width[, channels]). Received: NoneType"),
    (np.zeros((4, 4)), FeatureError, "Received: float64 (4, 4)"),
    (np.zeros((0, 4, 4)), FeatureError, "Received: float64 (0, 4, 4)"),
    ([[[1, 2], [3]]], FeatureError, "Received: list"),
    ("abc", FeatureError, "Received: str"),
]
SMALL = (np.zeros((6, 2, 8)), FeatureError, "at least 3x4x5 voxels (depth x height x width), received 6x2x8")
INSIDE = {"bounds": (0, 255)}

CASES = [
    Case(
        V.Crop3D([1, 0, 2], [3, 4, 5]),
        ALL,
        (3, 4, 5),
        **INSIDE,
        bad=[*NO_VOLUME, (np.zeros((6, 7, 6)), FeatureError, "at least 4x4x7 voxels")],
    ),
    Case(V.Crop3D((0, 0, 0), np.array([6, 7, 7])), ALL, (6, 7, 7), **INSIDE),
    Case(V.CenterCrop3D(3, 4, 5), ALL, (3, 4, 5), **INSIDE, bad=[*NO_VOLUME, SMALL]),
    Case(V.RandomCrop3D(3, 4, 5), ALL, (3, 4, 5), **INSIDE, bad=[*NO_VOLUME, SMALL]),
    Case(V.Rotate3D([0.3, -0.2, 1]), ALL, (6, 7, 8), **INSIDE, bad=NO_VOLUME),
    Case(V.AffineTransform3D(np.diag([0.8, 1.0, 1.2])), ALL, (6, 7, 8), **INSIDE, bad=NO_VOLUME),
    Case(
        V.AffineTransform3D([[1, 0.2, 0], [0, 1, 0], [0, 0, 1]], [0.5, 0, -2], "padding", pad_val=-3),
        ALL,
        (6, 7, 8),
        bounds=(-3, 255),
    ),
    Case(
        ChainedPreprocessing([V.RandomCrop3D(4, 4, 4), V.Rotate3D([0.1, 0, 0])]),
        ALL,
        (4, 4, 4),
        **INSIDE,
        bad=NO_VOLUME,
    ),
]
