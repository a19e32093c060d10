from __future__ import annotations

import json

import pytest

from featurelib.config import from_config, to_config
from nnframes.errors import ArgumentError
from nnframes.train.early_stopping import EarlyStopping, Validation
from nnframes.train.validation import EvaluatedResult

NAN, INF = float("nan"), float("inf")


def history(values, method="Loss"):
    return [
        Validation(10 * (i + 1), i, (EvaluatedResult(1.0, 5, "MAE"), EvaluatedResult(value, 5, method)))
        for i, value in enumerate(values)
    ]


# stopping, figures -> number of validations after which it stops (None: never), place of the best
CASES = {
    "falls": (EarlyStopping(patience=1), [3, 2, 1], None, 2),
    "rises": (EarlyStopping(patience=2), [1, 2, 3], 3, 0),
    "recovers": (EarlyStopping(patience=2), [2, 3, 1, 2, 2], 5, 2),
    "equal is no improvement": (EarlyStopping(patience=2), [1, 1, 1], 3, 0),
    "small steps": (EarlyStopping(patience=2, min_delta=0.5), [2, 1.8, 1.6], 3, 0),
    "small steps add up": (EarlyStopping(patience=2, min_delta=0.5), [2, 1.8, 1.4, 1.2], None, 2),
    "accuracy": (EarlyStopping("Top1Accuracy", patience=2), [0.5, 0.7, 0.6, 0.7], 4, 1),
    "own": (EarlyStopping("HitRatio", patience=1, higher_is_better=True), [0.1, 0.2, 0.1], 3, 1),
    "NaN": (EarlyStopping(patience=2), [1, NAN, NAN], 3, 0),
    "NaN first": (EarlyStopping(patience=2), [NAN, 1, 2, 0], None, 3),
    "NaN only": (EarlyStopping(patience=2), [NAN, NAN], 2, None),
    "infinite first": (EarlyStopping(patience=2), [INF, 1, 2], None, 1),
    "infinite": (EarlyStopping(patience=2), [INF, INF, INF], 3, 0),
    "none": (EarlyStopping(patience=1), [], None, None),
}


@pytest.mark.parametrize("case", CASES)
def test_stopping(case):
    stopping, values, stops, best = CASES[case]
    run = history(values, stopping.monitor)
    after = [n for n in range(len(run) + 1) if stopping.should_stop(run[:n])]
    assert (after[0] if after else None) == stops
    assert stopping.best(run) == (None if best is None else run[best])
    assert stopping.improved(run) == (best is not None and best == len(run) - 1)


def test_a_resumed_run_stops_alike():
    stopping = EarlyStopping("Loss", patience=3, min_delta=0.01)
    run = history([0.5, 0.4, NAN, 0.395, INF, 0.1])
    read = [Validation.from_json(json.loads(json.dumps(one.to_json(), allow_nan=False))) for one in run]
    other = from_config(to_config(stopping), {"EarlyStopping": EarlyStopping})
    for n in range(len(run) + 1):
        assert other.should_stop(read[:n]) == stopping.should_stop(run[:n])
    assert repr(read) == repr(run)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"patience": 0}, "patience must be a whole number >= 1. Received: 0"),
        ({"patience": 1.5}, "patience"),
        ({"min_delta": -0.1}, "min_delta must be >= 0"),
        ({"min_delta": NAN}, "min_delta"),
        ({"monitor": "loss"}, "monitor must be one of Loss, .*Received: 'loss'.*Hint"),
    ],
)
def test_refused_arguments(arguments, text):
    with pytest.raises(ArgumentError, match=text):
        EarlyStopping(**arguments)


def test_a_method_that_was_not_validated():
    with pytest.raises(ArgumentError, match=r"must have the method Top1Accuracy. Received: MAE, Loss."):
        EarlyStopping("Top1Accuracy").should_stop(history([1.0]))


@pytest.mark.parametrize("values", [{}, {"iteration": 1, "epoch": 0, "results": [[1]]}, {"results": 3}])
def test_a_history_that_is_none(values):
    with pytest.raises(ArgumentError, match="iteration, epoch and results"):
        Validation.from_json(values)
