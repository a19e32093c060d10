"""Batch normalisation's statistics and dropout's masks."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.reference import evaluate
from nnframes import nn
from nnframes.errors import ShapeError
from tests.conformance.layers_table import Run

X = np.random.default_rng(1).normal(2, 3, (6, 4, 3, 5))


@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
def test_training_normalises_by_the_batch_and_reports_its_statistics(data_format):
    x = X if data_format == "NCHW" else X.transpose(0, 2, 3, 1)
    run = Run.of(nn.SpatialBatchNormalization(4, eps=1e-9, data_format=data_format), x, training=True)
    axes = (0, 2, 3) if data_format == "NCHW" else (0, 1, 2)
    result = run.result()
    np.testing.assert_allclose(result.mean(axes), 0, atol=1e-7)
    np.testing.assert_allclose(result.std(axes), 1, rtol=1e-6)
    statistics = run.trace.statistics()
    assert [path.split(".")[1] for path in statistics] == ["running_mean", "running_var"]
    mean, variance = evaluate(list(statistics.values()), run.feeds)
    np.testing.assert_allclose(mean, x.mean(axes))
    np.testing.assert_allclose(variance, x.var(axes, ddof=1))


def test_evaluation_normalises_by_the_buffers():
    layer = nn.BatchNormalization(4, eps=0.5).initialise()
    layer.running_mean.assign(np.array([1.0, 2, 3, 4]))
    layer.running_var.assign(np.array([1.0, 4, 9, 16]))
    layer.set_weights([np.array([1.0, 2, 3, 4]), np.array([0.0, 1, 2, 3])])
    x = X[:, :, 0, 0]
    run = Run.of(layer, x)
    expected = (x - [1, 2, 3, 4]) / np.sqrt(np.array([1.0, 4, 9, 16]) + 0.5) * [1, 2, 3, 4] + [0, 1, 2, 3]
    np.testing.assert_allclose(run.result(), expected)
    assert run.trace.statistics() == {}


def test_a_layer_used_twice_averages_its_statistics():
    shared = nn.BatchNormalization(4)
    model = nn.Sequential().add(shared).add(nn.MulConstant(3.0)).add(nn.AddConstant(2.0)).add(shared)
    run = Run.of(model, X[:, :, 0, 0], training=True)
    mean = evaluate([run.trace.statistics()["batchnormalization_1.running_mean"]], run.feeds)[0]
    np.testing.assert_allclose(mean, (X[:, :, 0, 0].mean(0) + 2) / 2, rtol=1e-6)


def test_one_row_gives_finite_statistics():
    run = Run.of(nn.BatchNormalization(4), X[:1, :, 0, 0], training=True)
    assert all(np.isfinite(array).all() for array in evaluate(list(run.trace.statistics().values()), run.feeds))


@pytest.mark.parametrize("scale", [True, False])
def test_dropout_drops_in_training_and_keeps_the_mean(scale):
    layer, x = nn.Dropout(0.3, scale=scale), np.ones((100, 100))
    dropped, kept = Run.of(layer, x, training=True).result(), Run.of(layer, x).result()
    assert np.unique(dropped).tolist() == [0.0, 1 / 0.7 if scale else 1.0]
    assert (dropped == 0).mean() == pytest.approx(0.3, abs=0.02)
    np.testing.assert_allclose(kept, 1.0 if scale else 0.7)
    assert dropped.mean() == pytest.approx(kept.mean(), rel=0.02)


def test_dropout_follows_the_key_and_its_place():
    model = nn.Sequential().add(nn.Dropout(0.5)).add(nn.Dropout(0.5))
    run = Run.of(model, np.ones((8, 32)), training=True)
    first, other = run.result(), run.result()
    np.testing.assert_array_equal(first, other)
    assert (first != 0).mean() == pytest.approx(0.25, abs=0.1)
    run.feeds["random_key"] = np.array([7, 3, 2, 0], np.int64)
    assert not np.array_equal(run.result(), first)


def test_no_dropout_is_the_identity():
    np.testing.assert_array_equal(Run.of(nn.Dropout(0.0), X, training=True).result(), X)


def test_ids_that_float32_cannot_tell_apart_are_refused():
    assert nn.LookupTable(2**24, 1).output_shape((2,)) == (2, 1)
    with pytest.raises(
        ShapeError, match="LookupTable 'words' expects int32 ids for a table of more than 16777216 rows"
    ):
        nn.LookupTable(2**24 + 1, 1).set_name("words").output_shape((2,))


def test_padding_ids_give_zeros_and_no_gradient():
    layer = nn.LookupTable(5, 3, padding_value=2)
    run = Run.of(layer, np.array([[0.0, 2.0], [2.0, 4.0]]))
    result = run.result()
    assert not result[0, 1].any()
    assert not result[1, 0].any()
    np.testing.assert_allclose(result[1, 1], layer.weight.value[4])
    gradient = run.gradients([np.ones((2, 2, 3))])["lookuptable_1.weight"]
    assert gradient[:, 0].tolist() == [1, 0, 0, 0, 1]
