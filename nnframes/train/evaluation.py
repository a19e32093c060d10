"""Validation of a network in training: what the methods make of the rows of a worker's shards."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kernels.graph import Spec
from nnframes.errors import ArgumentError, ShapeError
from nnframes.nn.criterion import Criterion
from nnframes.nn.layer import Layer
from nnframes.nn.network import Predictor
from nnframes.optim.checks import whole
from nnframes.train.data import MiniBatch, ShardData
from nnframes.train.triggers import Trigger
from nnframes.train.validation import ValidationMethod, joint_partial

__all__ = ["NetworkEvaluator", "Partial", "ValidationSettings", "check_methods", "shard_partials"]

KEPT_PREDICTORS = 4

Partial = Callable[[MiniBatch], np.ndarray]
"""From a batch to the partial results of all methods, float64; see `joint_partial`."""


class ValidationSettings:
    """When a run is validated (`trigger`), by which `methods`, in batches of `batch_size` rows over all shards.

    Raises `ArgumentError` for anything else.

    >>> from nnframes.train import EveryEpoch, Top1Accuracy
    >>> ValidationSettings(EveryEpoch(), [Top1Accuracy()], 64).names
    ['Top1Accuracy']
    """

    def __init__(self, trigger: Trigger, methods: Sequence[ValidationMethod], batch_size: int) -> None:
        if not isinstance(trigger, Trigger):
            hint = f" Hint: {trigger.__name__}(...)." if isinstance(trigger, type) else ""
            raise ArgumentError(f"The validation's trigger must be a Trigger. Received: {trigger!r}.{hint}")
        good = isinstance(methods, (list, tuple)) and all(isinstance(one, ValidationMethod) for one in methods)
        if not good or not methods:
            raise ArgumentError(
                f"The validation's methods must be a list such as [Top1Accuracy()]. Received: {methods!r}."
            )
        names = [method.name for method in methods]
        if len(set(names)) < len(names):
            raise ArgumentError(f"The validation's methods must have different names. Received: {', '.join(names)}.")
        whole(self, "batch_size", batch_size, 1)
        self.trigger = trigger
        self.methods = list(methods)
        self.batch_size = batch_size

    @property
    def names(self) -> list[str]:
        """The names of the methods."""
        return [method.name for method in self.methods]

    def share(self, shards: int) -> int:
        """Return the rows that one of `shards` gives to a batch."""
        return -(-self.batch_size // shards)


class NetworkEvaluator:
    """Runs a network in its inference form and hands outputs and targets to validation methods.

    >>> from nnframes.nn import ClassNLLCriterion, Linear
    >>> from nnframes.train import Top1Accuracy
    >>> evaluate = NetworkEvaluator(Linear(2, 2).initialise(), ClassNLLCriterion(), 1).start([Top1Accuracy()], 8)
    >>> evaluate(MiniBatch((np.zeros((3, 2), np.float32),), np.zeros((3, 1), np.float32))).shape
    (2,)
    """

    def __init__(self, layer: Layer, criterion: Criterion, threads: int) -> None:
        self.layer, self.criterion, self.threads = layer, criterion, threads
        self._predictors: OrderedDict[Any, Predictor] = OrderedDict()

    def start(self, methods: Sequence[ValidationMethod], batch_size: int) -> Partial:
        """Return what evaluates batches of 1 to `batch_size` rows with the weights and buffers of this moment."""
        current: set[Any] = set()

        def evaluate(batch: MiniBatch) -> np.ndarray:
            key = (batch_size, *(array.shape[1:] for array in batch.inputs))
            predict = self._predictor(key)
            if key not in current:
                predict.refresh()
                current.add(key)
            output = predict(batch.inputs)
            return joint_partial(methods, output, _fitted(self.criterion, output, batch.target))

        return evaluate

    def _predictor(self, key: Any) -> Predictor:
        if key not in self._predictors:
            batch_size, *shapes = key
            nested = list(shapes) if len(shapes) > 1 else shapes[0]
            self._predictors[key] = Predictor(self.layer, batch_size, nested, self.threads)
            if len(self._predictors) > KEPT_PREDICTORS:
                self._predictors.popitem(last=False)
        self._predictors.move_to_end(key)
        return self._predictors[key]


def _fitted(criterion: Criterion, output: Any, target: Any) -> Any:
    """Return the target in the shape that training gives it, where it has as many numbers."""
    target = target[0] if isinstance(target, tuple) and len(target) == 1 else target
    if isinstance(target, tuple) or not isinstance(output, np.ndarray):
        return target
    shape = criterion.target_spec(Spec(output.shape)).shape
    return target.reshape(shape) if target.size == math.prod(shape) else target


def check_methods(methods: Sequence[ValidationMethod], criterion: Criterion, output: tuple[int, ...]) -> None:
    """Raise `ShapeError` for a method that cannot take an output (batch, ...) and the targets of the criterion.

    >>> from nnframes.nn import ClassNLLCriterion
    >>> from nnframes.train import Top5Accuracy
    >>> check_methods([Top5Accuracy()], ClassNLLCriterion(), (32, 10))
    """
    shape = (2, *output[1:])
    target = criterion.target_spec(Spec(shape))
    for method in methods:
        try:
            method.update(np.zeros(shape, np.float32), np.zeros(target.shape, target.dtype))
        except ShapeError as error:
            raise ShapeError(f"{error} Hint: choose a method that suits {type(criterion).__name__}.") from None


def shard_partials(
    evaluate: Partial, settings: ValidationSettings, data: ShardData, own: Sequence[int], shards: int
) -> dict[int, np.ndarray]:
    """Return the partial results of each of the `own` shards, float64; zeros for one without rows.

    A shard's rows go in order, in batches of its share of the batch size: no placement of shards shows.
    """
    share = settings.share(shards)
    size = sum(method.size for method in settings.methods)
    partials = {}
    for shard in own:
        total = np.zeros(size)
        for low in range(0, data.rows(shard), share):
            rows = np.arange(low, min(low + share, data.rows(shard)))
            total += evaluate(data.batch(shard, 0, rows))
        partials[shard] = total
    return partials
