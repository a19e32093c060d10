"""Criterions for numbers: the target has the shape of the output, the mean goes over all numbers."""

from __future__ import annotations

import math

import numpy as np

from kernels import ops
from kernels.graph import Spec, Value
from nnframes.nn.criterion.base import Criterion, checked_weights, summed
from nnframes.nn.trace import Trace

__all__ = ["AbsCriterion", "BCECriterion", "MSECriterion", "SmoothL1Criterion"]

_EPSILON = 1e-12


def _over_all(losses: Value) -> tuple[Value, Value]:
    count = np.full(1, math.prod(losses.shape), np.float32)
    return summed(losses), losses.graph.constant(count)


class MSECriterion(Criterion):
    """Mean squared error: the mean of (x - y)^2.

    >>> MSECriterion().forward([[1.0, 3.0]], [[1.0, 1.0]])
    2.0
    """

    def target_spec(self, output: Spec) -> Spec:
        return Spec(output.shape)

    def terms(self, t: Trace, output: Value, target: Value) -> tuple[Value, Value]:
        return _over_all(ops.square(ops.subtract(output, target)))


class AbsCriterion(Criterion):
    """Mean absolute error: the mean of |x - y|, the sum without `size_average`.

    >>> AbsCriterion().forward([[1.0, 3.0]], [[1.0, 1.0]])
    1.0
    """

    def __init__(self, size_average: bool = True) -> None:
        self.size_average = size_average

    def target_spec(self, output: Spec) -> Spec:
        return Spec(output.shape)

    def terms(self, t: Trace, output: Value, target: Value) -> tuple[Value, Value]:
        return _over_all(ops.abs_(ops.subtract(output, target)))


class SmoothL1Criterion(Criterion):
    """The mean of d^2 / 2 where |d| < 1, else |d| - 1/2, with d = x - y; the sum without `size_average`.

    >>> SmoothL1Criterion().forward([[1.5, 4.0]], [[1.0, 1.0]])
    1.3125
    """

    def __init__(self, size_average: bool = True) -> None:
        self.size_average = size_average

    def target_spec(self, output: Spec) -> Spec:
        return Spec(output.shape)

    def terms(self, t: Trace, output: Value, target: Value) -> tuple[Value, Value]:
        distance = ops.abs_(ops.subtract(output, target))
        near = ops.clip(distance, 0.0, 1.0)
        return _over_all(ops.add(ops.affine(ops.square(near), 0.5), ops.subtract(distance, near)))


class BCECriterion(Criterion):
    """Binary cross entropy: the mean of -w (y log x + (1 - y) log(1 - x)) for probabilities x and targets y in [0, 1].

    `weights`, where given, broadcast against the output. Without `size_average` it is the sum.

    >>> round(BCECriterion().forward([[0.5]], [[1.0]]), 4)
    0.6931
    """

    domain = "BCECriterion takes outputs in [0, 1], as Sigmoid gives them"

    def __init__(self, weights: np.ndarray | None = None, size_average: bool = True) -> None:
        self.weights = checked_weights(self, weights)
        self.size_average = size_average

    def target_spec(self, output: Spec) -> Spec:
        return Spec(output.shape)

    def terms(self, t: Trace, output: Value, target: Value) -> tuple[Value, Value]:
        hit = ops.multiply(target, _log(output))
        miss = ops.multiply(ops.affine(target, -1.0, 1.0), _log(ops.affine(output, -1.0, 1.0)))
        losses = ops.negative(ops.add(hit, miss))
        if self.weights is not None:
            losses = ops.multiply(losses, t.graph.constant(np.asarray(self.weights, np.float32)))
        return _over_all(losses)


def _log(x: Value) -> Value:
    # Added in its own step: 1e-12 is lost in 1 + 1e-12, but not in 0 + 1e-12.
    return ops.log(ops.affine(x, 1.0, _EPSILON))
