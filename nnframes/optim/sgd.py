"""Stochastic gradient descent with momentum, as in Torch7 and BigDL."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from kernels.vectors import axpby
from nnframes.errors import ArgumentError, ShapeError
from nnframes.optim.base import OptimMethod, Update
from nnframes.optim.checks import number
from nnframes.optim.schedules import Schedule

__all__ = ["SGD"]


class SGD(OptimMethod):
    """Stochastic gradient descent with momentum, weight decay and Nesterov's variant.

    With g the gradient and n the number of updates made before, rate(n) = learningrate / (1 + n * decay):

    ``g += weightdecay * w``; ``v = g`` in the first update, then ``v = momentum * v + (1 - dampening) * g``;
    ``g = g + momentum * v`` with Nesterov, else ``g = v``; ``w -= rate(n) * g``.

    `dampening=None` means equal to `momentum`, as in BigDL (PyTorch's default is 0: pass 0.0 for its behaviour).
    `learningrates` multiplies the rate, `weightdecays` replaces `weightdecay` (which must then be 0), one number per
    dense weight; neither acts on tables. `leaningrate_schedule` is BigDL's spelling of `learningrate_schedule`; give
    one of them. Raises `ArgumentError` for numbers out of range and for Nesterov without momentum and `dampening=0.0`.

    >>> weights, method = np.ones(2, np.float32), SGD(learningrate=0.5)
    >>> method.step(weights, np.array([1.0, -1.0], np.float32), method.init(2), 0)
    >>> weights.tolist()
    [0.5, 1.5]
    """

    def __init__(
        self,
        learningrate: float = 1e-3,
        learningrate_decay: float = 0.0,
        weightdecay: float = 0.0,
        momentum: float = 0.0,
        dampening: float | None = None,
        nesterov: bool = False,
        leaningrate_schedule: Schedule | None = None,
        learningrates: Sequence[float] | np.ndarray | None = None,
        weightdecays: Sequence[float] | np.ndarray | None = None,
        learningrate_schedule: Schedule | None = None,
    ) -> None:
        number(self, "learningrate", learningrate, 0.0)
        number(self, "learningrate_decay", learningrate_decay, 0.0)
        number(self, "weightdecay", weightdecay, 0.0)
        number(self, "momentum", momentum, 0.0)
        if dampening is not None:
            number(self, "dampening", dampening)
        self.learningrate = learningrate
        self.learningrate_decay = learningrate_decay
        self.weightdecay = weightdecay
        self.momentum = momentum
        self.dampening = dampening
        self.nesterov = nesterov
        self.leaningrate_schedule = leaningrate_schedule
        self.learningrates = self._vector("learningrates", learningrates)
        self.weightdecays = self._vector("weightdecays", weightdecays)
        self.learningrate_schedule = learningrate_schedule
        self._check_combinations()

    def check(self, size: int) -> None:
        """Raise `ShapeError` unless `learningrates` and `weightdecays` hold one number per dense weight."""
        for name in ("learningrates", "weightdecays"):
            values = getattr(self, name)
            if values is not None and len(values) != size:
                raise ShapeError(
                    f"{type(self).__name__} {name} must hold one number for each of the network's {size} dense "
                    f"weights, received {len(values)}."
                )

    def _check_combinations(self) -> None:
        if self.nesterov and not (self.momentum > 0 and self.dampening == 0):
            raise ArgumentError(
                "SGD nesterov needs momentum > 0 and dampening 0. "
                f"Received: momentum={self.momentum}, dampening={self.dampening}. Hint: pass dampening=0.0."
            )
        if self.weightdecay and self.weightdecays is not None:
            raise ArgumentError("SGD takes weightdecay or weightdecays, not both. Hint: leave weightdecay at 0.")
        schedules = [s for s in (self.leaningrate_schedule, self.learningrate_schedule) if s is not None]
        if len(schedules) > 1:
            raise ArgumentError("SGD takes one of learningrate_schedule and leaningrate_schedule. Received: both.")
        if schedules and not isinstance(schedules[0], Schedule):
            raise ArgumentError(f"SGD learningrate_schedule must be a Schedule. Received: {schedules[0]!r}.")

    def _slots(self) -> tuple[str, ...]:
        return ("velocity",) if self.momentum else ()

    def _decay(self) -> float:
        """The weight decay that an update adds."""
        return self.weightdecay

    def _vector(self, name: str, values: Sequence[float] | np.ndarray | None) -> np.ndarray | None:
        if values is None:
            return None
        array = np.asarray(values, np.float32)
        if array.ndim != 1 or not np.isfinite(array).all():
            raise ArgumentError(f"SGD {name} must be one finite number per weight. Received: shape {array.shape}.")
        return array

    @property
    def takes_sums(self) -> bool:
        """Whether this is `SGD` itself: what a subclass does with a gradient may need the mean."""
        return self.by_slices and _is_plain(type(self))

    def _update(self, weights: np.ndarray, gradient: np.ndarray, slots: Sequence[np.ndarray], update: Update) -> None:
        factor = update.scale  # of the gradient; the first pass over it takes it along
        decays = _own(self.weightdecays, "weightdecays", weights, update)
        if decays is not None or self._decay():
            decay = self._decay() if decays is None else decays
            gradient, factor = axpby(factor, gradient, decay, weights, update.scratch[0]), 1.0
        if slots:
            gradient, factor = self._momentum(gradient, factor, slots[0], update), 1.0
        rates = _own(self.learningrates, "learningrates", weights, update)
        if rates is not None:
            gradient = np.multiply(gradient, rates, out=update.scratch[1])
        axpby(1.0, weights, -update.rate * factor, gradient, weights)

    def _momentum(self, gradient: np.ndarray, factor: float, velocity: np.ndarray, update: Update) -> np.ndarray:
        keep = 1.0 - (self.momentum if self.dampening is None else self.dampening)
        axpby(self.momentum, velocity, _first_or(keep, factor, update.t), gradient, velocity)
        if not self.nesterov:
            return velocity
        return axpby(self.momentum, velocity, factor, gradient, update.scratch[1])  # [0] may hold the gradient


@functools.cache
def _is_plain(kind: type[SGD]) -> bool:
    return kind._update is SGD._update and kind.step_rows is OptimMethod.step_rows


def _first_or(keep: float, factor: float, t: int | np.ndarray) -> float | np.ndarray:
    """Return `factor` where this is the first update, else `keep` times it."""
    if not isinstance(t, np.ndarray):
        return factor * keep if t else factor
    return np.where(t == 0, np.float32(factor), np.float32(factor * keep))


def _own(values: np.ndarray | None, name: str, weights: np.ndarray, update: Update) -> np.ndarray | None:
    """Return the numbers of `values` that belong to these weights; None for table rows, which have none."""
    if values is None or update.start is None:
        return None
    end = update.start + len(weights)
    if len(values) < end:
        raise ShapeError(f"SGD {name} must hold one number per weight, so >= {end}, received {len(values)}.")
    return values[update.start : end]
