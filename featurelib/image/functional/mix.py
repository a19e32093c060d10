"""Mini-batches mixed within themselves: MixUp and CutMix.

Both need targets that a picture can belong to in part: one-hot or soft labels (n, classes), for a criterion that takes
probabilities.
"""

from __future__ import annotations

import math

import numpy as np

from featurelib.errors import FeatureError
from kernels.errors import ArgumentError

__all__ = ["cutmix", "mixup"]


def mixup(
    images: np.ndarray, labels: np.ndarray, rng: np.random.Generator, alpha: float = 0.2
) -> tuple[np.ndarray, np.ndarray]:
    """Blend every picture and its label with another of the batch: share * a + (1 - share) * b.

    The share is drawn from Beta(alpha, alpha), one for the batch. `images` float32 (n, ...), `labels` float32
    (n, classes). Returns new arrays.

    >>> x, y = mixup(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32), np.random.default_rng(3))
    >>> bool((x == y).all()), y.sum(axis=1).tolist()
    (True, [1.0, 1.0])
    """
    partner, share = _draw(images, labels, rng, alpha)
    return _blend(images, partner, share), _blend(labels, partner, share)


def cutmix(
    images: np.ndarray, labels: np.ndarray, rng: np.random.Generator, alpha: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Replace a rectangle of every picture by that of another of the batch; labels are blended by area.

    `images` float32 (n, channels, height, width), `labels` float32 (n, classes); the rectangle is the same for the
    batch, has the picture's aspect and a share of its area ~ Beta(alpha, alpha). Returns new arrays.

    >>> x = np.arange(2, dtype=np.float32).reshape(2, 1, 1, 1) * np.ones((2, 1, 8, 8), np.float32)
    >>> x, y = cutmix(x, np.eye(2, dtype=np.float32), np.random.default_rng(0))
    >>> np.allclose(x.mean(axis=(1, 2, 3)), y[:, 1])
    True
    """
    if images.ndim != 4:
        raise FeatureError(f"cutmix expects images (n, channels, height, width). Received: {images.shape}.")
    partner, share = _draw(images, labels, rng, alpha)
    height, width = images.shape[2:]
    side = math.sqrt(1 - share)
    y, x = rng.random() * height, rng.random() * width
    top, bottom = (min(max(round(y + sign * side * height / 2), 0), height) for sign in (-1, 1))
    left, right = (min(max(round(x + sign * side * width / 2), 0), width) for sign in (-1, 1))
    mixed = images.copy()
    mixed[:, :, top:bottom, left:right] = images[partner, :, top:bottom, left:right]
    kept = 1 - (bottom - top) * (right - left) / (height * width)
    return mixed, _blend(labels, partner, kept)


def _draw(images: np.ndarray, labels: np.ndarray, rng: np.random.Generator, alpha: float) -> tuple[np.ndarray, float]:
    if not alpha > 0:
        raise ArgumentError(f"alpha must be > 0. Received: {alpha!r}.")
    if labels.ndim != 2 or len(labels) != len(images) or labels.dtype.kind != "f":
        raise FeatureError(
            f"mixing {len(images)} images expects one-hot or soft labels ({len(images)}, classes) of floats. "
            f"Received: {labels.shape} {labels.dtype}."
        )
    return rng.permutation(len(images)), float(rng.beta(alpha, alpha))


def _blend(array: np.ndarray, partner: np.ndarray, share: float) -> np.ndarray:
    return array * array.dtype.type(share) + array[partner] * array.dtype.type(1 - share)
