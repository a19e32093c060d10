"""Validation methods: what a network is worth on rows that it was not trained on.

Each method turns a batch into a partial result, a short float64 vector of sums. Partial results are added over batches
and then over shards along the tree of `nnframes.train.reduce`, so that any placement of shards gives the same bits.
Labels count from 0 (BigDL's from 1).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import ClassVar, NamedTuple

import numpy as np

from kernels.graph import Graph, Spec
from kernels.reference import evaluate
from nnframes.errors import ArgumentError, DataError, ShapeError
from nnframes.nn.criterion import ClassNLLCriterion, Criterion
from nnframes.nn.trace import Trace
from nnframes.train.reduce import tree_sum

__all__ = [
    "MAE",
    "MSE",
    "RMSE",
    "VALIDATION_METHODS",
    "EvaluatedResult",
    "Loss",
    "Top1Accuracy",
    "Top5Accuracy",
    "ValidationMethod",
    "joint_partial",
    "joint_results",
    "merge",
]

PADDING = -1
THRESHOLD = 0.5


class EvaluatedResult(NamedTuple):
    """What a validation method gave: the figure, the number of rows behind it, the method's name.

    >>> print(EvaluatedResult(0.9, 100, "Top1Accuracy"))
    Top1Accuracy: 0.9000 (100 rows)
    """

    result: float
    total_num: int
    method: str

    def __str__(self) -> str:
        return f"{self.method}: {self.result:.4f} ({self.total_num} rows)"


class ValidationMethod(ABC):
    """Base of all validation methods. A method keeps nothing between calls."""

    higher_is_better: ClassVar[bool]
    size: ClassVar[int]
    """Numbers in a partial result."""

    @property
    def name(self) -> str:
        """The name in results, logs and TensorBoard."""
        return type(self).__name__

    @abstractmethod
    def update(self, output: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Return the partial result of a batch, float64 (size,): sums that are added over batches and shards.

        Raises `ShapeError` where output and target do not fit each other, `DataError` for labels that are none.
        """

    @abstractmethod
    def result(self, partial: np.ndarray) -> EvaluatedResult:
        """Return the figure of the summed partial results; NaN when there were no rows."""


class Top1Accuracy(ValidationMethod):
    """Share of the rows whose largest score is at the label.

    Output (n, ..., classes) and labels (n, ...), or (n, ..., 1), from 0; of equal scores the first counts, a row whose
    largest is NaN is wrong, label -1 is padding and is skipped. A single unit, (n,) or (n, 1), stands for class 1
    where it is > 0.5, against labels 0 and 1.

    >>> method = Top1Accuracy()
    >>> method.result(method.update([[0.1, 0.9], [0.8, 0.2]], [1, 1]))
    EvaluatedResult(result=0.5, total_num=2, method='Top1Accuracy')
    """

    higher_is_better = True
    size = 2

    def update(self, output: np.ndarray, target: np.ndarray) -> np.ndarray:
        scores = _array(self, output)
        if scores.ndim == 1 or (scores.ndim == 2 and scores.shape[1] == 1):
            labels = _labels(self, target, scores.shape[:1], 2, padding=False)
            return _count((scores.reshape(-1) > THRESHOLD) == labels)
        return _within(self, scores, target, 1)

    def result(self, partial: np.ndarray) -> EvaluatedResult:
        return EvaluatedResult(_ratio(partial[0], partial[1]), int(partial[1]), self.name)


class Top5Accuracy(ValidationMethod):
    """Share of the rows whose label is among the five largest scores; shapes and padding as in `Top1Accuracy`.

    >>> method = Top5Accuracy()
    >>> method.result(method.update([[6, 5, 4, 3, 2, 1], [6, 5, 4, 3, 2, 1]], [4, 5])).result
    0.5
    """

    higher_is_better = True
    size = 2

    def update(self, output: np.ndarray, target: np.ndarray) -> np.ndarray:
        scores = _array(self, output)
        if scores.ndim < 2 or scores.shape[-1] < 2:
            raise ShapeError(f"Top5Accuracy expects scores (n, ..., classes), received {scores.shape}.")
        return _within(self, scores, target, 5)

    def result(self, partial: np.ndarray) -> EvaluatedResult:
        return EvaluatedResult(_ratio(partial[0], partial[1]), int(partial[1]), self.name)


class Loss(ValidationMethod):
    """What `criterion` gives on all rows as one batch; without one, `ClassNLLCriterion`.

    The sums of losses and of weights are added over batches before the one division, so class weights and padding
    count as in training, and the size of the batches does not show.

    >>> method = Loss()
    >>> round(method.result(method.update(np.log([[0.25, 0.75]]), [1])).result, 4)
    0.2877
    """

    higher_is_better = False
    size = 3

    def __init__(self, criterion: Criterion | None = None) -> None:
        if criterion is not None and not isinstance(criterion, Criterion):
            raise ArgumentError(f"Loss criterion must be a Criterion. Received: {criterion!r}.")
        self.criterion = criterion

    def update(self, output: np.ndarray, target: np.ndarray) -> np.ndarray:
        scores = _array(self, output).astype(np.float32, copy=False)
        if not len(scores):
            return np.zeros(self.size)
        criterion = self.criterion or ClassNLLCriterion()
        spec = criterion.target_spec(Spec(scores.shape))
        wanted = np.asarray(target)
        if np.dtype(spec.dtype).kind == "i":
            wanted = _labels(self, wanted, spec.shape, scores.shape[-1])
        wanted = _fitted(self, wanted, spec.shape).astype(spec.dtype, copy=False)
        graph = Graph()
        values = graph.input("output", scores.shape), graph.input("target", wanted.shape, str(wanted.dtype))
        total, weight = evaluate(
            criterion.loss(Trace(None, graph, True), *values), {"output": scores, "target": wanted}
        )
        return np.array([float(total[0]), float(weight[0]), len(scores)])

    def result(self, partial: np.ndarray) -> EvaluatedResult:
        total, weight, rows = partial
        average = (self.criterion or ClassNLLCriterion()).size_average
        return EvaluatedResult(_ratio(total, weight) if average else float(total), int(rows), self.name)


class MAE(ValidationMethod):
    """Mean absolute error, over all numbers of all rows: the mean of abs(output - target).

    Output and target (n, ...) of one shape, or different by a last dimension of 1.

    >>> MAE().result(MAE().update([[1.0], [3.0]], [1.0, 1.0]))
    EvaluatedResult(result=1.0, total_num=2, method='MAE')
    """

    higher_is_better = False
    size = 3

    def update(self, output: np.ndarray, target: np.ndarray) -> np.ndarray:
        return _errors(self, output, target, np.abs)

    def result(self, partial: np.ndarray) -> EvaluatedResult:
        return EvaluatedResult(_ratio(partial[0], partial[1]), int(partial[2]), self.name)


class MSE(ValidationMethod):
    """Mean squared error, over all numbers of all rows; shapes as in `MAE`.

    >>> MSE().result(MSE().update([1.0, 3.0], [1.0, 1.0])).result
    2.0
    """

    higher_is_better = False
    size = 3

    def update(self, output: np.ndarray, target: np.ndarray) -> np.ndarray:
        return _errors(self, output, target, np.square)

    def result(self, partial: np.ndarray) -> EvaluatedResult:
        return EvaluatedResult(_ratio(partial[0], partial[1]), int(partial[2]), self.name)


class RMSE(ValidationMethod):
    """Square root of the mean squared error over all numbers of all rows; shapes as in `MAE`.

    >>> RMSE().result(RMSE().update([1.0, 3.0, 0.0, 0.0], [3.0, 1.0, 2.0, 2.0])).result
    2.0
    """

    higher_is_better = False
    size = 3

    def update(self, output: np.ndarray, target: np.ndarray) -> np.ndarray:
        return _errors(self, output, target, np.square)

    def result(self, partial: np.ndarray) -> EvaluatedResult:
        return EvaluatedResult(float(np.sqrt(_ratio(partial[0], partial[1]))), int(partial[2]), self.name)


VALIDATION_METHODS: dict[str, type[ValidationMethod]] = {
    "Loss": Loss,
    "MAE": MAE,
    "MSE": MSE,
    "RMSE": RMSE,
    "Top1Accuracy": Top1Accuracy,
    "Top5Accuracy": Top5Accuracy,
}


def merge(partials: Mapping[int, np.ndarray], shards: int) -> np.ndarray:
    """Return the sum of one partial result per shard 0..shards-1 along the fixed tree; leaves them as they are.

    A shard without rows gives zeros. Raises `ArgumentError` naming the shards that are missing.

    >>> merge({0: np.array([1.0, 2.0]), 1: np.array([0.0, 3.0])}, shards=2).tolist()
    [1.0, 5.0]
    """
    return tree_sum({shard: np.array(partial, np.float64) for shard, partial in partials.items()}, shards)


def joint_partial(methods: Sequence[ValidationMethod], output: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the partial results of several methods one after the other, float64 (sum of the sizes,).

    >>> joint_partial([MAE(), MSE()], [1.0, 3.0], [1.0, 1.0]).tolist()
    [2.0, 2.0, 2.0, 4.0, 2.0, 2.0]
    """
    return np.concatenate([np.zeros(0), *(method.update(output, target) for method in methods)])


def joint_results(methods: Sequence[ValidationMethod], partial: np.ndarray) -> list[EvaluatedResult]:
    """Return the results of several methods from what `joint_partial` gave, summed.

    >>> [result.result for result in joint_results([MAE(), MSE()], [2.0, 2.0, 2.0, 4.0, 2.0, 2.0])]
    [1.0, 2.0]
    """
    ends = np.cumsum([0, *(method.size for method in methods)])
    if len(partial) != ends[-1]:
        names = ", ".join(method.name for method in methods)
        raise ShapeError(f"Partial results of {names} expect {ends[-1]} numbers, received {len(partial)}.")
    pieces = [np.asarray(partial[low:high], np.float64) for low, high in pairwise(ends)]
    return [method.result(piece) for method, piece in zip(methods, pieces, strict=True)]


def _array(method: ValidationMethod, output: np.ndarray) -> np.ndarray:
    if isinstance(output, tuple):
        raise ShapeError(f"{method.name} expects one output, received {len(output)}.")
    array = np.asarray(output)
    if array.ndim < 1:
        raise ShapeError(f"{method.name} expects an output with rows first, received a single number.")
    return array


def _fitted(method: ValidationMethod, target: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return `target` in `shape`; they may differ by a last dimension of 1 only."""
    if isinstance(target, tuple):
        raise ShapeError(f"{method.name} expects one target, received {len(target)}.")
    target = np.asarray(target)
    if shape not in (target.shape, (*target.shape, 1)) and target.shape != (*shape, 1):
        raise ShapeError(f"{method.name} expects a target {shape}, received {target.shape}.")
    return target.reshape(shape)


def _labels(
    method: ValidationMethod, target: np.ndarray, shape: tuple[int, ...], classes: int, padding: bool = True
) -> np.ndarray:
    labels = _fitted(method, target, shape)
    low = PADDING if padding else 0
    bad = ~((labels >= low) & (labels < classes) & (labels == np.floor(labels)))
    if bad.any():
        raise DataError(
            f"{method.name} expects whole labels from 0 to {classes - 1}. Received: {labels[bad][0]} in {bad.sum()} of "
            f"{labels.size}. Hint: labels count from 0; subtract 1 from labels that count from 1."
        )
    return labels.astype(np.int64)


def _within(method: ValidationMethod, scores: np.ndarray, target: np.ndarray, k: int) -> np.ndarray:
    """Count the rows whose label is among the k largest scores; of equal scores the first ranks higher."""
    classes = scores.shape[-1]
    labels = _labels(method, target, scores.shape[:-1], classes).reshape(-1)
    scores = scores.reshape(-1, classes)[labels != PADDING]
    labels = labels[labels != PADDING]
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    # "Not <=" ranks NaN above everything, so that a network gone astray does not look right.
    before = ~(scores <= own) | ((scores == own) & (np.arange(classes) < labels[:, None]))
    return _count((before.sum(axis=1) < k) & ~np.isnan(own[:, 0]))


def _count(right: np.ndarray) -> np.ndarray:
    return np.array([np.count_nonzero(right), right.size], np.float64)


def _errors(method: ValidationMethod, output: np.ndarray, target: np.ndarray, measure: np.ufunc) -> np.ndarray:
    numbers = _array(method, output).astype(np.float64)
    errors = measure(numbers - _fitted(method, target, numbers.shape))
    return np.array([errors.sum(), errors.size, len(numbers)])


def _ratio(total: float, count: float) -> float:
    return float(total) / float(count) if count else float("nan")
