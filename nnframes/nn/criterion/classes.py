"""Criterions for class labels."""

from __future__ import annotations

import numpy as np

from kernels import ops
from kernels.graph import INT32, Spec, Value
from nnframes.errors import ShapeError
from nnframes.nn.criterion.base import Criterion, checked_weights
from nnframes.nn.trace import Trace

__all__ = ["ClassNLLCriterion", "CrossEntropyCriterion"]

_PADDING = -1
_SMALLEST = 1e-8


def _labels(output: Spec) -> Spec:
    if len(output.shape) != 2:
        raise ShapeError(f"expects an output (batch, classes), received {output.shape}.")
    return Spec(output.shape[:1], INT32)


def _nll(log_probabilities: Value, target: Value, weights: np.ndarray | None) -> tuple[Value, Value]:
    constant = None if weights is None else log_probabilities.graph.constant(np.asarray(weights, np.float32))
    return ops.nll(log_probabilities, target, constant, padding=_PADDING)


class ClassNLLCriterion(Criterion):
    """Negative log likelihood: the mean of -w[t] * x[i, t] over rows i with label t, weighted by w.

    Input: log-probabilities (batch, classes), as `LogSoftMax` gives them, or probabilities with `logProbAsInput=False`.
    Target: int32 (batch,), labels from 0 (BigDL: from 1); -1 is padding and is skipped. `weights` (classes,) are ones
    unless given. Without `size_average` it is the sum.

    >>> ClassNLLCriterion().forward(np.log([[0.25, 0.75]]), [0]) == -float(np.log(np.float32(0.25)))
    True
    """

    def __init__(
        self, weights: np.ndarray | None = None, size_average: bool = True, logProbAsInput: bool = True
    ) -> None:
        self.weights = checked_weights(self, weights)
        self.size_average = size_average
        self.logProbAsInput = logProbAsInput

    def target_spec(self, output: Spec) -> Spec:
        return _labels(output)

    def terms(self, t: Trace, output: Value, target: Value) -> tuple[Value, Value]:
        if not self.logProbAsInput:
            output = ops.log(ops.clip(output, _SMALLEST, 1.0))
        return _nll(output, target, self.weights)


class CrossEntropyCriterion(Criterion):
    """`ClassNLLCriterion` of `LogSoftMax`: for networks whose last layer gives unnormalised scores (batch, classes).

    Target: int32 (batch,), labels from 0; -1 is padding and is skipped.

    >>> round(CrossEntropyCriterion().forward([[0.0, 0.0]], [1]), 4)
    0.6931
    """

    def __init__(self, weights: np.ndarray | None = None, size_average: bool = True) -> None:
        self.weights = checked_weights(self, weights)
        self.size_average = size_average

    def target_spec(self, output: Spec) -> Spec:
        return _labels(output)

    def terms(self, t: Trace, output: Value, target: Value) -> tuple[Value, Value]:
        return _nll(ops.log_softmax(output, 1), target, self.weights)
