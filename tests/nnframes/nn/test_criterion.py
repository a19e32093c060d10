"""Criterions against their formulas and finite differences."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from featurelib.config import from_config, to_config
from kernels.graph import Graph, Spec
from nnframes import nn
from nnframes.errors import ArgumentError, ShapeError

Arrays = Callable[[np.ndarray, np.ndarray], Any]


def _log_softmax(x: np.ndarray) -> np.ndarray:
    return x - np.log(np.exp(x).sum(1, keepdims=True))


def _nll(x: np.ndarray, y: np.ndarray, weights: Any = 1.0) -> tuple[float, float]:
    weights = np.broadcast_to(weights, x.shape[1])
    rows = [i for i, label in enumerate(y) if label != -1]
    return -sum(weights[y[i]] * x[i, y[i]] for i in rows), sum(weights[y[i]] for i in rows)


def _huber(d: np.ndarray) -> np.ndarray:
    return np.where(np.abs(d) < 1, d * d / 2, np.abs(d) - 0.5)


def _bce(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return -(y * np.log(x) + (1 - y) * np.log(1 - x))


@dataclass(frozen=True)
class Case:
    """A criterion with its formula: (output, target) -> (loss sum, weight sum)."""

    criterion: str
    formula: Arrays
    args: dict[str, Any] = field(default_factory=dict)
    labels: bool = False
    output: Callable[[np.ndarray], np.ndarray] = lambda x: x

    def build(self) -> nn.Criterion:
        return nn.CRITERIONS[self.criterion](**self.args)

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(3)
        x = self.output(rng.normal(0, 1.5, (5, 4))).astype(np.float32)
        y = np.array([3, 0, -1, 2, 0], np.int32) if self.labels else self.output(rng.normal(0, 1.5, (5, 4)))
        return x, y if self.labels else y.astype(np.float32)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _softmax(x: np.ndarray) -> np.ndarray:
    return np.exp(_log_softmax(x))


WEIGHTS = np.array([1.0, 2.0, 0.5, 3.0], np.float32)
SUM = {"size_average": False}
CASES = [
    Case("ClassNLLCriterion", _nll, {}, True, _log_softmax),
    Case("ClassNLLCriterion", lambda x, y: _nll(x, y, WEIGHTS), {"weights": WEIGHTS}, True, _log_softmax),
    Case("ClassNLLCriterion", _nll, SUM, True, _log_softmax),
    Case("ClassNLLCriterion", lambda x, y: _nll(np.log(x), y), {"logProbAsInput": False}, True, _softmax),
    Case("CrossEntropyCriterion", lambda x, y: _nll(_log_softmax(x), y), {}, True),
    Case("CrossEntropyCriterion", lambda x, y: _nll(_log_softmax(x), y, WEIGHTS), {"weights": WEIGHTS}, True),
    Case("CrossEntropyCriterion", lambda x, y: _nll(_log_softmax(x), y), SUM, True),
    Case("MSECriterion", lambda x, y: (((x - y) ** 2).sum(), x.size)),
    Case("AbsCriterion", lambda x, y: (np.abs(x - y).sum(), x.size)),
    Case("AbsCriterion", lambda x, y: (np.abs(x - y).sum(), x.size), SUM),
    Case("SmoothL1Criterion", lambda x, y: (_huber(x - y).sum(), x.size)),
    Case("SmoothL1Criterion", lambda x, y: (_huber(x - y).sum(), x.size), SUM),
    Case("BCECriterion", lambda x, y: (_bce(x, y).sum(), x.size), {}, False, _sigmoid),
    Case("BCECriterion", lambda x, y: ((WEIGHTS * _bce(x, y)).sum(), x.size), {"weights": WEIGHTS}, False, _sigmoid),
    Case("BCECriterion", lambda x, y: (_bce(x, y).sum(), x.size), SUM, False, _sigmoid),
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.criterion}-{'-'.join(case.args)}")


def test_every_criterion_is_covered():
    assert {case.criterion for case in CASES} == set(nn.CRITERIONS)


@every_case
def test_loss_by_its_formula(case):
    criterion, (x, y) = case.build(), case.arrays()
    total, weight = case.formula(x.astype(np.float64), y)
    expected = total / weight if criterion.size_average else total
    assert criterion.forward(x, y) == pytest.approx(expected, rel=1e-5)


@every_case
def test_gradient_against_finite_differences(case):
    criterion, (x, y) = case.build(), case.arrays()
    exact = x.astype(np.float64)
    gradient = criterion.backward(x, y)
    assert gradient.dtype == np.float32
    for place in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[place] = 1e-6
        up, down = case.formula(exact + step, y), case.formula(exact - step, y)
        divisor = up[1] if criterion.size_average else 1
        np.testing.assert_allclose(gradient[place], (up[0] - down[0]) / 2e-6 / divisor, rtol=1e-4, atol=1e-6)


@every_case
def test_loss_and_weight_sums_add_up_over_parts_of_a_batch(case):
    criterion, (x, y) = case.build(), case.arrays()
    sums = [case.formula(x[part].astype(np.float64), y[part]) for part in (slice(0, 2), slice(2, 5))]
    total, weight = np.sum(sums, axis=0)
    assert criterion.forward(x, y) == pytest.approx(total / weight if criterion.size_average else total, rel=1e-5)


@every_case
def test_config_round_trip(case):
    criterion, (x, y) = case.build(), case.arrays()
    again = from_config(json.loads(json.dumps(to_config(criterion))), nn.CRITERIONS)
    assert to_config(again) == to_config(criterion)
    assert again.forward(x, y) == criterion.forward(x, y)


@every_case
def test_a_wrong_target_is_named(case):
    criterion, (x, y) = case.build(), case.arrays()
    shape, dtype = criterion.target_spec(Spec(x.shape))
    assert (y.shape, str(y.dtype)) == (shape, dtype)
    with pytest.raises(ShapeError) as caught:
        criterion.forward(x, y[:3])
    message = f"{case.criterion} expects a target {shape} of {dtype} for (5, 4), received {y[:3].shape} of {dtype}."
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["ClassNLLCriterion", "CrossEntropyCriterion", "BCECriterion"])
@pytest.mark.parametrize("weights", ["a", [-1.0, 1.0], [np.nan, 1.0], [[1.0], [1.0, 2.0]], {"yes": 2}])
def test_weights_are_numbers_above_zero(name, weights):
    with pytest.raises(ArgumentError, match=f"{name} weights must be numbers >= 0. Received: "):
        nn.CRITERIONS[name](weights=weights)


@pytest.mark.parametrize("name", ["ClassNLLCriterion", "CrossEntropyCriterion"])
def test_class_criterions_say_what_they_take(name):
    criterion = nn.CRITERIONS[name]()
    with pytest.raises(ShapeError, match=rf"{name} expects an output \(batch, classes\), received \(5,\)\."):
        criterion.loss(nn.Trace(None, Graph(), True), Graph().input("x", (5,)), Graph().input("y", (5,), "int32"))
    with pytest.raises(ArgumentError, match=r"target must be in \[0, 4\)\. Received: target\[1\]=4\."):
        criterion.forward(np.zeros((2, 4)), [0, 4])
    with pytest.raises(ShapeError, match=r"class weights of shape \(4,\)"):
        nn.CRITERIONS[name](weights=np.ones(3)).forward(np.zeros((2, 4)), [0, 1])


@pytest.mark.parametrize("label", [0.5, np.nan])
@pytest.mark.parametrize("name", ["ClassNLLCriterion", "CrossEntropyCriterion"])
def test_labels_are_not_rounded(name, label):
    with pytest.raises(ArgumentError, match=rf"{name} target must hold whole numbers\. Received: {label}"):
        getattr(nn, name)().forward(np.zeros((2, 3), np.float32), np.array([1, label]))


def test_a_batch_of_padding_costs_nothing():
    criterion, x = nn.ClassNLLCriterion(), np.zeros((2, 3))
    assert criterion.forward(x, [-1, -1]) == 0
    assert not criterion.backward(x, [-1, -1]).any()


def test_binary_cross_entropy_is_finite_at_its_limits():
    criterion, x = nn.BCECriterion(), np.array([[0.0, 1.0]])
    assert np.isfinite(criterion.forward(x, x[:, ::-1]))
    assert np.isfinite(criterion.backward(x, x[:, ::-1])).all()
    assert criterion.forward(x, x) == pytest.approx(0, abs=1e-6)
