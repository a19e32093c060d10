from __future__ import annotations

import inspect
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nnframes.optim as optim
from featurelib.config import from_config, to_config
from nnframes.errors import ArgumentError
from nnframes.optim import (
    BLOCK,
    CLIPPINGS,
    Clipping,
    ConstantClipping,
    L2NormClipping,
    block_squares,
    clip,
    global_norm,
)


def gradient(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(size).astype(np.float32)


def test_every_clipping_is_in_the_table():
    found = {
        name: cls
        for name, cls in vars(optim).items()
        if inspect.isclass(cls) and issubclass(cls, Clipping) and not inspect.isabstract(cls)
    }
    assert found == CLIPPINGS


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 40 * BLOCK + 17])
def test_norm_is_the_norm(size):
    vector = gradient(size)
    assert global_norm([block_squares(vector)]) == pytest.approx(np.linalg.norm(vector.astype(np.float64)), rel=1e-13)


BLOCKS = 37
VECTOR = gradient(BLOCKS * BLOCK + 5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, BLOCKS), max_size=6))
def test_partial_sums_of_slices_are_those_of_the_whole(cuts):
    bounds = [0, *sorted(cuts), BLOCKS + 1]
    parts = [block_squares(VECTOR[low * BLOCK : high * BLOCK]) for low, high in itertools.pairwise(bounds)]
    assert np.array_equal(np.concatenate(parts), block_squares(VECTOR))
    assert global_norm(parts) == global_norm([block_squares(VECTOR)])


def test_l2_scales_only_what_is_too_long():
    vector = gradient(5000)
    norm = global_norm([block_squares(vector)])
    same, shorter = vector.copy(), vector.copy()
    clip([same], [L2NormClipping(norm * 1.01)])
    clip([shorter], [L2NormClipping(norm / 4)])
    assert np.array_equal(same, vector)
    np.testing.assert_allclose(shorter, vector / 4, rtol=1e-6)


def test_l2_takes_dense_and_row_values_together():
    dense, rows = np.array([3.0], np.float32), np.array([[4.0, 0.0]], np.float32)
    clip([dense, rows], [L2NormClipping(1.0)])
    np.testing.assert_allclose(dense, [0.6])
    np.testing.assert_allclose(rows, [[0.8, 0.0]])


def test_slices_clip_alike_when_the_norm_is_given():
    whole, sliced = VECTOR.copy(), VECTOR.copy()
    norm = global_norm([block_squares(VECTOR)])
    clippings = [ConstantClipping(-0.01, 0.01), L2NormClipping(1.0)]
    clip([whole], clippings)
    for part in (sliced[: 3 * BLOCK], sliced[3 * BLOCK :]):
        clip([part], clippings, norm)
    assert np.array_equal(whole, sliced)
    assert np.abs(whole).max() == np.float32(0.01)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_stays_for_the_loss_to_show(bad):
    vector = np.array([1.0, bad], np.float32)
    clip([vector], [L2NormClipping(0.1)])
    assert np.array_equal(vector, np.array([1.0, bad], np.float32), equal_nan=True)


def test_no_clipping_changes_nothing():
    vector = gradient(10)
    clip([vector], [])
    assert np.array_equal(vector, gradient(10))


@pytest.mark.parametrize("clipping", [ConstantClipping(-2.0, 0.5), L2NormClipping(3.0)])
def test_config_round_trip(clipping):
    again = from_config(to_config(clipping), CLIPPINGS)
    assert vars(again) == vars(clipping)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: L2NormClipping(0.0), "L2NormClipping norm must be > 0. Received: 0.0"),
        (lambda: L2NormClipping(math.inf), "Received: inf"),
        (lambda: ConstantClipping(1.0, -1.0), "min must be <= max. Received: min=1.0, max=-1.0"),
        (lambda: ConstantClipping(math.nan, 1.0), "a finite number. Received: nan"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()
