"""Learning-rate schedules: the rate of update n as a pure function of n (n = 0 for the first update)."""

from __future__ import annotations

from abc import ABC, abstractmethod

from nnframes.optim.checks import number, whole

__all__ = ["SCHEDULES", "Default", "Exponential", "Poly", "Schedule", "Step"]


class Schedule(ABC):
    """Base of all schedules. They keep no state, so that a resumed or replaced worker computes the same rate."""

    @abstractmethod
    def rate(self, learningrate: float, t: int, decay: float) -> float:
        """Return the rate of update `t`, counted from 0, for the optim method's base rate and decay."""


class Default(Schedule):
    """BigDL's default: `learningrate / (1 + t * decay)`.

    >>> Default().rate(0.1, 10, 0.1)
    0.05
    """

    def rate(self, learningrate: float, t: int, decay: float) -> float:
        """Return the decayed rate."""
        return learningrate / (1.0 + t * decay)


class Poly(Schedule):
    """`learningrate * (1 - t / max_iteration) ** power`, and zero from `max_iteration` on. The decay is not used.

    >>> Poly(2.0, 10).rate(1.0, 5, 0.0)
    0.25
    """

    def __init__(self, power: float, max_iteration: int) -> None:
        number(self, "power", power, 0.0)
        whole(self, "max_iteration", max_iteration, 1)
        self.power = power
        self.max_iteration = max_iteration

    def rate(self, learningrate: float, t: int, decay: float) -> float:
        """Return the rate of update `t`."""
        return 0.0 if t >= self.max_iteration else learningrate * (1.0 - t / self.max_iteration) ** self.power


class Step(Schedule):
    """`learningrate * gamma ** (t // step_size)`. The decay is not used.

    >>> [Step(2, 0.5).rate(1.0, t, 0.0) for t in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    def __init__(self, step_size: int, gamma: float) -> None:
        whole(self, "step_size", step_size, 1)
        number(self, "gamma", gamma, 0.0)
        self.step_size = step_size
        self.gamma = gamma

    def rate(self, learningrate: float, t: int, decay: float) -> float:
        """Return the rate of update `t`."""
        return learningrate * self.gamma ** (t // self.step_size)


class Exponential(Schedule):
    """`learningrate * decay_rate ** (t / decay_step)`, the quotient rounded down with `stair_case`; decay not used.

    >>> Exponential(10, 0.5).rate(1.0, 20, 0.0)
    0.25
    """

    def __init__(self, decay_step: int, decay_rate: float, stair_case: bool = False) -> None:
        whole(self, "decay_step", decay_step, 1)
        number(self, "decay_rate", decay_rate, 0.0, above=True)
        self.decay_step = decay_step
        self.decay_rate = decay_rate
        self.stair_case = stair_case

    def rate(self, learningrate: float, t: int, decay: float) -> float:
        """Return the rate of update `t`."""
        exponent = t // self.decay_step if self.stair_case else t / self.decay_step
        return learningrate * self.decay_rate**exponent


SCHEDULES: dict[str, type[Schedule]] = {"Default": Default, "Exponential": Exponential, "Poly": Poly, "Step": Step}
