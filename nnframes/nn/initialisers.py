"""Init methods: how a parameter gets its first numbers."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from nnframes.errors import ArgumentError

__all__ = [
    "BilinearFiller",
    "ConstInitMethod",
    "InitMethod",
    "MsraFiller",
    "Ones",
    "RandomNormal",
    "RandomUniform",
    "Xavier",
    "Zeros",
]


class InitMethod(ABC):
    """Draws the first value of a parameter."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, shape: Sequence[int], fan_in: int, fan_out: int) -> np.ndarray:
        """An array of this shape; `fan_in` and `fan_out` count the inputs and outputs of one unit."""


class ConstInitMethod(InitMethod):
    """Every number is `value`.

    >>> ConstInitMethod(0.5).draw(np.random.default_rng(0), (2,), 1, 1).tolist()
    [0.5, 0.5]
    """

    def __init__(self, value: float) -> None:
        self.value = value

    def draw(self, rng: np.random.Generator, shape: Sequence[int], fan_in: int, fan_out: int) -> np.ndarray:
        return np.full(shape, self.value, np.float32)


class Zeros(InitMethod):
    """Every number is 0.

    >>> Zeros().draw(np.random.default_rng(0), (2,), 1, 1).tolist()
    [0.0, 0.0]
    """

    def draw(self, rng: np.random.Generator, shape: Sequence[int], fan_in: int, fan_out: int) -> np.ndarray:
        return np.zeros(shape, np.float32)


class Ones(InitMethod):
    """Every number is 1.

    >>> Ones().draw(np.random.default_rng(0), (2,), 1, 1).tolist()
    [1.0, 1.0]
    """

    def draw(self, rng: np.random.Generator, shape: Sequence[int], fan_in: int, fan_out: int) -> np.ndarray:
        return np.ones(shape, np.float32)


class RandomUniform(InitMethod):
    """Uniform in [lower, upper); with neither given, in ±1/sqrt(fan_in), as Torch starts linear and convolution layers.

    The arguments stand as in BigDL, `upper` first.

    >>> bool(abs(RandomUniform().draw(np.random.default_rng(0), (9,), 4, 1)).max() <= 0.5)
    True
    """

    def __init__(self, upper: float | None = None, lower: float | None = None) -> None:
        if (upper is None) != (lower is None):
            raise ArgumentError(f"RandomUniform takes both bounds or neither. Received: upper={upper}, lower={lower}.")
        if upper is not None and lower is not None and lower > upper:
            raise ArgumentError(f"RandomUniform lower must be <= upper. Received: upper={upper}, lower={lower}.")
        self.upper = upper
        self.lower = lower

    def draw(self, rng: np.random.Generator, shape: Sequence[int], fan_in: int, fan_out: int) -> np.ndarray:
        bound = 1 / math.sqrt(fan_in)
        lower, upper = (-bound, bound) if self.lower is None or self.upper is None else (self.lower, self.upper)
        return rng.uniform(lower, upper, shape).astype(np.float32)


class RandomNormal(InitMethod):
    """Normal with this mean and standard deviation.

    >>> RandomNormal(0.0, 0.01).draw(np.random.default_rng(0), (2, 3), 3, 2).shape
    (2, 3)
    """

    def __init__(self, mean: float, stdv: float) -> None:
        if stdv < 0:
            raise ArgumentError(f"RandomNormal stdv must be >= 0. Received: {stdv}.")
        self.mean = mean
        self.stdv = stdv

    def draw(self, rng: np.random.Generator, shape: Sequence[int], fan_in: int, fan_out: int) -> np.ndarray:
        return rng.normal(self.mean, self.stdv, shape).astype(np.float32)


class Xavier(InitMethod):
    """Uniform in ±sqrt(6 / (fan_in + fan_out)), after Glorot and Bengio.

    >>> bool(abs(Xavier().draw(np.random.default_rng(0), (9,), 3, 3)).max() <= 1)
    True
    """

    def draw(self, rng: np.random.Generator, shape: Sequence[int], fan_in: int, fan_out: int) -> np.ndarray:
        bound = math.sqrt(6 / (fan_in + fan_out))
        return rng.uniform(-bound, bound, shape).astype(np.float32)


class MsraFiller(InitMethod):
    """Normal with standard deviation sqrt(2 / n), after He et al.

    n is the mean of fan_in and fan_out, or fan_in alone when `varianceNormAverage` is false.

    >>> MsraFiller().draw(np.random.default_rng(0), (2, 3), 3, 2).shape
    (2, 3)
    """

    def __init__(self, varianceNormAverage: bool = True) -> None:
        self.varianceNormAverage = varianceNormAverage

    def draw(self, rng: np.random.Generator, shape: Sequence[int], fan_in: int, fan_out: int) -> np.ndarray:
        fans = (fan_in + fan_out) / 2 if self.varianceNormAverage else fan_in
        return rng.normal(0, math.sqrt(2 / fans), shape).astype(np.float32)


class BilinearFiller(InitMethod):
    """Each kernel is the bilinear interpolation window, as in Caffe; for the weights of upsampling convolutions.

    Takes shapes (..., kernel_h, kernel_w) and raises `ArgumentError` for shapes of fewer than two dimensions.

    >>> BilinearFiller().draw(np.random.default_rng(0), (1, 1, 2, 2), 4, 4).ravel().tolist()
    [0.25, 0.25, 0.25, 0.25]
    """

    def draw(self, rng: np.random.Generator, shape: Sequence[int], fan_in: int, fan_out: int) -> np.ndarray:
        if len(shape) < 2:
            raise ArgumentError(f"BilinearFiller must get a shape (..., height, width). Received: {tuple(shape)}.")
        rows, columns = (self._triangle(size) for size in shape[-2:])
        return np.broadcast_to(np.outer(rows, columns), shape).astype(np.float32)

    @staticmethod
    def _triangle(size: int) -> np.ndarray:
        factor = (size + 1) // 2
        return 1 - np.abs(np.arange(size) - (size - 1) / 2) / factor
