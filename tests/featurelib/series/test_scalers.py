from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from featurelib import ConfigError, FeatureError, from_config, to_config
from featurelib.series.scalers import SCALERS, MinMaxScaler, Scaler, StandardScaler
from kernels.errors import ArgumentError

VALUES = np.random.default_rng(0).normal([0, 50, -3], [1, 20, 0.1], (200, 3))


@pytest.mark.parametrize("scaler", [StandardScaler(), MinMaxScaler(), MinMaxScaler((-1, 1))])
def test_scalers_are_scikit_learns(scaler: Scaler) -> None:
    peers = pytest.importorskip("sklearn.preprocessing", reason="a second opinion, not a dependency")
    arguments = {"feature_range": scaler.feature_range} if isinstance(scaler, MinMaxScaler) else {}
    peer = getattr(peers, type(scaler).__name__)(**arguments)
    wanted = peer.fit_transform(VALUES)
    np.testing.assert_allclose(scaler.fit_transform(VALUES), wanted, atol=1e-12)
    np.testing.assert_allclose(scaler.inverse_transform(wanted), VALUES, atol=1e-10)


@pytest.mark.parametrize("scaler", [StandardScaler(), MinMaxScaler((2, 3)), StandardScaler().fit(VALUES)])
def test_config_round_trip(scaler: Scaler) -> None:
    text = json.dumps(to_config(scaler))
    again = from_config(json.loads(text), SCALERS)
    assert json.dumps(to_config(again)) == text
    if scaler.shift_ is not None:
        np.testing.assert_array_equal(again.transform(VALUES), scaler.transform(VALUES))


def test_nan_is_passed_over() -> None:
    scaler = StandardScaler().fit([[1.0], [np.nan], [3.0]])
    np.testing.assert_array_equal(scaler.transform([[1.0], [np.nan]]), [[-1], [np.nan]])


def test_a_subset_of_columns() -> None:
    scaler = MinMaxScaler().fit(VALUES)
    np.testing.assert_allclose(scaler.inverse_transform(scaler.transform(VALUES)[:, 2:1:-1], [2]), VALUES[:, 2:])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0], "StandardScaler expects (n, columns), received (1,)"),
        ([[1.0, np.nan]], "Received: none, or infinity, in column 1 of 2"),
        ([[np.inf], [1.0]], "in column 0 of 1"),
    ],
)
def test_bad_values(values: Any, message: str) -> None:
    with pytest.raises(FeatureError) as caught:
        StandardScaler().fit(values)
    assert message in str(caught.value)


@pytest.mark.parametrize("bad", [3, (1,), (1, 1), (2, 1), (0, np.inf)])
def test_bad_ranges(bad: Any) -> None:
    with pytest.raises(ArgumentError, match="feature_range"):
        MinMaxScaler(bad)


@pytest.mark.parametrize("state", [{"shift": 1.0, "scale": None}, {"shift": "a", "scale": "b"}, {}])
def test_a_damaged_state(state: dict) -> None:
    with pytest.raises(ConfigError):
        from_config({"class": "StandardScaler", "args": {}, "state": state}, SCALERS)
