"""Adam in BigDL's form."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from kernels.vectors import axpby, product, quotient, shifted_root
from nnframes.optim.base import OptimMethod, Update
from nnframes.optim.checks import number

__all__ = ["Adam"]


class Adam(OptimMethod):
    """Adam (Kingma and Ba 2015) as BigDL computes it.

    With g the gradient and k = 1, 2, ... the update, rate = learningrate / (1 + (k - 1) * decay):

    ``m = beta1 m + (1 - beta1) g``; ``v = beta2 v + (1 - beta2) g^2``;
    ``w -= rate * sqrt(1 - beta2^k) / (1 - beta1^k) * m / (sqrt(v) + epsilon)``.

    `epsilon` is added to the uncorrected root (PyTorch adds it to the corrected one; they differ by a factor near one
    on epsilon). Raises `ArgumentError` for numbers out of range.

    >>> weights, method = np.zeros(2, np.float32), Adam(learningrate=0.5)
    >>> method.step(weights, np.array([3.0, -0.1], np.float32), method.init(2), 0)
    >>> weights.round(4).tolist()
    [-0.5, 0.5]
    """

    def __init__(
        self,
        learningrate: float = 1e-3,
        learningrate_decay: float = 0.0,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
    ) -> None:
        number(self, "learningrate", learningrate, 0.0)
        number(self, "learningrate_decay", learningrate_decay, 0.0)
        number(self, "beta1", beta1, 0.0, 1.0)
        number(self, "beta2", beta2, 0.0, 1.0)
        number(self, "epsilon", epsilon, 0.0, above=True)
        self.learningrate = learningrate
        self.learningrate_decay = learningrate_decay
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon

    def _slots(self) -> tuple[str, ...]:
        return ("first_moment", "second_moment")

    def _update(self, weights: np.ndarray, gradient: np.ndarray, slots: Sequence[np.ndarray], update: Update) -> None:
        (first, second), (scratch, delta) = slots, update.scratch
        axpby(self.beta1, first, 1.0 - self.beta1, gradient, first)
        product(gradient, gradient, scratch)
        axpby(self.beta2, second, 1.0 - self.beta2, scratch, second)
        shifted_root(second, self.epsilon, scratch)
        quotient(first, scratch, delta)
        axpby(1.0, weights, -self._step_sizes(update), delta, weights)

    def _step_sizes(self, update: Update) -> float | np.ndarray:
        if not isinstance(update.t, np.ndarray):
            return self._step_size(update.t, update.rate)
        # Through the scalar formula, so that a row and a dense weight of equal history get equal bits.
        counts, where = np.unique(update.t, return_inverse=True)
        sizes = np.array([self._step_size(int(count), update.rate) for count in counts], np.float32)
        return sizes[where].reshape(update.t.shape)

    def _step_size(self, t: int, rate: float) -> float:
        return rate * math.sqrt(1.0 - self.beta2 ** (t + 1)) / (1.0 - self.beta1 ** (t + 1))
