"""Init methods: their distributions, by statistics over many numbers."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from featurelib.config import from_config, to_config
from nnframes import nn
from nnframes.errors import ArgumentError

SHAPE, FANS = (400, 100), (100, 400)

# init method -> (lowest, highest, standard deviation)
CASES = [
    (nn.Zeros(), 0, 0, 0),
    (nn.Ones(), 1, 1, 0),
    (nn.ConstInitMethod(0.25), 0.25, 0.25, 0),
    (nn.RandomUniform(), -0.1, 0.1, 0.2 / math.sqrt(12)),
    (nn.RandomUniform(3.0, 1.0), 1, 3, 2 / math.sqrt(12)),
    (nn.RandomNormal(0.0, 0.5), -3, 3, 0.5),
    (nn.Xavier(), -math.sqrt(6 / 500), math.sqrt(6 / 500), math.sqrt(2 / 500)),
    (nn.MsraFiller(), -1, 1, math.sqrt(2 / 250)),
    (nn.MsraFiller(False), -1, 1, math.sqrt(2 / 100)),
]


@pytest.mark.parametrize(("init", "low", "high", "deviation"), CASES, ids=lambda x: type(x).__name__)
def test_range_and_deviation(init, low, high, deviation):
    drawn = init.draw(np.random.default_rng(0), SHAPE, *FANS)
    assert drawn.shape == SHAPE
    assert drawn.dtype == np.float32
    assert np.float32(low) <= drawn.min()
    assert drawn.max() <= np.float32(high)
    np.testing.assert_allclose(drawn.std(), deviation, rtol=0.02, atol=1e-7)
    again = from_config(json.loads(json.dumps(to_config(init))), nn.INITIALIZERS)
    np.testing.assert_array_equal(again.draw(np.random.default_rng(0), SHAPE, *FANS), drawn)


@pytest.mark.parametrize(("size", "row"), [(2, [0.5, 0.5]), (3, [0.5, 1, 0.5]), (4, [0.25, 0.75, 0.75, 0.25])])
def test_bilinear_windows(size, row):
    drawn = nn.BilinearFiller().draw(np.random.default_rng(0), (2, 3, size, size), 1, 1)
    np.testing.assert_allclose(drawn[1, 2], np.outer(row, row))


def test_bilinear_needs_a_window():
    with pytest.raises(ArgumentError, match=r"BilinearFiller must get a shape \(\.\.\., height, width\)"):
        nn.BilinearFiller().draw(np.random.default_rng(0), (3,), 1, 1)


def test_every_init_method_is_covered():
    covered = {type(case[0]).__name__ for case in CASES} | {"BilinearFiller"}
    assert covered == set(nn.INITIALIZERS)


def test_convolutions_scale_by_their_window():
    layer = nn.SpatialConvolution(8, 4, 3, 3, n_group=2)
    assert layer.weight.fans == (4 * 9, 4 * 9)
    weight, bias = layer.get_weights()
    assert abs(weight).max() <= 1 / 6
    assert abs(bias).max() <= 1 / 6


@pytest.mark.parametrize(
    ("regularizer", "l1", "l2"),
    [(nn.L1Regularizer(0.1), 0.1, 0), (nn.L2Regularizer(0.2), 0, 0.2), (nn.L1L2Regularizer(0.1, 0.2), 0.1, 0.2)],
)
def test_regularizers(regularizer, l1, l2):
    again = from_config(to_config(regularizer), nn.REGULARIZERS)
    assert (again.l1, again.l2) == (regularizer.l1, regularizer.l2) == (l1, l2)
    assert nn.Linear(2, 2, wRegularizer=regularizer).weight.regularizer is regularizer
