"""Transforms of brightness and colour, all by chance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from featurelib import _checks
from featurelib.base import generator
from featurelib.image import functional as F
from featurelib.image.transforms.base import ImageTransform

__all__ = [
    "ImageBrightness",
    "ImageChannelOrder",
    "ImageColorJitter",
    "ImageContrast",
    "ImageHue",
    "ImageSaturation",
]


class ImageBrightness(ImageTransform):
    """Add one random number in [delta_low, delta_high) to all pixels (Analytics Zoo's `ImageBrightness`).

    Integer pixels stay in their range, float pixels are not clipped. Nothing is added when scoring.

    >>> ImageBrightness(5, 5)(np.array([[1, 254]], np.uint8), np.random.default_rng(1))["mat"].ravel().tolist()
    [6, 255]
    """

    random = True

    def __init__(self, delta_low: float, delta_high: float) -> None:
        _checks.ordered("delta_low", delta_low, "delta_high", delta_high)
        self.delta_low = delta_low
        self.delta_high = delta_high

    def sample(self, rng: np.random.Generator | None, mat: np.ndarray) -> dict[str, Any]:
        return {"delta": _between(generator(self, rng), self.delta_low, self.delta_high)}

    def apply_mat(self, mat: np.ndarray, *, delta: float) -> np.ndarray:
        return F.adjust(mat, brightness=delta)


class ImageContrast(ImageTransform):
    """Multiply all pixels by one random number in [delta_low, delta_high) (BigDL's `Contrast`).

    Integer pixels stay in their range, float pixels are not clipped. Nothing is changed when scoring.

    >>> ImageContrast(2, 2)(np.array([[1, 200]], np.uint8), np.random.default_rng(1))["mat"].ravel().tolist()
    [2, 255]
    """

    random = True

    def __init__(self, delta_low: float, delta_high: float) -> None:
        _checks.factors("delta_low", delta_low, "delta_high", delta_high)
        self.delta_low = delta_low
        self.delta_high = delta_high

    def sample(self, rng: np.random.Generator | None, mat: np.ndarray) -> dict[str, Any]:
        return {"factor": _between(generator(self, rng), self.delta_low, self.delta_high)}

    def apply_mat(self, mat: np.ndarray, *, factor: float) -> np.ndarray:
        return F.adjust(mat, contrast=factor)


class ImageHue(ImageTransform):
    """Turn the hue by a random number in [delta_low, delta_high) (Analytics Zoo's `ImageHue`).

    In OpenCV's unit, two degrees: 180 is once round. Grey pictures and alpha stay as they are. For pictures that are
    not normalised yet. Nothing is changed when scoring.

    >>> ImageHue(60, 60)(np.array([[[0, 0, 200]]], np.uint8), np.random.default_rng(1))["mat"].ravel().tolist()
    [0, 200, 0]
    """

    random = True

    def __init__(self, delta_low: float, delta_high: float) -> None:
        _checks.ordered("delta_low", delta_low, "delta_high", delta_high)
        self.delta_low = delta_low
        self.delta_high = delta_high

    def sample(self, rng: np.random.Generator | None, mat: np.ndarray) -> dict[str, Any]:
        return {"delta": _between(generator(self, rng), self.delta_low, self.delta_high)}

    def apply_mat(self, mat: np.ndarray, *, delta: float) -> np.ndarray:
        return F.adjust_colour(mat, hue=delta)


class ImageSaturation(ImageTransform):
    """Multiply the saturation by a random number in [delta_low, delta_high) (Analytics Zoo's `ImageSaturation`).

    0 leaves the brightest colour as grey, 1 the picture as it is. Grey pictures and alpha stay as they are. For
    pictures that are not normalised yet. Nothing is changed when scoring.

    >>> ImageSaturation(0, 0)(np.array([[[10, 99, 200]]], np.uint8), np.random.default_rng(1))["mat"].ravel().tolist()
    [200, 200, 200]
    """

    random = True

    def __init__(self, delta_low: float, delta_high: float) -> None:
        _checks.factors("delta_low", delta_low, "delta_high", delta_high)
        self.delta_low = delta_low
        self.delta_high = delta_high

    def sample(self, rng: np.random.Generator | None, mat: np.ndarray) -> dict[str, Any]:
        return {"factor": _between(generator(self, rng), self.delta_low, self.delta_high)}

    def apply_mat(self, mat: np.ndarray, *, factor: float) -> np.ndarray:
        return F.adjust_colour(mat, saturation=factor)


class ImageChannelOrder(ImageTransform):
    """Put the three colours into a random order (Analytics Zoo's `ImageChannelOrder`).

    Grey pictures and alpha stay as they are. Nothing is changed when scoring.

    >>> mat = np.array([[[1, 2, 3]]], np.uint8)
    >>> ImageChannelOrder()(mat, np.random.default_rng(1))["mat"].ravel().tolist()
    [2, 3, 1]
    """

    random = True

    def sample(self, rng: np.random.Generator | None, mat: np.ndarray) -> dict[str, Any]:
        return {"order": _ORDERS[int(_between(generator(self, rng), 0, len(_ORDERS)))]}

    def apply_mat(self, mat: np.ndarray, *, order: Sequence[int]) -> np.ndarray:
        return F.reorder(mat, order)


class ImageColorJitter(ImageTransform):
    """Change brightness, contrast, saturation, hue and the order of colours, each with its probability.

    Analytics Zoo's `ImageColorJitter`. Brightness is in [-delta, delta) of the pixels' unit, contrast and saturation
    are factors in [lower, upper), hue is in [-delta, delta) of OpenCV's unit (two degrees). Contrast comes before
    saturation and hue, or, as often, after them; with `shuffle` the order is any. Nothing is changed when scoring.

    >>> ImageColorJitter()(np.zeros((4, 6, 3), np.uint8), np.random.default_rng(1))["mat"].shape
    (4, 6, 3)
    """

    random = True

    def __init__(
        self,
        brightness_prob: float = 0.5,
        brightness_delta: float = 32.0,
        contrast_prob: float = 0.5,
        contrast_lower: float = 0.5,
        contrast_upper: float = 1.5,
        hue_prob: float = 0.5,
        hue_delta: float = 18.0,
        saturation_prob: float = 0.5,
        saturation_lower: float = 0.5,
        saturation_upper: float = 1.5,
        random_order_prob: float = 0.0,
        shuffle: bool = False,
    ) -> None:
        _checks.within("brightness_prob", brightness_prob, 0, 1)
        _checks.within("contrast_prob", contrast_prob, 0, 1)
        _checks.within("hue_prob", hue_prob, 0, 1)
        _checks.within("saturation_prob", saturation_prob, 0, 1)
        _checks.within("random_order_prob", random_order_prob, 0, 1)
        _checks.not_negative("brightness_delta", brightness_delta)
        _checks.factors("contrast_lower", contrast_lower, "contrast_upper", contrast_upper)
        _checks.not_negative("hue_delta", hue_delta)
        _checks.factors("saturation_lower", saturation_lower, "saturation_upper", saturation_upper)
        self.brightness_prob = brightness_prob
        self.brightness_delta = brightness_delta
        self.contrast_prob = contrast_prob
        self.contrast_lower = contrast_lower
        self.contrast_upper = contrast_upper
        self.hue_prob = hue_prob
        self.hue_delta = hue_delta
        self.saturation_prob = saturation_prob
        self.saturation_lower = saturation_lower
        self.saturation_upper = saturation_upper
        self.random_order_prob = random_order_prob
        self.shuffle = shuffle

    def sample(self, rng: np.random.Generator | None, mat: np.ndarray) -> dict[str, Any]:
        rng = generator(self, rng)
        ranges = {
            "brightness": (self.brightness_prob, -self.brightness_delta, self.brightness_delta),
            "contrast": (self.contrast_prob, self.contrast_lower, self.contrast_upper),
            "saturation": (self.saturation_prob, self.saturation_lower, self.saturation_upper),
            "hue": (self.hue_prob, -self.hue_delta, self.hue_delta),
            "order": (self.random_order_prob, 0, len(_ORDERS)),
        }
        if self.shuffle:
            order = _shuffled(rng, ranges)
        else:
            order = list(ranges) if rng.random() < 0.5 else ["brightness", "saturation", "hue", "contrast", "order"]
        steps: list[dict[str, float]] = []
        for name in order:
            prob, low, high = ranges[name]
            if rng.random() < prob:
                number = _between(rng, low, high)
                if steps and {name, *steps[-1]} in _TOGETHER:
                    steps[-1][name] = number
                else:
                    steps.append({name: number})
        return {"steps": steps}

    def apply_mat(self, mat: np.ndarray, *, steps: list[dict[str, float]]) -> np.ndarray:
        for step in steps:
            mat = _JITTER[min(step)](mat, **step)
        return mat


_ORDERS = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
_TOGETHER = ({"brightness", "contrast"}, {"hue", "saturation"})
"""What takes one pass where it comes one after the other: by one table, and by one way through HSV."""


def _light(mat: np.ndarray, **step: float) -> np.ndarray:
    return F.adjust_in_turn(mat, [(1, by) if name == "brightness" else (by, 0) for name, by in step.items()])


_JITTER: dict[str, Callable[..., np.ndarray]] = {
    "brightness": _light,
    "contrast": _light,
    "hue": F.adjust_colour,
    "order": lambda mat, order: F.reorder(mat, _ORDERS[int(order)]),
    "saturation": F.adjust_colour,
}


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return low + (high - low) * rng.random()


def _shuffled(rng: np.random.Generator, items: Iterable[Any]) -> list[Any]:
    # By random() alone, whose values follow no method of numpy's that may change.
    return [item for _, item in sorted(((rng.random(), item) for item in items), key=lambda pair: pair[0])]
