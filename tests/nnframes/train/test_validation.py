from __future__ import annotations

import json

import numpy as np
import pytest

from featurelib.config import from_config, to_config
from nnframes.errors import ArgumentError, DataError, ShapeError
from nnframes.nn import ClassNLLCriterion, CrossEntropyCriterion, MSECriterion
from nnframes.nn.catalog import CRITERIONS
from nnframes.train import reduce, validation
from nnframes.train.validation import (
    MAE,
    MSE,
    RMSE,
    VALIDATION_METHODS,
    EvaluatedResult,
    Loss,
    Top1Accuracy,
    Top5Accuracy,
    ValidationMethod,
    joint_partial,
    joint_results,
    merge,
)

NAN = float("nan")
SIX = [[6, 5, 4, 3, 2, 1]]
LOGS = np.log(np.array([[0.25, 0.75], [0.5, 0.5]], np.float32))

# method, output, target -> result, rows
CASES = {
    "top1": (Top1Accuracy(), [[1, 2, 0], [3, 2, 1], [0, 0, 5]], [1, 0, 1], 2 / 3, 3),
    "top1, column of float labels": (Top1Accuracy(), [[1, 2], [3, 2]], [[1.0], [1.0]], 0.5, 2),
    "top1, first of equals": (Top1Accuracy(), [[1, 1], [1, 1]], [0, 1], 0.5, 2),
    "top1, NaN is wrong": (Top1Accuracy(), [[NAN, NAN], [NAN, 1], [1, NAN]], [0, 0, 0], 0.0, 3),
    "top1, padding": (Top1Accuracy(), [[1, 2], [3, 2]], [1, -1], 1.0, 1),
    "top1, only padding": (Top1Accuracy(), [[1, 2]], [-1], NAN, 0),
    "top1, no rows": (Top1Accuracy(), np.zeros((0, 3)), np.zeros(0), NAN, 0),
    "top1, sequences": (Top1Accuracy(), [[[1, 2], [2, 1]]], [[1, 1]], 0.5, 2),
    "top1, single unit": (Top1Accuracy(), [[0.6], [0.5], [0.4]], [1, 1, 0], 2 / 3, 3),
    "top1, single unit flat": (Top1Accuracy(), [0.6, 0.2], [[0.0], [0.0]], 0.5, 2),
    "top5": (Top5Accuracy(), SIX * 6, np.arange(6), 5 / 6, 6),
    "top5, few classes": (Top5Accuracy(), [[1, 2, 3]], [0], 1.0, 1),
    "top5, NaN is wrong": (Top5Accuracy(), [[NAN, 1, 2]], [0], 0.0, 1),
    "top5, NaNs rank first": (Top5Accuracy(), [[NAN] * 5 + [1]], [5], 0.0, 1),
    "loss": (Loss(), LOGS, [1, 0], -(np.log(0.75) + np.log(0.5)) / 2, 2),
    "loss, padding": (Loss(), LOGS, [1, -1], -np.log(0.75), 2),
    "loss, class weights": (Loss(ClassNLLCriterion([1, 3])), LOGS, [1, 0], -(3 * np.log(0.75) + np.log(0.5)) / 4, 2),
    "loss, sum": (Loss(ClassNLLCriterion(size_average=False)), LOGS, [1, 0], -(np.log(0.75) + np.log(0.5)), 2),
    "loss, cross entropy": (Loss(CrossEntropyCriterion()), [[0.0, 0.0]], [[1]], np.log(2), 1),
    "loss, numbers": (Loss(MSECriterion()), [[1.0], [3.0]], [1.0, 1.0], 2.0, 2),
    "loss, no rows": (Loss(), np.zeros((0, 3)), np.zeros(0), NAN, 0),
    "mae": (MAE(), [[1, 2], [3, 4]], [[1, 1], [1, 1]], 1.5, 2),
    "mae, column": (MAE(), [[1.0], [2.0]], [2.0, 4.0], 1.5, 2),
    "mse": (MSE(), [1.0, 2.0, 3.0], [[1.0], [1.0], [1.0]], 5 / 3, 3),
    "mse, no rows": (MSE(), np.zeros((0, 2)), np.zeros((0, 2)), NAN, 0),
    "rmse": (RMSE(), [3.0, 4.0], [0.0, 0.0], 12.5**0.5, 2),
}


@pytest.mark.parametrize("case", CASES)
def test_figures(case):
    method, output, target, result, rows = CASES[case]
    partial = method.update(np.asarray(output, np.float32), np.asarray(target))
    assert partial.dtype == np.float64
    assert partial.shape == (method.size,)
    found = method.result(partial)
    assert found == EvaluatedResult(pytest.approx(result, rel=1e-6, nan_ok=True), rows, type(method).__name__)
    assert type(found.result) is float
    assert type(found.total_num) is int


def test_the_table_has_every_class():
    classes = {name: item for name, item in vars(validation).items() if isinstance(item, type)}
    defined = {name for name, item in classes.items() if issubclass(item, ValidationMethod) and item.__name__ == name}
    assert defined - {"ValidationMethod"} == set(VALIDATION_METHODS)
    assert {type(case[0]).__name__ for case in CASES.values()} == set(VALIDATION_METHODS)


@pytest.mark.parametrize("name", VALIDATION_METHODS)
def test_config_and_direction(name):
    method = VALIDATION_METHODS[name]()
    config = json.loads(json.dumps(to_config(method)))
    assert type(from_config(config, VALIDATION_METHODS)) is type(method)
    assert method.name == name
    assert method.higher_is_better == (name in ("Top1Accuracy", "Top5Accuracy"))


def test_a_loss_keeps_its_criterion():
    config = to_config(Loss(ClassNLLCriterion(size_average=False)))
    assert from_config(config, {**VALIDATION_METHODS, **CRITERIONS}).criterion.size_average is False


METHODS = [Top1Accuracy(), Top5Accuracy(), Loss(CrossEntropyCriterion(np.arange(1.0, 8.0)))]


def test_shards_and_batches_do_not_show():
    """Sums over batches, then the tree over shards: the figures of all rows at once, and any placement's bits."""
    generator = np.random.default_rng(0)
    output, target = generator.normal(size=(101, 7)).astype(np.float32), generator.integers(-1, 7, 101)
    whole = joint_results(METHODS, joint_partial(METHODS, output, target))
    partials = {}
    for shard in range(5):
        x, y = output[shard::5], target[shard::5]
        partials[shard] = sum(joint_partial(METHODS, x[i : i + 4], y[i : i + 4]) for i in range(0, len(x), 4))
    kept = {shard: partial.copy() for shard, partial in partials.items()}
    total = merge(partials, 5)
    for one, other in zip(joint_results(METHODS, total), whole, strict=True):
        assert one == (pytest.approx(other.result, rel=1e-6), other.total_num, other.method)
    assert all((partials[shard] == kept[shard]).all() for shard in kept)
    nodes = [reduce.partial_sums({s: kept[s].copy() for s in held}, 5) for held in ([0, 3], [4, 1], [2])]
    combined = reduce.combine({node: part for each in nodes for node, part in each.items()}, 5)
    assert combined.tobytes() == total.tobytes()


def test_no_methods_give_no_results():
    assert joint_results([], joint_partial([], [[1.0]], [1])) == []


REFUSED = {
    "one-based labels": (Top1Accuracy(), [[1, 2]], [2], DataError, "from 0 to 1. Received: 2.*Hint"),
    "a label of -2": (Top5Accuracy(), [[1, 2]], [-2], DataError, "Received: -2"),
    "half a label": (Top1Accuracy(), [[1, 2]], [0.5], DataError, "Received: 0.5 in 1 of 1"),
    "a NaN label": (Top1Accuracy(), [[1, 2]], [NAN], DataError, "Received: nan"),
    "hinge labels": (Top1Accuracy(), [[1], [2]], [-1, 1], DataError, "from 0 to 1. Received: -1"),
    "labels of the loss": (Loss(), [[0, -1]], [2], DataError, "from 0 to 1"),
    "other rows": (Top1Accuracy(), [[1, 2]], [0, 1], ShapeError, r"expects a target \(1,\), received \(2,\)"),
    "one-hot": (Top1Accuracy(), [[1, 2]], [[0, 1]], ShapeError, r"received \(1, 2\)"),
    "broadcast": (MAE(), [[1, 2]], [[1]], ShapeError, r"expects a target \(1, 2\), received \(1, 1\)"),
    "broadcast rows": (MSE(), [[1], [2]], [[1, 2]], ShapeError, "MSE expects"),
    "two outputs": (MAE(), ([1], [2]), [1], ShapeError, "one output, received 2"),
    "two targets": (MAE(), [1], ([1], [2]), ShapeError, "one target, received 2"),
    "a number": (RMSE(), 1.0, 1.0, ShapeError, "rows first"),
    "one unit for five": (Top5Accuracy(), [[1]], [1], ShapeError, r"classes\), received \(1, 1\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case):
    method, output, target, error, text = REFUSED[case]
    with pytest.raises(error, match=text):
        method.update(output, target)


def test_refused_arguments():
    with pytest.raises(ArgumentError, match=r"criterion must be a Criterion. Received: 'mse'"):
        Loss("mse")
    with pytest.raises(ShapeError, match="of MAE expect 3 numbers, received 2"):
        joint_results([MAE()], np.zeros(2))
    with pytest.raises(ArgumentError, match="1"):
        merge({0: np.zeros(2)}, 2)
