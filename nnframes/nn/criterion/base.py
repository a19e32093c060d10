"""The base of all criterions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from kernels import ops
from kernels.gradient import differentiate
from kernels.graph import Graph, Spec, Value
from kernels.reference import evaluate
from nnframes.errors import ArgumentError
from nnframes.nn.trace import Trace

__all__ = ["Criterion", "checked_weights", "summed"]


class Criterion(ABC):
    """A loss: `terms` builds its sum and the sum of its weights; `size_average` says whether the two are divided."""

    size_average: bool = True

    domain: str = ""
    """Which outputs it is defined for, where others make the loss NaN: part of the error then."""

    @abstractmethod
    def terms(self, t: Trace, output: Value, target: Value) -> tuple[Value, Value]:
        """Loss sum (1,) and weight sum (1,) of a batch, as graph values; `target` is what `target_spec` says."""

    @abstractmethod
    def target_spec(self, output: Spec) -> Spec:
        """The shape and type of the targets that go with such outputs."""

    def loss(self, t: Trace, output: Value, target: Value) -> tuple[Value, Value]:
        """`terms` after checking the target; raises `ShapeError` naming the criterion."""
        with t.named(type(self).__name__):
            wanted = self.target_spec(Spec(output.shape, output.dtype))
            fits = (target.shape, target.dtype) == wanted
            received = f"{target.shape} of {target.dtype}"
            t.expect(fits, f"a target {wanted.shape} of {wanted.dtype} for {output.shape}", received)
            return self.terms(t, output, target)

    def forward(self, input: np.ndarray, target: np.ndarray) -> float:
        """The loss of a batch."""
        return self._evaluate(input, target)[0]

    def backward(self, input: np.ndarray, target: np.ndarray) -> np.ndarray:
        """The gradient of the loss with respect to the input."""
        return self._evaluate(input, target)[1]

    def _evaluate(self, input: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
        graph, x = Graph(), np.asarray(input, np.float32)
        y = self._target(np.asarray(target), self.target_spec(Spec(x.shape)).dtype)
        output = graph.input("output", x.shape)
        loss, weight = self.loss(Trace(None, graph, True), output, graph.input("target", y.shape, str(y.dtype)))
        gradient = differentiate({loss: graph.constant(np.ones(1, np.float32))}, [output])[output]
        assert isinstance(gradient, Value)
        total, weights, dx = evaluate([loss, weight, gradient], {"output": x, "target": y})
        divisor = float(weights[0]) if self.size_average and weights[0] else 1.0
        return float(total[0]) / divisor, (dx / np.float32(divisor)).astype(np.float32, copy=False)

    def _target(self, given: np.ndarray, dtype: str) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            target = given.astype(dtype, copy=False)
        if target.dtype.kind == "i" and (target != given).any():
            wrong = given[target != given][0]
            raise ArgumentError(f"{type(self).__name__} target must hold whole numbers. Received: {wrong}.")
        return target


def summed(x: Value) -> Value:
    """The sum of all numbers, as (1,).

    >>> summed(Graph().input("x", (2, 3))).shape
    (1,)
    """
    return ops.reshape(ops.reduce(x, "sum"), (1,))


def checked_weights(criterion: Criterion, weights: Any) -> Any:
    """Return weights as they are given; raises `ArgumentError` unless all are finite numbers >= 0."""
    try:
        numbers = np.zeros(1) if weights is None else np.asarray(weights, np.float64)
    except (TypeError, ValueError):
        numbers = np.full(1, np.nan)
    if not (np.isfinite(numbers) & (numbers >= 0)).all():
        raise ArgumentError(f"{type(criterion).__name__} weights must be numbers >= 0. Received: {weights!r}.")
    return weights
