from __future__ import annotations

import numpy as np
import pytest

from nnframes.errors import ShapeError
from nnframes.nn import Input, Linear, LogSoftMax, Model, ReLU, Sequential, Sigmoid, SoftMax
from nnframes.spark.outputs import (
    arrays_column,
    check_output,
    gives_probabilities,
    predictions,
    probabilities,
    raw_predictions,
    rows_of,
)


def graph(last):
    x = Input((4,))
    return Model(x, last(Linear(4, 3)(x)))


@pytest.mark.parametrize(
    ("layer", "wanted"),
    [
        (Sequential().add(Linear(4, 3)).add(SoftMax()), True),
        (Sequential().add(Sequential().add(Linear(4, 1)).add(Sigmoid())), True),
        (Sequential().add(Linear(4, 3)).add(LogSoftMax()), False),
        (Sequential(), False),
        (Linear(4, 3), False),
        (graph(SoftMax()), True),
        (graph(ReLU()), False),
    ],
)
def test_what_a_network_ends_in(layer, wanted):
    assert gives_probabilities(layer) is wanted


def test_scores_and_log_probabilities_give_the_same_probabilities():
    scores = np.array([[1.0, 2.0, 3.0], [1000.0, 0.0, -1000.0]], np.float32)
    wide = scores.astype(np.float64)
    logs = wide - np.log(np.exp(wide - wide.max(1, keepdims=True)).sum(1, keepdims=True)) - wide.max(1, keepdims=True)
    np.testing.assert_allclose(probabilities(scores, False), probabilities(logs.astype(np.float32), False), atol=1e-6)
    np.testing.assert_allclose(probabilities(scores, False).sum(axis=1), 1.0)
    assert probabilities(scores, True).tolist() == wide.tolist()


def test_one_output():
    output = np.array([[0.2], [0.5], [0.9]], np.float32)
    assert predictions(output, True, 0.5).tolist() == [0.0, 0.0, 1.0]
    assert predictions(output, True, 0.1).tolist() == [1.0, 1.0, 1.0]
    np.testing.assert_allclose(probabilities(output, True), [[0.8, 0.2], [0.5, 0.5], [0.1, 0.9]], atol=1e-6)
    np.testing.assert_allclose(probabilities(np.array([[-1.0], [3.0]]), False), [[1, 0], [0, 1]])
    np.testing.assert_allclose(raw_predictions(output)[:, 1], output[:, 0])


def test_two_classes_and_more():
    output = np.array([[0.7, 0.3], [0.4, 0.6]], np.float32)
    assert predictions(output, True, 0.5).tolist() == [0.0, 1.0]
    assert predictions(output, True, 0.25).tolist() == [1.0, 1.0]
    assert predictions(output, True, 0.65).tolist() == [0.0, 0.0]
    assert predictions(np.eye(3, dtype=np.float32), False, 0.9).tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(("outputs", "threshold"), [(1, 0.5), (2, 0.5), (2, 0.3), (3, 0.5)])
def test_no_number_is_no_class(outputs, threshold):
    output = np.ones((3, outputs), np.float32)
    output[1, -1] = np.nan
    assert np.isnan(predictions(output, False, threshold)).tolist() == [False, True, False]


def test_shapes():
    assert rows_of(np.zeros(3)).shape == (3, 1)
    assert rows_of(np.zeros((3, 2))).shape == (3, 2)
    for wrong in (np.zeros((1, 2, 3)), [np.zeros(1)]):
        with pytest.raises(ShapeError, match=r"Hint: end the network with Reshape\(\[k\]\)"):
            rows_of(wrong)
    check_output((3, 2))


@pytest.mark.parametrize("as_vector", [True, False])
@pytest.mark.parametrize("valid", [[True, True], [False, True, True, False], [False], []])
def test_arrow_columns(as_vector, valid):
    rows = np.arange(2.0 * sum(valid)).reshape(-1, 2)
    found = arrays_column(rows, np.array(valid, bool), as_vector).to_pylist()
    values = iter(rows.tolist())
    expected = [next(values) if good else None for good in valid]
    assert [row["values"] if as_vector and row else row for row in found] == expected
