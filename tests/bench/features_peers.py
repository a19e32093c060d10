"""The peers of the suite `features`, without Spark."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from tests.bench.clock import rate_of
from tests.bench.photos import DEVIATIONS, MEANS, photos


def prepare_cv2(side: int) -> Callable[[], float]:
    """Decode, resize, subtract, divide, channels first: the calls that a user would write."""
    cv2.setNumThreads(1)
    files = photos()
    mean, scale = np.array(MEANS[::-1], np.float32), 1 / np.array(DEVIATIONS[::-1], np.float32)

    def step() -> np.ndarray:
        batch = np.empty((len(files), 3, side, side), np.float32)
        for row, file in enumerate(files):
            picture = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
            picture = cv2.resize(picture, (side, side)).astype(np.float32)
            cv2.subtract(picture, (*mean.tolist(), 0), picture)
            cv2.multiply(picture, (*scale.tolist(), 0), picture)
            batch[row] = picture.transpose(2, 0, 1)
        return batch

    return rate_of(step, len(files))


def prepare_albumentations(kind: str, side: int) -> Callable[[], float]:
    """The same transform of the other library."""
    import albumentations as A

    cv2.setNumThreads(1)
    pictures = [cv2.resize(cv2.imdecode(np.frombuffer(file, np.uint8), 1), (side, side)) for file in photos()]
    deviations = tuple(value / 255 for value in DEVIATIONS)
    transform = {
        "normalize": lambda: A.Normalize(tuple(value / 255 for value in MEANS), deviations),
        "resize": lambda: A.Resize(160, 160),
        "flip": lambda: A.HorizontalFlip(p=1),
        "jitter": lambda: A.ColorJitter((0.875, 1.125), (0.5, 1.5), (0.5, 1.5), (-0.05, 0.05), p=1),
    }[kind]()
    return rate_of(lambda: [transform(image=picture)["image"] for picture in pictures], len(pictures))
